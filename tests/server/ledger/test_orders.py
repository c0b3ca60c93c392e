"""Orders are on disk before anybody hears of them; an identical one nobody received is the same; one holder writes."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from fakes.orders import (
    CLOSED,
    FAILED,
    LEASE,
    LOST,
    UNLIMITED,
    accept,
    accepted,
    begin,
    claim,
    list_ids,
    make_found,
    make_order,
    make_request,
    place,
    placed,
    save,
    sent,
    take_over,
)
from wan_mcp.ledger import DAY, Dispatch, ImageState, Order, OrderImage, Origin, RateLimit, Slot, Stage
from wan_mcp.ledger.leases import new_worker_id
from wan_mcp_tools.domain.errors import DailyLimitError
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")

SAME = {"fingerprint": "the same"}
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png", sha256="00")
SLOT = Slot("create/singapore/account/wan2.6-t2i", 6.0)
ONE = RateLimit("create/singapore/wan2.6-t2i", 1.0)


# --- placing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_an_order_is_on_disk_when_placing_it_returns(ledger, path, clock):
    request = make_request("ein Blumenladen 花店")
    order = await placed(ledger, images_ordered=3, request=request, awaited_until=clock.now() + 45)

    with sqlite3.connect(path) as another:
        another.row_factory = sqlite3.Row
        row = dict(another.execute("SELECT * FROM orders").fetchone())
    another.close()
    assert (row["local_id"], row["task_id"], row["stage"], row["status"]) == (
        order.local_id,
        None,
        "QUEUED",
        "PENDING",
    )
    assert (row["images_ordered"], row["folder"], row["created_at"]) == (3, "/pictures", clock.now())
    assert (row["owner"], row["lease_until"], row["wanted_until"]) == ("me", clock.now() + 30, clock.now() + 45)
    assert await ledger.orders.get(order.local_id) == order
    assert order.request == request


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
async def test_the_file_is_the_users_alone(ledger, path):
    await placed(ledger)

    assert all(each.stat().st_mode & 0o077 == 0 for each in (path, path.parent, *path.parent.iterdir()))


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_nothing_is_made_before_the_first_call(ledger, path):
    assert not await ledger.exists()
    assert await ledger.version() is None
    assert not path.parent.exists()


async def test_a_new_order_may_be_placed_and_sent_in_one_write(ledger, clock):
    order = make_order()
    sending = replace(begin(order), clock_offset=-1.25)
    placement = await ledger.orders.place(
        order, lease=LEASE, deduplicate=True, dispatch=Dispatch(SLOT, ONE), sending=sending
    )

    begun = placement.order
    assert (begun.stage, begun.sent_at, begun.created_at) == (Stage.SENDING, clock.now(), clock.now())
    assert (begun.clock_offset, begun.lease_until) == (-1.25, clock.now() + LEASE)
    assert await ledger.orders.get(order.local_id) == begun
    assert not await ledger.leases.take_slot(SLOT, "another order")
    queued = make_order()
    waiting = await ledger.orders.place(
        queued, lease=LEASE, deduplicate=True, dispatch=Dispatch(SLOT, ONE), sending=begin(queued)
    )
    assert waiting.order.stage is Stage.QUEUED


async def test_an_unknown_id_finds_nothing(ledger):
    assert await ledger.orders.get("task-of-nobody") is None


async def test_the_beginning_of_either_id_finds_orders_the_newest_first(ledger, clock):
    first = await placed(ledger, local_id="local-0a1b2c")
    clock.advance(1)
    second = await accepted(ledger, "0a1b-2c3d", local_id="local-0a1bff")
    clock.advance(1)
    await accepted(ledger, "0A1B-9999", local_id="local-ff0a1b")

    async def find(beginning: str, limit: int = 9) -> list[str]:
        return [order.local_id for order in await ledger.orders.find_by_beginning(beginning, limit=limit)]

    assert await find("local-0a1b") == [second.local_id, first.local_id]
    assert await find("local-0a1b", limit=1) == [second.local_id]
    assert await find("0a1b") == await find("0a1b-2c3d") == [second.local_id]
    assert await find("0a1b-2c3d-and-more") == []


@pytest.mark.parametrize(
    "beginning", ["%", "%%%%", "_____", "local_", "local%", "LOCAL", "ocal-", "l*", "[l]ocal", "花"]
)
async def test_nothing_but_the_letters_of_an_id_finds_it(ledger, beginning):
    await accepted(ledger, "0a1b-2c3d")
    assert await ledger.orders.find_by_beginning(beginning, limit=9) == []


# --- identical orders --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dead_worker():
    """Give the name of a process that has ended."""
    program = "import wan_mcp.ledger.leases as l; print(l.new_worker_id(), end='')"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20
    ).stdout


async def test_an_identical_order_that_nobody_received_is_the_same_order(ledger, clock):
    first = await placed(ledger, **SAME)
    again = await place(ledger, **SAME, worker_id="other", awaited_until=clock.now() + 45)

    assert again.deduplicated
    assert not again.saved_elsewhere
    assert again.order.local_id == first.local_id
    assert (again.order.awaited_by, again.order.awaited_until) == ("other", clock.now() + 45)
    assert (again.order.worker_id, again.order.version) == (first.worker_id, first.version)


@pytest.mark.parametrize("changes", [{"folder": "/elsewhere"}, {"request": make_request(filename="fox.png")}])
async def test_an_identical_order_with_files_elsewhere_says_so(ledger, changes):
    await placed(ledger, **SAME)

    assert (await place(ledger, **SAME, **changes)).saved_elsewhere


async def test_an_identical_order_costs_nothing_of_the_daily_limit(ledger):
    await place(ledger, **SAME, images_ordered=4, daily_limit=4)

    assert (await place(ledger, **SAME, images_ordered=4, daily_limit=4)).deduplicated


async def test_another_request_or_one_that_must_be_new_is_another_order(ledger):
    first = await placed(ledger, **SAME)

    assert not (await place(ledger, fingerprint="another")).deduplicated
    new = await place(ledger, **SAME, deduplicate=False)
    assert (new.deduplicated, new.order.local_id == first.local_id) == (False, False)


async def test_an_order_whose_images_were_received_is_not_given_again(ledger):
    first = await accepted(ledger, **SAME)
    await ledger.orders.mark_delivered(first.local_id)

    assert not (await place(ledger, **SAME)).deduplicated


async def test_an_order_that_a_living_call_waits_for_is_not_given_to_another(ledger, clock):
    await placed(ledger, **SAME, worker_id=new_worker_id(), awaited_until=clock.now() + 45)

    assert not (await place(ledger, **SAME)).deduplicated


async def test_an_order_is_given_again_when_the_call_that_waited_for_it_has_ended(ledger, clock):
    first = await placed(ledger, **SAME, worker_id=new_worker_id(), awaited_until=clock.now() + 45)
    await ledger.orders.stop_waiting(first.local_id)

    assert (await place(ledger, **SAME)).deduplicated


async def test_an_order_is_given_again_when_the_time_of_its_call_is_over(ledger, clock):
    await placed(ledger, **SAME, worker_id=new_worker_id(), awaited_until=clock.now() + 45)
    clock.advance(45)

    assert (await place(ledger, **SAME)).deduplicated


async def test_an_order_that_a_dead_process_waited_for_is_given_again(ledger, clock, dead_worker):
    await placed(ledger, **SAME, worker_id=dead_worker, awaited_until=clock.now() + 45)

    assert (await place(ledger, **SAME)).deduplicated


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"status": TaskStatus.FAILED}, False),
        ({"status": TaskStatus.CANCELED}, False),
        ({"status": TaskStatus.EXPIRED}, False),
        ({"status": TaskStatus.SUCCEEDED}, True),
        ({"status": TaskStatus.SUBMIT_UNKNOWN}, True),
    ],
    ids=str,
)
async def test_a_closed_order_is_given_again_only_if_it_may_have_been_paid_for(ledger, changes, is_same):
    await save(ledger, await accepted(ledger, **SAME), stage=Stage.CLOSED, **changes)

    assert (await place(ledger, **SAME)).deduplicated is is_same


async def test_an_order_older_than_a_day_is_not_given_again(ledger, clock):
    await placed(ledger, **SAME)
    clock.advance(DAY)

    assert not (await place(ledger, **SAME)).deduplicated


async def test_of_two_identical_orders_the_one_that_nobody_waits_for_is_given(ledger, clock):
    free = await placed(ledger, **SAME)
    clock.advance(1)
    await placed(ledger, **SAME, deduplicate=False, worker_id=new_worker_id(), awaited_until=clock.now() + 45)

    assert (await place(ledger, **SAME)).order.local_id == free.local_id


# --- sending -----------------------------------------------------------------------------------------------------


async def send(ledger, order, *, slot=SLOT, limit=UNLIMITED):
    return await ledger.orders.begin_sending(order, begin(order), Dispatch(slot, limit))


async def test_beginning_to_send_marks_the_order_and_takes_slot_and_turn(ledger, clock):
    order = await placed(ledger)
    begun = await ledger.orders.begin_sending(order, replace(begin(order), clock_offset=-1.25), Dispatch(SLOT, ONE))

    assert isinstance(begun, Order)
    assert (begun.stage, begun.sent_at, begun.clock_offset) == (Stage.SENDING, clock.now(), -1.25)
    assert not await ledger.leases.take_slot(SLOT, "somebody else")
    assert await ledger.limits.reserve(ONE) == pytest.approx(1.0, abs=1e-5)


async def test_who_waits_for_the_slot_takes_no_turn(ledger):
    first, second = await placed(ledger), await placed(ledger)
    await send(ledger, first)

    assert await send(ledger, second, limit=ONE) == pytest.approx(SLOT.seconds, abs=1e-5)
    assert (await ledger.orders.get(second.local_id)).stage is Stage.QUEUED
    assert await ledger.limits.reserve(ONE) == 0


async def test_who_waits_for_a_turn_takes_no_slot(ledger, clock):
    first, second = await placed(ledger), await placed(ledger)
    await send(ledger, first, slot=None, limit=ONE)

    clock.advance(0.25)
    assert await send(ledger, second, limit=ONE) == pytest.approx(0.75, abs=1e-5)
    assert (await ledger.orders.get(second.local_id)).stage is Stage.QUEUED
    assert await ledger.leases.take_slot(SLOT, "somebody else")

    await ledger.leases.leave_slot(SLOT, "somebody else")
    clock.advance(0.75)
    assert isinstance(await send(ledger, second, limit=ONE), Order)


async def test_an_order_is_sent_once_and_by_its_holder_alone(ledger, clock):
    order = await placed(ledger)
    begun = await send(ledger, order)
    assert await send(ledger, order) is None
    assert await send(ledger, begun) is None

    taken = await placed(ledger)
    clock.advance(LEASE)
    await claim(ledger)
    assert await send(ledger, taken, slot=None) is None


async def test_an_order_that_was_cancelled_in_line_is_not_sent(ledger):
    order = await placed(ledger)
    await ledger.orders.close(replace(order, **FAILED), stages=(Stage.QUEUED,))

    assert await send(ledger, order) is None
    assert await ledger.leases.take_slot(SLOT, "somebody else")


# --- saving ------------------------------------------------------------------------------------------------------


async def test_saving_writes_what_differs_and_leaves_what_others_have_written_meanwhile(ledger, clock):
    order = await accepted(ledger, awaited_until=clock.now() + 45)
    await ledger.orders.mark_delivered(order.local_id)
    saved = await save(ledger, order, status=TaskStatus.RUNNING)

    assert saved == replace(order, status=TaskStatus.RUNNING, delivered_at=clock.now(), awaited_until=0.0)


async def test_an_image_is_written_in_the_place_of_the_one_with_its_number(ledger):
    waiting = tuple(OrderImage(index, ImageState.WAITING, url=f"http://image/{index}") for index in (1, 2))
    order = await save(ledger, await accepted(ledger), images=waiting)
    order = await save(ledger, order, images=(SAVED, waiting[1]))

    assert order.images == (SAVED, waiting[1])


async def test_a_former_holder_can_write_nothing_more(ledger, clock):
    order = await accepted(ledger)
    clock.advance(LEASE)
    [taken] = await take_over(ledger)

    assert await save(ledger, order, status=TaskStatus.FAILED, images=(SAVED,)) is None
    assert await ledger.orders.get(order.local_id) == taken
    assert await save(ledger, taken, status=TaskStatus.RUNNING) is not None


async def test_the_slot_is_freed_even_by_a_process_that_has_lost_the_order(ledger, clock):
    slot = Slot(SLOT.name, 3600.0)
    order = await sent(ledger, slot=slot)
    clock.advance(LEASE)
    await claim(ledger)

    assert not await ledger.leases.take_slot(slot, "somebody else")
    assert await save(ledger, order, slot=slot, stage=Stage.QUEUED) is None
    assert await ledger.leases.take_slot(slot, "somebody else")


async def test_only_an_order_in_one_of_the_stages_is_closed_and_then_it_is_nobodys(ledger):
    order = await sent(ledger)
    refused = replace(order, **FAILED, error_code="Canceled")
    assert await ledger.orders.close(refused, stages=(Stage.QUEUED,)) is None
    assert await ledger.orders.close(replace(refused, local_id="local-never"), stages=(Stage.SENDING,)) is None
    assert await ledger.orders.get(order.local_id) == order

    closed = await ledger.orders.close(refused, stages=(Stage.QUEUED, Stage.SENDING))
    assert (closed.stage, closed.status, closed.error_code) == (Stage.CLOSED, TaskStatus.FAILED, "Canceled")
    assert closed.worker_id is None
    assert await save(ledger, order, status=TaskStatus.RUNNING) is None


async def test_a_saved_image_is_moved_whoever_holds_the_order_and_no_other_image_is(ledger):
    unsaved = OrderImage(2, ImageState.UNSAVED, url="http://image/2")
    order = await save(ledger, await accepted(ledger), images=(SAVED, unsaved), **CLOSED)
    moved = replace(SAVED, path="/elsewhere/a.png")
    await ledger.orders.move_image(order.local_id, moved)
    await ledger.orders.move_image(order.local_id, replace(moved, index=2))
    await ledger.orders.move_image("local-never", moved)

    assert (await ledger.orders.get(order.local_id)).images == (moved, unsaved)


async def test_the_first_delivery_is_the_one_that_is_noted(ledger, clock):
    order = await accepted(ledger, awaited_until=clock.now() + 45)
    await ledger.orders.mark_delivered(order.local_id)
    first = clock.now()
    clock.advance(10)
    await ledger.orders.mark_delivered(order.local_id)

    row = await ledger.orders.get("task")
    assert (row.delivered_at, row.awaited_until) == (first, 0)


# --- tasks of the service ----------------------------------------------------------------------------------------


async def test_the_ids_that_have_a_row_are_known(ledger):
    await accepted(ledger, "one")
    await accepted(ledger, "two")
    many = [f"task-{number}" for number in range(1200)]

    assert await ledger.orders.find_known([*many, "one", "two", "'; DROP TABLE orders"]) == {"one", "two"}
    assert await ledger.orders.find_known([]) == frozenset()


async def test_adopting_a_task_twice_gives_the_one_row(ledger):
    first = await ledger.orders.adopt(make_found("task"))
    again = await ledger.orders.adopt(make_found("task", local_id="another", origin=Origin.RECOVERED))

    assert again == first
    assert await list_ids(ledger) == [first.local_id]


async def test_an_order_whose_task_is_known_is_not_among_the_unanswered(ledger):
    unanswered = await sent(ledger)
    lost = await save(ledger, await sent(ledger), **LOST)
    await accepted(ledger)
    await placed(ledger)
    await sent(ledger, wire_model="wan2.5-t2i-preview")

    found = await ledger.orders.list_unanswered("singapore", "wan2.6-t2i")
    assert [order.local_id for order in found] == [unanswered.local_id, lost.local_id]
    assert await ledger.orders.list_unanswered("beijing", "wan2.6-t2i") == []


async def test_a_refused_order_leaves_no_row(ledger):
    with pytest.raises(DailyLimitError):
        await place(ledger, images_ordered=2, daily_limit=1)

    assert await list_ids(ledger) == []


async def test_an_answer_frees_the_slot(ledger):
    order = await sent(ledger, slot=SLOT)
    assert not await ledger.leases.take_slot(SLOT, "another order")
    await accept(ledger, order, slot=SLOT)

    assert await ledger.leases.take_slot(SLOT, "another order")
