"""The ledger in a real PostgreSQL database: its tables, its clock, and what becomes of a transaction that is cut off."""

import sqlite3
import time
from contextlib import closing

import anyio
import psycopg
import pytest

from fakes.clock import StillClock
from fakes.cutting_proxy import open_proxy
from fakes.orders import make_order
from fakes.postgres import cut_connections, make_database, make_schema
from wan_mcp.clock import SystemClock
from wan_mcp.ledger.backends.postgres import open_postgres_ledger
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.ledger.records import RateLimit
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError

LOCK = "SELECT pg_advisory_xact_lock(2002873857, hashtext(current_schema()))"
"""What every transaction that writes begins with."""


@pytest.fixture
async def ledger(postgres_url):
    ledger = open_postgres_ledger(postgres_url, SystemClock(), busy_seconds=10)
    yield ledger
    await ledger.close()


@pytest.fixture
def proxy(postgres_url):
    with open_proxy(postgres_url) as proxy:
        yield proxy


async def place(ledger, **changes):
    return (await ledger.orders.place(make_order(**changes), lease=30, deduplicate=False)).order


def count_orders(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT COUNT(*) FROM orders").fetchone()[0]


def read_tables(path):
    """Give the columns of each table of an SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}


async def test_the_tables_are_those_of_the_file(ledger, postgres_url, tmp_path):
    await ledger.orders.get("x")
    file = open_sqlite_ledger(tmp_path / "ledger.sqlite3", StillClock())
    await file.orders.get("x")
    await file.listings.find_new("singapore", known=None)
    await file.close()

    # What may be forgotten in a power cut lies in a file of its own.
    ours = read_tables(tmp_path / "ledger.sqlite3") | read_tables(tmp_path / "pace.sqlite3")
    with psycopg.connect(postgres_url) as connection:
        theirs = {}
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        ):
            theirs.setdefault(table, set()).add(column)
    assert theirs.pop("migrations") == {"number", "ledger_id"}
    assert theirs == ours


async def test_servers_that_begin_at_once_make_the_tables_once(postgres_url):
    ledgers = [open_postgres_ledger(postgres_url, SystemClock(), busy_seconds=10) for _ in range(4)]
    async with anyio.create_task_group() as group:
        for number, ledger in enumerate(ledgers):
            group.start_soon(lambda ledger=ledger, number=number: place(ledger, local_id=f"local-{number}"))
    for ledger in ledgers:
        await ledger.close()
    assert count_orders(postgres_url) == 4


async def test_times_are_the_databases_own(postgres_url):
    ledger = open_postgres_ledger(postgres_url, StillClock(), busy_seconds=10)
    order = await place(ledger)
    await ledger.close()
    assert abs(order.created_at - time.time()) < 60


async def test_another_server_sees_that_something_was_written(ledger, postgres_url):
    before = await ledger.version()
    other = open_postgres_ledger(postgres_url, SystemClock(), busy_seconds=10)
    await place(other)
    await other.close()
    assert await ledger.version() != before


async def test_two_ledgers_in_one_database_do_not_wait_for_each_other(postgres_url, ledger):
    schema = make_schema(postgres_url.partition("&options=")[0])
    other = open_postgres_ledger(schema, SystemClock(), busy_seconds=10)
    await ledger.orders.get("x")
    async with await psycopg.AsyncConnection.connect(schema) as blocked:
        await other.orders.get("x")
        await blocked.execute(LOCK.encode())
        with anyio.fail_after(45):
            assert await place(ledger)
        await blocked.rollback()
    await other.close()


async def test_texts_that_no_database_can_hold_are_written_all_the_same(ledger):
    order = await place(ledger, folder="/pictures/half \ud83d and nought \0")
    assert (await ledger.orders.get(order.local_id)).folder == "/pictures/half \ufffd and nought \ufffd"


async def test_an_order_whose_commit_was_answered_to_nobody_is_placed_once(proxy, postgres_url):
    ledger = open_postgres_ledger(proxy.url, SystemClock(), busy_seconds=10)
    await ledger.orders.get("x")
    proxy.cut_after = b"COMMIT"
    order = await place(ledger)

    assert proxy.cuts == 1
    assert await ledger.orders.get(order.local_id) == order
    await ledger.close()
    assert count_orders(postgres_url) == 1


async def test_a_write_that_is_cut_off_before_its_end_is_done_again(proxy, postgres_url):
    ledger = open_postgres_ledger(proxy.url, SystemClock(), busy_seconds=10)
    await ledger.orders.get("x")
    proxy.cut_after = b"INSERT INTO orders"
    await place(ledger)
    await ledger.close()

    assert proxy.cuts == 1
    assert count_orders(postgres_url) == 1


async def test_a_ledger_goes_on_when_all_its_connections_were_ended(postgres_server):
    url = make_database(postgres_server)
    ledger = open_postgres_ledger(url, SystemClock(), busy_seconds=10)
    await place(ledger, local_id="local-1")
    cut_connections(url)
    await place(ledger, local_id="local-2")
    await ledger.close()
    assert count_orders(url) == 2


async def test_a_ledger_whose_connection_is_cut_while_its_tables_are_made_makes_them_again(proxy, postgres_url):
    ledger = open_postgres_ledger(proxy.url, SystemClock(), busy_seconds=10)
    proxy.cut_after = b"CREATE TABLE IF NOT EXISTS migrations"
    await place(ledger)
    await ledger.close()

    assert proxy.cuts == 1
    assert count_orders(postgres_url) == 1


async def test_a_lock_of_another_server_is_waited_for_and_then_told(postgres_url):
    ledger = open_postgres_ledger(postgres_url, SystemClock(), busy_seconds=0.2)
    await ledger.orders.get("x")
    with psycopg.connect(postgres_url) as connection:
        connection.execute(LOCK)
        with pytest.raises(LedgerError) as caught:
            await place(ledger)
        assert await ledger.orders.get("x") is None
        connection.rollback()
    await place(ledger)
    await ledger.close()
    assert caught.value.code == ErrorCode.LEDGER_LOCKED
    assert caught.value.retryable


@pytest.mark.parametrize(
    "url", ["postgresql://me:pass-word@127.0.0.1:1/ledger", "postgresql://me:pass-word@/ledger?host=%2Fnowhere"]
)
async def test_a_database_that_is_not_there_is_told_without_its_password(url, caplog):
    ledger = open_postgres_ledger(url, SystemClock(), busy_seconds=0.2)
    with anyio.fail_after(60), pytest.raises(LedgerError) as caught:
        await place(ledger)
    await ledger.close()
    assert caught.value.code == ErrorCode.LEDGER_UNAVAILABLE
    assert "pass-word" not in f"{caught.value} {caplog.text}"


async def test_tables_that_were_replaced_under_a_running_server_take_no_order(ledger, postgres_url):
    await place(ledger, local_id="local-1")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE migrations SET ledger_id = 'another'")
    with pytest.raises(LedgerError) as caught:
        await place(ledger, local_id="local-2")
    assert caught.value.code == ErrorCode.LEDGER_REPLACED
    assert count_orders(postgres_url) == 1


async def test_turns_of_a_limit_are_shared_by_all_servers(postgres_url):
    limit = RateLimit("query/singapore", 20.0, is_durable=False)
    ledgers = [open_postgres_ledger(postgres_url, SystemClock(), busy_seconds=10) for _ in range(3)]
    waits = []

    async def reserve(ledger):
        for _ in range(20):
            began = time.monotonic()
            waits.append(began + await ledger.limits.reserve(limit))

    first = time.monotonic()
    async with anyio.create_task_group() as group:
        for ledger in ledgers:
            group.start_soon(reserve, ledger)
    for ledger in ledgers:
        await ledger.close()
    assert max(waits) - first >= 59 / limit.per_second - 0.05


async def test_nothing_stays_in_a_session_so_that_a_pooler_may_give_it_to_others(ledger):
    order = await place(ledger)
    await ledger.leases.renew("me", lease=30)
    await ledger.limits.reserve(RateLimit("query/singapore", 20.0, is_durable=False))
    await ledger.search.list_orders(status=None, limit=5, before=None)
    assert await ledger.orders.get(order.local_id)

    connections = ledger._database._connections
    kept = (
        "SELECT (SELECT COUNT(*) FROM pg_prepared_statements) AS statements, "
        "(SELECT COUNT(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks, "
        "(SELECT COUNT(*) FROM pg_settings WHERE source = 'session') AS settings, "
        "(SELECT COUNT(*) FROM pg_listening_channels()) AS channels"
    )
    with connections.take(10) as connection:
        assert connection.execute(kept).fetchone() == {"statements": 0, "locks": 0, "settings": 0, "channels": 0}
    # What is told at the beginning of a connection is known to every pooler; `options` is not.
    assert "options" not in connections.options
