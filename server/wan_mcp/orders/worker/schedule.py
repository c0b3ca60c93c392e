"""
When which task is asked for: what was learned of its kind, whether it can have begun, and what the list says of it.

Asking before a task can be ready is wasted. A task that has begun is asked for first at a low quantile of what
earlier tasks of the kind took from their beginning on. The service works on a few tasks of a model at once, the
oldest first, and keeps the others PENDING (https://help.aliyun.com/zh/model-studio/rate-limit): of these only as many
are asked for as can have begun.
"""

import math
from bisect import insort
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

import anyio

from wan_mcp.clock import Clock
from wan_mcp.dashscope import ListedTask, TaskAnswer
from wan_mcp.ledger import Order, Origin
from wan_mcp.orders.live_orders import LiveOrder
from wan_mcp.orders.worker.queries import Urgency
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import TaskStatus

ENOUGH = 5
"""Durations needed before they are trusted more than a guess."""
CROWD = 50
"""Tasks of a region from which on its list is read, until half of them are left."""
_REMEMBERED = 50
_INSTANT = 1.0
"""Seconds; tasks that usually end within this are asked for at once and often."""
_LATE = 60.0
"""Seconds; what is known no better than this says nothing of a running time."""
_STEP, _LEAST_STEP, _MOST_STEP = 0.078, 0.5, 2.0
"""Between two questions: this part of the median, and its bounds in seconds."""
_LONGEST = 15.0
_LEAST_SPREAD = 0.15
_SELDOM = 30.0
"""Seconds between two questions for a task that cannot have ended, as far as is known: what is known may be wrong."""
_LIST_LIFE = 20.0
"""Seconds for which a row of the list is believed."""


class PollPlan(Record):
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
        if len(durations) < ENOUGH:
            return cls(guess=guess)
        logs = sorted(math.log(max(duration, 0.01)) for duration in durations)
        middle = len(logs) // 2
        median = logs[middle] if len(logs) % 2 else (logs[middle - 1] + logs[middle]) / 2
        variance = sum((value - median) ** 2 for value in logs) / len(logs)
        return cls(median=math.exp(median), spread=max(math.sqrt(variance), _LEAST_SPREAD), guess=guess)

    def first(self) -> float:
        """Give the seconds from the beginning of the work to the first question: one in twenty has ended by then."""
        if self.median is None:
            return self.guess
        return 0.0 if self.median < _INSTANT else self._quantile(-1.645)

    def next(self, elapsed: float, previous: float = 0.0) -> float:
        """Give the seconds until the next question, `elapsed` after the beginning and `previous` after the last."""
        if self.median is None:
            return min(max(elapsed / 10, self.guess / 2), self.guess * 5)
        if elapsed > self._quantile(2.326):
            # Past the 99th percentile nothing is known any more: ask ever more seldom.
            return min(max(previous, self.step) * 1.25, _LONGEST)
        return self.step

    def next_pending(self, previous: float) -> float:
        """Give the seconds until the next question for a task that could have begun and has not."""
        return min(max(previous * 1.5, min(self.guess / 2, self.step)), self.guess * 5)

    @property
    def step(self) -> float:
        """The seconds between two questions while the task is expected to end."""
        if self.median is None:
            return self.guess / 2
        return min(max(0.1, min(_LEAST_STEP, self.median / 5), self.median * _STEP), _MOST_STEP)

    def _quantile(self, z: float) -> float:
        return (self.median or 0.0) * math.exp(z * self.spread)


def running_time(told: float | None, least: float, most: float) -> float | None:
    """
    Give the running time in seconds that is to be learned from a task, or None if it teaches nothing.

    `told` is what the service says; by what was seen the task ran for at least `least` and at most `most`.
    """
    if told is not None and 0 <= told <= most + _INSTANT:
        return told
    return (least + most) / 2 if most - least <= _LATE else None


class RunningTimes:
    """What was learned of the tasks of one region and model with so many images."""

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self.plan = PollPlan(guess=guess)

    @property
    def is_learned(self) -> bool:
        """Whether the plan is more than a guess."""
        return self.plan.median is not None

    def learn(self, duration: float) -> None:
        """Take the running time of a task that has just ended."""
        self._durations.append(duration)
        self.plan = PollPlan.learn(self._durations, self._guess)

    def restore(self, durations: Sequence[float]) -> None:
        """Take the running times of earlier tasks, the newest first."""
        if len(durations) > len(self._durations):
            self._durations = deque(reversed(durations), maxlen=_REMEMBERED)
            self.plan = PollPlan.learn(self._durations, self._guess)


class PolledTask:
    """
    One task that is asked for here. Times are of a clock that nobody sets.

    `may_run_at` is when it was first among those that can have begun, None as long as it is not; `started_at` when
    the service has begun, once that was seen. `listed_at` is when the list showed it last as not ended; `has_ended`
    says that the list shows its end, `is_denied` that it did so and the task itself did not.
    """

    def __init__(
        self, order: Order, running_times: RunningTimes, queue: "ModelQueue", live: LiveOrder, clock: Clock
    ) -> None:
        self.region, self.task_id = order.region, order.task_id or ""
        self.running_times = running_times
        self.queue = queue
        self.live = live
        self.accepted_at = clock.monotonic() - max(0.0, clock.now() - (order.accepted_at or order.created_at))
        self.may_run_at: float | None = None
        self.started_at: float | None = None
        self.seen_pending_at: float | None = None
        self.seen_running_at: float | None = None
        self.asked_at: float | None = None
        self.pause = 0.0
        self.listed_at: float | None = None
        self.is_told_running = order.status is TaskStatus.RUNNING
        self.has_ended = self.is_denied = False
        # A task that was found somewhere may have ended long ago.
        self.is_asked_at_once = order.origin is not Origin.ORDERED

    def due_at(self, now: float) -> float:
        """Give when it is to be asked for next."""
        if self.has_ended or (self.is_asked_at_once and self.asked_at is None):
            return now
        guess, begun = self.running_times.plan.guess, self._begun_at()
        last = self.accepted_at if self.asked_at is None else self.asked_at
        if begun is None:
            return last + guess * (_SELDOM if not self.queue.is_next(self) else self.queue.probe_pause)
        due = begun + self.running_times.plan.first()
        if self.asked_at is not None:
            due = max(due, self.asked_at + self.pause)
        if self.listed_at is None or not self.is_listed(now):
            return due
        return max(due, min(last + _SELDOM, self.listed_at + _LIST_LIFE))

    def urgency(self, now: float, *, is_called: bool) -> Urgency:
        """Say how urgent its question is; `is_called` says that a caller wants it asked."""
        if is_called or self.has_ended or self.live.is_hurried:
            return Urgency.CALLED
        if self._begun_at() is None or self.is_listed(now):
            return Urgency.SELDOM
        return Urgency.AWAITED if self.live.is_awaited else Urgency.DUE

    def is_listed(self, now: float) -> bool:
        """Say whether the list has shown lately that it has not ended, and will show when it has."""
        return self.listed_at is not None and now - self.listed_at < _LIST_LIFE

    def can_have_ended(self, now: float) -> bool:
        """Say whether a task of the kind that began when this one did can have ended."""
        begun = self._begun_at()
        return begun is not None and begun + self.running_times.plan.first() <= now

    def _begun_at(self) -> float | None:
        return self.may_run_at if self.started_at is None else self.started_at


class ModelQueue:
    """
    The tasks of one region, account and model, of which the service works on so many at once, the oldest first.

    `concurrency` is how many: as documented, or more once more were seen RUNNING at one moment.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._waiting: list[PolledTask] = []
        self._begun: set[PolledTask] = set()
        self.probe_pause = 5.0
        """Guesses between two questions for the next one in line; none as long as one after the other has begun."""

    def is_next(self, task: PolledTask) -> bool:
        """Say whether it is the oldest of those that cannot have begun yet: it shows when more can run."""
        return bool(self._waiting) and self._waiting[0] is task

    def add(self, task: PolledTask, *, has_begun: bool) -> None:
        """Take a task in."""
        if has_begun:
            self._begun.add(task)
            task.may_run_at = task.accepted_at
            return
        insort(self._waiting, task, key=lambda each: each.accepted_at)
        task.live.is_queued = True
        self._fill(since=task.accepted_at)

    def remove(self, task: PolledTask, now: float) -> None:
        """Let a task go that has ended, or is followed elsewhere: its place is the next one's."""
        if task in self._begun:
            self._begun.remove(task)
        else:
            # It has begun and ended before anybody thought that it could.
            self.probe_pause = 0.0
            self._take_out(task)
        self._fill(since=now)

    def note_running(self, task: PolledTask) -> None:
        """Take notice that the service works on a task."""
        if task not in self._begun:
            self.probe_pause = 0.0
            self._take_out(task)
            self._begun.add(task)

    def note_pending(self, task: PolledTask) -> None:
        """Take notice that the service has not begun with a task."""
        if task not in self._begun:
            self.probe_pause = 5.0

    def learn_concurrency(self, now: float, moment: float | None = None) -> None:
        """Learn from the tasks that were certainly RUNNING at a moment, else when the last of them began."""
        running = [
            (each.started_at, each.seen_running_at)
            for each in self._begun
            if each.started_at is not None and each.seen_running_at is not None
        ]
        at = max((started for started, _ in running), default=now) if moment is None else moment
        self.concurrency = max(self.concurrency, sum(started <= at <= seen for started, seen in running))
        self._fill(since=now)

    def _take_out(self, task: PolledTask) -> None:
        was_next = self.is_next(task)
        self._waiting.remove(task)
        task.live.is_queued = False
        if was_next and self._waiting:
            self._waiting[0].live.reconsider()

    def _fill(self, *, since: float) -> None:
        """Let as many of the oldest begin as can run."""
        while self._waiting and len(self._begun) < self.concurrency:
            task = self._waiting[0]
            self._take_out(task)
            self._begun.add(task)
            task.may_run_at = max(since, task.accepted_at)
            task.pause = 0.0
            task.live.reconsider()


class Schedule:
    """The tasks that are asked for in this process, and what was learned of their kinds and concurrency."""

    def __init__(self, clock: Clock, *, guess: float, concurrency: Mapping[tuple[str, str], int]) -> None:
        self._clock = clock
        self._guess = guess
        self._concurrency = concurrency
        self._running_times: dict[tuple[str, str, int], RunningTimes] = {}
        self._queues: dict[tuple[str, str, str], ModelQueue] = {}
        self._tasks: defaultdict[str, dict[str, PolledTask]] = defaultdict(dict)
        self._found: defaultdict[str, list[bool]] = defaultdict(list)
        self._crowds: set[str] = set()
        self.crowded = anyio.Event()
        """Set when a region has so many tasks that reading its list pays."""

    def running_times_of(self, order: Order) -> RunningTimes:
        """Give what was learned of tasks like that of an order."""
        key = (order.region, order.model or "", order.images_ordered)
        return self._running_times.setdefault(key, RunningTimes(self._guess))

    def add(self, order: Order, live: LiveOrder) -> PolledTask:
        """Begin to ask for an order's task."""
        model = order.model or ""
        queue = self._queues.setdefault(
            (order.region, order.account, model), ModelQueue(self._concurrency.get((order.region, model), 1))
        )
        task = PolledTask(order, self.running_times_of(order), queue, live, self._clock)
        has_begun = order.status is TaskStatus.RUNNING or order.origin is not Origin.ORDERED
        queue.add(task, has_begun=has_begun)
        tasks = self._tasks[order.region]
        tasks[task.task_id] = task
        if len(tasks) >= CROWD:
            self.crowded.set()
        return task

    def remove(self, task: PolledTask, *, is_found: bool = False) -> None:
        """Ask for a task no more; `is_found` says that a question which nobody called for has found its end."""
        self._tasks[task.region].pop(task.task_id, None)
        task.queue.remove(task, self._clock.monotonic())
        if is_found and task.listed_at is not None:
            self._found[task.region].append(task.has_ended)

    def take_found(self, region: str) -> list[bool]:
        """Give, of the ends since the last call, whether the list has shown each before a question found it."""
        return self._found.pop(region, [])

    def list_crowded(self) -> list[str]:
        """Give the regions whose list is worth reading now; if there is no crowd at all, `crowded` is unset."""
        for region, tasks in self._tasks.items():
            if len(tasks) >= CROWD:
                self._crowds.add(region)
            elif len(tasks) < CROWD / 2 and region in self._crowds:
                self._crowds.remove(region)
                self.forget_list(region, tasks)
        if not self._crowds:
            self.crowded = anyio.Event()
        now = self._clock.monotonic()
        return [
            region
            for region in self._crowds
            if any(task.can_have_ended(now) for task in self._tasks[region].values())
        ]

    def is_crowded(self, region: str) -> bool:
        """Say whether a region has had so many tasks lately that its list is read."""
        return region in self._crowds

    def tasks_of(self, region: str) -> Mapping[str, PolledTask]:
        """Give the tasks of a region by the service's ids."""
        return self._tasks[region]

    def note_answer(self, task: PolledTask, answer: TaskAnswer, asked_at: float) -> None:
        """Take notice of what the service says of a task, asked at a time."""
        now = self._clock.monotonic()
        task.asked_at = now
        task.is_denied = task.is_denied or task.has_ended
        task.has_ended = False
        plan = task.running_times.plan
        if answer.status is TaskStatus.PENDING:
            task.seen_pending_at = now
            task.queue.note_pending(task)
            task.pause = plan.next_pending(task.pause)
            return
        if answer.status is TaskStatus.RUNNING:
            self._note_running(task, answer.queued, now)
            task.queue.learn_concurrency(now)
        started = task.accepted_at if task.started_at is None else task.started_at
        task.pause = plan.next(asked_at - started, task.pause)

    def note_listed(self, rows: Iterable[ListedTask], region: str, *, age: float = 0.0) -> None:
        """Take notice of the rows of a list that was read `age` seconds ago."""
        seen_at = self._clock.monotonic() - age
        tasks = self._tasks[region]
        for row in rows:
            task = tasks.get(row.task_id)
            if task is None or row.status is TaskStatus.UNKNOWN:
                continue
            if row.status.is_final:
                # Its images are only in the answer of its own.
                task.has_ended = not task.is_denied
            else:
                task.listed_at = max(seen_at, task.listed_at or seen_at)
                if row.status is TaskStatus.RUNNING:
                    started = row.started_at is not None and row.created_at is not None
                    queued = (row.started_at or 0) - (row.created_at or 0) if started else None
                    self._note_running(task, queued, seen_at)
            if task.has_ended:
                task.live.reconsider()
            elif row.status is TaskStatus.RUNNING and not task.is_told_running:
                task.is_told_running = True
                task.live.reconsider()

    def forget_list(self, region: str, task_ids: Iterable[str]) -> None:
        """Ask for tasks of a region by themselves again: the list does not show them."""
        tasks = self._tasks[region]
        for task in [tasks[task_id] for task_id in task_ids if task_id in tasks]:
            if task.listed_at is not None:
                task.listed_at = None
                task.live.reconsider()

    def learn_concurrency(self, region: str, moment: float) -> None:
        """Learn how much the service does at once from a list that was read from a moment on."""
        for queue in {task.queue for task in self._tasks[region].values()}:
            queue.learn_concurrency(self._clock.monotonic(), moment)

    def find_running_time(self, task: PolledTask, told: float | None) -> float | None:
        """Give what is to be learned from a task that has just been found done."""
        now = self._clock.monotonic()
        begun = task.may_run_at if task.may_run_at is not None else task.accepted_at
        started = task.started_at if task.started_at is not None else max(task.seen_pending_at or begun, begun)
        least = 0.0 if task.seen_running_at is None else max(0.0, task.seen_running_at - started)
        return running_time(told, least, max(0.0, now - started))

    def _note_running(self, task: PolledTask, queued: float | None, seen_at: float) -> None:
        """
        Take notice that the service worked on a task at a moment.

        It had waited `queued` seconds for that, if that is told.
        """
        now = self._clock.monotonic()
        task.seen_running_at = max(seen_at, task.seen_running_at or seen_at)
        if task.started_at is None:
            earliest = task.accepted_at if task.seen_pending_at is None else task.seen_pending_at
            if queued is not None:
                task.started_at = min(max(task.accepted_at + queued, earliest), now)
            elif task.seen_pending_at is None:
                task.started_at = min(max(earliest, task.may_run_at or earliest), now)
            else:
                task.started_at = (earliest + now) / 2
            task.live.begun_at = self._clock.now() - (now - task.started_at)
        task.queue.note_running(task)
