"""Whatever a call, a page or a poll asks of a PostgreSQL ledger with many orders is served by an index."""

import json
from contextlib import closing

import psycopg
import pytest

from fakes.clock import StillClock
from fakes.filled_database import fill_database
from fakes.ledger_questions import OWN_QUESTIONS, QUESTIONS
from fakes.postgres import make_schema
from fakes.recording_database import RecordingDatabase
from wan_mcp.ledger import Ledger
from wan_mcp.ledger.backends.postgres import fill_placeholders, open_postgres_ledger

COUNT, APART = 20_000, 3_600.0
"""Some of them in the last day and month, as many as limits look through; most of them long ago."""
MOST_ROWS = 1_500
"""Rows that a step of a plan reads at most: a page and what is left out of it."""
LARGE = ("orders", "images")
OWNED = {f"{name}, of a principal": ask for name, ask in OWN_QUESTIONS.items()}


@pytest.fixture(scope="module")
def filled_url(postgres_server):
    """A ledger for all tests of this module, which change next to nothing in it."""
    return make_schema(postgres_server)


@pytest.fixture
async def database(filled_url):
    clock = StillClock()
    opened = open_postgres_ledger(filled_url, clock, busy_seconds=10, by_database_time=False)
    await opened.orders.get("x")
    with psycopg.connect(filled_url) as connection:
        [(is_empty,)] = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM orders)").fetchall()
    if is_empty:
        fill_database(filled_url, COUNT, now=clock.now(), apart=APART)
    database = RecordingDatabase(opened._databases[0])
    yield database
    await database.close()


def find_steps(plan):
    """Give every step of a plan."""
    yield plan
    for each in plan.get("Plans", ()):
        yield from find_steps(each)


def explain(url, statement, values):
    """Run a statement, and give the steps that it took and what they have read; nothing of it stays."""
    with closing(psycopg.connect(url)) as connection:
        cursor = psycopg.RawCursor(connection)
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {fill_placeholders(statement)}".encode(), values)
        [(plans,)] = cursor.fetchall()
        connection.rollback()
    plan = json.loads(plans) if isinstance(plans, str) else plans
    return list(find_steps(plan[0]["Plan"]))


@pytest.mark.parametrize("question", (QUESTIONS | OWNED))
async def test_no_question_reads_every_order(database, filled_url, question):
    ledger = Ledger(database, database)
    newest = await ledger.search.list_orders(status=None, limit=9, before=None)
    order = next(each for each in newest if each.task_id is not None)
    database.executed.clear()
    database.values.clear()
    await (QUESTIONS | OWNED)[question](ledger, order)

    assert database.executed
    for (statement, _), values in zip(database.executed, database.values, strict=True):
        if statement.lstrip().startswith("INSERT"):
            # It reads nothing, and what it has written is there.
            continue
        for step in explain(filled_url, statement, values):
            read = (step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"]
            assert step.get("Relation Name") not in LARGE or read <= MOST_ROWS, (statement, step)
