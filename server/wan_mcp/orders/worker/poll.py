"""
Following a task until the service says that it has ended, at a pace that is learned from earlier tasks of the kind.

Asking before a task can be ready is wasted. The first question comes at a low quantile of what earlier tasks of
the kind took. After that the density of questions follows the chance that the task has just ended: for a hazard
rate h, questions at a density of sqrt(h / 2c) cost least, where c is the delay in seconds that one question is
worth (J. B. Keller, "Optimum checking schedules for systems subject to random failure", Management Science 21,
1974).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wan_mcp.clock import Clock
from wan_mcp.dashscope import TaskAnswer, read_link_end
from wan_mcp.ledger import DAY, Ledger, Order, OrderImage, Origin, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import Timings, backoff
from wan_mcp.orders.live_orders import LiveOrders, Trouble
from wan_mcp.orders.worker.eligibility import NotEligibleError, OrderEligibility
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.writer import OrderWriter
from wan_mcp_tools.domain.errors import AppError, KeyRefusedError, LedgerError, SettingsError
from wan_mcp_tools.domain.tasks import TaskStatus

_ENOUGH = 5
"""Durations needed before they are trusted more than a guess."""
_QUESTION_WORTH, _WORTH_OF_LONG = 0.45, 16.0
"""Seconds of delay that one question is worth; for long tasks less, or their last wait would grow with them."""
_SHORTEST, _LONGEST = 2.0, 15.0
_GUESS_GROWTH, _GUESS_MOST = 1.3, 5.0
_INSTANT = 1.0
"""Seconds; tasks that usually end within this are asked for at once and often."""
_LATE = 60.0
"""Seconds; a first look later than this comes after a restart and says nothing of the running time."""
_STEPS = 40


@dataclass(frozen=True, slots=True)
class PollPlan:
    """
    When to ask for tasks whose running times are about log-normal, with `median` in seconds.

    Without `median` it is a guess: first after `guess` seconds, then ever more seldom up to five times that.
    """

    median: float | None = None
    spread: float = 0.0
    guess: float = 1.0

    @classmethod
    def learn(cls, durations: Sequence[float], guess: float = 1.0) -> "PollPlan":
        """Fit a plan to the running times, in seconds, of earlier tasks of the kind."""
        if len(durations) < _ENOUGH:
            return cls(guess=guess)
        logs = sorted(math.log(max(duration, 0.01)) for duration in durations)
        middle = len(logs) // 2
        median = logs[middle] if len(logs) % 2 else (logs[middle - 1] + logs[middle]) / 2
        variance = sum((value - median) ** 2 for value in logs) / len(logs)
        return cls(median=math.exp(median), spread=max(math.sqrt(variance), 0.1), guess=guess)

    def first(self) -> float:
        """Give the seconds from acceptance to the first question: early rather than late."""
        if self.median is None:
            return self.guess
        if self.median < _INSTANT:
            return 0.0
        return min(self._quantile(-1.645), 0.6 * self.median)

    def next(self, elapsed: float, previous: float) -> float:
        """Give the seconds until the next question, `elapsed` after acceptance and `previous` after the last."""
        if self.median is None:
            return min(max(previous, self.guess) * _GUESS_GROWTH, self.guess * _GUESS_MOST)
        shortest = min(_SHORTEST, max(0.1, self.median / 5))
        if elapsed > self._quantile(2.326):
            # Past the 99th percentile nothing is known any more: ask ever more seldom.
            return min(max(previous, shortest) * 1.25, _LONGEST)
        return max(self._until_next(elapsed), shortest)

    def _quantile(self, z: float) -> float:
        return (self.median or 0.0) * math.exp(z * self.spread)

    def _until_next(self, elapsed: float) -> float:
        """Go on until the density of questions adds up to one."""
        step = (self.median or 0.0) / _STEPS
        worth = min(_QUESTION_WORTH, _WORTH_OF_LONG / (self.median or 1.0))
        asked, waited = 0.0, 0.0
        while asked < 1 and waited < _LONGEST / 2:
            asked += step * math.sqrt(self._hazard(elapsed + waited + step / 2) / (2 * worth))
            waited += step
        return waited

    def _hazard(self, elapsed: float) -> float:
        """Give the chance per second that a task still running at `elapsed` ends."""
        z = (math.log(elapsed) - math.log(self.median or 1.0)) / self.spread
        density = math.exp(-z * z / 2) / (elapsed * self.spread * math.sqrt(2 * math.pi))
        surviving = max(math.erfc(z / math.sqrt(2)) / 2, 1e-9)
        return density / surviving


def running_time(told: float | None, observed: float, *, is_first_look: bool) -> float | None:
    """
    Give the running time in seconds that is to be learned from a task, or None if it teaches nothing.

    `told` is what the service says, `observed` the time from acceptance to the look that found the task done; a task
    cannot have run longer than that. One that was done at the first look ran for some part of the time before.
    """
    if told is not None and told <= observed + _INSTANT:
        return told
    if not is_first_look:
        return observed
    return observed / 2 if observed < _LATE else None


_NO_IMAGES = Trouble(lifecycle.NO_IMAGES.code, lifecycle.NO_IMAGES.message, is_retried=False)


@dataclass(slots=True)
class _PollState:
    """
    What was seen of a task so far.

    `accepted_at` is by a clock that nobody sets, so that a corrected wall clock makes it neither wait nor
    learn nonsense.
    """

    clock: Clock
    accepted_at: float
    answers: int = 0
    unknowns: int = 0

    @classmethod
    def begin(cls, clock: Clock, wall_time: float) -> "_PollState":
        """Begin to ask for a task that was accepted at a time of the wall clock."""
        return cls(clock, clock.monotonic() - max(0.0, clock.now() - wall_time))

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return self.clock.monotonic() - self.accepted_at


class Poller:
    """Asks for one task at a learned pace until it ends; every trouble on the way is waited out."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        live: LiveOrders,
        writer: OrderWriter,
        queries: Queries,
        eligibility: OrderEligibility,
        timings: Timings,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._writer = writer
        self._queries = queries
        self._eligibility = eligibility
        self._timings = timings

    async def poll(self, order: Order) -> Order:
        """
        Take a task from OPEN to its images or its end.

        Raises:
            NotEligibleError: the service knows it under another key only.
        """
        live = self._live.get(order.local_id)
        plan = await self._make_plan(order)
        state = _PollState.begin(self._clock, order.accepted_at or order.created_at)
        # A task that was found somewhere may have ended long ago.
        first = plan.first() if order.origin is Origin.ORDERED else 0.0
        pause, failures = max(0.0, first - state.age), 0
        while True:
            if pause:
                await live.pause(self._clock, pause)
            asked_after = state.age
            try:
                answer = await self._queries.get_task(order.region, order.task_id or "", images=order.images_ordered)
            except AppError as error:
                failures += 1
                live.set_trouble(Trouble.of(error))
                live.was_tried = True
                live.tell_asked()
                if isinstance(error, KeyRefusedError | SettingsError) and self._eligibility.is_foreign(order):
                    raise NotEligibleError from error
                # Nobody has said that the task is gone, and our clock alone may be wrong.
                if not isinstance(error, LedgerError) and lifecycle.is_over(order, self._clock.now() - DAY):
                    return await self._writer.save(order, lifecycle.expired(order))
                pause = backoff(failures, self._timings.trouble_step, self._timings.trouble_most)
                continue
            failures = 0
            if answer.status is not TaskStatus.SUCCEEDED:
                live.set_trouble(None)
            state.unknowns = state.unknowns + 1 if answer.status is TaskStatus.UNKNOWN else 0
            state.answers += 1
            order = await self._record(order, answer, state)
            live.was_tried = not order.images
            live.tell_asked()
            if order.stage is Stage.CLOSED or order.images:
                return order
            if state.unknowns >= self._timings.unknown_answers:
                pause = backoff(state.unknowns, 5.0, 600.0)
            else:
                pause = plan.next(asked_after, pause)

    async def _make_plan(self, order: Order) -> PollPlan:
        guess = self._timings.first_poll
        try:
            durations = await self._ledger.reports.list_durations(
                order.region, order.model or "", order.images_ordered
            )
        except LedgerError:
            # A guess does for now; the ledger's trouble is told when something must be written.
            return PollPlan(guess=guess)
        return PollPlan.learn(durations, guess)

    async def _record(self, order: Order, answer: TaskAnswer, state: _PollState) -> Order:
        """Write down what an answer says; only changes are written."""
        now = self._clock.now()
        match answer.status:
            case TaskStatus.UNKNOWN if state.unknowns < self._timings.unknown_answers:
                return order
            case TaskStatus.UNKNOWN | TaskStatus.SUCCEEDED if lifecycle.is_over(order, now) and not answer.images:
                return await self._writer.save(order, lifecycle.expired(order))
            case TaskStatus.UNKNOWN if self._eligibility.is_foreign(order):
                raise NotEligibleError
            case TaskStatus.SUCCEEDED:
                return await self._record_images(order, answer, state)
            case TaskStatus.FAILED:
                return await self._writer.save(order, lifecycle.failed(order, answer, now=now))
            case TaskStatus.CANCELED:
                return await self._writer.save(order, lifecycle.canceled(order, answer, now=now))
            case status:
                if status is order.status:
                    return order
                return await self._writer.save(order, lifecycle.running(order, status))

    async def _record_images(self, order: Order, answer: TaskAnswer, state: _PollState) -> Order:
        images = lifecycle.make_images(answer.images, ordered=order.images_ordered)
        if not images:
            # It may be paid for: it is asked again until its day is over, in the hope of an answer that can be read.
            self._live.get(order.local_id).set_trouble(_NO_IMAGES)
            return order
        self._live.get(order.local_id).set_trouble(None)
        now = self._clock.now()
        after = lifecycle.succeeded(
            order,
            answer,
            images,
            duration=running_time(answer.duration, state.age, is_first_look=state.answers == 1),
            expires_at=_find_link_end(images, latest=now + DAY),
            now=now,
        )
        if len(images) == 1:
            # Its next step writes its row anyway.
            return self._writer.defer(order, after)
        return await self._writer.save(order, after)


def _find_link_end(images: tuple[OrderImage, ...], *, latest: float) -> float:
    """Read the end of the links' life from the links; without it, it is `latest`."""
    ends = [end for image in images if image.url and (end := read_link_end(image.url)) is not None]
    return min(latest, max(ends)) if ends else latest
