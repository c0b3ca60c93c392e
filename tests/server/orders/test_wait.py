"""How long a task will take: what such tasks take, and what it has waited for at the service."""

import pytest

from fakes.clock import FakeClock
from fakes.orders import CLOSED, accept, accepted, save, sent
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.wait import estimate_seconds_left


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def ledger(tmp_path, clock):
    ledger = open_sqlite_ledger(tmp_path / "ledger.sqlite3", clock)
    yield ledger
    await ledger.close()


@pytest.mark.parametrize(
    ("queued", "begun_after", "left"),
    [(True, None, 20.0), (False, 25.0, 15.0), (False, None, -10.0)],
    ids=["still queued", "begun after a while", "nothing known"],
)
async def test_what_a_task_has_waited_for_at_the_service_is_no_part_of_what_it_takes(
    ledger, clock, queued, begun_after, left
):
    await save(ledger, await accepted(ledger, "earlier"), **CLOSED, duration=20.0)
    order = await accept(ledger, await sent(ledger), "task", accepted_at=clock.now())
    live = LiveOrders()
    entry = live.follow(order)
    entry.is_queued = queued
    entry.begun_at = None if begun_after is None else clock.now() + begun_after
    clock.advance(30)

    assert await estimate_seconds_left(ledger, clock, live, order.local_id) == pytest.approx(left)
