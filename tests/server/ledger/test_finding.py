"""What the ledger answers about the orders in it."""

import pytest

from fakes.orders import OPEN, accepted, placed, sent
from wan_mcp.ledger import ImageState, OrderImage, Stage
from wan_mcp_tools.domain.tasks import TaskStatus

DONE = {"stage": Stage.CLOSED, "status": TaskStatus.SUCCEEDED}


async def test_an_order_comes_back_as_it_was_written(ledger):
    order = await accepted(ledger, "task")
    images = (
        OrderImage(1, ImageState.SAVED, path="/pictures/花.png", width=1280, height=720, bytes=5, sha256="ab"),
        OrderImage(2, ImageState.UNSAVED, url="http://image/2", code="Storage", message="The disk is full."),
    )
    written = await ledger.advance(order, {"notes": ("one", "zwei — 三"), "expires_at": 5.5}, images)

    assert written.images == images
    assert (written.notes, written.expires_at) == (("one", "zwei — 三"), 5.5)
    assert await ledger.get("task") == written


async def test_an_image_is_written_in_the_place_of_the_one_with_its_number(ledger):
    order = await accepted(ledger, "task")
    order = await ledger.advance(order, {}, [OrderImage(1, ImageState.WAITING, url="http://image/1")])
    order = await ledger.advance(order, {}, [OrderImage(1, ImageState.SAVED, path="/pictures/a.png")])

    assert order.images == (OrderImage(1, ImageState.SAVED, path="/pictures/a.png"),)


async def test_a_column_that_does_not_exist_is_a_mistake_of_the_caller(ledger):
    order = await placed(ledger)

    with pytest.raises(ValueError, match="colour"):
        await ledger.advance(order, {"colour": "red", "status": TaskStatus.FAILED})
    assert (await ledger.get(order.local_id)).status is TaskStatus.PENDING


async def test_an_unknown_id_finds_nothing(ledger):
    assert await ledger.get("task-of-nobody") is None


async def test_pages_run_from_new_to_old_and_leave_nothing_out(ledger, clock):
    placed_ids = []
    for number in range(7):
        clock.advance(number % 2)
        placed_ids.append((await placed(ledger)).local_id)

    seen, before = [], None
    while rows := await ledger.page(status=None, limit=3, before=before):
        seen += [row.local_id for row in rows]
        before = (rows[-1].created_at, rows[-1].local_id)
    assert sorted(seen) == sorted(placed_ids)
    assert len(seen) == len(placed_ids)
    assert seen[0] == placed_ids[-1]


async def test_a_page_can_be_of_one_status(ledger):
    await placed(ledger)
    failed = await placed(ledger)
    await ledger.advance(failed, {"stage": Stage.CLOSED, "status": TaskStatus.FAILED})

    rows = await ledger.page(status=TaskStatus.FAILED, limit=5, before=None)
    assert [row.local_id for row in rows] == [failed.local_id]


async def test_the_ids_that_have_a_row_are_known(ledger):
    await accepted(ledger, "one")
    await accepted(ledger, "two")

    assert await ledger.known(["one", "two", "three", "'; DROP TABLE orders"]) == {"one", "two"}
    assert await ledger.known([]) == frozenset()


async def test_running_times_are_those_of_the_same_model_region_and_count_newest_first(ledger, clock):
    for task, words, duration in (
        ("a", {}, 10.0),
        ("b", {}, 20.0),
        ("c", {"images": 4}, 30.0),
        ("d", {"region": "beijing"}, 40.0),
        ("e", {"model": "wan2.7-image"}, 50.0),
        ("f", {}, None),
    ):
        clock.advance(1)
        order = await accepted(ledger, task, **words)
        await ledger.advance(order, DONE | {"duration": duration})

    assert await ledger.durations("singapore", "wan2.6-t2i", 1) == [20.0, 10.0]


async def test_only_the_last_fifty_running_times_count(ledger, clock):
    for number in range(53):
        clock.advance(1)
        await ledger.advance(await placed(ledger), DONE | {"duration": float(number)})

    assert await ledger.durations("singapore", "wan2.6-t2i", 1) == [float(number) for number in range(52, 2, -1)]


async def test_the_first_delivery_is_the_one_that_is_noted(ledger, clock):
    order = await accepted(ledger, "task", wanted_until=clock.now() + 45)
    await ledger.deliver(order.local_id)
    first = clock.now()
    clock.advance(10)
    await ledger.deliver(order.local_id)

    row = await ledger.get("task")
    assert (row.delivered_at, row.wanted_until) == (first, 0)


async def test_what_waiting_calls_note_does_not_disturb_the_process_that_follows(ledger):
    order = await sent(ledger)
    named = await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)
    await ledger.unwant(order.local_id)
    await ledger.deliver(order.local_id)

    assert await ledger.advance(named, {"status": TaskStatus.RUNNING}) is not None
