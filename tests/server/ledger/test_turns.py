"""Rate limits that every process keeps together, and a slot that one order at a time may hold."""

import sqlite3
from contextlib import closing
from functools import partial

import pytest

from fakes.orders import EASY, LEASE, placed, sent
from fakes.rivals import Rivals
from wan_mcp.ledger import Dispatch, Limit, Order, Slot, SqliteLedger, Stage

SLOT = Slot("create/singapore/account/wan2.6-t2i", 6.0)
ONE = Limit("create/singapore/wan2.6-t2i", 1.0)
QUERIES = Limit("query/singapore", 20.0)
HOUR = 3600.0

near = partial(pytest.approx, abs=1e-5)


async def begin(ledger, order, *, slot=SLOT, limit=EASY):
    return await ledger.begin_sending(order, Dispatch(slot, limit, None))


async def test_a_slot_has_one_holder(ledger):
    assert await ledger.take_slot(SLOT, "first")
    assert not await ledger.take_slot(SLOT, "second")
    assert await ledger.take_slot(SLOT, "first")
    assert await ledger.take_slot(Slot("another", 6.0), "second")


async def test_a_slot_that_was_left_is_free(ledger):
    await ledger.take_slot(SLOT, "first")
    await ledger.leave_slot(SLOT, "second")
    assert not await ledger.take_slot(SLOT, "second")
    await ledger.leave_slot(SLOT, "first")
    assert await ledger.take_slot(SLOT, "second")


async def test_a_slot_whose_time_is_over_is_free(ledger, clock):
    await ledger.take_slot(SLOT, "first")
    clock.advance(5.9)
    assert not await ledger.take_slot(SLOT, "second")
    clock.advance(0.1)
    assert await ledger.take_slot(SLOT, "second")


async def test_a_slot_that_is_held_lasts_its_time_from_then_on(ledger, clock):
    await ledger.take_slot(SLOT, "first")
    clock.advance(5)
    await ledger.hold_slot(SLOT, "first")
    clock.advance(5)

    assert not await ledger.take_slot(SLOT, "second")


async def test_holding_a_slot_does_not_take_it_from_somebody_else(ledger, clock):
    await ledger.take_slot(SLOT, "first")
    clock.advance(6)
    await ledger.take_slot(SLOT, "second")
    await ledger.hold_slot(SLOT, "first")

    assert not await ledger.take_slot(SLOT, "first")
    await ledger.leave_slot(SLOT, "second")
    assert await ledger.take_slot(SLOT, "third")


async def test_a_slot_from_a_clock_that_was_set_back_is_free(ledger, clock):
    await ledger.take_slot(SLOT, "first")
    clock.set_back(HOUR)

    assert await ledger.take_slot(SLOT, "second")


async def test_beginning_to_send_marks_the_order_and_takes_slot_and_turn(ledger, clock):
    order = await placed(ledger)
    begun = await ledger.begin_sending(order, Dispatch(SLOT, ONE, -1.25))

    assert isinstance(begun, Order)
    assert (begun.stage, begun.sent_at, begun.clock_offset) == (Stage.SENDING, clock.now(), -1.25)
    assert not await ledger.take_slot(SLOT, "somebody else")
    assert await ledger.turn(ONE) == near(1.0)


async def test_who_waits_for_the_slot_takes_no_turn(ledger):
    first, second = await placed(ledger), await placed(ledger)
    await begin(ledger, first)

    assert await begin(ledger, second, limit=ONE) == near(SLOT.seconds)
    assert (await ledger.get(second.local_id)).stage is Stage.QUEUED
    assert await ledger.turn(ONE) == 0


async def test_who_waits_for_a_turn_takes_no_slot(ledger, clock):
    first, second = await placed(ledger), await placed(ledger)
    await begin(ledger, first, slot=None, limit=ONE)

    clock.advance(0.25)
    assert await begin(ledger, second, limit=ONE) == near(0.75)
    assert (await ledger.get(second.local_id)).stage is Stage.QUEUED
    assert await ledger.take_slot(SLOT, "somebody else")

    await ledger.leave_slot(SLOT, "somebody else")
    clock.advance(0.75)
    assert isinstance(await begin(ledger, second, limit=ONE), Order)


async def test_an_order_is_sent_once(ledger):
    order = await placed(ledger)
    begun = await begin(ledger, order)

    assert await begin(ledger, order) is None
    assert await begin(ledger, begun) is None


async def test_an_order_that_was_cancelled_in_line_is_not_sent(ledger):
    order = await placed(ledger)
    await ledger.override(order.local_id, {"stage": Stage.CLOSED}, stages=(Stage.QUEUED,))

    assert await begin(ledger, order) is None
    assert await ledger.take_slot(SLOT, "somebody else")


async def test_only_an_order_in_one_of_the_stages_is_overridden(ledger):
    order = await sent(ledger)

    assert await ledger.override(order.local_id, {"stage": Stage.CLOSED}, stages=(Stage.QUEUED,)) is None
    assert await ledger.override("local-never", {"stage": Stage.CLOSED}, stages=(Stage.QUEUED,)) is None
    assert (await ledger.get(order.local_id)).stage is Stage.SENDING


async def test_the_slot_is_freed_even_by_a_process_that_has_lost_the_order(ledger, clock):
    order = await sent(ledger, slot=Slot(SLOT.name, HOUR))
    clock.advance(LEASE)
    await ledger.claim("other", lease=LEASE, limit=1, longest_lease=45)

    assert await ledger.advance(order, {"stage": Stage.QUEUED}, free_slot=SLOT.name) is None
    assert await ledger.take_slot(SLOT, "somebody else")


async def test_turns_come_at_even_distances(ledger, clock):
    waits = [await ledger.turn(QUERIES) for _ in range(5)]
    assert waits == near([0, 0.05, 0.1, 0.15, 0.2])

    clock.advance(0.2)
    assert await ledger.turn(QUERIES) == near(0.05)


async def test_a_burst_is_allowed_after_a_pause_and_no_more_than_that(ledger, clock):
    limit = Limit("query/singapore", 20.0, 3.0)
    assert [await ledger.turn(limit) for _ in range(5)] == near([0, 0, 0, 0.05, 0.1])

    clock.advance(600)
    assert [await ledger.turn(limit) for _ in range(4)] == near([0, 0, 0, 0.05])


async def test_each_limit_counts_for_itself(ledger):
    await ledger.turn(ONE)

    assert await ledger.turn(QUERIES) == 0


async def test_when_the_service_says_too_fast_everybody_waits(ledger, clock):
    await ledger.turn(QUERIES)
    await ledger.hold_back(QUERIES, 3.0)

    assert [await ledger.turn(QUERIES) for _ in range(3)] == near([3.0, 3.05, 3.1])
    order = await placed(ledger)
    assert await begin(ledger, order, limit=QUERIES) == near(3.15)
    clock.advance(4)
    assert await ledger.turn(QUERIES) == 0


async def test_a_shorter_pause_does_not_end_a_longer_one(ledger):
    await ledger.hold_back(QUERIES, 10.0)
    await ledger.hold_back(QUERIES, 1.0)

    assert await ledger.turn(QUERIES) == near(10.0)


async def test_a_limit_that_was_never_used_can_be_held_back(ledger, clock):
    await ledger.hold_back(ONE, 2.0)

    assert await begin(ledger, await placed(ledger), limit=ONE) == near(2.0)


async def test_nobody_is_held_back_for_longer_than_two_minutes(ledger):
    await ledger.hold_back(QUERIES, 86_400.0)

    assert await ledger.turn(QUERIES) == near(120.0)


async def test_a_clock_that_was_set_back_an_hour_does_not_hold_anybody_up(ledger, clock):
    for _ in range(3):
        await ledger.turn(ONE)
    await ledger.hold_back(QUERIES, 60)
    order = await placed(ledger)
    await begin(ledger, await placed(ledger))
    clock.set_back(HOUR)

    assert await ledger.turn(ONE) == 0
    assert await ledger.turn(ONE) == near(1.0)
    assert await ledger.turn(QUERIES) == 0
    assert isinstance(await begin(ledger, order), Order)


async def test_the_service_is_still_heard_after_the_clock_was_set_back(ledger, clock):
    await ledger.hold_back(QUERIES, 60)
    clock.set_back(HOUR)
    await ledger.hold_back(QUERIES, 5)

    assert await ledger.turn(QUERIES) == near(5.0)


def count_in_worst_second(moments):
    moments = sorted(moments)
    return max(sum(1 for other in moments if start <= other < start + 1) for start in moments)


@pytest.mark.parametrize("lasting", [True, False])
def test_four_processes_keep_one_limit_together(path, lasting):
    with Rivals(4) as rivals:
        answers = rivals.race("turn", path=path, tasks=5, seconds=1.0, rate=20.0, lasting=lasting)

    moments = [moment for answer in answers for moment in answer["moments"]]
    assert count_in_worst_second(moments) <= 21
    assert all(answer["moments"] for answer in answers)
    assert (len(moments) - 1) / (max(moments) - min(moments)) > 15


FLEETING = Limit("query/singapore", 20.0, is_lasting=False)


async def test_a_limit_that_need_not_last_is_kept_and_held_back_without_touching_the_ledger(ledger, path, clock):
    await ledger.turn(ONE)
    before = path.read_bytes()
    assert [await ledger.turn(FLEETING) for _ in range(3)] == near([0, 0.05, 0.1])
    await ledger.hold_back(FLEETING, 3.0)
    again = SqliteLedger(path, clock)

    assert await again.turn(FLEETING) == near(3.0)
    assert path.read_bytes() == before
    await again.close()


async def test_a_limit_that_need_not_last_is_kept_even_while_the_ledger_is_locked(ledger, path):
    await ledger.turn(ONE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert await ledger.turn(FLEETING) == 0


async def test_a_damaged_file_of_limits_is_begun_anew_and_costs_no_question(ledger, path, clock):
    await ledger.turn(FLEETING)
    await ledger.close()
    path.with_name("pace.sqlite3").write_bytes(b"\xaa" * 10_000)

    assert [await ledger.turn(FLEETING) for _ in range(2)] == near([0, 0.05])
    path.with_name("pace.sqlite3").write_bytes(b"\xaa" * 10_000)
    await ledger.hold_back(FLEETING, 2.0)
    assert await ledger.turn(FLEETING) == near(2.0)
