"""What this process has just learned of its orders, for the calls that wait."""

from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import anyio

from wan_mcp.clock import Clock
from wan_mcp.ledger import Order, Stage
from wan_mcp_tools.domain.tasks import Problem


class News:
    """The newest record of each order that is followed here, and a bell for those who wait for the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: dict[str, Order] = {}
        self._followed: set[str] = set()
        self._troubles: dict[str, Problem] = {}
        # A bell that nobody holds any more need not be kept: an order of another process may never ring.
        self._bells: WeakValueDictionary[str, anyio.Event] = WeakValueDictionary()
        self._waiters: Counter[str] = Counter()
        self._pokes: dict[str, anyio.Event] = {}
        self._looks: WeakValueDictionary[str, anyio.Event] = WeakValueDictionary()
        self._looked_at: set[str] = set()

    def publish(self, order: Order) -> None:
        """Tell of an order's new state."""
        self._latest[order.local_id] = order
        self._followed.add(order.local_id)
        self._ring(order.local_id)

    def trouble(self, local_id: str, problem: Problem | None) -> None:
        """Tell that an order's progress is held up, or no longer."""
        if problem is None:
            if self._troubles.pop(local_id, None) is None:
                return
        elif self._troubles.get(local_id) == problem:
            return
        else:
            self._troubles[local_id] = problem
        self._ring(local_id)

    def trouble_of(self, local_id: str) -> Problem | None:
        """Give what holds the order up, if anything does."""
        return self._troubles.get(local_id)

    def find(self, any_id: str) -> Order | None:
        """Give the newest record of an order followed here, by its own id or by the service's."""
        named = (order for order in self._latest.values() if any_id in (order.local_id, order.task_id))
        return next(named, None)

    def latest(self, local_id: str) -> Order | None:
        """Give the newest record of an order followed here."""
        return self._latest.get(local_id)

    def forget(self, local_id: str) -> None:
        """Follow an order no more. If it has ended, calls that wait for it can still read its last record."""
        self._troubles.pop(local_id, None)
        self._pokes.pop(local_id, None)
        latest = self._latest.get(local_id)
        has_ended = latest is not None and latest.stage is Stage.CLOSED
        if not (has_ended and self.is_waited_for(local_id)):
            self._latest.pop(local_id, None)
        self._followed.discard(local_id)
        self._ring(local_id)
        self.looked(local_id)
        self._looked_at.discard(local_id)

    @contextmanager
    def waiting(self, local_id: str) -> Generator[None]:
        """Count a call as waiting for the order's result."""
        self._waiters[local_id] += 1
        try:
            yield
        finally:
            self._waiters[local_id] -= 1
            if not self._waiters[local_id]:
                del self._waiters[local_id]
                if local_id not in self._followed:
                    self._latest.pop(local_id, None)

    def is_waited_for(self, local_id: str) -> bool:
        """Say whether a call here waits for the order."""
        return self._waiters[local_id] > 0

    def bell(self, local_id: str) -> anyio.Event:
        """Give the event that the next news of the order sets."""
        event = self._bells.get(local_id)
        if event is None:
            event = self._bells[local_id] = anyio.Event()
        return event

    def _ring(self, local_id: str) -> None:
        bell = self._bells.pop(local_id, None)
        if bell is not None:
            bell.set()

    def is_followed(self, local_id: str) -> bool:
        """Say whether the order is worked on here."""
        return local_id in self._followed

    def next_look(self, local_id: str) -> anyio.Event:
        """Give the event that is set when the service has been asked about the order, whatever came of it."""
        event = self._looks.get(local_id)
        if event is None:
            event = self._looks[local_id] = anyio.Event()
        return event

    def looked(self, local_id: str) -> None:
        """Tell that the service has been asked about the order, or that nobody here will ask it any more."""
        self._looked_at.add(local_id)
        look = self._looks.pop(local_id, None)
        if look is not None:
            look.set()

    def was_looked_at(self, local_id: str) -> bool:
        """Say whether the service has been asked about the order since it is followed here."""
        return local_id in self._looked_at

    def poke(self, local_id: str) -> None:
        """Ask whoever follows the order to look at it now."""
        if local_id in self._followed:
            # It may be busy: then its next pause is none.
            self._pokes.setdefault(local_id, anyio.Event()).set()

    async def pause(self, local_id: str, seconds: float) -> None:
        """Wait, or less if somebody pokes."""
        poke = self._pokes.setdefault(local_id, anyio.Event())
        if await wait_first(self._clock, poke.wait, seconds) and self._pokes.get(local_id) is poke:
            del self._pokes[local_id]


async def wait_first(clock: Clock, arrival: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Wait for `arrival` or for `seconds` to pass; say whether it was the arrival."""
    arrived = False
    async with anyio.create_task_group() as group:

        async def sleep() -> None:
            await clock.sleep(max(0.0, seconds))
            group.cancel_scope.cancel()

        group.start_soon(sleep)
        await arrival()
        arrived = True
        group.cancel_scope.cancel()
    return arrived
