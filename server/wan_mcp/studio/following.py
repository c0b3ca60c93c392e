"""The background: every unfinished order that is ours is worked on until nothing is left to do."""

import logging
from typing import TYPE_CHECKING

import anyio

from wan_mcp.ledger import Dispatch, NewOrder, OrderRecord, Stage
from wan_mcp.studio.books import Books, LeaseLostError
from wan_mcp.studio.clocks import ServiceClocks
from wan_mcp.studio.news import wait_first
from wan_mcp.studio.outcomes import DAY, closed
from wan_mcp.studio.pacing import backoff
from wan_mcp.studio.parts import Parts
from wan_mcp.studio.polling import Poller
from wan_mcp.studio.queries import Queries
from wan_mcp.studio.saving import Saver
from wan_mcp.studio.searching import Searcher
from wan_mcp.studio.sending import NEVER_SENT, Sender
from wan_mcp_tools.shared.errors import LedgerError, StorageError
from wan_mcp_tools.shared.tasks import TaskStatus

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Orders worked on side by side in one process; the rest wait in the ledger."""


class Follower:
    """Works on the orders whose lease this process holds, and takes those over that nobody holds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        books, clocks = Books(parts), ServiceClocks()
        self.queries = Queries(parts)
        self._books = books
        self._sender = Sender(parts, books, clocks)
        self._searcher = Searcher(parts, books, self.queries, clocks)
        self._poller = Poller(parts, books, self.queries, clocks)
        self._saver = Saver(parts, books, self.queries)
        self._working: dict[str, OrderRecord] = {}
        self._again: dict[str, OrderRecord] = {}
        self._group: TaskGroup | None = None
        self._look_now = anyio.Event()

    def orders(self) -> list[OrderRecord]:
        """Give the orders that are being worked on here, as they are now."""
        return [self._parts.news.latest(local_id) or order for local_id, order in self._working.items()]

    async def run(self, *, watch: bool) -> None:
        """Work until cancelled; `watch` also takes over what other processes leave unfinished."""
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._renew)
            if watch:
                group.start_soon(self._watch)
            await anyio.sleep_forever()

    def dispatch(self, order: NewOrder) -> Dispatch:
        """Say what an order needs to be sent."""
        return self._sender.dispatch(order)

    def start(self, order: OrderRecord) -> None:
        """Begin to work on an order whose lease is ours and that was placed just now."""
        self._start(order, inherited=False)

    def look(self) -> None:
        """Look for free orders now."""
        self._look_now.set()

    async def stop(self) -> None:
        """Let creating requests that are under way end, then let go of everything."""
        with anyio.move_on_after(self._parts.timings.stop, shield=True):
            # What is being sent, and what is a file already and not yet written down as one.
            while any(order.stage in (Stage.SENDING, Stage.CLOSED) for order in self.orders()):
                await self._parts.clock.sleep(0.02)
        left = self.orders()
        if self._group is not None:
            self._group.cancel_scope.cancel()
        if not left:
            return
        with anyio.move_on_after(self._parts.timings.stop, shield=True):
            try:
                for order in left:
                    if order.stage is Stage.QUEUED:
                        await self._parts.ledger.advance(order, closed(NEVER_SENT))
                await self._parts.ledger.release(self._parts.owner)
            except LedgerError as error:
                # The leases end by themselves; the next process takes over then.
                _log.warning("the ledger could not be told that this process ends: %s", error)

    def _start(self, order: OrderRecord, *, inherited: bool) -> None:
        if self._group is None:
            return
        if order.local_id in self._working:
            # Its worker has lost the lease and does not know it yet; this goes on where that ends.
            self._again[order.local_id] = order
            return
        self._working[order.local_id] = order
        self._parts.news.publish(order)
        self._group.start_soon(self._work, order, inherited)

    async def _work(self, order: OrderRecord, inherited: bool) -> None:
        attempt = 0
        try:
            while order.stage is not Stage.CLOSED:
                try:
                    order = await self._step(order, inherited=inherited)
                    attempt = 0
                except LeaseLostError:
                    return
                except Exception:  # noqa: BLE001 - a fault of ours must not lose a paid picture: it is tried again
                    _log.exception("working on order %s failed", order.local_id)
                    attempt += 1
                    await self._parts.clock.sleep(backoff(attempt, 1.0, 60.0))
                    order = self._parts.news.latest(order.local_id) or order
                inherited = inherited or order.stage is Stage.SENDING
        finally:
            self._working.pop(order.local_id, None)
            self._parts.news.forget(order.local_id)
            again = self._again.pop(order.local_id, None)
            if again is not None:
                self._start(again, inherited=True)
            self._look_now.set()

    async def _step(self, order: OrderRecord, *, inherited: bool) -> OrderRecord:
        """Take an order one stage further."""
        match order.stage:
            case Stage.QUEUED | Stage.SENDING if not inherited:
                return await self._sender.send(order)
            case Stage.QUEUED:
                # Its process died before sending. Nobody may be there any more to want it.
                return await self._books.advance(order, closed(NEVER_SENT))
            case Stage.SENDING:
                # Whoever sent it can no longer tell what came of it.
                return await self._books.advance(
                    order,
                    {
                        "stage": Stage.LOST,
                        "status": TaskStatus.SUBMIT_UNKNOWN,
                        "lost_at": self._parts.clock.now(),
                    },
                )
            case Stage.LOST:
                return await self._searcher.search(order)
            case Stage.OPEN if order.status is TaskStatus.SUCCEEDED:
                return await self._saver.save(order)
            case Stage.OPEN:
                return await self._poller.follow(order)
            case Stage.CLOSED:
                return order

    async def _renew(self) -> None:
        while True:
            await self._parts.clock.sleep(self._parts.timings.renew)
            if not self._working:
                continue
            try:
                await self._parts.ledger.renew(self._parts.owner, lease=self._parts.timings.lease)
            except LedgerError as error:
                _log.warning("the leases could not be renewed: %s", error)

    async def _watch(self) -> None:
        """
        Take over free orders: at the start, when a lease of somebody else ends, and when the ledger has changed.

        An idle process only asks the file system for the ledger's time, and reads nothing.
        """
        await self._parts.clock.sleep(self._parts.timings.start_delay)
        await self._sweep()
        seen: object = None
        again = False
        due: float | None = None
        while True:
            self._look_now = anyio.Event()
            token = await self._parts.ledger.token()
            changed = token != seen
            if token is not None and (changed or again or self._is_due(due)):
                due = await self.take_over()
            # Two writes of one clock tick leave the same token: after a change one more look follows.
            seen, again = token, changed
            await wait_first(self._parts.clock, self._look_now.wait, self._parts.timings.look)

    async def _sweep(self) -> None:
        """Remove what processes that died long ago have left half-written."""
        settings = self._parts.settings
        for folder in (settings.output_dir, *settings.allowed_dirs):
            try:
                await self._parts.gallery.sweep_older(folder, older_than=self._parts.clock.now() - DAY)
            except StorageError as error:
                _log.info("%s could not be swept: %s", folder, error)

    def _is_due(self, moment: float | None) -> bool:
        """Say whether a moment has come, or lies so far ahead that the clock must have been set back since."""
        now, timings = self._parts.clock.now(), self._parts.timings
        return moment is not None and not now < moment <= now + max(timings.longest_lease, timings.trouble_most)

    async def take_over(self) -> float | None:
        """Claim what is free; give the time at which to look again, or None if there is nothing to wait for."""
        timings, ledger = self._parts.timings, self._parts.ledger
        room = _AT_ONCE - len(self._working)
        try:
            claimed = await ledger.claim(
                self._parts.owner, lease=timings.lease, limit=room, longest_lease=timings.longest_lease
            )
            for order in claimed:
                self._start(order, inherited=True)
            return await ledger.next_lease_end(self._parts.owner)
        except LedgerError as error:
            _log.warning("the ledger cannot be read now: %s", error)
            return self._parts.clock.now() + timings.trouble_most
