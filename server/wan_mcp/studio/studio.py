"""The tools' port, fulfilled: order, write down, follow, collect."""

import hashlib
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.lowlevel

from wan_mcp.ledger import NewOrder, OrderRecord, Placement
from wan_mcp.settings import RegionAccess
from wan_mcp.studio.accounts import fingerprint
from wan_mcp.studio.cancelling import Canceler
from wan_mcp.studio.collecting import CollectSummary, collect
from wan_mcp.studio.discovering import Discoverer
from wan_mcp.studio.finding import FRESH_LOOK, Finder
from wan_mcp.studio.following import Follower
from wan_mcp.studio.keeping import Keeper, keep
from wan_mcp.studio.parts import Parts
from wan_mcp.studio.pictures import Pictures
from wan_mcp.studio.views import is_settled, view
from wan_mcp.studio.waiting import Waiter
from wan_mcp_tools.shared.errors import (
    AnswerLostError,
    LedgerError,
    MissingKeyError,
    RequestRefusedError,
    SettingsError,
)
from wan_mcp_tools.shared.offer import Offer
from wan_mcp_tools.shared.ports import Preview, Report, TaskPage
from wan_mcp_tools.shared.requests import ImageRequest
from wan_mcp_tools.shared.tasks import SavedImage, Task, TaskStatus

T = TypeVar("T")


class WorkingStudio:
    """The `Studio` port. Enter `running` before calling anything that orders or waits."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._follower = Follower(parts)
        self._waiter = Waiter(parts)
        self._discoverer = Discoverer(parts, self._follower.queries)
        self._pictures = Pictures(parts)
        self._keeper = Keeper(parts)
        self._finder = Finder(parts, self._discoverer, self._follower)
        self._canceler = Canceler(parts, self._follower.queries)

    @property
    def offer(self) -> Offer:
        """What can be ordered."""
        return self._parts.offer

    @property
    def default_wait_seconds(self) -> float:
        """How long a waiting call waits if it does not say."""
        return self._parts.settings.wait_seconds

    @asynccontextmanager
    async def running(self, *, watch: bool = True) -> AsyncGenerator["WorkingStudio"]:
        """Follow orders in the background for as long as this is open; `watch` also takes over others' orders."""

        async def follow() -> None:
            await self._follower.run(watch=watch)

        async with self._parts.service, anyio.create_task_group() as group:
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
        access = self._access(request.region)
        folder = await self._parts.gallery.folder(request.output_dir)
        self._parts.gallery.check_filename(request.filename)
        new = self._new_order(request, access, str(folder))
        wanted = 0.0 if until_named else self._parts.clock.now() + wait_seconds
        placement = await self._place(new, wanted, join=not fresh, seconds=wait_seconds)
        # A write to the ledger is never abandoned, and no cancellation can come between it and the next line.
        order = placement.order
        if placement.joined:
            self._follower.look()
        else:
            self._follower.start(order)
        until = _is_named if until_named else is_settled
        try:
            if self._parts.settings.keeper and not placement.joined:
                await self._keeper.ensure()
            order = await self._waiter.wait(order, until, seconds=wait_seconds, report=report)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._unwant(order)
            raise
        if not until_named and not order.images:
            await self._unwant(order)
        return await self._delivered(order, joined=placement.joined)

    async def get(self, task_id: str, *, wait_seconds: float, report: Report | None) -> Task:
        """Give the task, after waiting for its end at most `wait_seconds`."""
        started = self._parts.clock.monotonic()
        order = await self._finder.find(task_id, seconds=wait_seconds + FRESH_LOOK)
        await self._finder.freshen(order, seconds=wait_seconds)
        left = max(wait_seconds - (self._parts.clock.monotonic() - started), 0.001)
        order = await self._waiter.wait(order, is_settled, seconds=left, report=report)
        return await self._delivered(order)

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
        notes: tuple[str, ...] = ()
        if remote:
            adopted, notes = await self._discoverer.by_list(limit, seconds=self.default_wait_seconds)
            if adopted:
                self._follower.look()
        if not await self._parts.ledger.exists():
            return TaskPage((), None, notes)
        before = _read_cursor(cursor)
        rows = await self._parts.ledger.page(status=status, limit=limit + 1, before=before)
        shown = rows[:limit]
        more = f"{shown[-1].created_at!r}/{shown[-1].local_id}" if len(rows) > limit else None
        return TaskPage(tuple(view(row) for row in shown), more, notes)

    async def place_image(
        self, *, task_id: str | None, index: int, url: str | None, output_dir: str | None, filename: str | None
    ) -> tuple[SavedImage, Task | None]:
        """Put an image of a task, or of a result URL, into a folder under a name."""

        async def work() -> tuple[SavedImage, Task | None]:
            if task_id is None:
                region = self._parts.settings.default_region
                return await self._pictures.fetch(url or "", region, index, output_dir, filename), None
            order = await self._finder.find(task_id, seconds=self.default_wait_seconds)
            await self._finder.freshen(order, seconds=0)
            order = self._parts.news.latest(order.local_id) or await self._parts.ledger.get(order.local_id) or order
            image = await self._pictures.place(order, index, output_dir, filename)
            return image, await self._delivered(order)

        return await self._in_time(work, "Nothing was written; call again.")

    async def preview(self, *, task_id: str | None, index: int, path: str | None) -> Preview:
        """Give a small picture of a saved image."""
        order = None
        if task_id is not None:
            order = await self._finder.find(task_id, seconds=self.default_wait_seconds)
        return await self._pictures.preview(order, index, path)

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

        await keep(self._parts, keeper, work)
        return CollectSummary(0, 0, 0, ())

    def _access(self, region: str) -> RegionAccess:
        """
        Say how a region is reached.

        Raises:
            SettingsError: it cannot be reached with these settings.
        """
        access = self._parts.settings.regions[region]
        if access.problem:
            raise SettingsError(access.problem)
        if access.api_key is None:
            raise MissingKeyError(
                f"There is no API key for the region {region}.",
                f"Set {access.key_setting} in the server's environment. Keys come from the Model Studio console of "
                "that region; a key of another region is refused. The region sandbox needs none.",
            )
        return access

    def _new_order(self, request: ImageRequest, access: RegionAccess, folder: str) -> NewOrder:
        model = self._parts.offer.catalogue.find(request.model)
        text = json.dumps(request.to_dict(), ensure_ascii=False, sort_keys=True)
        account = fingerprint(access.api_key)
        return NewOrder(
            local_id=f"local-{secrets.token_hex(8)}",
            region=request.region,
            account=account,
            model=model.id,
            wire_model=model.wire_id(request.region),
            protocol=self._parts.offer.protocol(request),
            request=text,
            fingerprint=hashlib.sha256(f"{account}\n{folder}\n{text}".encode()).hexdigest(),
            images=request.n,
            folder=folder,
        )

    async def _place(self, new: NewOrder, wanted_until: float, *, join: bool, seconds: float) -> Placement:
        """Write an order down; a ledger that is locked for a moment is waited for within the call's time."""
        clock, started = self._parts.clock, self._parts.clock.monotonic()
        while True:
            try:
                return await self._parts.ledger.place(
                    new,
                    owner=self._parts.owner,
                    lease=self._parts.timings.lease,
                    wanted_until=wanted_until,
                    daily_limit=self._parts.settings.daily_image_limit,
                    join=join,
                    dispatch=self._follower.dispatch(new),
                )
            except LedgerError as error:
                if error.code != "LedgerLocked" or clock.monotonic() - started > min(seconds, 10.0):
                    raise LedgerError(
                        f"{error.message} Nothing was ordered.", error.advice, code=error.code
                    ) from error
                await clock.sleep(0.2)

    async def _unwant(self, order: OrderRecord) -> None:
        try:
            await self._parts.ledger.unwant(order.local_id)
        except LedgerError:
            # Then the row says for some seconds more that a call waits for it, which ends by itself.
            return

    async def _delivered(self, order: OrderRecord, *, joined: bool = False) -> Task:
        """Give the order to the caller and note that it was received."""
        task = view(order, joined=joined, trouble=self._parts.news.trouble_of(order.local_id))
        if task.settled and task.images and order.delivered_at is None:
            try:
                await self._parts.ledger.deliver(order.local_id)
            except LedgerError:
                # Not worth an error: the images are there, and the worst is that an equal order finds them again.
                return task
        return task


def _is_named(order: OrderRecord) -> bool:
    return order.task_id is not None or is_settled(order)


def _read_cursor(cursor: str | None) -> tuple[float, str] | None:
    if not cursor:
        return None
    moment, _, local_id = cursor.partition("/")
    try:
        return float(moment), local_id
    except ValueError as error:
        raise RequestRefusedError(
            "The cursor is not one that list_tasks gave.", "Leave it out for the first page."
        ) from error
