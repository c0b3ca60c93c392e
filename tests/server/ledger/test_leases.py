"""One process works on an order; another takes it over only when the first has fallen silent. A slot has one holder."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from fakes.clock import FakeClock
from fakes.orders import (
    CLOSED,
    LEASE,
    LONGEST_LEASE,
    accept,
    accepted,
    claim,
    make_order,
    placed,
    save,
    sent,
    take_over,
)
from fakes.processes import Processes
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import DAY, ImageState, Ledger, OrderImage, Slot, Stage
from wan_mcp.ledger.backends.sqlite import SqliteDatabase, open_sqlite_ledger
from wan_mcp.ledger.leases import is_gone, new_worker_id
from wan_mcp.ledger.rows import insert_order
from wan_mcp.orders.worker.eligibility import OrderEligibility
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")

SLOT = Slot("create/singapore/account/wan2.6-t2i", 6.0)
HOUR = 3600.0


# --- claiming ----------------------------------------------------------------------------------------------------


async def test_only_an_order_whose_lease_is_over_is_claimed(ledger, clock):
    order = await placed(ledger)
    clock.advance(LEASE - 0.1)
    assert await claim(ledger) == []

    clock.advance(0.1)
    [taken] = await take_over(ledger)
    assert taken == await ledger.orders.get(order.local_id)
    assert taken == replace(order, worker_id="other", lease_until=clock.now() + LEASE, version=order.version + 1)
    assert await claim(ledger, "third") == []


async def test_nobody_claims_its_own_orders_even_after_sleeping_through_their_leases(ledger, clock):
    order = await placed(ledger)
    assert await claim(ledger, "me") == []

    clock.advance(HOUR)
    assert await claim(ledger, "me") == []
    assert await save(ledger, order, status=TaskStatus.RUNNING) is not None


async def test_a_renewed_lease_is_not_over(ledger, clock):
    order = await placed(ledger)
    clock.advance(LEASE - 1)
    await ledger.leases.renew("me", lease=LEASE)
    clock.advance(LEASE - 1)

    assert await claim(ledger) == []
    assert await save(ledger, order, status=TaskStatus.RUNNING) is not None


async def test_a_former_holder_is_fenced_off_even_when_it_claims_again(ledger, clock):
    first = await accepted(ledger)
    clock.advance(LEASE)
    await claim(ledger)
    clock.advance(LEASE)
    assert await claim(ledger, "me") == [first.local_id]

    assert await save(ledger, first, status=TaskStatus.RUNNING) is None


async def test_a_lease_is_believed_only_within_the_longest_because_clocks_are_set_back(ledger, clock):
    order = await placed(ledger)
    clock.set_back(LONGEST_LEASE - LEASE - 1)
    assert await claim(ledger) == []

    clock.set_back(HOUR)
    assert await claim(ledger) == [order.local_id]


async def test_the_order_nearest_to_its_end_is_taken_first(ledger, clock):
    late, soon, later = [await accepted(ledger, task) for task in ("late", "soon", "later")]
    for order, hours in ((late, 20), (soon, 1), (later, 22)):
        await save(ledger, order, expires_at=clock.now() + hours * HOUR)
    clock.advance(LEASE)

    assert await claim(ledger, limit=2) == [soon.local_id, late.local_id]
    assert await claim(ledger) == [later.local_id]


async def test_without_room_and_of_what_is_closed_nothing_is_taken(ledger, clock):
    await save(ledger, await placed(ledger), **CLOSED)
    clock.advance(LEASE)
    assert await claim(ledger) == []

    await placed(ledger)
    clock.advance(LEASE)
    assert [await claim(ledger, limit=limit) for limit in (0, -3)] == [[], []]


async def test_released_orders_are_free_at_once_for_anybody_and_not_held_any_more(ledger):
    mine = await placed(ledger)
    await placed(ledger, worker_id="third")
    await ledger.leases.release("me")
    assert await save(ledger, mine, status=TaskStatus.RUNNING) is None

    assert await claim(ledger) == [mine.local_id]
    await ledger.leases.release("other")
    assert await claim(ledger, "me") == [mine.local_id]


async def test_an_order_that_was_closed_by_somebody_else_and_opened_again_is_nobodys(ledger):
    order = await placed(ledger)
    await ledger.orders.close(replace(order, status=TaskStatus.UNKNOWN), stages=(Stage.QUEUED,))

    [taken] = await take_over(ledger, "me")
    assert await save(ledger, order, status=TaskStatus.RUNNING) is None
    assert await save(ledger, taken, status=TaskStatus.RUNNING) is not None


async def test_the_next_end_of_a_lease_is_that_of_somebody_else(ledger, clock):
    assert await ledger.leases.find_next_end("me") is None
    mine = await placed(ledger, lease=10)
    assert await ledger.leases.find_next_end("me") is None
    assert await ledger.leases.list_others("me") == []
    other = await placed(ledger, worker_id="other", lease=20)
    third = await placed(ledger, worker_id="third", lease=15)
    await save(ledger, await placed(ledger, worker_id="fourth", lease=5), **CLOSED)

    assert await ledger.leases.find_next_end("me") == clock.now() + 15
    assert {order.local_id for order in await ledger.leases.list_others("me")} == {other.local_id, third.local_id}
    assert mine.local_id in {order.local_id for order in await ledger.leases.list_others("other")}


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_looking_for_free_orders_writes_nothing_and_every_write_changes_the_version(ledger, path):
    order = await sent(ledger)
    before, version = path.read_bytes(), await ledger.version()
    assert await claim(ledger) == []
    assert (path.read_bytes(), await ledger.version()) == (before, version)

    await accept(ledger, order)
    assert await ledger.version() != version


async def test_four_processes_claiming_at_once_never_share_an_order(path):
    ledger = open_sqlite_ledger(path, SystemClock())
    expected = {(await placed(ledger, lease=0)).local_id for _ in range(80)}
    await ledger.close()

    with Processes(4) as processes:
        answers = processes.run_all("claim", path=path, tries=80)

    claimed = [local_id for answer in answers for local_id in answer["claimed"]]
    assert len(claimed) == len(expected)
    assert set(claimed) == expected


@pytest.mark.parametrize(
    "worker_id", ["another-host/1/00", "no worker of ours", new_worker_id()], ids=["other", "none", "own"]
)
def test_only_a_process_of_this_host_is_ever_called_gone(worker_id):
    assert not is_gone(worker_id)


# --- seizing -----------------------------------------------------------------------------------------------------


async def seize(ledger, state, index=1, **changes):
    """Let "other" ask for an image of an order that "me" holds."""
    image = OrderImage(1, state, url="http://image/1")
    order = await save(ledger, await accepted(ledger), images=(image,), **changes)
    return order, await ledger.leases.seize(order.local_id, index, "other", lease=LEASE)


@pytest.mark.parametrize("state", [ImageState.WAITING, ImageState.UNSAVED])
async def test_an_order_with_an_image_that_is_not_saved_is_taken_from_whoever_holds_it(ledger, clock, state):
    order, seized = await seize(ledger, state)

    assert seized == replace(order, worker_id="other", lease_until=clock.now() + LEASE, version=order.version + 1)
    assert await save(ledger, order, status=TaskStatus.RUNNING) is None


@pytest.mark.parametrize(
    ("state", "changes", "index"),
    [
        (ImageState.PUBLISHING, {}, 1),
        (ImageState.SAVED, {}, 1),
        (ImageState.FAILED, {}, 1),
        (ImageState.UNSAVED, {"stage": Stage.CLOSED}, 1),
        (ImageState.UNSAVED, {}, 2),
    ],
    ids=["publishing", "saved", "failed", "closed", "no such image"],
)
async def test_any_other_order_is_left_to_whoever_holds_it(ledger, state, changes, index):
    order, seized = await seize(ledger, state, index, **changes)

    assert seized is None
    assert await ledger.orders.get(order.local_id) == order


# --- eligible orders ---------------------------------------------------------------------------------------------

NOW = FakeClock().now()
KEYS = {"singapore": ("key-1", "key-2"), "beijing": ("key-1", "key-3")}
ACCOUNTS = [
    RegionAccess("singapore", None, SecretStr(key), None, "DASHSCOPE_API_KEY").account
    for key in ("key-1", "key-2", "key-3", "key-4")
]

accesses = st.fixed_dictionaries(
    {
        region: st.builds(
            RegionAccess,
            region=st.just(region),
            base_url=st.sampled_from([*["http://localhost/api/v1"] * 5, None]),
            api_key=st.sampled_from([*map(SecretStr, keys * 3), None]),
            workspace_id=st.none(),
            key_setting=st.just("DASHSCOPE_API_KEY"),
            problem=st.sampled_from([*[None] * 5, "It is set wrongly."]),
        )
        for region, keys in KEYS.items()
    }
)
moments = st.sampled_from([NOW - DAY - 1, NOW - DAY, NOW - DAY + 1, NOW - 1, NOW, NOW + 1])
open_orders = st.builds(
    make_order,
    region=st.sampled_from([*KEYS, "virginia"]),
    account=st.sampled_from(ACCOUNTS),
    stage=st.sampled_from([Stage.OPEN, Stage.OPEN, Stage.LOST, Stage.LOST, Stage.SENDING, Stage.QUEUED]),
    protocol=st.sampled_from(["async"] * 4 + ["sync", None]),
    created_at=moments,
    expires_at=st.sampled_from([None, NOW + DAY, NOW + DAY]) | moments,
    images=st.sampled_from([(), (), (), (OrderImage(1, ImageState.WAITING),)]),
    worker_id=st.none(),
    lease_until=st.sampled_from([0.0, NOW - 1]),
)


@given(
    regions=accesses,
    left=st.lists(st.tuples(open_orders, st.sampled_from([False, False, True])), min_size=3, max_size=12),
)
async def test_the_ledger_selects_exactly_the_orders_that_a_process_can_take_further(regions, left):
    clock = FakeClock()
    eligibility = OrderEligibility(regions, clock, exclusion_seconds=600.0)
    for order, is_excluded in left:
        if is_excluded:
            eligibility.exclude(order)
    covered = [order for order, _ in left if eligibility.covers(order)]
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder, "ledger.sqlite3"), clock, is_durable=False)
        ledger = Ledger(database, database)
        await database.write(lambda tx: [insert_order(tx, order) for order, _ in left])
        next_end = await ledger.leases.find_next_end("me", eligibility.describe())
        claimed = await ledger.leases.claim(
            "me", lease=LEASE, limit=100, longest_lease=LONGEST_LEASE, eligibility=eligibility.describe()
        )
        await ledger.close()

    assert {order.local_id for order in claimed} == {order.local_id for order in covered}
    assert next_end == min((order.lease_until for order in covered), default=None)


# --- slots -------------------------------------------------------------------------------------------------------


async def test_a_slot_has_one_holder(ledger):
    assert await ledger.leases.take_slot(SLOT, "first")
    assert not await ledger.leases.take_slot(SLOT, "second")
    assert await ledger.leases.take_slot(SLOT, "first")
    assert await ledger.leases.take_slot(Slot("another", 6.0), "second")


async def test_a_slot_is_freed_by_its_holder_alone(ledger):
    await ledger.leases.take_slot(SLOT, "first")
    await ledger.leases.leave_slot(SLOT, "second")
    assert not await ledger.leases.take_slot(SLOT, "second")
    await ledger.leases.leave_slot(SLOT, "first")
    assert await ledger.leases.take_slot(SLOT, "second")


async def test_a_slot_lasts_its_time_from_when_it_was_last_taken(ledger, clock):
    await ledger.leases.take_slot(SLOT, "first")
    clock.advance(5)
    await ledger.leases.take_slot(SLOT, "first")
    clock.advance(5.9)
    assert not await ledger.leases.take_slot(SLOT, "second")
    clock.advance(0.1)
    assert await ledger.leases.take_slot(SLOT, "second")

    # Who has lost it meanwhile does not take it back.
    assert not await ledger.leases.take_slot(SLOT, "first")


async def test_a_slot_from_a_clock_that_was_set_back_is_free(ledger, clock):
    await ledger.leases.take_slot(SLOT, "first")
    clock.set_back(HOUR)

    assert await ledger.leases.take_slot(SLOT, "second")
