"""Running times are those of the same kind, and images are counted by day."""

import itertools
import time
from datetime import date

import pytest

from fakes.orders import CLOSED, accepted, make_found, make_request, placed, save, sent
from wan_mcp.ledger import DAY, ImageState, OrderImage, Origin, Stage
from wan_mcp_tools.catalogue.prices import ImageCount, PricedImages
from wan_mcp_tools.domain.requests import InputImage, InputSource
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png")


async def test_running_times_are_those_of_the_same_model_region_and_count_newest_first(ledger, clock):
    for task, changes, duration in (
        ("a", {}, 10.0),
        ("b", {}, 20.0),
        ("c", {"images_ordered": 4}, 30.0),
        ("d", {"region": "beijing"}, 40.0),
        ("e", {"model": "wan2.7-image"}, 50.0),
        ("f", {}, None),
    ):
        clock.advance(1)
        await save(ledger, await accepted(ledger, task, **changes), **CLOSED, duration=duration)

    assert await ledger.reports.list_durations("singapore", "wan2.6-t2i", 1) == [20.0, 10.0]


async def test_only_the_last_fifty_running_times_count(ledger, clock):
    for number in range(53):
        clock.advance(1)
        await save(ledger, await placed(ledger), **CLOSED, duration=float(number))

    expected = [float(number) for number in range(52, 2, -1)]
    assert await ledger.reports.list_durations("singapore", "wan2.6-t2i", 1) == expected


def days_until(clock, count=1):
    """Give so many days of 24 hours, the last of which has just begun."""
    starts = [clock.now() - DAY * number for number in range(count)]
    return [(date(*time.gmtime(start)[:3]), start, start + DAY) for start in starts]


async def counts(ledger, clock):
    """Give (charged, open, unclear, found) of the one line there is."""
    lines = await ledger.reports.count_images(days_until(clock))
    assert all((line.day, line.region) == (days_until(clock)[0][0], "singapore") for line in lines)
    assert len(lines) <= 1
    return [(line.charged, line.open, line.unclear, line.found) for line in lines]


async def test_an_empty_ledger_has_none(ledger, clock):
    assert await counts(ledger, clock) == []


@pytest.mark.parametrize(
    "state", [ImageState.WAITING, ImageState.PUBLISHING, ImageState.SAVED, ImageState.UNSAVED], ids=str
)
async def test_an_image_that_the_service_made_is_charged_whether_it_is_saved_or_not(ledger, clock, state):
    image = OrderImage(1, state, url="https://x")
    await save(ledger, await accepted(ledger), status=TaskStatus.SUCCEEDED, images=(image,))
    assert await counts(ledger, clock) == [(1, 0, 0, 0)]


async def test_an_image_that_the_service_did_not_make_is_not_charged(ledger, clock):
    failed = OrderImage(2, ImageState.FAILED, code="DataInspectionFailed", message="No.")
    missing = OrderImage(3, ImageState.FAILED, code="NotDelivered", message="No.")
    await save(ledger, await accepted(ledger, images_ordered=3), **CLOSED, images=(SAVED, failed, missing))
    assert await counts(ledger, clock) == [(1, 0, 0, 0)]


async def test_an_image_whose_link_died_was_charged(ledger, clock):
    gone = OrderImage(1, ImageState.FAILED, code="Expired", message="The link is over.")
    await save(ledger, await accepted(ledger), stage=Stage.CLOSED, status=TaskStatus.EXPIRED, images=(gone,))
    assert await counts(ledger, clock) == [(1, 0, 0, 0)]


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELED], ids=str)
async def test_a_task_that_failed_or_was_cancelled_costs_nothing(ledger, clock, status):
    await save(ledger, await accepted(ledger, images_ordered=4), stage=Stage.CLOSED, status=status)
    assert await counts(ledger, clock) == []


async def test_what_is_ordered_and_not_made_yet_is_open(ledger, clock):
    await placed(ledger, images_ordered=1)
    await sent(ledger, images_ordered=2)
    await save(ledger, await accepted(ledger, images_ordered=3), status=TaskStatus.RUNNING)
    assert await counts(ledger, clock) == [(0, 6, 0, 0)]


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        (Stage.LOST, TaskStatus.SUBMIT_UNKNOWN),
        (Stage.CLOSED, TaskStatus.SUBMIT_UNKNOWN),
        (Stage.CLOSED, TaskStatus.EXPIRED),
    ],
    ids=["searched", "given-up", "never-answered"],
)
async def test_an_order_whose_outcome_is_not_known_is_unclear(ledger, clock, stage, status):
    await save(ledger, await sent(ledger, images_ordered=2), stage=stage, status=status)
    assert await counts(ledger, clock) == [(0, 0, 2, 0)]


@pytest.mark.parametrize("origin", [Origin.ADOPTED, Origin.RECOVERED], ids=str)
async def test_what_was_found_at_the_service_is_counted_apart(ledger, clock, origin):
    images = (SAVED, OrderImage(2, ImageState.SAVED, path="/pictures/b.png"))
    await ledger.orders.adopt(
        make_found("theirs", origin=origin, created_at=clock.now(), model="wan2.6-t2i", images=images)
    )
    assert await counts(ledger, clock) == [(0, 0, 0, 2)]


async def test_images_are_counted_by_day_region_and_model(ledger, clock):
    made = itertools.count()

    async def make_one(**changes):
        await save(ledger, await accepted(ledger, f"task-{next(made)}", **changes), **CLOSED, images=(SAVED,))

    await make_one()
    clock.advance(DAY)
    await make_one(region="beijing")
    await make_one()
    await make_one(model="wan2.7-image", wire_model="wan2.7-image")
    await make_one()

    [second, first, _] = days = days_until(clock, 3)
    assert await ledger.reports.count_images(days) == [
        ImageCount(second[0], "beijing", "wan2.6-t2i", charged=1),
        ImageCount(second[0], "singapore", "wan2.6-t2i", charged=2),
        ImageCount(second[0], "singapore", "wan2.7-image", charged=1),
        ImageCount(first[0], "singapore", "wan2.6-t2i", charged=1),
    ]
    assert {line.day for line in await ledger.reports.count_images(days[:1])} == {second[0]}


async def test_of_models_whose_prices_differ_it_is_told_what_they_depend_on(ledger, clock):
    model, made = "qwen-image-3.0-pro", itertools.count()

    async def make_one(size, images=(), **changes):
        inputs = tuple(InputImage(InputSource.FILE, name) for name in images)
        request = make_request(model=model, size=size, prompt_extend=True, images=inputs)
        words = {"request": request, "model": model, "wire_model": model}
        return await accepted(ledger, f"task-{next(made)}", **words, **changes)

    await save(ledger, await make_one("1024*1024", ["a.png", "b.png"]), **CLOSED, images=(SAVED,))
    await save(ledger, await make_one("1024*1024"), **CLOSED, images=(SAVED,))
    await make_one("2048*2048", ["a.png"])

    [line] = await ledger.reports.count_images(days_until(clock), graded={model})
    assert sorted(line.priced, key=lambda each: each.size or "") == [
        PricedImages("1024*1024", True, charged=2, charged_inputs=2),
        PricedImages("2048*2048", True, open=1, open_inputs=1),
    ]
    [plain] = await ledger.reports.count_images(days_until(clock))
    assert plain.priced == ()
