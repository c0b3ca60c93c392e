"""What one process has read of the service's list, as the others on the ledger find it."""

import pytest

from fakes.orders import accepted, place, save
from wan_mcp.ledger import SeenTask, Stage
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")
ENDED = SeenTask("task-1", TaskStatus.SUCCEEDED, 1_800_000_000.5, 1_800_000_003.0)
WAITING = SeenTask("task-2", TaskStatus.PENDING, None, None)


async def test_a_reading_is_found_with_its_age_until_it_is_known(ledger, clock):
    kept_at = await ledger.listings.keep("singapore", [ENDED, WAITING])
    clock.advance(3)

    found = await ledger.listings.find_new("singapore", known=None)
    assert (found.kept_at, list(found.tasks)) == (kept_at, [ENDED, WAITING])
    assert found.age == pytest.approx(3.0, abs=0.1)
    assert await ledger.listings.find_new("singapore", known=kept_at) is None
    assert await ledger.listings.find_new("beijing", known=None) is None


async def test_a_reading_takes_the_place_of_the_one_before(ledger, clock):
    first = await ledger.listings.keep("singapore", [ENDED, WAITING])
    clock.advance(2)
    await ledger.listings.keep("singapore", [WAITING])

    found = await ledger.listings.find_new("singapore", known=first)
    assert list(found.tasks) == [WAITING]


@pytest.mark.parametrize("seconds", [30, -30], ids=["old", "of a clock that was set back since"])
async def test_a_reading_of_another_time_is_not_found(ledger, clock, seconds):
    await ledger.listings.keep("singapore", [ENDED])
    clock.advance(seconds)

    assert await ledger.listings.find_new("singapore", known=None) is None


async def test_open_tasks_are_those_of_every_process_until_their_orders_are_closed(ledger):
    await place(ledger)
    await accepted(ledger, "task-1")
    await accepted(ledger, "task-2")
    closed = await accepted(ledger, "task-3")
    await save(ledger, closed, stage=Stage.CLOSED, status=TaskStatus.SUCCEEDED)

    assert await ledger.leases.list_open_tasks("singapore") == {"task-1", "task-2"}
    assert await ledger.leases.list_open_tasks("beijing") == frozenset()
