"""When a task is asked for: learned from those before it, and not before it can have begun."""

from itertools import pairwise

import pytest

from fakes.clock import FakeClock
from fakes.orders import make_order
from wan_mcp.dashscope import ListedTask, TaskAnswer
from wan_mcp.ledger import Origin, Stage
from wan_mcp.orders.context import backoff
from wan_mcp.orders.live_orders import LiveOrder
from wan_mcp.orders.worker.schedule import PollPlan, Schedule, running_time
from wan_mcp_tools.domain.tasks import TaskStatus

CONCURRENCY = {("singapore", "wan2.6-t2i"): 2}


def _looks(plan: PollPlan, duration: float) -> list[float]:
    moment, pause = plan.first(), 0.0
    looks = [moment]
    while moment < duration:
        pause = plan.next(moment, pause)
        moment += pause
        looks.append(moment)
    return looks


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def schedule(clock):
    return Schedule(clock, guess=1.0, concurrency=CONCURRENCY)


def follow(schedule, clock, number, **changes):
    """Begin to ask for the task of an order that was accepted now."""
    given = {"stage": Stage.OPEN, "accepted_at": clock.now(), "task_id": f"task-{number}"} | changes
    order = make_order(**given)
    return schedule.add(order, LiveOrder(order.local_id))


def tell(schedule, clock, task, status, **facts):
    schedule.note_answer(task, TaskAnswer(task.task_id, status, **facts), clock.monotonic())


def wait_of(task, clock):
    return task.due_at(clock.monotonic()) - clock.monotonic()


# --- the plan --------------------------------------------------------------------------------------------------------


def test_without_experience_the_first_look_is_early_and_the_next_ever_later():
    looks = _looks(PollPlan.learn([20.0] * 4), 90.0)
    pauses = [later - earlier for earlier, later in pairwise(looks)]

    assert looks[0] == 1.0
    assert pauses == sorted(pauses)
    assert max(pauses) == 5.0


@pytest.mark.parametrize("usual", [8.0, 20.0, 60.0])
def test_a_task_is_not_asked_for_before_it_can_be_done_and_then_densely(usual):
    plan = PollPlan.learn([usual * factor for factor in (0.8, 0.9, 1.0, 1.0, 1.1, 1.2)])
    looks = _looks(plan, usual)

    assert 0.6 * usual <= plan.first() <= 0.9 * usual
    assert all(0.5 <= later - earlier <= 5.0 for earlier, later in pairwise(looks))


def test_tasks_that_end_at_once_are_asked_for_at_once():
    plan = PollPlan.learn([0.05] * 6)

    assert plan.first() == 0.0
    assert plan.next(0.0) < 0.2


def test_a_task_far_beyond_the_usual_is_asked_for_ever_more_seldom():
    looks = _looks(PollPlan.learn([10.0] * 10), 600.0)

    assert len(looks) < 60
    assert looks[-1] - looks[-2] == 15.0


@pytest.mark.parametrize(
    ("told", "least", "most", "learned"),
    [
        (11.7, 9.0, 12.0, 11.7),
        (11.7, 0.0, 0.2, 0.1),
        (None, 10.0, 12.0, 11.0),
        (None, 0.0, 1.0, 0.5),
        (None, 0.0, 3600.0, None),
        (20.0, 0.0, 3600.0, 20.0),
        (-3.0, 4.0, 6.0, 5.0),
    ],
)
def test_what_is_learned_is_what_the_service_says_unless_it_cannot_be(told, least, most, learned):
    assert running_time(told, least, most) == learned


def test_backing_off_doubles_up_to_a_limit():
    assert [backoff(attempt, 1.0, 5.0) for attempt in (1, 2, 3, 4, 100)] == [1.0, 2.0, 4.0, 5.0, 5.0]


# --- concurrency ----------------------------------------------------------------------------------------------------------


def test_only_as_many_of_the_oldest_are_asked_for_as_can_have_begun(schedule, clock):
    tasks = [follow(schedule, clock, number) for number in range(6)]

    assert [wait_of(task, clock) for task in tasks] == [1.0, 1.0, 5.0, 30.0, 30.0, 30.0]
    assert [task.live.is_queued for task in tasks] == [False, False, True, True, True, True]


def test_a_task_that_ends_gives_its_place_to_the_next(schedule, clock):
    tasks = [follow(schedule, clock, number) for number in range(4)]
    clock.advance(20)
    schedule.remove(tasks[0])

    assert wait_of(tasks[2], clock) == 1.0
    assert not tasks[2].live.is_queued
    assert wait_of(tasks[3], clock) < 0


async def test_the_plan_begins_when_the_service_does_and_not_with_the_order(schedule, clock):
    task = follow(schedule, clock, 1)
    for _ in range(10):
        task.running_times.learn(20.0)
    clock.advance(15)
    tell(schedule, clock, task, TaskStatus.PENDING)
    assert wait_of(task, clock) <= 1.0

    clock.advance(30)
    tell(schedule, clock, task, TaskStatus.RUNNING, queued=40.0)
    assert 0.6 * 20 <= wait_of(task, clock) + 5.0 <= 20

    clock.advance(10)
    assert schedule.find_running_time(task, None) == pytest.approx(10, abs=5.1)
    assert schedule.find_running_time(task, 14.0) == 14.0


async def test_a_queue_at_the_service_is_no_running_time_even_if_nobody_tells_when_it_began(schedule, clock):
    tasks = [follow(schedule, clock, number) for number in range(3)]
    clock.advance(40)
    schedule.remove(tasks[0])
    clock.advance(20)

    assert schedule.find_running_time(tasks[2], None) == pytest.approx(10.0)


async def test_more_tasks_seen_running_at_once_than_documented_are_the_concurrency(schedule, clock):
    tasks = [follow(schedule, clock, number) for number in range(8)]
    clock.advance(6)
    for task in (*tasks[:4], *tasks[:4]):
        tell(schedule, clock, task, TaskStatus.RUNNING, queued=0.1)
    assert wait_of(tasks[4], clock) <= 0, "one that ran although it could not lets the next be asked for"

    schedule.remove(tasks[0])
    assert [task.live.is_queued for task in tasks] == [False] * 5 + [True] * 3


async def test_tasks_of_an_old_list_did_not_run_beside_those_that_have_come_after_them(schedule, clock):
    tasks = [follow(schedule, clock, number) for number in range(6)]
    clock.advance(10)
    for task in tasks[2:4]:
        tell(schedule, clock, task, TaskStatus.RUNNING, queued=9.0)
    rows = [ListedTask(task.task_id, TaskStatus.RUNNING, "singapore") for task in tasks[:2]]
    schedule.note_listed(rows, "singapore", age=2.0)
    tell(schedule, clock, tasks[2], TaskStatus.RUNNING)

    for task in tasks[:2]:
        schedule.remove(task)
    assert [task.live.is_queued for task in tasks[2:]] == [False, False, True, True]


async def test_a_task_that_is_still_pending_is_not_asked_for_in_a_hurry(schedule, clock):
    task = follow(schedule, clock, 1)
    waits = []
    for _ in range(9):
        tell(schedule, clock, task, TaskStatus.PENDING)
        waits.append(wait_of(task, clock))

    assert waits[0] <= 1.0
    assert waits == sorted(waits)
    assert waits[-1] == 5.0


async def test_a_task_that_was_found_is_asked_for_at_once(schedule, clock):
    assert wait_of(follow(schedule, clock, 1, origin=Origin.ADOPTED), clock) == 0
