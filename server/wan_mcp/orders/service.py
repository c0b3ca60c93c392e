"""The tools' port, fulfilled: order, write down, follow, collect."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.lowlevel

from wan_mcp.ledger import Order
from wan_mcp.orders.album import OrderAlbum
from wan_mcp.orders.cancelling import Canceler
from wan_mcp.orders.collecting import CollectSummary, collect
from wan_mcp.orders.costing import sum_costs
from wan_mcp.orders.delivering import Delivery
from wan_mcp.orders.discovering import Discoverer
from wan_mcp.orders.expecting import seconds_left
from wan_mcp.orders.fetching import Fetcher
from wan_mcp.orders.finding import Finder
from wan_mcp.orders.following import Follower
from wan_mcp.orders.keeping import Keeper, keep
from wan_mcp.orders.listing import Lister
from wan_mcp.orders.looking import FRESH_LOOK, SAVING_LOOK, Looker
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.pictures import Pictures
from wan_mcp.orders.placing import Placer
from wan_mcp.orders.progress import Progress
from wan_mcp.orders.sending import NEVER_SENT
from wan_mcp.orders.views import is_settled, view
from wan_mcp.orders.waiting import Waiter
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import CostReport
from wan_mcp_tools.domain.errors import AnswerLostError, NotConnectedError, NotFoundError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import Picture, Preview, Report, TaskPage
from wan_mcp_tools.domain.tasks import SavedImage, Task, TaskStatus

T = TypeVar("T")


class OrderService:
    """The `ImageService` port. Enter `running` before calling anything that orders or waits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._follower = Follower(parts)
        self._placer = Placer(parts, self._follower.dispatch)
        self._waiter = Waiter(parts)
        self._discoverer = Discoverer(parts, self._follower.queries)
        self._fetcher = Fetcher(parts, self._follower)
        self._pictures = Pictures(parts, self._fetcher)
        self._delivery = Delivery(parts, self._fetcher, self._follower.reach)
        self._keeper = Keeper(parts)
        self._looker = Looker(parts, self._follower, self._waiter)
        self._lister = Lister(parts, self._discoverer, self._follower, self._looker)
        self._finder = Finder(parts, self._discoverer, self._follower)
        self._canceler = Canceler(parts, self._follower.queries, self._waiter, self._looker)
        self._album = OrderAlbum(parts, self._finder, self._fetcher, self._pictures)

    @property
    def catalogue(self) -> Catalogue:
        """What can be ordered."""
        return self._parts.catalogue

    @property
    def album(self) -> OrderAlbum:
        """Everything that was ordered, to look through."""
        return self._album

    @property
    def default_wait_seconds(self) -> float:
        """How long a waiting call waits if it does not say."""
        return self._parts.settings.wait_seconds

    @asynccontextmanager
    async def running(self, *, watch: bool = True) -> AsyncGenerator["OrderService"]:
        """Follow orders in the background for as long as this is open; `watch` also takes over others' orders."""

        async def follow() -> None:
            await self._follower.run(watch=watch)

        async with self._parts.dashscope, anyio.create_task_group() as group:
            group.start_soon(follow)
            # The follower must stand before the first order is handed to it.
            await anyio.lowlevel.checkpoint()
            try:
                yield self
            finally:
                with anyio.CancelScope(shield=True):
                    await self._follower.stop()
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await self._parts.ledger.close()

    async def stop(self) -> None:
        """Let what is being sent get its answer, for a moment, and let go of the rest."""
        await self._follower.stop()

    async def order(
        self, request: ImageRequest, *, wait_seconds: float, until_named: bool, fresh: bool, report: Report | None
    ) -> Task:
        """Write the order down, send it, and wait."""
        progress = Progress(self._parts, report, "Writing the order down")
        return await progress.beside(
            lambda: self._order(request, progress, seconds=wait_seconds, until_named=until_named, join=not fresh)
        )

    async def _order(
        self, request: ImageRequest, progress: Progress, *, seconds: float, until_named: bool, join: bool
    ) -> Task:
        wanted_for = 0.0 if until_named else seconds
        ends = self._parts.clock.monotonic() + seconds
        placement = await self._placer.place(request, wanted_for=wanted_for, join=join, patience=seconds)
        # A write to the ledger is never abandoned, and no cancellation can come between it and the next line.
        order = placement.order
        if placement.joined:
            self._follower.watcher.look()
        elif not self._follower.start(order):
            with anyio.CancelScope(shield=True):
                await self._placer.withdraw(order)
            raise NotConnectedError(NEVER_SENT.message, code=NEVER_SENT.code)
        until = _is_named if until_named else is_settled
        try:
            if self._parts.settings.keeper and not placement.joined:
                await self._keeper.ensure()
            left = ends - self._parts.clock.monotonic()
            order = await self._waiter.wait(order, until, seconds=left, progress=progress)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._delivery.unwant(order)
            raise
        if not until_named and not order.images:
            await self._delivery.unwant(order)
        return await self._delivery.hand_over(
            order, joined=placement.joined, elsewhere=placement.elsewhere, is_fresh=not placement.joined
        )

    async def get(self, task_id: str, *, wait_seconds: float, report: Report | None) -> Task:
        """Give the task, after waiting for its end at most `wait_seconds`."""
        progress = Progress(self._parts, report, "Looking for the task")

        async def work() -> Task:
            clock = self._parts.clock
            started = clock.monotonic()
            order = await self._finder.find(task_id, seconds=wait_seconds + FRESH_LOOK)
            progress.show(order)
            gone = clock.monotonic() - started
            order = await self._looker.freshen(order, seconds=wait_seconds, within=FRESH_LOOK - gone)
            left = wait_seconds - (clock.monotonic() - started)
            order = await self._waiter.wait(order, is_settled, seconds=left, progress=progress)
            return await self._delivery.hand_over(order)

        return await progress.beside(work)

    async def peek(self, task_id: str) -> Task | None:
        """Give the task as the ledger has it: nobody is asked, and nothing is noted as received."""
        order = await self._finder.peek(task_id)
        return view(order, trouble=self._parts.news.trouble_of(order.local_id)) if order else None

    async def seconds_left(self, task: Task) -> float | None:
        """Give the seconds until such a task usually ends, by what was learned of earlier ones."""
        return await seconds_left(self._parts, task.local_id)

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task that is still PENDING."""

        async def work() -> Task:
            order = await self._finder.find(task_id, seconds=self.default_wait_seconds)
            return view(await self._canceler.cancel(order))

        return await self._in_time(work, "Call get_task to see whether it was cancelled.")

    async def list_tasks(
        self, *, status: TaskStatus | None, limit: int, cursor: str | None, remote: bool
    ) -> TaskPage:
        """Give the ledger's tasks, newest first."""
        seconds = self.default_wait_seconds
        return await self._lister.page(status=status, limit=limit, cursor=cursor, remote=remote, seconds=seconds)

    async def costs(self, *, days: int) -> CostReport:
        """Give the images of the last days and what they cost."""
        return await sum_costs(self._parts, days=days)

    async def place_image(
        self, *, task_id: str | None, index: int, url: str | None, output_dir: str | None, filename: str | None
    ) -> tuple[SavedImage, Task | None]:
        """Put an image of a task, or of a result URL, into a folder under a name."""

        async def work() -> tuple[SavedImage, Task | None]:
            if task_id is None:
                region = self._parts.settings.default_region
                return await self._pictures.fetch(url or "", region, index, output_dir, filename), None
            order = await self._finder.find(task_id, seconds=self.default_wait_seconds)
            if not order.images:
                await self._looker.freshen(order, seconds=0)
            elif not is_settled(order):
                # It is being saved at this moment, and then only has to be copied.
                silent = Progress(self._parts, None, "")
                order = await self._waiter.wait(order, is_settled, seconds=SAVING_LOOK, progress=silent)
            order = await self._finder.peek(order.local_id) or order
            image = await self._pictures.place(order, index, output_dir, filename)
            order = await self._finder.peek(order.local_id) or order
            return image, await self._delivery.hand_over(order, is_fresh=True)

        return await self._in_time(work, "Call get_task to see where it stands, then call again.")

    async def preview(self, *, task_id: str | None, index: int, path: str | None) -> Preview:
        """Give a small picture of a saved image."""
        order = None
        if task_id is not None:
            order = await self._finder.find(task_id, seconds=self.default_wait_seconds)
        return await self._pictures.preview(order, index, path)

    async def picture(self, *, task_id: str, index: int, most_bytes: int) -> Picture:
        """Give a saved image of the ledger: the file's own bytes, or a small picture if they are more."""
        order = await self._finder.peek(task_id)
        if order is None:
            raise NotFoundError(
                f"No task {task_id[:80]} is in this ledger.",
                "Use list_tasks to see those that are, or get_task to ask the service for it.",
                code="TaskNotFound",
            )
        return await self._pictures.picture(order, index, most_bytes)

    async def _in_time(self, work: Callable[[], Awaitable[T]], advice: str) -> T:
        """Do what has no wait of its own in the time that other calls wait."""
        seconds = max(self.default_wait_seconds, FRESH_LOOK)
        with anyio.move_on_after(seconds):
            return await work()
        raise AnswerLostError(f"There was no answer within {seconds:.0f} seconds.", advice, code="TimedOut")

    async def collect(
        self,
        report: Callable[[str], Awaitable[None]] | None,
        *,
        until_idle: bool = False,
        keeper: str | None = None,
    ) -> CollectSummary:
        """
        Work on every unfinished order until nothing more can be done now.

        With `until_idle` this goes on until no order is open, here or elsewhere. `keeper` is the name under which
        this process is the keeper; it then ends at once if there is another.
        """
        if keeper is None:
            return await collect(self._parts, self._follower, report, until_idle=until_idle)

        async def work() -> None:
            await collect(self._parts, self._follower, report, until_idle=True)

        await keep(self._parts, keeper, work, self._follower.watcher.is_idle)
        return CollectSummary(0, 0, 0, ())


def _is_named(order: Order) -> bool:
    return order.task_id is not None or is_settled(order)
