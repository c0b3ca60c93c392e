"""How many images a ledger has, by day, region and model."""

import time
from datetime import date

import pytest

from fakes.clock import FakeClock
from fakes.orders import accepted, placed, sent
from wan_mcp.ledger import ImageState, OrderImage, Origin, Stage
from wan_mcp_tools.catalogue.prices import ImageCount
from wan_mcp_tools.domain.tasks import TaskStatus

DONE = {"stage": Stage.CLOSED, "status": TaskStatus.SUCCEEDED}
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png")


def day_of(clock: FakeClock) -> date:
    return date(*time.localtime(clock.now())[:3])


async def counts(ledger, clock, since=0.0):
    """Give (charged, open, unclear, found) of the one line there is."""
    lines = await ledger.count_images(since)
    assert all((line.day, line.region) == (day_of(clock), "singapore") for line in lines)
    assert len(lines) <= 1
    return [(line.charged, line.open, line.unclear, line.found) for line in lines]


async def test_an_empty_ledger_has_none(ledger) -> None:
    assert await ledger.count_images(0.0) == []


@pytest.mark.parametrize(
    "state", [ImageState.WAITING, ImageState.STAGED, ImageState.SAVED, ImageState.UNSAVED], ids=str
)
async def test_an_image_that_the_service_made_is_charged_whether_it_is_saved_or_not(ledger, clock, state) -> None:
    order = await accepted(ledger, "task", images=1)
    await ledger.advance(order, {"status": TaskStatus.SUCCEEDED}, [OrderImage(1, state, url="https://x")])
    assert await counts(ledger, clock) == [(1, 0, 0, 0)]


async def test_an_image_that_the_service_did_not_make_is_not_charged(ledger, clock) -> None:
    order = await accepted(ledger, "task", images=3)
    failed = OrderImage(2, ImageState.FAILED, code="DataInspectionFailed", message="No.")
    missing = OrderImage(3, ImageState.FAILED, code="NotDelivered", message="No.")
    await ledger.advance(order, DONE, [SAVED, failed, missing])
    assert await counts(ledger, clock) == [(1, 0, 0, 0)]


async def test_an_image_whose_link_died_was_charged(ledger, clock) -> None:
    order = await accepted(ledger, "task")
    gone = OrderImage(1, ImageState.FAILED, code="Expired", message="The link is over.")
    await ledger.advance(order, {"stage": Stage.CLOSED, "status": TaskStatus.EXPIRED}, [gone])
    assert await counts(ledger, clock) == [(1, 0, 0, 0)]


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED], ids=str)
async def test_a_task_that_failed_or_was_canceled_costs_nothing(ledger, clock, status) -> None:
    order = await accepted(ledger, "task", images=4)
    await ledger.advance(order, {"stage": Stage.CLOSED, "status": status})
    assert await counts(ledger, clock) == []


async def test_what_is_ordered_and_not_made_yet_is_open(ledger, clock) -> None:
    await placed(ledger, images=1)
    await sent(ledger, images=2)
    order = await accepted(ledger, "task", images=3)
    await ledger.advance(order, {"status": TaskStatus.RUNNING})
    assert await counts(ledger, clock) == [(0, 6, 0, 0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": Stage.LOST, "status": TaskStatus.SUBMIT_UNKNOWN},
        {"stage": Stage.CLOSED, "status": TaskStatus.SUBMIT_UNKNOWN},
        {"stage": Stage.CLOSED, "status": TaskStatus.EXPIRED},
    ],
    ids=["searched", "given-up", "never-answered"],
)
async def test_an_order_whose_outcome_is_not_known_is_unclear(ledger, clock, changes) -> None:
    order = await sent(ledger, images=2)
    await ledger.advance(order, changes)
    assert await counts(ledger, clock) == [(0, 0, 2, 0)]


@pytest.mark.parametrize("origin", [Origin.ADOPTED, Origin.RECOVERED], ids=str)
async def test_what_was_found_at_the_service_is_counted_apart(ledger, clock, origin) -> None:
    changes = {"stage": Stage.OPEN, "status": TaskStatus.SUCCEEDED, "model": "wan2.6-t2i", "owner": "me"}
    order = await ledger.adopt(
        local_id="local-a", task_id="theirs", origin=origin, region="singapore", account="account", changes=changes
    )
    await ledger.advance(order, DONE, [SAVED, OrderImage(2, ImageState.SAVED, path="/pictures/b.png")])
    assert await counts(ledger, clock) == [(0, 0, 0, 2)]


async def test_images_are_counted_by_day_region_and_model_newest_day_first(ledger, clock) -> None:
    async def make(**words) -> None:
        order = await accepted(ledger, f"task-{len(made)}", **words)
        await ledger.advance(order, DONE, [SAVED])
        made.append(words)

    made: list[dict[str, object]] = []
    first = day_of(clock)
    await make()
    clock.advance(86_400)
    await make(region="beijing")
    await make()
    await make(model="wan2.7-image", wire_model="wan2.7-image")
    await make()
    second = day_of(clock)

    assert await ledger.count_images(0.0) == [
        ImageCount(second, "beijing", "wan2.6-t2i", charged=1),
        ImageCount(second, "singapore", "wan2.6-t2i", charged=2),
        ImageCount(second, "singapore", "wan2.7-image", charged=1),
        ImageCount(first, "singapore", "wan2.6-t2i", charged=1),
    ]
    assert {line.day for line in await ledger.count_images(clock.now() - 3600)} == {second}


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed there")
@pytest.mark.parametrize(("zone", "day"), [("UTC0", date(2026, 3, 1)), ("XST-9", date(2026, 3, 2))])
async def test_a_day_is_one_of_this_machines_calendar(ledger, clock, monkeypatch, zone, day) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        clock.advance(1_772_406_000 - clock.now())  # 2026-03-01 23:00 UTC
        await placed(ledger)
        assert [line.day for line in await ledger.count_images(0.0)] == [day]
    finally:
        monkeypatch.undo()
        time.tzset()
