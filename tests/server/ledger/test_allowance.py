"""The operator's limit: what it refuses says what can be ordered now, and from when on the rest."""

from datetime import UTC, datetime

import pytest

from fakes.clock import FakeClock
from fakes.orders import place, placed
from wan_mcp.ledger import SqliteLedger, Stage
from wan_mcp_tools.domain.errors import DailyLimitError
from wan_mcp_tools.domain.tasks import TaskStatus

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
async def clock():
    return FakeClock()


@pytest.fixture
async def ledger(tmp_path, clock):
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3", clock)
    yield ledger
    await ledger.close()


async def refused(ledger, images, limit) -> DailyLimitError:
    with pytest.raises(DailyLimitError) as caught:
        await place(ledger, images=images, daily_limit=limit)
    return caught.value


def stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


async def test_the_time_is_that_of_the_order_whose_day_ends_in_time_for_all_images(ledger, clock):
    first = clock.now()
    await placed(ledger, images=2)
    clock.advance(5 * HOUR)
    second = clock.now()
    await placed(ledger, images=1)
    clock.advance(HOUR)

    assert f"1 can be ordered from {stamp(first + DAY)} on, in 18 h 0 min" in (await refused(ledger, 1, 3)).message
    assert stamp(first + DAY) in (await refused(ledger, 2, 3)).message
    error = await refused(ledger, 3, 3)
    assert f"3 can be ordered from {stamp(second + DAY)} on, in 23 h 0 min" in error.message
    assert error.retryable
    assert "Wait until then" in error.advice


async def test_at_the_time_that_was_named_the_order_is_taken(ledger, clock):
    await placed(ledger, images=3)
    clock.advance(DAY - 61)
    assert "in 2 min" in (await refused(ledger, 3, 3)).message
    clock.advance(61)

    assert (await place(ledger, images=3, daily_limit=3)).order.stage is Stage.QUEUED


async def test_what_is_left_is_said(ledger):
    await placed(ledger, images=2)

    assert "Order at most 1 now" in (await refused(ledger, 2, 3)).advice


async def test_more_than_the_limit_at_once_is_never_possible(ledger):
    error = await refused(ledger, 4, 3)

    assert "more than it ever allows" in error.message
    assert not error.retryable


async def test_orders_that_came_to_nothing_do_not_count(ledger):
    order = await placed(ledger, images=3)
    await ledger.advance(order, {"stage": Stage.CLOSED, "status": TaskStatus.FAILED})

    assert (await place(ledger, images=3, daily_limit=3)).order.images_ordered == 3
