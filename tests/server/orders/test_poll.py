"""How soon an end is noticed and at what price, simulated: the worker's own polling, and a clock that never waits."""

import math
import random
from dataclasses import dataclass

from fakes.simulation import Job, ScriptedService, SimulatedClock, simulate

IS_SIMULATED = True
AT_ONCE = 30
OFFICIAL_SDK = 18.6
"""Questions of the official SDK for each of thirty tasks behind five."""


def draw(median, sigma, count, seed=1):
    dice = random.Random(seed)
    return [median * math.exp(dice.gauss(0, sigma)) for _ in range(count)]


def count_early(service):
    """Count the questions for tasks that had not begun."""
    return sum(moment < service.tasks[task_id].started for moment, kind, task_id in service.calls if kind == "query")


async def test_a_single_order_of_a_learned_kind_is_noticed_within_a_second_for_six_questions():
    clock = SimulatedClock()
    jobs = [Job(300.0 * number, seconds, is_awaited=True) for number, seconds in enumerate(draw(20, 0.25, 100, 2))]
    report = await simulate(ScriptedService(clock), jobs, learned=draw(20, 0.25, 50))

    assert report.mean <= 1.0
    assert report.questions <= 6


async def test_a_single_long_order_of_a_learned_kind_is_noticed_within_a_second_and_a_half():
    clock = SimulatedClock()
    jobs = [Job(600.0 * number, seconds, is_awaited=True) for number, seconds in enumerate(draw(60, 0.25, 100, 2))]
    report = await simulate(ScriptedService(clock), jobs, learned=draw(60, 0.25, 50))

    assert report.mean <= 1.5


async def test_thirty_orders_behind_five_are_noticed_soon_and_hardly_one_is_asked_for_before_it_has_begun():
    clock = SimulatedClock()
    service = ScriptedService(clock, places=5)
    jobs = [Job(0.2 * number, seconds, is_awaited=True) for number, seconds in enumerate(draw(20, 0.1, AT_ONCE))]
    report = await simulate(service, jobs)

    assert report.mean <= 1.0
    assert report.quantile(0.9) <= 2.0
    assert report.questions < OFFICIAL_SDK
    assert count_early(service) <= 3 * AT_ONCE


async def test_a_service_that_does_not_say_when_it_began_costs_a_little_more():
    clock = SimulatedClock()
    service = ScriptedService(clock, places=5, tells_start=False)
    jobs = [Job(0.2 * number, seconds) for number, seconds in enumerate(draw(20, 0.1, AT_ONCE))]
    report = await simulate(service, jobs)

    assert report.mean <= 2.0
    assert report.questions < OFFICIAL_SDK


async def test_a_service_that_does_more_at_once_than_documented_is_followed():
    clock = SimulatedClock()
    service = ScriptedService(clock, places=15)
    jobs = [Job(0.2 * number, seconds) for number, seconds in enumerate(draw(20, 0.1, AT_ONCE))]
    report = await simulate(service, jobs, learned=draw(20, 0.1, 50), places=2)

    assert report.mean <= 1.5
    assert report.questions < OFFICIAL_SDK


@dataclass
class StuckService(ScriptedService):
    """The oldest tasks never begin, and the others do."""

    stuck: int = 2

    def create(self, seconds):
        task = super().create(seconds)
        if len(self.tasks) <= self.stuck:
            task.started, task.ended = task.created + 3000, task.created + 3000 + seconds
        return task


async def test_no_task_is_forgotten_behind_others_that_never_begin():
    clock = SimulatedClock()
    report = await simulate(StuckService(clock), [Job(0.2 * number, 10.0) for number in range(10)], places=2)

    assert max(report.delays[2:]) <= 35


async def test_what_a_caller_waits_for_comes_first_when_more_is_due_than_may_be_asked():
    clock = SimulatedClock()
    service = ScriptedService(clock, is_list_refused=True)
    durations = draw(60, 0.25, 200)
    jobs = [Job(0.02 * number, each, is_awaited=number % 20 == 0) for number, each in enumerate(durations)]
    report = await simulate(service, jobs, learned=draw(60, 0.25, 50), places=400)
    awaited = [delay for delay, job in zip(report.delays, jobs, strict=True) if job.is_awaited]
    others = [delay for delay, job in zip(report.delays, jobs, strict=True) if not job.is_awaited]

    assert sum(awaited) / len(awaited) <= sum(others) / len(others) / 2
    assert max(others) <= 60
    assert report.worst_second <= 19
    assert report.refused == 0
