"""An identical order whose result nobody received is the same order; any other is a new one."""

import subprocess
import sys

import pytest

from fakes.orders import accepted, place, placed
from wan_mcp.ledger import Stage
from wan_mcp.ledger.liveness import is_gone, new_owner
from wan_mcp_tools.domain.tasks import TaskStatus

SAME = {"fingerprint": "the same"}
DAY = 86_400.0


@pytest.fixture(scope="module")
def dead_owner():
    """Give the name of a process that has ended."""
    token = "import wan_mcp.ledger.liveness as l; print(l.new_owner(), end='')"
    answer = subprocess.run([sys.executable, "-c", token], capture_output=True, text=True, check=True, timeout=20)
    return answer.stdout


async def test_an_identical_order_that_nobody_received_is_joined(ledger, clock):
    first = await placed(ledger, **SAME)
    again = await place(ledger, **SAME, owner="other", wanted_until=clock.now() + 45)

    assert again.joined
    assert again.order.local_id == first.local_id
    assert (again.order.wanted_by, again.order.wanted_until) == ("other", clock.now() + 45)
    assert (again.order.owner, again.order.version) == (first.owner, first.version)


async def test_joining_costs_nothing_of_the_daily_limit(ledger):
    await place(ledger, **SAME, images=4, daily_limit=4)

    assert (await place(ledger, **SAME, images=4, daily_limit=4)).joined


async def test_another_request_is_another_order(ledger):
    await placed(ledger, **SAME)

    assert not (await place(ledger, fingerprint="another")).joined


async def test_an_order_whose_images_were_received_is_not_joined(ledger):
    first = await accepted(ledger, "task", **SAME)
    await ledger.deliver(first.local_id)

    assert not (await place(ledger, **SAME)).joined


async def test_an_order_that_a_living_call_waits_for_is_not_joined(ledger, clock):
    await placed(ledger, **SAME, owner=new_owner(), wanted_until=clock.now() + 45)

    assert not (await place(ledger, **SAME)).joined


async def test_an_order_is_joined_when_the_call_that_waited_for_it_has_ended(ledger, clock):
    first = await placed(ledger, **SAME, owner=new_owner(), wanted_until=clock.now() + 45)
    await ledger.unwant(first.local_id)

    again = await place(ledger, **SAME)
    assert again.joined


async def test_an_order_is_joined_when_the_time_of_its_call_is_over(ledger, clock):
    await placed(ledger, **SAME, owner=new_owner(), wanted_until=clock.now() + 45)
    clock.advance(45)

    assert (await place(ledger, **SAME)).joined


async def test_an_order_that_a_dead_process_waited_for_is_joined(ledger, clock, dead_owner):
    assert is_gone(dead_owner)
    await placed(ledger, **SAME, owner=dead_owner, wanted_until=clock.now() + 45)

    assert (await place(ledger, **SAME)).joined


@pytest.mark.parametrize(
    "owner", ["another-host/1/00", "no owner of ours", new_owner()], ids=["other", "none", "own"]
)
def test_only_a_process_of_this_host_is_ever_called_dead(owner):
    assert not is_gone(owner)


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED])
async def test_an_order_that_came_to_nothing_is_not_joined(ledger, status):
    first = await accepted(ledger, "task", **SAME)
    await ledger.advance(first, {"stage": Stage.CLOSED, "status": status})

    assert not (await place(ledger, **SAME)).joined


@pytest.mark.parametrize("status", [TaskStatus.SUCCEEDED, TaskStatus.SUBMIT_UNKNOWN])
async def test_an_order_that_may_have_been_paid_for_is_joined_even_when_it_is_closed(ledger, status):
    first = await accepted(ledger, "task", **SAME)
    await ledger.advance(first, {"stage": Stage.CLOSED, "status": status})

    assert (await place(ledger, **SAME)).joined


async def test_an_order_older_than_a_day_is_not_joined(ledger, clock):
    await placed(ledger, **SAME)
    clock.advance(DAY)

    assert not (await place(ledger, **SAME)).joined


async def test_a_fresh_order_joins_nothing(ledger):
    first = await placed(ledger, **SAME)
    fresh = await place(ledger, **SAME, join=False)

    assert not fresh.joined
    assert fresh.order.local_id != first.local_id


async def test_of_two_identical_orders_the_one_that_nobody_waits_for_is_joined(ledger, clock):
    free = await placed(ledger, **SAME)
    clock.advance(1)
    await placed(ledger, **SAME, join=False, owner=new_owner(), wanted_until=clock.now() + 45)

    assert (await place(ledger, **SAME)).order.local_id == free.local_id
