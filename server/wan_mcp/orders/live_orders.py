"""What this process has just learned of orders, for the calls that wait and for whoever works on them."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import anyio

from wan_mcp.clock import Clock
from wan_mcp.concurrency import wait_first
from wan_mcp.ledger import Order, Stage
from wan_mcp_tools.domain.errors import AppError, LedgerError, StorageError
from wan_mcp_tools.domain.next_step import NextStep
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import Problem

RETRIED = "This is tried again by itself."


class LiveProblem(Record):
    """
    What holds an order up now.

    `is_retried` says that the server goes on trying; `advice` and `next_step` are for the caller.
    """

    code: str
    message: str
    advice: str = ""
    is_retried: bool = True
    next_step: NextStep | None = None

    @classmethod
    def of(cls, error: AppError) -> "LiveProblem":
        """Give an error as what holds an order up: advice to try again is ours to follow, not the caller's."""
        is_callers = isinstance(error, LedgerError | StorageError) or not error.retryable
        return cls(error.code, error.message, error.advice if is_callers else "", next_step=error.next_step)

    def to_problem(self) -> Problem:
        """Give it as the tools show it."""
        return Problem(self.code, str(self), self.next_step)

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, RETRIED if self.is_retried else "", self.advice) if part)


class LiveOrder:
    """
    One order that is worked on here, or that a call here waits for.

    `order` is its newest record, None where another process works on it; `problem` what holds it up. `was_asked`
    says that the service has been asked about it since it is followed here, `was_tried` that everything was done for
    it since then that could be done at the time. `is_paused` says that whoever works on it waits before the next try.
    `begun_at` is when the service has begun to work on the task, by the wall clock and as far as is known here;
    `is_queued` says that it cannot have begun yet.
    """

    def __init__(self, local_id: str) -> None:
        self.local_id = local_id
        self.order: Order | None = None
        self.problem: LiveProblem | None = None
        self.is_followed = False
        self.was_asked = False
        self.was_tried = False
        self.is_paused = False
        self.begun_at: float | None = None
        self.is_queued = False
        self.waiters = self.receivers = 0
        self.changed = anyio.Event()
        """Set when there is something new to know; then another event takes its place."""
        self.asked = anyio.Event()
        """The same for when the service was asked, or when nobody here will ask it any more."""
        self._wake = anyio.Event()
        self._is_hurried = False

    @property
    def is_awaited(self) -> bool:
        """Whether a call here waits for the order."""
        return self.waiters > 0

    @property
    def is_received(self) -> bool:
        """Whether one of the calls that wait hands its images to whoever ordered them."""
        return self.receivers > 0

    @property
    def is_hurried(self) -> bool:
        """Whether somebody has asked to go on now, and that was not taken notice of yet."""
        return self._is_hurried

    def publish(self, order: Order) -> None:
        """Tell of the order's new state."""
        self.order = order
        self.tell_change()

    def set_problem(self, problem: LiveProblem | None) -> None:
        """Tell what holds the order up, or that nothing does any more."""
        if self.problem != problem:
            self.problem = problem
            self.tell_change()

    def tell_asked(self) -> None:
        """Tell that the service has been asked about the order, whatever came of it."""
        self.was_asked = True
        self.asked.set()
        self.asked = anyio.Event()

    def wake(self) -> None:
        """Ask whoever works on the order to go on now. If it is busy, its next pause is none."""
        if self.is_followed:
            self._is_hurried = True
            self._wake.set()

    def reconsider(self) -> None:
        """Let whoever works on the order look again for how long to wait."""
        if self.is_followed:
            self._wake.set()

    async def pause(self, clock: Clock, seconds: float) -> bool:
        """Wait, or less if somebody wakes; say whether somebody asks to go on now."""
        self.is_paused = True
        try:
            if await wait_first(clock, self._wake.wait, seconds):
                self._wake = anyio.Event()
        finally:
            self.is_paused = False
        is_hurried, self._is_hurried = self._is_hurried, False
        return is_hurried

    def begin(self) -> None:
        """Begin to work on the order here."""
        self.is_followed = True

    def end(self) -> None:
        """Work on the order no more. If it has ended, calls that wait for it can still read its last record."""
        has_ended = self.order is not None and self.order.stage is Stage.CLOSED
        if not (has_ended and self.is_awaited):
            self.order = None
        self.problem = None
        self.is_followed = False
        self._wake = anyio.Event()
        self._is_hurried = False
        self.begun_at, self.is_queued = None, False
        self.tell_change()
        self.tell_asked()
        self.was_asked = self.was_tried = False

    def tell_change(self) -> None:
        """Let whoever waits for the order look again."""
        self.changed.set()
        self.changed = anyio.Event()


class LiveOrders:
    """The live orders by their ids. One that nobody works on and nobody holds is forgotten by itself."""

    def __init__(self) -> None:
        self._followed: dict[str, LiveOrder] = {}
        self._known: WeakValueDictionary[str, LiveOrder] = WeakValueDictionary()
        self.waits_end = math.inf
        """The moment of the monotonic clock beyond which no call waits."""

    def get(self, local_id: str) -> LiveOrder:
        """Give the live order with a local id, whether anything is known of it or not."""
        live = self._known.get(local_id)
        if live is None:
            live = self._known[local_id] = LiveOrder(local_id)
        return live

    def latest(self, local_id: str) -> Order | None:
        """Give the newest record of an order that is worked on here."""
        live = self._known.get(local_id)
        return live.order if live else None

    def problem_of(self, local_id: str) -> LiveProblem | None:
        """Give what holds an order up, if anything does."""
        live = self._known.get(local_id)
        return live.problem if live else None

    def find(self, any_id: str) -> Order | None:
        """Give the newest record of an order that is worked on here, by its own id or by the service's."""
        latest = self.latest(any_id)
        if latest is not None:
            return latest
        orders = [live.order for live in list(self._known.values())]
        return next((order for order in orders if order is not None and order.task_id == any_id), None)

    def bound_waits(self, ends: float) -> None:
        """Let no call wait beyond a moment of the monotonic clock, those that wait already included."""
        self.waits_end = ends
        for live in list(self._known.values()):
            live.tell_change()

    def follow(self, order: Order) -> LiveOrder:
        """Begin to work on an order here."""
        live = self._followed[order.local_id] = self.get(order.local_id)
        live.begin()
        live.publish(order)
        return live

    def leave(self, local_id: str) -> None:
        """Work on an order no more."""
        live = self._followed.pop(local_id, None)
        if live is not None:
            live.end()

    @contextmanager
    def waiting(self, local_id: str, *, receives: bool = True) -> Generator[LiveOrder]:
        """Count a call as waiting for an order; `receives` says that it hands its images to whoever ordered them."""
        live = self.get(local_id)
        live.waiters += 1
        live.receivers += receives
        try:
            yield live
        finally:
            live.waiters -= 1
            live.receivers -= receives
            if not live.is_awaited and not live.is_followed:
                live.order = None
