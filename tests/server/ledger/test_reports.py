"""Many orders at once: pages lose and repeat nothing, every order is found in one state, images are counted by day."""

import itertools
import time
from dataclasses import replace
from datetime import date

import pytest

from fakes.orders import CLOSED, FAILED, accept, accepted, make_found, make_order, make_request, placed, save, sent
from wan_mcp.ledger import DAY, ImageState, OrderImage, Origin, Stage
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.catalogue.prices import ImageCount, PricedImages
from wan_mcp_tools.domain.requests import InputImage, InputSource
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")

STATES = (OrderState.OPEN, OrderState.SAVED, OrderState.FAILED, OrderState.CANCELED)
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png")


# --- pages -------------------------------------------------------------------------------------------------------


async def find(ledger, **query):
    found = await ledger.reports.find_orders(OrderQuery(**query), limit=100, before=None)
    return [order.local_id for order in found]


async def make(ledger, status, stage):
    order = await accepted(ledger, f"task-{status}-{stage}")
    return (await save(ledger, order, status=status, stage=stage)).local_id


@pytest.mark.parametrize("is_search", [False, True])
@pytest.mark.parametrize("apart", [0, 1], ids=["of one moment", "of several moments"])
async def test_pages_run_from_new_to_old_and_lose_and_repeat_nothing(ledger, clock, is_search, apart):
    placed_ids = []
    for number in range(7):
        clock.advance(number % 2 * apart)
        placed_ids.append((await placed(ledger)).local_id)

    seen, before = [], None
    while page := (
        await ledger.reports.find_orders(OrderQuery(), limit=3, before=before)
        if is_search
        else await ledger.reports.list_orders(status=None, limit=3, before=before)
    ):
        seen += page
        before = (page[-1].created_at, page[-1].local_id)
    assert sorted(order.local_id for order in seen) == sorted(placed_ids)
    assert [order.created_at for order in seen] == sorted((order.created_at for order in seen), reverse=True)


async def test_a_page_can_be_of_one_status(ledger):
    await placed(ledger)
    failed = await save(ledger, await placed(ledger), **FAILED)

    assert await ledger.reports.list_orders(status=TaskStatus.FAILED, limit=5, before=None) == [failed]


async def test_every_order_is_in_one_state_and_those_that_go_on_are_not_among_the_ended(ledger):
    for status, stage in itertools.product(TaskStatus, Stage):
        await make(ledger, status, stage)

    everything = await find(ledger)
    states = [await find(ledger, state=state) for state in STATES]
    ended = await find(ledger, state=OrderState.ENDED)
    assert sorted(itertools.chain(states[0], ended)) == sorted(everything)
    assert not set(states[0]) & set(ended)
    assert all(not set(one) & set(other) for one, other in itertools.combinations(states, 2))


@pytest.mark.parametrize(
    ("status", "stage", "state"),
    [
        (TaskStatus.PENDING, Stage.QUEUED, OrderState.OPEN),
        (TaskStatus.RUNNING, Stage.OPEN, OrderState.OPEN),
        (TaskStatus.SUCCEEDED, Stage.OPEN, OrderState.OPEN),
        (TaskStatus.SUBMIT_UNKNOWN, Stage.LOST, OrderState.OPEN),
        (TaskStatus.SUCCEEDED, Stage.CLOSED, OrderState.SAVED),
        (TaskStatus.FAILED, Stage.CLOSED, OrderState.FAILED),
        (TaskStatus.EXPIRED, Stage.CLOSED, OrderState.FAILED),
        (TaskStatus.UNKNOWN, Stage.OPEN, OrderState.FAILED),
        (TaskStatus.SUBMIT_UNKNOWN, Stage.CLOSED, OrderState.FAILED),
        (TaskStatus.CANCELED, Stage.CLOSED, OrderState.CANCELED),
    ],
)
async def test_a_state_is_found_where_a_person_looks_for_it(ledger, status, stage, state):
    order = await make(ledger, status, stage)

    assert [each for each in STATES if order in await find(ledger, state=each)] == [state]


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("flower", True),
        ("SHOP flow", True),
        ("flower boat", False),
        ("СТАЯ журавлей", True),
        ("STRASSE", True),
        ("100% a_b", True),
        ("100%of", False),
        ("axb", False),
        ("c:\\dir", True),
        ("TASK-ONE", True),
        ("x" * 60_000, False),
        ("  ", True),
    ],
)
async def test_an_order_is_found_by_the_words_of_its_prompt_in_any_script_and_by_its_ids(ledger, text, is_found):
    prompt = "A flower shop, Стая Журавлей, Straße, 100% of a_b in C:\\Dir"
    order = await accepted(ledger, "task-ONE", request=make_request(prompt))

    assert await find(ledger, text=text) == [order.local_id] * is_found
    assert await find(ledger, text=order.local_id.upper()) == [order.local_id]
    # Neither the words of other settings nor the names of a request's members are its prompt.
    assert await find(ledger, text="1280*1280") == await find(ledger, text="model") == []


async def test_a_count_is_of_orders_and_saved_images_and_names_what_there_is(ledger):
    order = await accepted(ledger, "one", region="beijing", model="wan2.7-image")
    await save(ledger, order, **CLOSED, images=(SAVED, OrderImage(2, ImageState.FAILED, code="x")))
    await placed(ledger)

    survey = await ledger.reports.count_orders(OrderQuery())
    assert (survey.orders, survey.images) == (2, 1)
    assert survey.models == ("wan2.6-t2i", "wan2.7-image")
    assert survey.regions == ("beijing", "singapore")
    assert (await ledger.reports.count_orders(OrderQuery(region="beijing"))).orders == 1
    assert (await ledger.reports.count_orders(OrderQuery(text="nothing of this"))).orders == 0


async def test_orders_are_found_by_model_and_time(ledger, clock):
    old = await placed(ledger)
    clock.advance(DAY)
    new = await placed(ledger, model="wan2.7-image")

    assert await find(ledger, model="wan2.7-image") == await find(ledger, since=clock.now()) == [new.local_id]
    assert await find(ledger, until=clock.now()) == [old.local_id]


# --- running times -----------------------------------------------------------------------------------------------


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


# --- images by day -----------------------------------------------------------------------------------------------


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


async def test_a_period_bounds_the_orders_of_a_list(ledger, clock):
    times = []
    for _ in range(3):
        times.append((await placed(ledger)).created_at)
        clock.advance(60)

    async def found(since=None, until=None):
        orders = await ledger.reports.list_orders(status=None, since=since, until=until, limit=9, before=None)
        return [times.index(order.created_at) for order in orders]

    assert await found() == [2, 1, 0]
    assert await found(since=times[1]) == [2, 1]
    assert await found(until=times[1]) == [0]
    assert await found(since=times[1], until=times[2]) == [1]
    assert await ledger.reports.find_first_order() == times[0]


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


# --- kept sums ---------------------------------------------------------------------------------------------------

ENOUGH = 100
"""Closed orders that are moved into the sums together."""


async def close_many(databases, clock, **changes):
    orders = [
        make_order(
            stage=Stage.CLOSED, status=TaskStatus.SUCCEEDED, created_at=clock.now(), images=(SAVED,), **changes
        )
        for _ in range(ENOUGH)
    ]
    await databases[0].write(lambda tx: [insert_order(tx, order) for order in orders])
    return orders


async def read_sums(databases):
    rows = await databases[0].read(lambda tx: tx.execute("SELECT * FROM totals ORDER BY region, model, status"))
    return [(row["status"], row["orders"], row["images"]) for row in rows if row["orders"]]


async def count(ledger, **query):
    totals = await ledger.reports.count_orders(OrderQuery(**query))
    return totals.orders, totals.images


async def test_numbers_are_the_same_before_and_after_orders_are_moved_into_the_sums(ledger, databases, clock):
    await close_many(databases, clock)
    await placed(ledger)
    queries = [{}, {"state": OrderState.OPEN}, {"state": OrderState.SAVED}, {"model": "x"}, {"text": "flower"}]
    before = [await count(ledger, **query) for query in queries]
    await ledger.reports.settle_totals(rounds=1)

    assert await read_sums(databases) == [("SUCCEEDED", ENOUGH, ENOUGH)]
    assert [await count(ledger, **query) for query in queries] == before
    assert before == [(ENOUGH + 1, ENOUGH), (1, 0), (ENOUGH, ENOUGH), (0, 0), (ENOUGH + 1, ENOUGH)]


async def test_a_few_closed_orders_are_not_worth_a_write(ledger, databases, clock):
    order = await accepted(ledger, "one")
    await save(ledger, order, **CLOSED)
    await ledger.reports.settle_totals(rounds=3)

    assert await read_sums(databases) == []
    assert await count(ledger) == (1, 0)


async def test_what_another_release_changes_of_an_order_in_the_sums_is_counted_as_it_is(ledger, databases, clock):
    """A release without these sums writes the other columns alone, and a new lease before it opens an order again."""
    first, second, *_ = await close_many(databases, clock)
    await ledger.reports.settle_totals(rounds=1)
    change = "UPDATE orders SET status = 'FAILED' WHERE local_id = $1"
    await databases[0].write(lambda tx: tx.execute(change, first.local_id))
    await databases[0].write(lambda tx: tx.execute("DELETE FROM images WHERE local_id = $1", second.local_id))
    reopen = "UPDATE orders SET version = version + 1 WHERE local_id = $1"
    await databases[0].write(lambda tx: tx.execute(reopen, second.local_id))

    assert await count(ledger) == (ENOUGH, ENOUGH - 1)
    assert await count(ledger, state=OrderState.FAILED) == (1, 1)
    await close_many(databases, clock)
    await ledger.reports.settle_totals(rounds=1)
    assert await read_sums(databases) == [("FAILED", 1, 1), ("SUCCEEDED", 2 * ENOUGH - 1, 2 * ENOUGH - 2)]
    assert await count(ledger) == (2 * ENOUGH, 2 * ENOUGH - 1)


async def test_an_order_in_the_sums_that_is_opened_again_by_a_late_answer_leaves_them(ledger, databases, clock):
    lost = await sent(ledger)
    lost = await save(ledger, lost, status=TaskStatus.SUBMIT_UNKNOWN, stage=Stage.CLOSED)
    await close_many(databases, clock)
    await ledger.reports.settle_totals(rounds=1)
    assert await count(ledger, state=OrderState.FAILED) == (1, 0)

    await accept(ledger, lost, "late")
    assert await count(ledger, state=OrderState.FAILED) == (0, 0)
    assert await count(ledger, state=OrderState.OPEN) == (1, 0)
    assert await count(ledger) == (ENOUGH + 1, ENOUGH)


async def test_an_adopted_row_that_turns_out_to_be_anothers_task_is_counted_no_more(ledger, databases, clock):
    lost = await sent(ledger)
    adopted = make_order(task_id="task", origin=Origin.ADOPTED, stage=Stage.CLOSED, status=TaskStatus.SUCCEEDED)
    await ledger.orders.adopt(replace(adopted, created_at=clock.now(), images=(SAVED,)))
    clock.advance(3 * DAY)
    await close_many(databases, clock)
    await ledger.reports.settle_totals(rounds=1)
    assert await count(ledger) == (ENOUGH + 2, ENOUGH + 1)

    await accept(ledger, lost, "task")
    assert await count(ledger) == (ENOUGH + 1, ENOUGH + 1)


async def test_a_search_through_very_many_orders_loses_and_repeats_none(ledger, databases, clock):
    """Also where very many were placed at one moment."""
    orders = [make_order(created_at=clock.now() + number // 3_000) for number in range(5_003)]
    oldest = make_order(created_at=clock.now() - 1, request=make_request(prompt="a zebra"))
    await databases[0].write(lambda tx: [insert_order(tx, order) for order in (oldest, *orders)])

    assert await find(ledger, text="zebra") == [oldest.local_id]
    assert await count(ledger, text="flower") == (len(orders), 0)
    assert await count(ledger, since=clock.now()) == (len(orders), 0)
    found = await ledger.reports.find_orders(OrderQuery(text="local-"), limit=6_000, before=None)
    assert len({order.local_id for order in found}) == len(found) == len(orders) + 1
