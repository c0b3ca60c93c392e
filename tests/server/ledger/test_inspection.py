"""Looking at a ledger from outside: beside those who use it, and after those who died."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial

import anyio
import anyio.to_thread
import pytest

from fakes.orders import place, placed, sent
from wan_mcp.ledger import Stage
from wan_mcp.ledger.inspection import examine_ledger
from wan_mcp_tools.domain.errors import LedgerError


async def look(path, clock, **words):
    return await anyio.to_thread.run_sync(partial(examine_ledger, path, now=clock.now(), **words))


def test_where_there_is_no_file_there_is_nothing(path):
    assert examine_ledger(path, now=0.0) is None
    assert not path.parent.exists()


async def test_orders_that_were_never_named_end_a_day_after_they_were_sent(ledger, path, clock):
    order = await sent(ledger)

    facts = await look(path, clock)

    (open_order,) = facts.open
    assert (open_order.id, open_order.stage, open_order.is_held) == (order.local_id, Stage.SENDING, True)
    assert open_order.ends_at == order.sent_at + 86_400


async def test_an_open_order_of_a_stage_that_only_a_newer_release_knows_is_left_out(ledger, path, clock):
    await sent(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE orders SET stage = 'FRAMED'")
    good = await sent(ledger)

    facts = await look(path, clock)

    assert facts.orders == 2
    assert [order.id for order in facts.open] == [good.local_id]


async def test_rows_that_cannot_be_read_are_named_with_what_is_odd_in_them(ledger, path, clock):
    bad, closed, good = [await placed(ledger, fingerprint=str(number)) for number in range(3)]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE orders SET status = 'PAUSED' WHERE local_id = ?", (bad.local_id,))
        other.execute("UPDATE orders SET stage = 'CLOSED', notes = 5 WHERE local_id = ?", (closed.local_id,))

    facts = await look(path, clock)

    assert sorted(facts.unreadable) == [
        f"The order {bad.local_id} cannot be read: its status is 'PAUSED'.",
        f"The order {closed.local_id} cannot be read: its notes are '5'.",
    ]
    assert [order.id for order in facts.open] == [good.local_id]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("CREATE UNIQUE INDEX one ON orders (region)", "index one"),
        ("DROP INDEX orders_open", "index orders_open"),
        ("CREATE TABLE mine (x)", "table mine"),
        ("ALTER TABLE orders ADD COLUMN mine TEXT", "table orders"),
        ("CREATE TABLE c AS SELECT * FROM slots; DROP TABLE slots; ALTER TABLE c RENAME TO slots", "table slots"),
    ],
)
async def test_tables_that_are_not_as_the_migrations_make_them_are_named(ledger, path, clock, change, named):
    await placed(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(change)

    assert (await look(path, clock)).damage == f"not as wan-mcp makes it: {named}"


async def test_statistics_that_sqlite_keeps_are_no_damage(ledger, path, clock):
    await placed(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ANALYZE")

    assert (await look(path, clock)).damage is None


@pytest.mark.parametrize("version", [-5, 0])
async def test_a_version_that_no_release_has_written_is_told(ledger, path, clock, version):
    await placed(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA user_version = {version}")

    with pytest.raises(LedgerError, match="is not as wan-mcp made it") as raised:
        await look(path, clock)
    assert raised.value.code == "LedgerDamaged"


async def test_a_reader_beside_it_does_not_disturb(ledger, path, clock):
    await place(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM orders").fetchone()

        assert (await look(path, clock)).orders == 1


async def test_a_lock_is_waited_for_only_so_long(ledger, path, clock):
    await place(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(LedgerError) as raised:
            await look(path, clock, busy_seconds=0.1)

    assert raised.value.code == "LedgerLocked"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
async def test_a_write_that_was_killed_is_told_and_left_to_others(ledger, path, clock):
    await place(ledger)
    await ledger.close()
    program = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = PERSIST")
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("CREATE TABLE rubbish (text)")
database.executemany("INSERT INTO rubbish VALUES (?)", [("x" * 3000,)] * 500)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=45, check=False)
    assert done.returncode == -signal.SIGKILL
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    with pytest.raises(LedgerError) as raised:
        await look(path, clock)

    assert raised.value.code == "LedgerUnfinishedWrite"
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    await place(ledger)
    assert (await look(path, clock)).orders == 2


async def test_a_folder_in_the_place_of_the_file_is_told(path, clock):
    path.mkdir(parents=True)

    with pytest.raises(LedgerError) as raised:
        await look(path, clock)

    assert raised.value.code == "LedgerUnavailable"
