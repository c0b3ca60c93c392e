"""The tools' port, fulfilled: order, write down, follow, collect."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel
from anyio.to_thread import run_sync

from wan_mcp.concurrency import wait_first
from wan_mcp.ledger import Order, OrderLimits
from wan_mcp.orders.cancel import cancel
from wan_mcp.orders.context import OrderContext, Timings
from wan_mcp.orders.create import OrderCreator
from wan_mcp.orders.delivery import Delivery, is_callers
from wan_mcp.orders.files.images import OrderImages
from wan_mcp.orders.lifecycle import NOT_SENT, is_settled
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.lookup import OrderLookup
from wan_mcp.orders.permissions import check_output_dir, check_request, check_view, count_call, report_usage
from wan_mcp.orders.presentation import to_task
from wan_mcp.orders.refresh import REFRESH_SECONDS, SAVE_SECONDS, OrderRefresh
from wan_mcp.orders.search import OrderSearch, find_by_beginning, list_orders, read_period, report_costs
from wan_mcp.orders.wait import ProgressReporter, answer_within, estimate_seconds_left, wait
from wan_mcp.orders.worker.collect import BackgroundCollector, Collector, CollectSummary
from wan_mcp.orders.worker.eligibility import OrderEligibility
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.worker import OrderWorker
from wan_mcp.settings import Settings
from wan_mcp.storage.disk import WRITERS_ADVICE, find_writers
from wan_mcp.storage.thumbnails import ThumbnailCache
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.prices import CostReport
from wan_mcp_tools.domain.errors import ErrorCode, NotConnectedError, NotFoundError
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.principals import Principal, current_principal
from wan_mcp_tools.domain.requests import ImageRequest, InputSource
from wan_mcp_tools.domain.service import (
    Conversion,
    ImageData,
    NotePlaced,
    OrderQuery,
    OrderTotals,
    Preview,
    ProgressCallback,
    TaskPage,
)
from wan_mcp_tools.domain.tasks import SavedImage, Task, TaskStatus
from wan_mcp_tools.domain.usage import UsageReport

if TYPE_CHECKING:
    from wan_mcp.orders.files.links import ImageLinkSigner, LinkedFile, LinkSignature
    from wan_mcp.orders.files.uploads import UploadStore

T = TypeVar("T")

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
"""For which the service may take an order that is just being sent, so that it can be cancelled then."""


class OrderService:
    """
    The `ImageService` port. Enter `running` before calling anything that orders or waits.

    Every call is the current principal's: here it is asked who that is, and everything below is told by name. A call
    knows the orders of its principal alone, unless that one sees everybody's.
    """

    def __init__(
        self,
        context: OrderContext,
        *,
        catalogue: Catalogue,
        settings: Settings,
        timings: Timings,
        worker_id: str,
        links: "ImageLinkSigner | None" = None,
    ) -> None:
        self._context = context
        self._ledger = context.ledger
        self._clock = context.clock
        self._catalogue = catalogue
        self._settings = settings
        self._timings = timings
        ledger, clock = context.ledger, context.clock
        live = self._live = LiveOrders()
        queries = self._queries = Queries(ledger, context.dashscope, clock, timings, context.observers)
        eligibility = OrderEligibility(settings.regions, clock, exclusion_seconds=timings.save_again_most)
        worker = self._worker = OrderWorker(
            context,
            live=live,
            queries=queries,
            eligibility=eligibility,
            catalogue=catalogue,
            timings=timings,
            worker_id=worker_id,
            folders=(settings.output_dir, *settings.allowed_dirs),
        )
        self._creator = OrderCreator(
            context,
            regions=settings.regions,
            catalogue=catalogue,
            limits=OrderLimits(settings.quota, settings.user_quota),
            timings=timings,
            worker_id=worker_id,
            begin=worker.submitter.begin,
            find_result=self._find_result,
            find_upload=self._find_upload,
        )
        self._lookup = OrderLookup(
            ledger,
            clock,
            live=live,
            queries=queries,
            catalogue=catalogue,
            regions=settings.regions,
            output_dir=settings.output_dir,
        )
        self._refresh = OrderRefresh(ledger, clock, live=live, queries=queries, worker=worker)
        self._images = OrderImages(
            context,
            queries=queries,
            worker=worker,
            worker_id=worker_id,
            thumbnails=ThumbnailCache(settings.state_dir / "thumbnails"),
        )
        self._delivery = Delivery(ledger, live=live, images=self._images, eligibility=eligibility, links=links)
        self._links = links
        self._uploads: UploadStore | None = None
        self._search = OrderSearch(ledger, live=live, images=self._images)
        self._collector = Collector(
            ledger,
            clock,
            worker=worker,
            live=live,
            eligibility=eligibility,
            timings=timings,
            worker_id=worker_id,
        )
        self._background = BackgroundCollector(ledger, state_dir=settings.state_dir, env_file=settings.env_file)

    @property
    def catalogue(self) -> Catalogue:
        """What can be ordered."""
        return self._catalogue

    @property
    def places(self) -> tuple[Path | str, ...]:
        """The folders, and the object store, that the settings name: nobody else than the local user is told them."""
        return self._settings.list_places()

    @property
    def uploads(self) -> "UploadStore":
        """What people have uploaded to order with."""
        if self._uploads is None:
            from wan_mcp.orders.files.uploads import UploadStore  # noqa: PLC0415 - most servers take none

            self._uploads = UploadStore(self._ledger, self._context.storage, self._clock)
        return self._uploads

    @property
    def default_wait_seconds(self) -> float:
        """How long a waiting call waits if it does not say."""
        return self._settings.wait_seconds

    @property
    def _answer_seconds(self) -> float:
        return max(self.default_wait_seconds, REFRESH_SECONDS)

    @asynccontextmanager
    async def running(self, *, take_over: bool = True) -> AsyncGenerator["OrderService"]:
        """Follow orders in the background for as long as this is open; `take_over` also takes over others' orders."""

        async def work() -> None:
            # However this ends, what is being sent gets its answer first: `stop` below ends the worker.
            with anyio.CancelScope(shield=True):
                await self._worker.run(take_over=take_over)

        async with self._context.dashscope, anyio.create_task_group() as group:
            group.start_soon(work)
            group.start_soon(self._look_at_folders, take_over)
            try:
                # The worker must stand before the first order is handed to it.
                await anyio.lowlevel.checkpoint()
                yield self
            finally:
                with anyio.CancelScope(shield=True):
                    await self._worker.stop()
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await self._ledger.close()

    def drain(self, seconds: float) -> None:
        """Take over no orders any more, and let every call that waits, now or later, be answered in some seconds."""
        self._worker.stop_claiming()
        self._live.bound_waits(self._clock.monotonic() + seconds)

    async def stop(self) -> None:
        """Let what is being sent get its answer, for a moment, and let go of the rest."""
        await self._worker.stop()

    # --- ordering and waiting ---------------------------------------------------------------------------------------

    async def order(
        self,
        request: ImageRequest,
        *,
        wait_seconds: float,
        until_accepted: bool,
        fresh: bool,
        report: ProgressCallback | None,
        placed: NotePlaced | None = None,
    ) -> Task:
        """Write the order down, send it, and wait."""
        check_request(request, current_principal())
        self._settings.require_folders()
        progress = self._make_progress(report, "Writing the order down")
        return await progress.report_during(
            lambda: self._order(
                request,
                progress,
                seconds=wait_seconds,
                until_accepted=until_accepted,
                deduplicate=not fresh,
                placed=placed,
            )
        )

    async def _order(
        self,
        request: ImageRequest,
        progress: ProgressReporter,
        *,
        seconds: float,
        until_accepted: bool,
        deduplicate: bool,
        placed: NotePlaced | None,
    ) -> Task:
        ends = self._clock.monotonic() + seconds
        placement = await self._creator.create(
            request,
            principal=current_principal().id,
            awaited_seconds=0.0 if until_accepted else seconds,
            deduplicate=deduplicate,
            lock_seconds=seconds,
        )
        # A write to the ledger is never abandoned, and no cancellation can come between it and the next line.
        order = placement.order
        if placed is not None:
            placed(to_task(order, deduplicated=placement.deduplicated, saved_elsewhere=placement.saved_elsewhere))
        if placement.deduplicated:
            self._worker.check_ledger()
        elif not self._worker.start(order):
            with anyio.CancelScope(shield=True):
                await self._creator.withdraw(order)
            raise NotConnectedError(NOT_SENT.message, code=NOT_SENT.code)
        try:
            if self._settings.collect_in_background and not placement.deduplicated:
                await self._background.ensure()
            left = ends - self._clock.monotonic()
            order = await self._wait(order, _is_accepted if until_accepted else is_settled, left, progress)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._delivery.stop_waiting(order)
            raise
        if not until_accepted and not order.images:
            await self._delivery.stop_waiting(order)
        return await self._delivery.deliver(
            order,
            current_principal(),
            deduplicated=placement.deduplicated,
            saved_elsewhere=placement.saved_elsewhere,
            is_just_saved=not placement.deduplicated,
        )

    async def get(self, task_id: str, *, wait_seconds: float, report: ProgressCallback | None) -> Task:
        """Give the task, after waiting for its end at most `wait_seconds`."""
        progress = self._make_progress(report, "Looking for the task")

        async def work() -> Task:
            started = self._clock.monotonic()
            order = await self._find(task_id, seconds=wait_seconds + REFRESH_SECONDS)
            progress.update(order)
            gone = self._clock.monotonic() - started
            order = await self._refresh.refresh(order, seconds=wait_seconds, within=REFRESH_SECONDS - gone)
            left = wait_seconds - (self._clock.monotonic() - started)
            order = await self._wait(order, is_settled, left, progress)
            return await self._delivery.deliver(order, current_principal())

        return await progress.report_during(work)

    async def peek(self, task_id: str) -> Task | None:
        """Give the task as the ledger has it: nobody is asked, and nothing is noted as received."""
        order = await self._find_known(task_id)
        return to_task(order, live_problem=self._live.problem_of(order.local_id)) if order else None

    async def find_by_beginning(self, beginning: str, *, limit: int) -> Sequence[Task]:
        """Give the tasks of the ledger one of whose ids begins with these letters, newest first."""
        return await find_by_beginning(
            self._ledger, self._live, beginning, limit=limit, principal=current_principal().sees
        )

    async def seconds_left(self, task: Task) -> float | None:
        """Give the seconds until such a task usually ends, by what was learned of earlier ones."""
        return await estimate_seconds_left(self._ledger, self._clock, self._live, task.local_id)

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task that is still PENDING."""

        async def refresh(order: Order) -> Order:
            return await self._refresh.refresh(order, seconds=0)

        async def work() -> Task:
            order = await self._find(task_id, seconds=self.default_wait_seconds)
            cancelled = await cancel(
                order,
                ledger=self._ledger,
                clock=self._clock,
                live=self._live,
                queries=self._queries,
                refresh=refresh,
                observers=self._context.observers,
                answer_seconds=min(_ANSWER_SECONDS, self.default_wait_seconds / 2),
            )
            return await self._delivery.show_task(to_task(cancelled), cancelled, current_principal())

        return await answer_within(self._answer_seconds, work, NextAction.CHECK_CANCELLATION)

    # --- many orders ------------------------------------------------------------------------------------------------

    async def list_tasks(
        self,
        *,
        status: TaskStatus | None,
        limit: int,
        cursor: str | None,
        remote: bool,
        since: str | None = None,
        until: str | None = None,
    ) -> TaskPage:
        """Give the ledger's tasks, newest first."""
        return await list_orders(
            self._ledger,
            live=self._live,
            lookup=self._lookup,
            refresh=self._refresh,
            worker=self._worker,
            status=status,
            limit=limit,
            cursor=cursor,
            remote=remote,
            period=read_period(since, until, self._clock.now()),
            seconds=self.default_wait_seconds,
            principal=current_principal().sees,
            adopter=current_principal().id,
        )

    async def find_orders(self, query: OrderQuery, *, limit: int, cursor: str | None) -> TaskPage:
        """Give the orders of the ledger that a query means, newest first."""
        return await self._search.find(query, limit=limit, cursor=cursor, principal=current_principal().sees)

    async def count_orders(self, query: OrderQuery) -> OrderTotals:
        """Count what a query finds."""
        return await self._search.count(query, principal=current_principal().sees)

    async def report_costs(self, *, since: str | None, until: str | None) -> CostReport:
        """Give the images of the orders of some days and what they cost."""
        return await report_costs(
            self._ledger,
            self._clock,
            self._catalogue,
            since=since,
            until=until,
            principal=current_principal().sees,
        )

    async def report_usage(self) -> UsageReport:
        """Give how much the caller has ordered and may order; who sees everybody's orders is told of all."""
        return await report_usage(self._ledger, self._settings, current_principal())

    async def count_call(self) -> None:
        """
        Count a call of the current principal.

        Raises:
            CallLimitError: there were too many in the last minute, by all servers on the ledger.
        """
        await count_call(self._ledger, self._settings, current_principal())

    async def collect(
        self,
        report: Callable[[str], Awaitable[None]] | None,
        *,
        wait: bool = False,
        collector_token: str | None = None,
    ) -> CollectSummary:
        """
        Try every open order once, and save what is ready.

        With `wait` this goes on until no order is open, here or elsewhere. `collector_token` is what this process
        collects under in the background; it then ends at once if there is another.
        """
        if collector_token is None:
            return await self._collector.collect(report, wait=wait)
        await self._collector.collect_in_background(collector_token)
        return CollectSummary()

    # --- images -----------------------------------------------------------------------------------------------------

    async def download_image(
        self,
        *,
        task_id: str | None,
        index: int,
        url: str | None,
        output_dir: str | None,
        filename: str | None,
        conversion: Conversion | None = None,
    ) -> tuple[SavedImage, Task | None]:
        """Put an image of a task, or of a result URL, or a converted copy of it, into a folder under a name."""
        caller = current_principal()
        check_output_dir(output_dir, caller)
        self._settings.require_folders()

        async def work() -> tuple[SavedImage, Task | None]:
            if task_id is None:
                region = self._settings.default_region
                saved = await self._images.download_url(
                    url or "", region, output_dir=output_dir, filename=filename, conversion=conversion
                )
                return await self._delivery.show_image(saved, None, caller), None
            order = await self._find(task_id, seconds=self.default_wait_seconds)
            if not order.images:
                await self._refresh.refresh(order, seconds=0)
            elif not is_settled(order):
                # It is being saved at this moment, and then only has to be copied.
                order = await self._wait(order, is_settled, SAVE_SECONDS, None)
            order = await self._find_known(order.local_id) or order
            image = await self._images.download(
                order, index, output_dir=output_dir, filename=filename, conversion=conversion
            )
            order = await self._find_known(order.local_id) or order
            shown = await self._delivery.show_image(image, order, caller)
            return shown, await self._delivery.deliver(order, caller, is_just_saved=True)

        return await answer_within(self._answer_seconds, work, NextAction.CHECK_DOWNLOAD)

    async def draw_preview(self, *, task_id: str | None, index: int, path: str | None) -> Preview:
        """Give a small picture of a saved image."""
        check_view(path, current_principal())
        self._settings.require_folders()
        order = None
        if task_id is not None:
            order = await self._find(task_id, seconds=self.default_wait_seconds)
        return await self._images.draw_preview(order, index, path)

    async def read_image(self, *, task_id: str, index: int, most_bytes: int) -> ImageData:
        """Give a saved image of the ledger: the file's own bytes, or a small picture if they are more."""
        order = await self._find_known(task_id)
        if order is None:
            can_ask = current_principal().sees is None
            raise NotFoundError(
                f"No task {task_id[:80]} is in this ledger.",
                code=ErrorCode.TASK_NOT_FOUND,
                next_step=NextStep(NextAction.LIST_LEDGER_OR_ASK if can_ask else NextAction.LIST_LEDGER),
            )
        data = await self._images.read(order, index, most_bytes)
        return replace(data, file=await self._delivery.show_image(data.file, order, current_principal()))

    @asynccontextmanager
    async def open_linked_image(
        self, image_id: str, by: "LinkSignature | Principal", *, folder: str | None
    ) -> "AsyncGenerator[LinkedFile]":
        """
        Open what a link leads to, by its signature or for a principal who has signed in.

        Raises:
            NotFoundError: nothing, or nothing of this principal's, or not any more.
            StorageError: the storage refuses now.
        """
        if self._links is None:
            raise NotFoundError("There are no links here.", code=ErrorCode.IMAGE_NOT_FOUND)
        from wan_mcp.orders.files.links import ImageLinkResolver  # noqa: PLC0415 - only people who sign in have links

        images = ImageLinkResolver(
            self._context.storage,
            self._links,
            images=self._images,
            find_order=lambda task_id, principal: self._lookup.find_known(task_id, principal=principal),
        )
        async with images.open(image_id, by, folder=folder) as found:
            yield found

    async def draw_thumbnail(self, *, task_id: str, index: int, side: int) -> Preview:
        """Give a tiny picture of a saved image of the ledger."""
        order = await self._find_known(task_id)
        if order is None:
            raise NotFoundError(f"No task {task_id[:80]} is in this ledger.", code=ErrorCode.TASK_NOT_FOUND)
        return await self._images.draw_thumbnail(order, index, side)

    async def draw_input(self, *, task_id: str, number: int, side: int) -> Preview:
        """Give a tiny picture of a file that an order was given, or of the earlier result that it was."""
        order = await self._find_known(task_id)
        inputs = order.request.images if order is not None and order.request is not None else ()
        if not 1 <= number <= len(inputs):
            raise NotFoundError(f"No order {task_id[:80]} with an input picture {number} is in this ledger.")
        given = inputs[number - 1]
        if given.source is InputSource.TASK:
            # Its file may have been moved since.
            earlier, _, index = given.reference.rpartition("#")
            return await self.draw_thumbnail(task_id=earlier, index=int(index), side=side)
        return await self._images.draw_input(given, side)

    # --- shared -----------------------------------------------------------------------------------------------------

    async def _look_at_folders(self, warn: bool) -> None:
        """Hold to where the folders lead; with `warn`, say in the log who else may write to them."""
        await self._context.storage.hold()
        if not warn:
            return
        settings = self._settings
        paths = (settings.output_dir, settings.state_dir, settings.ledger_path)
        for path, writers in await run_sync(find_writers, paths, abandon_on_cancel=True):
            _log.warning("%s can be written to by %s. %s", path, writers, WRITERS_ADVICE)

    def _make_progress(self, report: ProgressCallback | None, first: str) -> ProgressReporter:
        return ProgressReporter(
            self._ledger,
            self._clock,
            live=self._live,
            catalogue=self._catalogue,
            report=report,
            first=first,
            interval=self._timings.progress_interval,
        )

    async def _wait(
        self,
        order: Order,
        until: Callable[[Order], bool],
        seconds: float,
        progress: ProgressReporter | None,
        *,
        receives: bool = True,
    ) -> Order:
        return await wait(
            order,
            until,
            seconds=seconds,
            ledger=self._ledger,
            live=self._live,
            clock=self._clock,
            progress=progress,
            interval=self._timings.wait_interval,
            receives=receives and is_callers(order, current_principal()),
        )

    async def _find_result(self, task_id: str, index: int) -> Path:
        """Find the file of a saved image, as a picture to order with; one that is just being saved is waited for."""
        order = await self._find(task_id, seconds=REFRESH_SECONDS)
        if order.images and not is_settled(order):
            order = await self._wait(order, is_settled, SAVE_SECONDS, None, receives=False)
        return await self._images.find_file(order, index)

    async def _find_upload(self, upload_id: str) -> Path:
        """Find the file of an upload of the caller's, also where the caller may see those of others."""
        return await self.uploads.find(upload_id, principal=current_principal().id)

    async def _find_known(self, any_id: str) -> Order | None:
        """Give what is known here of an order of the caller's, without asking the service."""
        return await self._lookup.find_known(any_id, principal=current_principal().sees)

    async def _find(self, task_id: str, *, seconds: float) -> Order:
        """Find an order; one that was adopted just now is given a moment to be looked at."""
        ends = self._clock.monotonic() + seconds
        caller = current_principal()
        order, is_adopted = await self._lookup.find_or_adopt(
            task_id, seconds=seconds, principal=caller.sees, adopter=caller.id
        )
        if not is_adopted:
            return order
        live = self._live.get(order.local_id)
        changed = live.changed
        self._worker.check_ledger()
        await wait_first(self._clock, changed.wait, min(REFRESH_SECONDS, ends - self._clock.monotonic()))
        return live.order or order


def _is_accepted(order: Order) -> bool:
    # The synchronous protocol names no task: its answer is the picture, and all that there is before is our own id.
    return order.task_id is not None or order.protocol == WireProtocol.SYNC or is_settled(order)
