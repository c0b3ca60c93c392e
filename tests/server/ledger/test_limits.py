"""Rate limits that every process keeps together, and the operator's limit of images in 24 hours."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise

import pytest

from fakes.orders import CLOSED, FAILED, accepted, begin, place, placed, save, sent
from fakes.processes import Processes
from wan_mcp.ledger import DAY, LONGEST_LINE, Dispatch, Order, RateLimit, Stage
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp_tools.domain.errors import DailyLimitError
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")

ONE = RateLimit("create/singapore/wan2.6-t2i", 1.0)
QUERIES = RateLimit("query/singapore", 20.0)
VOLATILE = RateLimit("query/singapore", 20.0, is_durable=False)
HOUR = 3600.0

near = partial(pytest.approx, abs=1e-5)


async def reserve(ledger, limit, times):
    return [await ledger.limits.reserve(limit) for _ in range(times)]


async def send(ledger, order, limit):
    return await ledger.orders.begin_sending(order, begin(order), Dispatch(None, limit))


# --- requests a second -------------------------------------------------------------------------------------------


async def test_turns_come_at_even_distances_and_each_limit_counts_for_itself(ledger, clock):
    assert await reserve(ledger, QUERIES, 5) == near([0, 0.05, 0.1, 0.15, 0.2])
    assert await ledger.limits.reserve(ONE) == 0

    clock.advance(0.2)
    assert await ledger.limits.reserve(QUERIES) == near(0.05)


async def test_a_burst_is_allowed_after_a_pause_and_no_more_than_that(ledger, clock):
    limit = RateLimit("query/singapore", 20.0, 3.0)
    assert await reserve(ledger, limit, 5) == near([0, 0, 0, 0.05, 0.1])

    clock.advance(600)
    assert await reserve(ledger, limit, 4) == near([0, 0, 0, 0.05])


async def test_when_the_service_says_too_fast_everybody_waits(ledger, clock):
    await ledger.limits.reserve(QUERIES)
    await ledger.limits.pause(QUERIES, 3.0)

    assert await reserve(ledger, QUERIES, 3) == near([3.0, 3.05, 3.1])
    assert await send(ledger, await placed(ledger), QUERIES) == near(3.15)
    clock.advance(4)
    assert await ledger.limits.reserve(QUERIES) == 0


async def test_a_shorter_pause_does_not_end_a_longer_one_and_none_lasts_more_than_two_minutes(ledger):
    await ledger.limits.pause(QUERIES, 10.0)
    await ledger.limits.pause(QUERIES, 1.0)
    assert await ledger.limits.reserve(QUERIES) == near(10.0)

    # Even a limit that was never used can be paused.
    await ledger.limits.pause(ONE, DAY)
    assert await send(ledger, await placed(ledger), ONE) == near(120.0)


async def test_a_clock_that_was_set_back_an_hour_does_not_hold_anybody_up(ledger, clock):
    await reserve(ledger, ONE, 3)
    await ledger.limits.pause(QUERIES, 60)
    order = await placed(ledger)
    clock.set_back(HOUR)

    assert isinstance(await send(ledger, order, ONE), Order)
    assert await ledger.limits.reserve(ONE) == near(1.0)
    assert await ledger.limits.reserve(QUERIES) == 0
    await ledger.limits.pause(QUERIES, 5)
    assert await ledger.limits.reserve(QUERIES) == near(5.0)


async def test_a_line_of_any_length_keeps_the_rate(ledger, clock):
    moments, waits = [], []
    for _ in range(500):
        wait = await ledger.limits.reserve(QUERIES)
        waits.append(wait)
        if wait > LONGEST_LINE:
            clock.advance(wait - LONGEST_LINE)
        else:
            moments.append(clock.monotonic() + wait)

    assert max(waits) <= LONGEST_LINE + 0.1
    assert all(later - earlier == near(0.05) for earlier, later in pairwise(moments))


async def test_a_turn_that_is_far_ahead_is_not_reserved_and_holds_nobody_up(ledger, clock):
    await ledger.limits.pause(QUERIES, 60)
    assert await reserve(ledger, QUERIES, 300) == near([60.0] * 300)

    clock.advance(60)
    assert await reserve(ledger, QUERIES, 2) == near([0, 0.05])


@pytest.mark.parametrize("back", [10.0, HOUR])
async def test_turns_that_were_booked_before_the_clock_was_set_back_are_not_waited_for(ledger, clock, back):
    await reserve(ledger, QUERIES, 100)
    clock.set_back(back)

    assert await reserve(ledger, QUERIES, 2) == near([0, 0.05])


def count_in_worst_second(moments):
    return max(sum(1 for other in moments if start <= other < start + 1) for start in moments)


@pytest.mark.parametrize("durable", [True, False])
def test_four_processes_keep_one_limit_together(path, durable):
    with Processes(4) as processes:
        answers = processes.run_all("reserve", path=path, tasks=5, seconds=1.0, rate=20.0, durable=durable)

    moments = [moment for answer in answers for moment in answer["moments"]]
    # On a busy machine a process notes its turn late, close to the next. Limits of their own would let 80 pass.
    assert count_in_worst_second(moments) <= 26
    assert all(answer["moments"] for answer in answers)
    assert (len(moments) - 1) / (max(moments) - min(moments)) > 15


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_a_limit_that_need_not_last_is_kept_and_paused_without_touching_the_ledger(ledger, path, clock):
    await ledger.limits.reserve(ONE)
    before = path.read_bytes()
    assert await reserve(ledger, VOLATILE, 3) == near([0, 0.05, 0.1])
    await ledger.limits.pause(VOLATILE, 3.0)
    again = open_sqlite_ledger(path, clock)

    assert await again.limits.reserve(VOLATILE) == near(3.0)
    assert path.read_bytes() == before
    await again.close()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_a_limit_that_need_not_last_is_kept_even_while_the_ledger_is_locked(ledger, path):
    await ledger.limits.reserve(ONE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await ledger.limits.reserve(VOLATILE) == 0


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_a_damaged_file_of_limits_is_begun_anew_and_costs_no_question(ledger, path):
    await ledger.limits.reserve(VOLATILE)
    await ledger.close()
    volatile = path.with_name("pace.sqlite3")
    volatile.write_bytes(b"\xaa" * 10_000)

    assert await reserve(ledger, VOLATILE, 2) == near([0, 0.05])
    volatile.write_bytes(b"\xaa" * 10_000)
    await ledger.limits.pause(VOLATILE, 2.0)
    assert await ledger.limits.reserve(VOLATILE) == near(2.0)


# --- images in 24 hours ------------------------------------------------------------------------------------------


async def refused(ledger, images, limit) -> DailyLimitError:
    with pytest.raises(DailyLimitError) as caught:
        await place(ledger, images_ordered=images, daily_limit=limit)
    return caught.value


def stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


async def test_the_daily_limit_is_kept_to_the_image(ledger):
    await place(ledger, images_ordered=4, daily_limit=10)
    await place(ledger, images_ordered=4, daily_limit=10)
    assert (await refused(ledger, 3, 10)).message.startswith("8 images were ordered in the last 24 hours")
    await place(ledger, images_ordered=2, daily_limit=10)
    assert (await refused(ledger, 1, 10)).message.startswith("10 images")


async def test_a_limit_of_zero_is_no_limit(ledger):
    for _ in range(30):
        await place(ledger, images_ordered=4, daily_limit=0)

    assert await ledger.reports.count_images_since(0) == 120


async def test_the_time_is_that_of_the_order_whose_day_ends_in_time_for_all_images(ledger, clock):
    first = clock.now()
    await placed(ledger, images_ordered=2)
    clock.advance(5 * HOUR)
    second = clock.now()
    await placed(ledger, images_ordered=1)
    clock.advance(HOUR)

    assert f"1 can be ordered from {stamp(first + DAY)} on, in 18 h 0 min" in (await refused(ledger, 1, 3)).message
    assert stamp(first + DAY) in (await refused(ledger, 2, 3)).message
    error = await refused(ledger, 3, 3)
    assert f"3 can be ordered from {stamp(second + DAY)} on, in 23 h 0 min" in error.message
    assert error.retryable
    assert "Wait until then" in error.advice


async def test_at_the_time_that_was_named_the_order_is_taken(ledger, clock):
    await placed(ledger, images_ordered=3)
    clock.advance(DAY - 61)
    assert "in 2 min" in (await refused(ledger, 3, 3)).message
    clock.advance(60)
    assert "in 1 min" in (await refused(ledger, 3, 3)).message
    clock.advance(1)

    assert (await place(ledger, images_ordered=3, daily_limit=3)).order.stage is Stage.QUEUED


async def test_what_is_left_can_be_ordered_now(ledger):
    await placed(ledger, images_ordered=2)

    assert "Order at most 1 now" in (await refused(ledger, 2, 3)).advice


async def test_more_than_the_limit_at_once_is_never_possible(ledger):
    error = await refused(ledger, 4, 3)

    assert "more than it ever allows" in error.message
    assert not error.retryable


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED])
@pytest.mark.parametrize("make", [placed, sent])
async def test_an_order_that_the_service_never_took_gives_its_images_back(ledger, make, status):
    await save(ledger, await make(ledger, images_ordered=4), stage=Stage.CLOSED, status=status)

    await place(ledger, images_ordered=4, daily_limit=4)


async def test_a_task_that_was_cancelled_gives_its_images_back(ledger):
    await save(ledger, await accepted(ledger, images_ordered=4), stage=Stage.CLOSED, status=TaskStatus.CANCELED)

    await place(ledger, images_ordered=4, daily_limit=4)


@pytest.mark.parametrize(
    "changes",
    [FAILED, CLOSED, {"stage": Stage.CLOSED, "status": TaskStatus.EXPIRED}],
    ids=lambda each: each["status"],
)
async def test_an_order_that_the_service_took_counts_whatever_came_of_it(ledger, changes):
    await save(ledger, await accepted(ledger, images_ordered=4), **changes)

    await refused(ledger, 1, 4)


async def test_an_order_whose_answer_was_lost_counts(ledger):
    order = await sent(ledger, images_ordered=4)
    await save(ledger, order, stage=Stage.CLOSED, status=TaskStatus.SUBMIT_UNKNOWN)

    await refused(ledger, 1, 4)


def test_four_processes_together_keep_the_daily_limit_to_the_image(path):
    with Processes(4) as processes:
        answers = processes.run_all("place", path=path, count=20, images=3, daily_limit=100)
        looks = processes.run_all("look", path=path)

    assert [answer["troubles"] for answer in answers] == [[]] * 4
    assert sum(answer["placed"] for answer in answers) == 33
    assert sum(answer["refused"] for answer in answers) == 80 - 33
    assert {look["images"] for look in looks} == {99}


async def test_images_of_the_sandbox_use_up_no_limit_and_meet_none(ledger):
    for _ in range(3):
        await place(ledger, images_ordered=4, region="sandbox", daily_limit=4)

    await place(ledger, images_ordered=4, daily_limit=4)
    await place(ledger, images_ordered=4, region="sandbox", daily_limit=4)
    with pytest.raises(DailyLimitError, match="4 images were ordered"):
        await place(ledger, images_ordered=1, daily_limit=4)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", ["the row is gone", "the clock was set forward"])
async def test_what_a_process_has_ordered_itself_counts_although(ledger, path, clock, change):
    order = await placed(ledger, images_ordered=3)
    if change == "the row is gone":
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DELETE FROM orders")
    else:
        clock.advance(2 * DAY)

    with pytest.raises(DailyLimitError, match="3 images were ordered"):
        await place(ledger, images_ordered=2, daily_limit=4, recent={order.local_id: 3})
    await place(ledger, images_ordered=1, daily_limit=4, recent={order.local_id: 3})


async def test_an_own_order_that_was_refused_counts_as_little_as_any_other(ledger):
    order = await placed(ledger, images_ordered=3)
    await save(ledger, order, **FAILED)

    await place(ledger, images_ordered=4, daily_limit=4, recent={order.local_id: 3})
