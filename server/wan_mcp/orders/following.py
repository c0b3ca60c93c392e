"""The background: every unfinished order that is ours is worked on until nothing is left to do."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from wan_mcp.ledger import Dispatch, NewOrder, Order, Stage
from wan_mcp.orders.books import Books, LeaseLostError
from wan_mcp.orders.clocks import ServiceClocks
from wan_mcp.orders.outcomes import closed
from wan_mcp.orders.pacing import backoff
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.polling import Poller
from wan_mcp.orders.queries import Queries
from wan_mcp.orders.reach import OutOfReachError, Reach
from wan_mcp.orders.saving import Saver
from wan_mcp.orders.searching import Searcher
from wan_mcp.orders.sending import NEVER_SENT, Sender
from wan_mcp.orders.watching import Watcher
from wan_mcp.orders.wishes import Wish
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

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
        self.reach = Reach(parts)
        self._books = books
        self._sender = Sender(parts, books, clocks)
        self._searcher = Searcher(parts, books, self.queries, clocks)
        self._poller = Poller(parts, books, self.queries, clocks, self.reach)
        self._saver = Saver(parts, books, self.queries)
        self._working: dict[str, Order] = {}
        self._again: dict[str, Order] = {}
        self._group: TaskGroup | None = None
        self._is_ending = False
        self.is_watching = False
        self.watcher = Watcher(parts, self.reach, self._take, lambda: _AT_ONCE - len(self._working))

    def orders(self) -> list[Order]:
        """Give the orders that are being worked on here, as they are now."""
        return [self._parts.news.latest(local_id) or order for local_id, order in self._working.items()]

    async def run(self, *, watch: bool) -> None:
        """Work until cancelled; `watch` also takes over what other processes leave unfinished."""
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self._renew)
            self.is_watching = watch
            if watch:
                group.start_soon(self.watcher.run)
            await anyio.sleep_forever()

    def dispatch(self, order: NewOrder | Order) -> Dispatch:
        """Say what an order needs to be sent."""
        return self._sender.dispatch(order)

    def start(self, order: Order) -> bool:
        """Begin to work on an order that was placed here just now; False if nothing is begun any more."""
        if self._is_ending:
            return False
        self._start(order, inherited=False)
        return True

    async def save_as(self, order: Order, index: int, wish: Wish) -> None:
        """Save an image that could not be saved yet where a caller wants it: it is tried once, now."""
        with self._saver.wishes.wishing(order.local_id, index, wish):
            if order.local_id in self._working:
                self._parts.news.poke(order.local_id)
            else:
                lease = self._parts.timings.lease
                seized = await self._parts.ledger.seize(order.local_id, index, self._parts.owner, lease=lease)
                if seized is None:
                    return
                self._start(seized, inherited=True)
            await wish.tried.wait()

    async def stop(self) -> None:
        """Let creating requests that are under way end, then let go of everything."""
        self._is_ending = True
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

    def _take(self, order: Order) -> None:
        self._start(order, inherited=True)

    def _start(self, order: Order, *, inherited: bool) -> None:
        if self._group is None:
            return
        if order.local_id in self._working:
            # Its worker has lost the lease and does not know it yet; this goes on where that ends.
            self._again[order.local_id] = order
            return
        self._working[order.local_id] = order
        self._parts.news.publish(order)
        self._group.start_soon(self._work, order, inherited)

    async def _work(self, order: Order, inherited: bool) -> None:
        attempt = 0
        try:
            while order.stage is not Stage.CLOSED:
                if inherited and not self.reach.covers(order):
                    await self._leave(order)
                    return
                try:
                    order = await self._step(order, inherited=inherited)
                    attempt = 0
                except LeaseLostError:
                    return
                except OutOfReachError:
                    self.reach.leave(order)
                    inherited = True
                except Exception:  # noqa: BLE001 - a fault of ours must not lose a paid picture: it is tried again
                    _log.exception("working on order %s failed", order.local_id)
                    attempt += 1
                    await self._parts.clock.sleep(backoff(attempt, 1.0, 60.0))
                    order = self._parts.news.latest(order.local_id) or order
                inherited = inherited or order.stage is Stage.SENDING
        finally:
            self._working.pop(order.local_id, None)
            self._parts.news.forget(order.local_id)
            self._saver.wishes.let_go(order.local_id)
            again = self._again.pop(order.local_id, None)
            if again is not None:
                self._start(again, inherited=True)
            self.watcher.look()

    async def _leave(self, order: Order) -> None:
        """Let go of an order that needs a key of another process."""
        with suppress(LeaseLostError):
            await self._books.advance(order, {"owner": None, "lease_until": 0.0})

    async def _step(self, order: Order, *, inherited: bool) -> Order:
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
            case Stage.OPEN if order.images:
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
