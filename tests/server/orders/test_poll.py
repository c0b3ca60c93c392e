"""When a task is asked for, learned from those before it."""

from itertools import pairwise

import pytest

from wan_mcp.orders.context import backoff
from wan_mcp.orders.worker.poll import PollPlan, running_time


def _looks(pace: PollPlan, duration: float) -> list[float]:
    moment = pause = pace.first()
    looks = [moment]
    while moment < duration:
        pause = pace.next(moment, pause)
        moment += pause
        looks.append(moment)
    return looks


def test_without_experience_the_first_look_is_early_and_the_next_ever_later():
    looks = _looks(PollPlan.learn([20.0] * 4), 60.0)
    pauses = [later - earlier for earlier, later in pairwise(looks)]

    assert looks[0] == 1.0
    assert pauses == sorted(pauses)
    assert max(pauses) == 5.0


@pytest.mark.parametrize("usual", [8.0, 20.0, 60.0])
def test_a_task_is_not_asked_for_before_it_can_be_done(usual):
    pace = PollPlan.learn([usual * factor for factor in (0.8, 0.9, 1.0, 1.0, 1.1, 1.2)])

    assert 0.4 * usual <= pace.first() <= 0.9 * usual
    assert len(_looks(pace, usual)) <= 6


def test_tasks_that_end_at_once_are_asked_for_at_once():
    pace = PollPlan.learn([0.05] * 6)

    assert pace.first() == 0.0
    assert pace.next(0.0, 0.0) < 0.2


def test_a_task_far_beyond_the_usual_is_asked_for_ever_more_seldom():
    looks = _looks(PollPlan.learn([10.0] * 10), 600.0)

    assert len(looks) < 60
    assert looks[-1] - looks[-2] == 15.0


@pytest.mark.parametrize(
    ("told", "observed", "first", "learned"),
    [
        (11.7, 12.0, False, 11.7),
        (11.7, 0.2, True, 0.1),
        (None, 12.0, False, 12.0),
        (None, 1.0, True, 0.5),
        (None, 3600.0, True, None),
        (20.0, 3600.0, True, 20.0),
    ],
)
def test_what_is_learned_is_what_was_seen_where_the_service_says_more(told, observed, first, learned):
    assert running_time(told, observed, is_first_look=first) == learned


def test_backing_off_doubles_up_to_a_limit():
    assert [backoff(attempt, 1.0, 5.0) for attempt in (1, 2, 3, 4, 100)] == [1.0, 2.0, 4.0, 5.0, 5.0]
