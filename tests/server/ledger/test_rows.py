"""What is written comes back; what an earlier release wrote is read; what cannot be read is left to others."""

import sqlite3
from contextlib import closing
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from fakes.orders import LEASE, claim, list_ids, make_order, make_request, place, placed, save
from wan_mcp.ledger import ImageState, Order, OrderImage, Origin, RateLimit, Slot, Stage
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.service import OrderQuery
from wan_mcp_tools.domain.tasks import TaskStatus

VERSION_1 = Path(__file__).with_name("ledger_version_1.sql")


def run(path, script):
    """Do to the file what another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(script)


async def find(ledger, text):
    found = await ledger.search.find_orders(OrderQuery(text=text), limit=10, before=None)
    return [order.local_id for order in found]


async def test_an_order_comes_back_as_it_was_written(ledger, clock):
    order = Order(
        "local-all",
        Origin.RECOVERED,
        "beijing",
        "account",
        Stage.OPEN,
        TaskStatus.SUCCEEDED,
        created_at=clock.now(),
        **{name: name for name in ("task_id", "model", "wire_model", "protocol", "fingerprint", "folder")},
        **{name: name for name in ("worker_id", "request_id", "actual_prompt", "error_code", "error_message")},
        **dict.fromkeys(("sent_at", "clock_offset", "lost_at", "accepted_at", "finished_at", "expires_at"), 1.25),
        **dict.fromkeys(("duration", "lease_until", "awaited_until", "delivered_at"), 2.5),
        request=make_request("花店", n=4, negative_prompt="people", seed=7, prompt_extend=False, output_dir="shops"),
        images_ordered=4,
        version=3,
        notes=("one", "zwei — 三"),
        awaited_by="another",
        principal="ada",
        cost=30_000,
        currency="USD",
        images=(
            OrderImage(1, ImageState.SAVED, path="/pictures/花.png", width=1280, height=720, bytes=5, sha256="ab"),
            OrderImage(2, ImageState.UNSAVED, url="http://image/2", code="Storage", message="The disk is full."),
        ),
    )
    assert all(getattr(order, field.name) != field.default for field in fields(Order))

    assert await ledger.orders.adopt(order) == await ledger.orders.get("task_id") == order


async def test_a_request_with_members_of_a_later_release_is_read_without_them(ledger, path):
    order = await placed(ledger)
    run(path, """UPDATE orders SET request = replace(request, '{', '{"style": "oil", ')""")

    assert await ledger.orders.get(order.local_id) == order


# --- a ledger of the first release -------------------------------------------------------------------------------


@pytest.fixture
def old_file(path):
    """A ledger as release 0.1.0 wrote it, before its first migration."""
    path.parent.mkdir()
    run(path, VERSION_1.read_text(encoding="utf-8"))


async def test_every_order_and_image_of_an_earlier_release_is_read(old_file, ledger):
    orders = {order.best_id: order for order in await ledger.search.list_orders(status=None, limit=99, before=None)}

    assert {best_id: (order.stage, order.status) for best_id, order in orders.items()} == {
        "local-1": (Stage.QUEUED, TaskStatus.PENDING),
        "local-2": (Stage.SENDING, TaskStatus.PENDING),
        "local-3": (Stage.LOST, TaskStatus.SUBMIT_UNKNOWN),
        "task-open": (Stage.OPEN, TaskStatus.SUCCEEDED),
        "task-closed": (Stage.CLOSED, TaskStatus.EXPIRED),
        "task-adopted": (Stage.OPEN, TaskStatus.UNKNOWN),
    }
    request = make_request(
        "Ein BLUMENLADEN in der Straße 花店", size="1280*720", n=4, seed=7, prompt_extend=True, watermark=False
    )
    assert orders["task-open"] == make_order(
        local_id="local-4",
        task_id="task-open",
        stage=Stage.OPEN,
        status=TaskStatus.SUCCEEDED,
        created_at=1800000003.0,
        request=make_request(**(request.to_dict() | {"output_dir": "shops", "filename": "shop"})),
        fingerprint="request 4",
        images_ordered=4,
        sent_at=1800000004.0,
        clock_offset=0.5,
        accepted_at=1.0,
        finished_at=1800000004.0,
        expires_at=1800086404.0,
        duration=12.5,
        lease_until=1800000033.0,
        request_id="r-1",
        actual_prompt="A florist's window.",
        awaited_until=1800000048.0,
        images=(
            OrderImage(1, ImageState.WAITING, url="http://image/1"),
            OrderImage(2, ImageState.PUBLISHING, url="http://image/2", path="/pictures/shop-2.png", sha256="ab"),
            OrderImage(
                3, ImageState.SAVED, path="/pictures/shop-3.png", width=1280, height=720, bytes=5, sha256="cd"
            ),
            OrderImage(4, ImageState.UNSAVED, url="http://image/4", code="StorageFull", message="The disk is full."),
        ),
    )
    assert orders["task-closed"].notes == ("It was found again.", "Zwei — 三")
    assert orders["task-closed"].images == (
        OrderImage(1, ImageState.FAILED, code="Expired", message="The link is over."),
    )
    assert (orders["task-adopted"].request, orders["task-adopted"].worker_id) == (None, None)


async def test_orders_of_an_earlier_release_are_found_by_their_prompts_and_go_on(old_file, ledger, clock):
    for text in ("blumenladen", "STRASSE 花店", "local-4", "TASK-open"):
        assert await find(ledger, text) == ["local-4"]
    assert await find(ledger, "task-adopted") == ["local-adopted"]

    clock.advance(LEASE + 60)
    assert sorted(await claim(ledger)) == ["local-1", "local-2", "local-3", "local-4", "local-adopted"]
    assert await ledger.reports.count_images_since(0) == 8


async def test_an_order_that_an_open_window_of_an_earlier_release_placed_is_found_by_its_prompt(ledger, path):
    order = await placed(ledger, request=make_request("A FLOWER shop"))
    run(path, "UPDATE orders SET search_text = NULL")

    assert await find(ledger, "flower Shop") == [order.local_id]


# --- rows that cannot be read ------------------------------------------------------------------------------------

UNREADABLE = {
    "a stage of a newer release": "UPDATE orders SET stage = 'FRAMED'",
    "a status of a newer release": "UPDATE orders SET status = 'PAUSED'",
    "an origin of a newer release": "UPDATE orders SET origin = 'gift'",
    "an image's state of a newer release": "UPDATE images SET state = 'FRAMED'",
    "a text for an image's width": "UPDATE images SET width = 'wide'",
    "notes that are no list": "UPDATE orders SET notes = 5",
    "notes that are no JSON": "UPDATE orders SET notes = ''",
    "a text for a time": "UPDATE orders SET created_at = 'yesterday'",
    "a text for the end of a lease": "UPDATE orders SET lease_until = ''",
    "a request without a member": """UPDATE orders SET request = '{"prompt": "a flower shop"}'""",
    "a request that is no JSON": "UPDATE orders SET request = 'a flower shop'",
    "a request that is a list": "UPDATE orders SET request = '[1]'",
    "bytes for a name": "UPDATE orders SET folder = x'00ff'",
    "a name without an end": "UPDATE orders SET region = hex(zeroblob(500))",
    "a path with a zero in it": "UPDATE images SET path = CAST(x'2f6100622e706e67' AS TEXT)",
    "a time without an end": "UPDATE orders SET expires_at = 9e999",
    "a time that no calendar has": "UPDATE orders SET created_at = 1e300",
    "fewer images than none": "UPDATE orders SET images_ordered = -1",
    "more images than can be added up": "UPDATE orders SET images_ordered = 9223372036854775807",
    "an image before the first": 'UPDATE images SET "index" = 0',
    "notes within notes without an end": f"UPDATE orders SET notes = '{'[' * 50_000}'",
    "a request with a number for a prompt": """UPDATE orders SET request = replace(request, '"a flower shop"', '5')""",
    "a request with a list for a folder": """UPDATE orders SET request = replace(request, '{', '{"output_dir": [], ')""",
    "a request for minus one image": """UPDATE orders SET request = replace(request, '"n": 1', '"n": -1')""",
    "a request for half an image": """UPDATE orders SET request = replace(request, '"n": 1', '"n": 0.5')""",
    "a request with a number without an end": f"""UPDATE orders SET request = '{{"seed": {"9" * 5_000}}}'""",
    "a row without an id": "UPDATE orders SET local_id = NULL",
}
_NAMELESS = frozenset({"a row without an id"})


@pytest.mark.parametrize("damage", UNREADABLE)
async def test_a_row_that_cannot_be_read_is_an_error_of_its_own_and_is_left_out_elsewhere(
    ledger, path, clock, damage
):
    bad = await placed(ledger)
    await save(ledger, bad, images=(OrderImage(1, ImageState.WAITING),))
    run(path, UNREADABLE[damage])
    good = []
    for _ in range(3):
        clock.advance(1)
        good.append((await placed(ledger)).local_id)
    clock.advance(LEASE)

    if damage not in _NAMELESS:
        with pytest.raises(LedgerError, match=f"The order {bad.local_id} cannot be read: ") as raised:
            await ledger.orders.get(bad.local_id)
        assert (raised.value.code, "update this one" in raised.value.advice) == ("LedgerTooNew", True)
        assert not any(word in raised.value.message for word in ("Error", "NoneType", "is not a valid", "argument"))
        assert len(raised.value.message) < 200
    assert await list_ids(ledger) == good[::-1]
    assert await find(ledger, "local") == good[::-1]
    assert [order.local_id for order in await ledger.leases.list_others("other")] == good
    # It takes the place of no other order, and is not waited for.
    assert len(await ledger.search.list_orders(status=None, limit=3, before=None)) == 3
    assert await claim(ledger, limit=3) == good
    before = path.read_bytes()
    assert await claim(ledger) == []
    assert await ledger.leases.find_next_end("other") is None
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "field", "value"),
    [
        ("UPDATE orders SET actual_prompt = CAST(x'61ff62' AS TEXT)", "actual_prompt", "a\ufffdb"),
        ("UPDATE orders SET folder = CAST(x'2fc328' AS TEXT)", "folder", "/\ufffd("),
        ("""UPDATE orders SET notes = '["half \\ud83d pair"]'""", "notes", ("half \ufffd pair",)),
        ("UPDATE orders SET error_message = hex(zeroblob(90000))", "error_message", "0" * 1_000),
    ],
)
async def test_a_text_that_is_none_or_has_no_end_keeps_its_order_readable(ledger, path, damage, field, value):
    order = await placed(ledger)
    run(path, damage)

    assert await list_ids(ledger) == [order.local_id]
    assert getattr(await ledger.orders.get(order.local_id), field) == value


async def test_half_a_character_keeps_nothing_from_being_recorded(ledger):
    order = await placed(ledger)

    saved = await save(
        ledger, order, actual_prompt="half \ud83d pair", notes=("\udfff",), error_message="\ud83d\udca9"
    )

    assert (saved.actual_prompt, saved.notes, saved.error_message) == ("half \ufffd pair", ("\ufffd",), "💩")


NUMBERS = {
    "more images than can be added up": "UPDATE orders SET images_ordered = 9223372036854775807",
    "a text for a number of images": "UPDATE orders SET images_ordered = 'many'",
    "a text for a time": "UPDATE orders SET created_at = 'tomorrow'",
    "a time without an end": "UPDATE orders SET created_at = 9e999",
    "a text for a running time": "UPDATE orders SET duration = 'long'",
    "bytes for a model": "UPDATE orders SET model = x'ff', images_ordered = 0",
    "bytes for a region": "UPDATE orders SET region = x'ff', images_ordered = 0",
}


@pytest.mark.parametrize("damage", NUMBERS)
async def test_what_is_added_up_is_added_up_without_the_rows_that_cannot_be_read(ledger, path, clock, damage):
    for _ in range(2):
        await placed(ledger, duration=3.0)
    run(path, f"{NUMBERS[damage]} WHERE local_id = (SELECT MIN(local_id) FROM orders)")
    today = [(date(2026, 11, 22), clock.now() - 60, clock.now() + 60)]

    assert await ledger.reports.count_images_since(0) == (2 if "duration" in NUMBERS[damage] else 1)
    assert len(await ledger.reports.list_durations("singapore", "wan2.6-t2i", 1)) in (1, 2)
    assert [count.region for count in await ledger.reports.count_images(today)] == ["singapore"]
    assert (await ledger.totals.count_orders(OrderQuery())).models == ("wan2.6-t2i",)
    await place(ledger, daily_limit=10)


@pytest.mark.parametrize("value", ["'soon'", "x'ff'", "9e999", "-9e999", "''"])
async def test_a_limit_or_a_slot_with_an_odd_time_is_free_and_put_right(ledger, path, value):
    limit, slot = RateLimit("create", 1.0), Slot("keeper", 30.0)
    await ledger.limits.reserve(limit)
    await ledger.leases.take_slot(slot, "other")
    run(
        path,
        f"UPDATE limits SET next_at = {value}, not_before = {value}; UPDATE slots SET until = {value};",
    )

    assert await ledger.limits.reserve(limit) == 0.0
    assert await ledger.limits.reserve(limit) == 1.0
    await ledger.limits.pause(limit, 5.0)
    assert await ledger.leases.take_slot(slot, "me")
    assert not await ledger.leases.take_slot(slot, "other")
