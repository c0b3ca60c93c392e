"""Pages lose and repeat nothing, and every order is found in one state."""

import itertools

import pytest

from fakes.orders import FAILED, accepted, make_order, make_request, placed, save
from wan_mcp.ledger import DAY, ImageState, OrderImage, Stage
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")
STATES = (OrderState.OPEN, OrderState.SAVED, OrderState.FAILED, OrderState.CANCELED)
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png")


async def find(ledger, **query):
    found = await ledger.search.find_orders(OrderQuery(**query), limit=100, before=None)
    return [order.local_id for order in found]


async def count(ledger, **query):
    return (await ledger.totals.count_orders(OrderQuery(**query))).orders


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
        await ledger.search.find_orders(OrderQuery(), limit=3, before=before)
        if is_search
        else await ledger.search.list_orders(status=None, limit=3, before=before)
    ):
        seen += page
        before = (page[-1].created_at, page[-1].local_id)
    assert sorted(order.local_id for order in seen) == sorted(placed_ids)
    assert [order.created_at for order in seen] == sorted((order.created_at for order in seen), reverse=True)


async def test_a_page_can_be_of_one_status(ledger):
    await placed(ledger)
    failed = await save(ledger, await placed(ledger), **FAILED)

    assert await ledger.search.list_orders(status=TaskStatus.FAILED, limit=5, before=None) == [failed]


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


async def test_orders_are_found_by_model_and_time(ledger, clock):
    old = await placed(ledger)
    clock.advance(DAY)
    new = await placed(ledger, model="wan2.7-image")

    assert await find(ledger, model="wan2.7-image") == await find(ledger, since=clock.now()) == [new.local_id]
    assert await find(ledger, until=clock.now()) == [old.local_id]


async def test_a_period_bounds_the_orders_of_a_list(ledger, clock):
    times = []
    for _ in range(3):
        times.append((await placed(ledger)).created_at)
        clock.advance(60)

    async def found(since=None, until=None):
        orders = await ledger.search.list_orders(status=None, since=since, until=until, limit=9, before=None)
        return [times.index(order.created_at) for order in orders]

    assert await found() == [2, 1, 0]
    assert await found(since=times[1]) == [2, 1]
    assert await found(until=times[1]) == [0]
    assert await found(since=times[1], until=times[2]) == [1]
    assert await ledger.reports.find_first_order() == times[0]


COPY = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < CAST($2 AS INTEGER))
    INSERT INTO orders ({columns}) SELECT {values} FROM orders CROSS JOIN numbers WHERE local_id = $1
"""


def insert_many(tx, order, count):
    """Write an order many times, three thousand at a moment, in much less time than one after the other."""
    insert_order(tx, order)
    [row] = tx.execute("SELECT * FROM orders WHERE local_id = $1", order.local_id)
    values = {name: name for name in row.keys()} | {  # noqa: SIM118 - a row of SQLite goes through its values
        "local_id": "'local-copy-' || CAST(n + 100000 AS TEXT)",
        "created_at": "created_at + n / 3000",
    }
    statement = COPY.format(columns=", ".join(values), values=", ".join(values.values()))
    tx.execute(statement, order.local_id, count - 1)


async def test_a_search_through_very_many_orders_loses_and_repeats_none(ledger, databases, clock):
    """Also where very many were placed at one moment."""
    many = 5_003
    oldest = make_order(created_at=clock.now() - 1, request=make_request(prompt="a zebra"))
    await databases[0].write(lambda tx: insert_order(tx, oldest))
    await databases[0].write(lambda tx: insert_many(tx, make_order(created_at=clock.now()), many))

    assert await find(ledger, text="zebra") == [oldest.local_id]
    assert await count(ledger, text="flower") == many
    assert await count(ledger, since=clock.now()) == many
    found = await ledger.search.find_orders(OrderQuery(text="local-"), limit=6_000, before=None)
    assert len({order.local_id for order in found}) == len(found) == many + 1
