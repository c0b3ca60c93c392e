"""Whatever a call, a page or a poll asks of the ledger is served by an index, however many orders there are."""

import re
import sqlite3
from contextlib import closing

import pytest

from fakes.ledger_questions import NEVER, OWN_QUESTIONS, QUESTIONS
from fakes.orders import make_order
from wan_mcp.ledger import DAY, ImageState, OrderImage, Stage, Upload
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.tasks import TaskStatus

COUNT = 30
SAVED = (OrderImage(1, ImageState.SAVED, path="/pictures/a.png"),)

PARTIAL = ("orders_failed", "orders_unsettled", "orders_open")


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
    await ledger.totals.settle(rounds=10)
    databases[0].executed.clear()
    return databases[0].executed


@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_question_reads_every_order(ledger, executed, path, question):
    order = (await ledger.search.list_orders(status=None, limit=1, before=None))[0]
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
        order = (await ledger.search.list_orders(status=None, limit=1, before=None))[0]
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


@pytest.mark.parametrize("question", OWN_QUESTIONS)
async def test_what_a_principal_asks_reads_its_own_orders_alone(ledger, executed, path, question):
    order = (await ledger.search.list_orders(status=None, limit=1, before=None))[0]
    executed.clear()
    await OWN_QUESTIONS[question](ledger, order)

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


async def test_uploads_are_looked_for_by_an_index(ledger, executed, path):
    upload = Upload(f"upload-{0:032x}", "ada", "/pictures/a.png", width=1, height=1, bytes=1)
    await ledger.uploads.reserve(upload, lifetime=DAY, most=9, most_bytes=9)
    await ledger.uploads.confirm(upload.id)
    assert await ledger.uploads.find(upload.id, principal="ada")
    assert await ledger.uploads.list_over(since=-2 * DAY, limit=9)
    await ledger.uploads.remove(upload.id)

    plans = [" ".join(explain(path, statement, values)) for statement, values in executed]
    assert len(plans) == 6
    assert not any("SCAN" in plan or "TEMP B-TREE" in plan for plan in plans), plans


def explain(path, statement, values):
    text = re.sub(r"\{\w+\}", "", statement)
    with closing(sqlite3.connect(path)) as file:
        bound = {str(number): "1" for number in range(1, values + 1)}
        return [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
