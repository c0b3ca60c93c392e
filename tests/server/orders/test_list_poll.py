"""Many tasks are told by the list, and a list that cannot be relied on costs nothing but time."""

import math
import random

import pytest

from fakes.simulation import Job, ScriptedService, SimulatedClock, simulate

IS_SIMULATED = True
MANY = 160


def draw(count, seed=1):
    dice = random.Random(seed)
    return [60 * math.exp(dice.gauss(0, 0.25)) for _ in range(count)]


async def run(*, processes=1, spacing=0.75, many=MANY, **service):
    """Follow many orders of a minute whose ends are spread over two."""
    scripted = ScriptedService(SimulatedClock(), **service)
    jobs = [Job(spacing * number, seconds) for number, seconds in enumerate(draw(many, 2))]
    return scripted, await simulate(scripted, jobs, learned=draw(50), processes=processes, places=many)


async def test_a_list_that_answers_makes_single_questions_few_and_one_that_is_refused_is_left_alone():
    refusing, alone = await run(is_list_refused=True)
    _, report = await run()

    assert_left_alone(refusing, alone)
    assert report.quantile(0.5) <= 3
    assert max(report.delays) <= 15
    assert report.questions <= alone.questions / 2
    assert report.worst_second <= 19


def assert_left_alone(scripted, report):
    reads = [moment for moment, kind, page in scripted.calls if kind == "list" and page == "1"]

    assert report.quantile(0.5) <= 12
    assert max(report.delays) <= 35
    assert report.worst_second <= 19
    assert 2 <= len(reads) <= 60
    assert max(reads) - min(reads) >= 60


@pytest.mark.parametrize(
    "trouble",
    [
        {"list_lag": 3600.0},
        {"list_lag": 20.0},
        {"page_size": 10},
        {"foreign": 100.0},
    ],
    ids=str,
)
async def test_a_list_that_tells_too_little_is_left_alone_and_tried_again_later(trouble):
    assert_left_alone(*await run(**trouble))


async def test_a_list_that_lags_a_little_is_used_and_costs_that_little():
    scripted, report = await run(list_lag=3.0)

    assert report.quantile(0.5) <= 7
    assert report.calls["list"] >= 50
    assert not scripted.refused


async def test_several_processes_share_the_pace_of_reading_the_list():
    scripted, report = await run(processes=3, spacing=0.3)
    begun = sorted(moment for moment, kind, page in scripted.calls if kind == "list" and page == "1")

    assert report.quantile(0.5) <= 6
    assert report.worst_second <= 19
    assert (begun[-1] - begun[0]) / (len(begun) - 1) >= 1.9


async def test_what_one_process_reads_helps_all():
    _, alone = await run(spacing=0.12, many=200)
    _, report = await run(spacing=0.12, many=200, processes=3)

    assert report.mean <= alone.mean + 0.8


async def test_a_few_tasks_are_not_worth_a_list():
    clock = SimulatedClock()
    report = await simulate(ScriptedService(clock), [Job(0.2 * number, 10.0) for number in range(20)], places=20)

    assert report.calls["list"] == 0
