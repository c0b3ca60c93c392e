"""
Hours of polling in seconds: the worker's own polling on a scripted service, by a clock that never waits.

    clock = SimulatedClock()
    service = ScriptedService(clock, places=5)
    report = await simulate(service, [Job(at=0.2 * number, seconds=20.0) for number in range(30)])

Everything runs in one thread, and time moves when nothing else is left to do. So a run is the same every time, however
busy the machine is.
"""

import asyncio  # noqa: TID251  a clock that never waits looks at the loop, and each of its steps is one of asyncio's
import heapq
import itertools
import math
import sqlite3
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from fakes.orders import accept, accepted, save, sent
from wan_mcp.dashscope import ListedTask, TaskAnswer, TaskImage, TaskListing
from wan_mcp.ledger import Ledger, Stage
from wan_mcp.ledger.backends.sqlite import SqliteTransaction, migrate
from wan_mcp.ledger.database import Transaction
from wan_mcp.ledger.migrations import MIGRATIONS, VOLATILE_MIGRATIONS
from wan_mcp.orders.context import Timings
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.worker.eligibility import OrderEligibility
from wan_mcp.orders.worker.list_poll import ListPoller
from wan_mcp.orders.worker.poll import Poller
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.schedule import Schedule
from wan_mcp.orders.worker.writer import OrderWriter
from wan_mcp_tools.domain.errors import ServiceError, ThrottledError
from wan_mcp_tools.domain.tasks import TaskStatus

T = TypeVar("T")
MODEL, REGION = "wan2.6-t2i", "singapore"
ALLOWED = 20
"""Questions a second that the service answers for one account."""


class SimulatedClock:
    """
    Implements `wan_mcp.clock.Clock`: whoever sleeps is woken in the order of time, as soon as nobody runs.

    `lateness` gives by how many seconds too late the next one is woken, as on a busy machine.
    """

    def __init__(self, now: float = 1_800_000_000.0, *, lateness: Callable[[], float] = lambda: 0.0) -> None:
        self._began = now
        self._lateness = lateness
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._began + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds + self._lateness(), next(self._numbers), woken))
        await woken

    async def run(self) -> None:
        """Move time until cancelled."""
        # What is ready to run is known to nobody else.
        ready = anyio.lowlevel.current_token().native_token._ready
        while True:
            await asyncio.sleep(0)
            if not ready and self._sleepers:
                due, _, woken = heapq.heappop(self._sleepers)
                self._elapsed = max(self._elapsed, due)
                if not woken.done():  # who was cancelled is not woken
                    woken.set_result(None)


class InlineDatabase:
    """Implements `wan_mcp.ledger.database.Database` in memory, without a thread."""

    def __init__(self, clock: SimulatedClock, migrations: Mapping[int, Sequence[str]]) -> None:
        self._clock = clock
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self._connection, migrations)

    async def exists(self) -> bool:
        return True

    async def close(self) -> None:
        self._connection.close()

    async def version(self) -> object:
        return self._connection.total_changes

    def next_change(self, topic: str) -> anyio.Event:
        return anyio.Event()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        await asyncio.sleep(0)
        return work(SqliteTransaction(self._connection, self._clock.now()))

    async def read_apart(self, work: Callable[[Transaction], T]) -> T:
        return await self.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        await asyncio.sleep(0)
        # Nothing reads beside it, and nothing goes wrong in the middle of it.
        return work(SqliteTransaction(self._connection, self._clock.now()))


def open_inline_ledger(clock: SimulatedClock) -> Ledger:
    """Give an empty ledger in memory."""
    return Ledger(InlineDatabase(clock, MIGRATIONS), InlineDatabase(clock, VOLATILE_MIGRATIONS))


@dataclass(frozen=True, slots=True)
class Job:
    """One order: accepted at a time, in seconds from the beginning, it runs for so many seconds."""

    at: float
    seconds: float
    is_awaited: bool = False


@dataclass(slots=True)
class ScriptedTask:
    """What the service will do with an order; times in seconds since 1970."""

    task_id: str
    created: float
    started: float
    ended: float

    def status(self, now: float) -> TaskStatus:
        if now < self.started:
            return TaskStatus.PENDING
        return TaskStatus.RUNNING if now < self.ended else TaskStatus.SUCCEEDED


@dataclass
class ScriptedService:
    """
    Stands where `wan_mcp.dashscope.DashScope` does: it works on `places` tasks at once, the oldest first.

    An answer takes `latency` seconds. The list has pages of at most `page_size` rows, shows everything as it was
    `list_lag` seconds ago, and is refused if `is_list_refused`. `foreign` tasks a second of other programs stand in
    it. Without `tells_start` an answer does not say when the work has begun. More than `allowed` calls in a second
    are refused.
    """

    clock: SimulatedClock
    places: float = math.inf
    latency: float = 0.1
    page_size: int = 100
    list_lag: float = 0.0
    is_list_refused: bool = False
    foreign: float = 0.0
    tells_start: bool = True
    allowed: int = ALLOWED
    tasks: dict[str, ScriptedTask] = field(default_factory=dict)
    calls: list[tuple[float, str, str]] = field(default_factory=list)
    refused: int = 0

    def create(self, seconds: float) -> ScriptedTask:
        now = self.clock.now()
        ends = sorted(task.ended for task in self.tasks.values() if task.ended > now)
        free = now if len(ends) < self.places else ends[-int(self.places)]
        task = ScriptedTask(f"task-{len(self.tasks):06}", now, max(now, free), max(now, free) + seconds)
        self.tasks[task.task_id] = task
        return task

    async def query(self, region: str, task_id: str, *, most: int = 1) -> TaskAnswer:
        await self._take_call("query", task_id)
        now, task = self.clock.now(), self.tasks[task_id]
        status = task.status(now)
        await self.clock.sleep(self.latency / 2)
        images = (TaskImage(1, url="https://example.com/1.png"),) if status is TaskStatus.SUCCEEDED else ()
        is_told = self.tells_start and status is not TaskStatus.PENDING
        return TaskAnswer(
            task_id,
            status,
            images=images,
            queued=task.started - task.created if is_told else None,
            duration=task.ended - task.started if is_told and status is TaskStatus.SUCCEEDED else None,
            served_at=now,
        )

    async def list_tasks(self, region: str, *, page_no: int = 1, **_: Any) -> TaskListing:
        await self._take_call("list", str(page_no))
        if self.is_list_refused:
            raise ServiceError("The list is refused.")
        now = self.clock.now()
        then = now - self.list_lag
        rows = [
            ListedTask(
                task.task_id,
                task.status(then),
                region,
                created_at=task.created,
                started_at=task.started if task.started <= then else None,
                ended_at=task.ended if task.ended <= then else None,
            )
            for task in self.tasks.values()
            if task.created <= then
        ]
        began = min((task.created for task in self.tasks.values()), default=now)
        others = [
            ListedTask(f"other-{number}", TaskStatus.RUNNING, region, created_at=began + number / self.foreign)
            for number in range(int((then - began) * self.foreign))
        ]
        rows = sorted(rows + others, key=lambda row: row.created_at, reverse=True)
        first = (page_no - 1) * self.page_size
        page = tuple(rows[first : first + self.page_size])
        await self.clock.sleep(self.latency / 2)
        return TaskListing(page, page_no, -(-len(rows) // self.page_size), total=len(rows), served_at=now)

    async def _take_call(self, kind: str, about: str) -> None:
        await self.clock.sleep(self.latency / 2)
        now = self.clock.now()
        recent = itertools.takewhile(lambda call: call[0] > now - 1, reversed(self.calls))
        is_refused = sum(1 for _ in recent) >= self.allowed
        self.calls.append((now, kind, about))
        if is_refused:
            self.refused += 1
            raise ThrottledError("Requests throttling triggered.")


@dataclass
class Process:
    """The polling of one process on a ledger."""

    ledger: Ledger
    service: ScriptedService
    clock: SimulatedClock
    places: int = 5

    def __post_init__(self) -> None:
        timings = Timings()
        self.live = LiveOrders()
        self.writer = OrderWriter(self.ledger, self.live, self.clock, timings)
        self.queries = Queries(self.ledger, self.service, self.clock, timings)
        self.schedule = Schedule(self.clock, guess=timings.first_poll, concurrency={(REGION, MODEL): self.places})
        self.list_poller = ListPoller(self.ledger, self.clock, queries=self.queries, schedule=self.schedule)
        self.poller = Poller(
            self.ledger,
            self.clock,
            live=self.live,
            writer=self.writer,
            queries=self.queries,
            schedule=self.schedule,
            eligibility=OrderEligibility({}, self.clock, exclusion_seconds=600.0),
            timings=timings,
        )

    async def follow(self, job: Job) -> float:
        """Have an order accepted, follow it to its end, and give the seconds from the end to its notice."""
        await self.clock.sleep(job.at)
        task = self.service.create(job.seconds)
        order = await accept(self.ledger, await sent(self.ledger), task.task_id, accepted_at=task.created)
        self.live.follow(order)
        try:
            with self._waiting(order.local_id, job):
                order = await self.poller.poll(order)
            delay = self.clock.now() - task.ended
            # Its images are saved now.
            await self.writer.save(order, replace(order, stage=Stage.CLOSED))
        finally:
            self.live.leave(order.local_id)
        return delay

    @contextmanager
    def _waiting(self, local_id: str, job: Job) -> Iterator[None]:
        if not job.is_awaited:
            yield
            return
        with self.live.waiting(local_id):
            yield


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to: the delays of all orders in seconds, the calls, and how many at most in a second."""

    delays: list[float]
    calls: Counter[str]
    worst_second: int
    refused: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.delays)

    def quantile(self, part: float) -> float:
        return sorted(self.delays)[min(int(part * len(self.delays)), len(self.delays) - 1)]

    @property
    def questions(self) -> float:
        """Calls of any kind for each order."""
        return sum(self.calls.values()) / len(self.delays)


async def simulate(
    service: ScriptedService,
    jobs: Sequence[Job],
    *,
    learned: Sequence[float] = (),
    processes: int = 1,
    places: int = 5,
) -> Report:
    """Follow orders to their ends in processes on one ledger, which knows the running times of `learned`."""
    clock = service.clock
    ledger = open_inline_ledger(clock)
    for number, seconds in enumerate(learned):
        order = await accepted(ledger, f"earlier-{number}")
        await save(ledger, order, stage=Stage.CLOSED, status=TaskStatus.SUCCEEDED, duration=seconds)
    delays: dict[int, float] = {}

    async with anyio.create_task_group() as background:
        background.start_soon(clock.run)
        workers = [Process(ledger, service, clock, places) for _ in range(processes)]
        for worker in workers:
            background.start_soon(worker.list_poller.run)

        async def follow(number: int, job: Job) -> None:
            delays[number] = await workers[number % processes].follow(job)

        async with anyio.create_task_group() as group:
            for number, job in enumerate(jobs):
                group.start_soon(follow, number, job)
        background.cancel_scope.cancel()
    await ledger.close()
    return Report(
        [delays[number] for number in range(len(jobs))],
        Counter(kind for _, kind, _ in service.calls),
        count_worst_second([moment for moment, _, _ in service.calls]),
        service.refused,
    )


def count_worst_second(moments: Sequence[float]) -> int:
    """Count the calls of the second that has most of them."""
    ordered, first, worst = sorted(moments), 0, 0
    for number, moment in enumerate(ordered):
        while ordered[first] <= moment - 1:
            first += 1
        worst = max(worst, number - first + 1)
    return worst
