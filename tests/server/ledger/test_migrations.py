"""The file is brought up to date once, whole or not at all, and never behind a newer release's back."""

import sqlite3
from contextlib import closing

import pytest

from fakes.clock import FakeClock
from fakes.orders import LEASE, accept, accepted, claim, list_ids, place, save, sent
from fakes.processes import Processes
from wan_mcp.ledger import ImageState, OrderImage
from wan_mcp.ledger.backends.sqlite import SqliteDatabase, open_sqlite_ledger
from wan_mcp.ledger.migrations import MIGRATIONS
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.tasks import TaskStatus

NEWEST = max(MIGRATIONS)
WITH_PRINCIPALS = 4
NEXT = (
    "ALTER TABLE orders ADD COLUMN colour TEXT",
    "ALTER TABLE images ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",
)


def run(path, *statements):
    """Do to the file what another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        return [database.execute(statement).fetchall() for statement in statements]


def version(path):
    return run(path, "PRAGMA user_version")[0][0][0]


def columns(path, table="orders"):
    return {row[1] for row in run(path, f"PRAGMA table_info({table})")[0]}


async def open_with(path, migrations):
    database = SqliteDatabase(path, FakeClock(), migrations=migrations)
    try:
        await database.read(lambda tx: tx.execute("SELECT 1"))
    finally:
        await database.close()


async def test_a_fresh_file_has_the_newest_version(path):
    await open_with(path, MIGRATIONS)

    assert version(path) == NEWEST
    assert columns(path) > {"local_id", "task_id", "lease_until"}


def test_six_processes_may_open_a_fresh_folder_at_once(tmp_path):
    with Processes(6) as processes:
        for number in range(5):
            path = tmp_path / f"{number}" / "state" / "ledger.sqlite3"
            assert processes.run_all("look", path=path) == [{"images": 0}] * 6
            assert version(path) == NEWEST


async def test_only_the_steps_that_are_missing_are_taken(path):
    await open_with(path, MIGRATIONS)
    await open_with(path, MIGRATIONS | {NEWEST + 1: NEXT})
    await open_with(path, MIGRATIONS | {NEWEST + 1: ("not even SQL",)})

    assert version(path) == NEWEST + 1
    assert "colour" in columns(path)


async def test_what_an_older_release_has_written_or_goes_on_writing_is_the_local_users(path, clock):
    older = {number: steps for number, steps in MIGRATIONS.items() if number < WITH_PRINCIPALS}
    old = SqliteDatabase(path, clock, migrations=older)
    columns_then = "local_id, origin, region, account, images_ordered, stage, status, created_at"
    row = "'singapore', 'account', 1, 'OPEN', 'RUNNING', 1.0"
    await old.write(
        lambda tx: tx.execute(f"INSERT INTO orders ({columns_then}) VALUES ('local-old', 'ordered', {row})")
    )
    new = open_sqlite_ledger(path, clock)
    await place(new, principal="ada")
    # A window that was opened before goes on with the statements that it knows.
    await old.write(
        lambda tx: tx.execute(f"INSERT INTO orders ({columns_then}) VALUES ('local-beside', 'ordered', {row})")
    )

    found = {local_id: (await new.orders.get(local_id)).principal for local_id in ("local-old", "local-beside")}
    assert found == {"local-old": LOCAL_ID, "local-beside": LOCAL_ID}
    assert [order.principal for order in await new.search.list_orders(status=None, limit=1, before=None)] == ["ada"]
    await old.close()
    await new.close()


async def test_the_log_tells_when_what_an_older_release_wrote_is_brought_up_to_date(path, caplog):
    older = {number: steps for number, steps in MIGRATIONS.items() if number < NEWEST}
    await open_with(path, older)
    assert not caplog.records
    await open_with(path, MIGRATIONS)
    told = [record.getMessage() for record in caplog.records]
    await open_with(path, MIGRATIONS)

    assert f"from version {NEWEST - 1} to {NEWEST}" in told[0]
    assert told[1].endswith("is up to date")
    assert len(caplog.records) == len(told)


async def test_a_step_that_fails_leaves_the_file_at_the_version_before_it(path):
    await open_with(path, MIGRATIONS)
    with pytest.raises(LedgerError):
        await open_with(path, MIGRATIONS | {NEWEST + 1: (*NEXT, "ALTER TABLE nothing ADD COLUMN x")})

    assert version(path) == NEWEST
    assert "colour" not in columns(path)
    await open_with(path, MIGRATIONS | {NEWEST + 1: NEXT})
    assert version(path) == NEWEST + 1


async def test_when_the_last_step_fails_none_of_a_fresh_file_is_left_half_made(path):
    with pytest.raises(LedgerError):
        await open_with(path, MIGRATIONS | {NEWEST + 1: ("ALTER TABLE nothing ADD COLUMN x",)})

    assert version(path) == 0
    assert run(path, "SELECT count(*) FROM sqlite_master") == [[(0,)]]
    await open_with(path, MIGRATIONS)


async def test_a_file_of_a_newer_release_is_refused_politely_and_left_alone(ledger, path, clock):
    await place(ledger)
    run(path, f"PRAGMA user_version = {NEWEST + 1}")
    before = path.read_bytes()

    fresh = open_sqlite_ledger(path, clock)
    with pytest.raises(LedgerError, match="newer release") as raised:
        await place(fresh)
    await fresh.close()

    assert raised.value.code == "LedgerTooNew"
    assert "Update wan-mcp" in raised.value.advice
    assert path.read_bytes() == before


async def test_a_window_of_an_older_release_goes_on_beside_a_newer_one(ledger, path, clock):
    order = await accepted(ledger, "task")
    order = await save(ledger, order, images=(OrderImage(1, ImageState.WAITING, url="http://image"),))
    run(path, *NEXT, f"PRAGMA user_version = {NEWEST + 1}")
    run(path, "UPDATE orders SET colour = 'blue'")

    images = (*order.images, OrderImage(2, ImageState.WAITING))
    later = await save(ledger, order, status=TaskStatus.SUCCEEDED, images=images)
    assert [image.index for image in later.images] == [1, 2]
    assert not (await place(ledger)).deduplicated
    assert len(await list_ids(ledger)) == 2
    clock.advance(LEASE)
    assert len(await claim(ledger)) == 2
    assert run(path, "SELECT colour FROM orders WHERE task_id = 'task'") == [[("blue",)]]


async def test_a_window_of_an_older_release_goes_on_after_it_had_to_open_the_file_again(ledger, path):
    order = await sent(ledger)
    run(path, *NEXT, f"PRAGMA user_version = {NEWEST + 1}")
    await ledger.close()

    assert (await accept(ledger, order)).task_id == "task"
