"""Whatever a call, a page or a poll asks of the ledger is served by an index, however many orders there are."""

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal

import pytest

from fakes.orders import make_order
from wan_mcp.ledger import DAY, Eligibility, ImageState, OrderImage, OrderLimits, Stage
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Quota

COUNT = 120
QUOTA = Quota(2 * COUNT, {"USD": Decimal(10)}, {"USD": Decimal(100)}, 5)
LIMITS = OrderLimits(QUOTA, QUOTA)
NEVER = "never-ordered"
SAVED = (OrderImage(1, ImageState.SAVED, path="/pictures/a.png"),)

PARTIAL = ("orders_failed", "orders_uncounted", "orders_open")


def scan(ledger, **query):
    return ledger.reports.find_orders(OrderQuery(**query), limit=50, before=None)


def count(ledger, **query):
    return ledger.reports.count_orders(OrderQuery(**query))


QUESTIONS = {
    "an order by any id": lambda ledger, order: ledger.orders.get(order.task_id),
    "an id that is none": lambda ledger, _: ledger.orders.get(NEVER),
    "the beginning of an id": lambda ledger, order: ledger.orders.find_by_beginning(order.task_id[:7], limit=10),
    "known ids": lambda ledger, order: ledger.orders.find_known([order.task_id, NEVER]),
    "unanswered orders": lambda ledger, order: ledger.orders.list_unanswered(order.region, order.wire_model),
    "durations": lambda ledger, order: ledger.reports.list_durations(order.region, order.model, 1),
    "durations of a kind never ordered": lambda ledger, order: ledger.reports.list_durations(order.region, NEVER, 3),
    "a page": lambda ledger, _: ledger.reports.list_orders(status=None, limit=50, before=None),
    "a later page": lambda ledger, order: ledger.reports.list_orders(
        status=None, limit=50, before=(order.created_at, order.local_id)
    ),
    "a status that nothing has": lambda ledger, _: ledger.reports.list_orders(
        status=TaskStatus.RUNNING, limit=50, before=None
    ),
    "a model never ordered": lambda ledger, _: scan(ledger, model=NEVER),
    "a region never ordered in": lambda ledger, _: scan(ledger, region=NEVER),
    "what goes on": lambda ledger, _: scan(ledger, state=OrderState.OPEN),
    "what goes on of a model": lambda ledger, order: scan(ledger, state=OrderState.OPEN, model=order.model),
    "what failed": lambda ledger, _: scan(ledger, state=OrderState.FAILED),
    "what was canceled": lambda ledger, _: scan(ledger, state=OrderState.CANCELED),
    "what was saved": lambda ledger, _: scan(ledger, state=OrderState.SAVED),
    "what ended": lambda ledger, _: scan(ledger, state=OrderState.ENDED),
    "all numbers": lambda ledger, _: count(ledger),
    "numbers of a state": lambda ledger, order: count(ledger, state=OrderState.FAILED, model=order.model),
    "the images of a day": lambda ledger, order: ledger.reports.count_images_since(order.created_at),
    "the first order": lambda ledger, _: ledger.reports.find_first_order(),
    "what is free": lambda ledger, order: ledger.leases.claim(
        "host/1/a", lease=30, limit=9, longest_lease=60, eligibility=Eligibility({order.region: order.account})
    ),
    "the next end of a lease": lambda ledger, order: ledger.leases.find_next_end(
        "host/1/a", Eligibility({order.region: order.account})
    ),
    "what is unfinished": lambda ledger, _: ledger.leases.measure_backlog(),
    "a worker's leases": lambda ledger, _: ledger.leases.renew("host/1/a", lease=30),
    "a place for an order": lambda ledger, order: ledger.orders.place(
        replace(order, local_id="local-new", task_id=None), lease=30, limits=LIMITS, deduplicate=True
    ),
    "a principal's place for an order": lambda ledger, order: ledger.orders.place(
        replace(order, local_id="local-own", task_id=None, principal="ada"), lease=30, limits=LIMITS, deduplicate=True
    ),
    "the use of all": lambda ledger, _: ledger.quotas.read_use(None),
    "the use of a principal": lambda ledger, _: ledger.quotas.read_use("ada"),
    "who has ordered": lambda ledger, _: ledger.quotas.list_principals(),
}


@pytest.fixture
async def executed(ledger, databases, clock):
    """A ledger of closed orders whose statements are kept from now on."""
    orders = [
        make_order(
            task_id=f"{number:08}-task",
            stage=Stage.CLOSED,
            status=TaskStatus.SUCCEEDED,
            images=SAVED,
            created_at=clock.now() - COUNT + number,
            duration=20.0,
            cost=1000,
            currency="USD",
            fingerprint="same",
            delivered_at=1.0,
        )
        for number in range(COUNT)
    ]
    await databases[0].write(lambda tx: [insert_order(tx, order) for order in orders])
    await ledger.reports.settle_totals(rounds=10)
    databases[0].executed.clear()
    return databases[0].executed


@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_question_reads_every_order(ledger, executed, path, question):
    order = (await ledger.reports.list_orders(status=None, limit=1, before=None))[0]
    executed.clear()
    await QUESTIONS[question](ledger, order)

    assert executed
    with closing(sqlite3.connect(path)) as file:
        for statement, values in executed:
            text = re.sub(r"\{\w+\}", "", statement)
            bound = {str(number): "1" for number in range(1, values + 1)}
            plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
            odd = [
                step for step in plan if re.match(r"SCAN (orders|images)\b", step) and not is_served(step, statement)
            ]
            assert not odd, statement


def is_served(step, statement):
    """Say whether a scan ends early: it reads what few orders are in, or the newest ones and no more than a page."""
    index = step.rpartition(" ")[2]
    is_first = "MIN(created_at)" in statement
    return index in PARTIAL or (index == "orders_recent" and ("LIMIT" in statement or is_first))


async def test_the_statements_for_a_rare_thing_do_not_walk_through_the_newest_orders(ledger, executed, path):
    for question in ("a status that nothing has", "a model never ordered", "what failed", "what goes on of a model"):
        executed.clear()
        order = (await ledger.reports.list_orders(status=None, limit=1, before=None))[0]
        executed.clear()
        await QUESTIONS[question](ledger, order)
        with closing(sqlite3.connect(path)) as file:
            for statement, values in executed:
                bound = {str(number): "1" for number in range(1, values + 1)}
                plan = " ".join(row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {statement}", bound))
                assert "orders_recent" not in plan, (question, plan)
                assert "orders_region" not in plan or "region" in question


async def test_a_look_at_the_images_of_some_days_reads_those_days(ledger, executed, path, clock):
    await ledger.reports.count_images([(None, clock.now() - DAY, clock.now())])
    [(statement, values)] = executed
    with closing(sqlite3.connect(path)) as file:
        plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {statement}", {str(n): 1 for n in (1, 2)})]
    assert values == 2
    assert any("orders_recent (created_at>? AND created_at<?)" in step for step in plan), plan


# --- of a principal ----------------------------------------------------------------------------------------------


def scan_own(ledger, **query):
    return ledger.reports.find_orders(OrderQuery(**query), limit=50, before=None, principal="ada")


def count_own(ledger, **query):
    return ledger.reports.count_own_orders(OrderQuery(**query), "ada")


OWN = {
    "a page": lambda ledger, _: ledger.reports.list_orders(status=None, limit=50, before=None, principal="ada"),
    "a later page": lambda ledger, order: ledger.reports.list_orders(
        status=None, limit=50, before=(order.created_at, order.local_id), principal="ada"
    ),
    "a status": lambda ledger, _: ledger.reports.list_orders(
        status=TaskStatus.SUCCEEDED, limit=50, before=None, principal="ada"
    ),
    "a model": lambda ledger, order: scan_own(ledger, model=order.model),
    "a region": lambda ledger, order: scan_own(ledger, region=order.region),
    "words": lambda ledger, _: scan_own(ledger, text="flower"),
    **{
        f"what is {state.value}": lambda ledger, _, state=state: scan_own(ledger, state=state) for state in OrderState
    },
    "all numbers": lambda ledger, _: count_own(ledger),
    "numbers of a state and a model": lambda ledger, order: count_own(
        ledger, state=OrderState.FAILED, model=order.model
    ),
    "the beginning of an id": lambda ledger, order: ledger.orders.find_by_beginning(
        order.task_id[:7], limit=10, principal="ada"
    ),
    "the first order": lambda ledger, _: ledger.reports.find_first_order(principal="ada"),
    "the images of a day": lambda ledger, order: ledger.reports.count_images(
        [(None, order.created_at - DAY, order.created_at)], graded={order.model}, principal="ada"
    ),
}


@pytest.mark.parametrize("question", OWN)
async def test_what_a_principal_asks_reads_its_own_orders_alone(ledger, executed, path, question):
    order = (await ledger.reports.list_orders(status=None, limit=1, before=None))[0]
    executed.clear()
    await OWN[question](ledger, order)

    assert executed
    for statement, values in executed:
        read = [step for step in explain(path, statement, values) if re.search(r"\borders\b", step)]
        assert read
        assert all("orders_principal (principal=?" in step for step in read), (statement, read)


async def test_an_id_of_another_is_looked_for_by_the_ids(ledger, executed, path):
    assert await ledger.orders.get(NEVER, principal="ada") is None
    [(statement, values)] = executed
    plan = " ".join(explain(path, statement, values))
    assert "task_id=?" in plan
    assert "local_id=?" in plan


def explain(path, statement, values):
    text = re.sub(r"\{\w+\}", "", statement)
    with closing(sqlite3.connect(path)) as file:
        bound = {str(number): "1" for number in range(1, values + 1)}
        return [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
