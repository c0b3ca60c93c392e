"""Writing progress down: fenced by the lease, told to those who wait, and repeated until the ledger takes it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from wan_mcp.clock import Clock
from wan_mcp.ledger import Ledger, Order, Slot
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import NO_OBSERVERS, Observers, Timings, backoff
from wan_mcp.orders.live_orders import LiveOrders, LiveProblem
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError

T = TypeVar("T")


class LeaseLostError(Exception):
    """Raised when another process has taken an order over: this one stops working on it."""


class OrderWriter:
    """Writes what a worker has learned. A write that the ledger refuses now is tried again: it must not be lost."""

    def __init__(
        self,
        ledger: Ledger,
        live: LiveOrders,
        clock: Clock,
        timings: Timings,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._ledger = ledger
        self._observers = observers
        self._live = live
        self._clock = clock
        self._timings = timings
        self._written: dict[str, Order] = {}
        """How the ledger knows an order of which a change was told and not written yet."""

    def announce(self, order: Order) -> Order:
        """
        Tell of a change before it is written.

        For what is true already, whatever becomes of the ledger: the images are files, or the service has said so
        and says so again to whoever asks.
        """
        self._live.get(order.local_id).publish(order)
        return order

    def defer(self, before: Order, after: Order) -> Order:
        """Tell of a change now and write it with the next one. If that never comes, the service is asked again."""
        self._written.setdefault(before.local_id, before)
        return self.announce(after)

    async def save(self, before: Order, after: Order, *, slot: Slot | None = None) -> Order:
        """
        Change an order that is ours and tell of it.

        Raises:
            LeaseLostError: it is ours no more.
        """
        written = self._written.get(before.local_id, before)

        async def write() -> Order | None:
            return await self._ledger.orders.save(written, after, slot=slot)

        try:
            saved = await self._keep(written, write)
        except LeaseLostError:
            self._written.pop(before.local_id, None)
            raise
        # Only now: what a fault of ours kept from being written must go with the next write.
        if self._written.get(before.local_id) is written:
            del self._written[before.local_id]
        return saved

    async def accept(self, order: Order, accepted: Order, *, slot: Slot | None) -> Order:
        """
        Record the service's answer, whoever holds the order now.

        Raises:
            LeaseLostError: the order is recorded, and somebody else follows it.
        """

        async def write() -> Order:
            return await self._ledger.orders.accept(order, accepted, slot=slot, displace=lifecycle.displaced)

        saved = await self.repeat(order.local_id, write)
        self._observers.tell_change(order, saved)
        if (saved.local_id, saved.worker_id, saved.version) != (order.local_id, order.worker_id, order.version):
            raise LeaseLostError
        return self.announce(saved)

    async def assign_task(self, order: Order, found: Order) -> Order:
        """
        Give a lost order that is ours the task that was found for it; as it was if another order has that.

        Raises:
            LeaseLostError: it is ours no more.
        """
        return await self._keep(
            order, lambda: self._ledger.orders.assign_task(order, found, displace=lifecycle.displaced)
        )

    async def save_candidates(self, before: Order, after: Order, candidates: Sequence[Order]) -> Order:
        """
        Change a lost order that is ours, and write down every task that may be its own.

        Raises:
            LeaseLostError: it is ours no more.
        """
        return await self._keep(before, lambda: self._ledger.orders.save_candidates(before, after, candidates))

    async def repeat(self, local_id: str, write: Callable[[], Awaitable[T]]) -> T:
        """
        Write until the ledger takes it; meanwhile callers are told what is wrong.

        Raises:
            LeaseLostError: the order's row is gone for good.
        """
        live = self._live.get(local_id)
        attempt = 0
        while True:
            try:
                written = await write()
            except LedgerError as error:
                if error.code == ErrorCode.LEDGER_ROW_GONE:
                    raise LeaseLostError from error
                attempt += 1
                live.set_problem(LiveProblem.of(error))
                await self._clock.sleep(backoff(attempt, self._timings.retry_step, self._timings.retry_most))
            else:
                if attempt:
                    live.set_problem(None)
                return written

    async def _keep(self, order: Order, write: Callable[[], Awaitable[Order | None]]) -> Order:
        saved = await self.repeat(order.local_id, write)
        if saved is None:
            raise LeaseLostError
        self._observers.tell_change(order, saved)
        return self.announce(saved)
