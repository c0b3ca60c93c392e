"""Questions keep the account's pace however many wait for it, and the most urgent come first."""

import random
from collections import Counter
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from fakes.simulation import SimulatedClock, count_worst_second, open_inline_ledger
from wan_mcp.dashscope import TaskAnswer
from wan_mcp.ledger import RateLimit
from wan_mcp.orders.context import Timings
from wan_mcp.orders.worker.queries import Queries, Urgency
from wan_mcp_tools.domain.errors import ThrottledError
from wan_mcp_tools.domain.tasks import TaskStatus

IS_SIMULATED = True
REGION = "singapore"


class CountingService:
    """Answers every question as it arrives and notes its time; `transit` gives the seconds that it is on its way."""

    def __init__(self, clock, transit=lambda: 0.0):
        self.clock = clock
        self.transit = transit
        self.asked = []
        self.refusals = []

    async def query(self, region, task_id, *, most):
        await self.clock.sleep(self.transit())
        self.asked.append((self.clock.monotonic(), task_id))
        if self.refusals:
            raise self.refusals.pop(0)
        await anyio.lowlevel.checkpoint()
        return TaskAnswer(task_id, TaskStatus.RUNNING)

    @property
    def names(self):
        return [name for _, name in self.asked]

    @property
    def moments(self):
        return [moment for moment, _ in self.asked]


async def ask_all(clock, processes, names, urgency=lambda name: Urgency.DUE):
    """Ask for tasks, all at once, each by the next process in turn."""
    async with anyio.create_task_group() as background:
        background.start_soon(clock.run)

        async def ask(queries, name):
            await queries.get_task(REGION, name, urgent=lambda: urgency(name))

        async with anyio.create_task_group() as group:
            for number, name in enumerate(names):
                group.start_soon(ask, processes[number % len(processes)], name)
        background.cancel_scope.cancel()


def make_processes(clock, count=1, transit=lambda: 0.0):
    ledger, service = open_inline_ledger(clock), CountingService(clock, transit)
    return [Queries(ledger, service, clock, Timings()) for _ in range(count)], service, ledger


@pytest.mark.parametrize("processes", [1, 3])
async def test_a_line_of_any_length_keeps_the_pace(processes):
    clock = SimulatedClock()
    queries, service, _ = make_processes(clock, processes)
    await ask_all(clock, queries, [f"task-{number}" for number in range(600)])

    assert count_worst_second(service.moments) <= 17
    assert len(service.asked) == 600
    assert max(service.moments) == pytest.approx(600 / 16.5, abs=2)


async def test_a_machine_that_is_late_again_and_again_asks_for_less_and_never_faster():
    dice = random.Random(1)
    clock = SimulatedClock(lateness=lambda: dice.choice((0.0, 0.0, 0.01, 0.04, 0.3)))
    queries, service, _ = make_processes(clock, 3)
    await ask_all(clock, queries, [f"task-{number}" for number in range(600)])

    assert count_worst_second(service.moments) <= 19
    assert len(service.asked) == 600


@pytest.mark.parametrize("processes", [1, 3])
async def test_no_second_at_the_service_has_more_than_nineteen_though_some_are_longer_on_their_way(processes):
    # The worst case: turns of which each is late and long on its way, and then such of which none is.
    def is_slow():
        return int(clock.monotonic()) % 2 == 0

    clock = SimulatedClock(lateness=lambda: 0.045 if is_slow() else 0.0)
    transit = lambda: 0.1 if is_slow() else 0.05  # noqa: E731 - one word
    queries, service, _ = make_processes(clock, processes, transit)
    await ask_all(clock, queries, [f"task-{number}" for number in range(600)])

    assert count_worst_second(service.moments) <= 19
    assert len(service.asked) == 600


async def test_whoever_is_most_urgent_comes_first_and_whoever_waits_longest_is_not_forgotten():
    clock = SimulatedClock()
    queries, service, _ = make_processes(clock)
    urgencies = {f"{urgency.name} {number}": urgency for number in range(10) for urgency in reversed(Urgency)}
    await ask_all(clock, queries, list(urgencies), urgencies.__getitem__)

    told = [urgencies[name] for name in service.names[1:]]
    longest_waiting = told[7::8]
    assert told[:7] == [Urgency.CALLED] * 7
    assert sum(earlier > later for earlier, later in pairwise(told)) <= len(longest_waiting)
    assert Counter(longest_waiting)[Urgency.DUE] + Counter(longest_waiting)[Urgency.SELDOM] >= 4


async def test_what_is_urgent_in_one_process_comes_before_what_is_not_in_others_for_a_while():
    clock = SimulatedClock()
    queries, service, _ = make_processes(clock, 4)
    # Of four processes the first has all that is urgent.
    urgencies = {f"task-{number}": Urgency.DUE if number % 4 else Urgency.CALLED for number in range(100)}
    await ask_all(clock, queries, list(urgencies), urgencies.__getitem__)

    urgent = [moment for moment, name in service.asked if urgencies[name] is Urgency.CALLED]
    others = [moment for moment, name in service.asked if urgencies[name] is Urgency.DUE]
    assert max(urgent) <= 25 / 16.5 + 0.5
    assert sum(moment < max(urgent) for moment in others) <= 6
    assert max(others) == pytest.approx(100 / 16.5, abs=0.5)


async def test_what_is_not_urgent_waits_for_other_processes_no_longer_than_a_while():
    clock = SimulatedClock()
    queries, service, _ = make_processes(clock, 2)
    urgencies = {f"task-{number}": Urgency.DUE if number % 2 else Urgency.CALLED for number in range(400)}
    await ask_all(clock, queries, list(urgencies), urgencies.__getitem__)

    others = [moment for moment, name in service.asked if urgencies[name] is Urgency.DUE]
    # The urgent ones take twelve seconds.
    assert sum(moment <= 12 for moment in others) >= 4


async def test_a_question_that_becomes_urgent_while_it_waits_comes_next():
    clock = SimulatedClock()
    queries, service, _ = make_processes(clock)

    def urgency(name):
        return Urgency.CALLED if name == "task-90" and clock.monotonic() > 1 else Urgency.DUE

    await ask_all(clock, queries, [f"task-{number}" for number in range(100)], urgency)
    moments = {name: moment for moment, name in service.asked}

    assert moments["task-90"] == pytest.approx(1.0, abs=0.2)


async def test_one_who_gives_up_holds_nobody_up():
    clock = SimulatedClock()
    (queries,), service, _ = make_processes(clock)
    async with anyio.create_task_group() as background:
        background.start_soon(clock.run)
        async with anyio.create_task_group() as impatient:
            for number in range(30):
                impatient.start_soon(queries.get_task, REGION, f"given up {number}")
            await clock.sleep(0.5)
            impatient.cancel_scope.cancel()
        await queries.get_task(REGION, "another")
        background.cancel_scope.cancel()

    assert service.names[-1] == "another"
    assert len(service.asked) < 15


async def test_a_refusal_for_speed_holds_all_processes_up_however_long():
    clock = SimulatedClock()
    queries, service, ledger = make_processes(clock, 2)
    service.refusals.append(ThrottledError("too fast", retry_after=30.0))

    async with anyio.create_task_group() as background:
        background.start_soon(clock.run)
        with pytest.raises(ThrottledError):
            await queries[0].get_task(REGION, "first")
        await queries[1].get_task(REGION, "second")
        background.cancel_scope.cancel()

    assert service.moments[1] - service.moments[0] == pytest.approx(30.0, abs=0.1)
    assert await ledger.limits.reserve(RateLimit(f"query/{REGION}", 16.5, is_durable=False)) < 1
