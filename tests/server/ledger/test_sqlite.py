"""Locks, full disks, damaged and vanished files: said in words, nothing lost, and over when the cause is."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from fakes.clock import LONGEST
from fakes.orders import (
    accept,
    accepted,
    claim,
    list_ids,
    make_found,
    make_order,
    make_request,
    place,
    placed,
    save,
    sent,
)
from fakes.processes import Processes
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import DAY, ImageState, OrderImage, RateLimit
from wan_mcp.ledger.backends.sqlite import SqliteDatabase, open_sqlite_ledger
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
SOON = 15.0
"""Fifty times the seconds for which `real_ledger` waits for a lock: a busy machine answers in less."""
CALLS = 100


@contextmanager
def locked(path, kind="EXCLUSIVE"):
    """Hold the file as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute(f"BEGIN {kind}")
        try:
            yield other
        finally:
            if other.in_transaction:
                other.execute("ROLLBACK")


@contextmanager
def raises_code(code, path):
    """Expect an error of the ledger that names the file."""
    with pytest.raises(LedgerError) as raised:
        yield
    assert (raised.value.code, str(path) in raised.value.message) == (code, True)
    assert raised.value.advice or raised.value.next_step


@pytest.fixture
async def real_ledger(path):
    """A ledger in real time, because SQLite waits for locks in real time."""
    ledger = open_sqlite_ledger(path, SystemClock(), busy_seconds=0.3)
    yield ledger
    await ledger.close()


async def test_a_write_about_orders_is_on_the_disk_when_it_returns(databases):
    # 2 is FULL: https://sqlite.org/pragma.html#pragma_synchronous
    rows = await databases[0].write(lambda tx: tx.execute("PRAGMA synchronous"))
    await databases[0].close()
    assert [row["synchronous"] for row in rows] == [2]


async def test_a_write_waits_for_as_long_as_it_may_for_a_lock(path):
    ledger = open_sqlite_ledger(path, SystemClock(), busy_seconds=LONGEST)
    order = await sent(ledger)
    answered = anyio.Event()
    with locked(path) as other:
        async with anyio.create_task_group() as group:

            @group.start_soon
            async def answer():
                await accept(ledger, order)
                answered.set()

            await anyio.sleep(0.5)
            assert not answered.is_set()
            other.execute("ROLLBACK")
    assert (await ledger.orders.get("task")).local_id == order.local_id
    await ledger.close()


async def test_a_lock_that_lasts_is_said_in_time_and_nothing_is_half_written(real_ledger, path):
    order = await sent(real_ledger)
    started = time.monotonic()
    with locked(path), raises_code("LedgerLocked", path):
        await accept(real_ledger, order)

    assert time.monotonic() - started < SOON
    assert await real_ledger.orders.get(order.local_id) == order
    named = await accept(real_ledger, order)
    assert named.task_id == "task"


async def test_calls_that_stand_in_line_at_a_lock_all_answer_in_time(real_ledger, path):
    await placed(real_ledger)
    answers = []

    async def try_to_place():
        with pytest.raises(LedgerError) as raised:
            await placed(real_ledger)
        answers.append((raised.value.code, time.monotonic() - started))

    with locked(path):
        started = time.monotonic()
        async with anyio.create_task_group() as group:
            for _ in range(CALLS):
                group.start_soon(try_to_place)

    assert [code for code, _ in answers] == ["LedgerLocked"] * CALLS
    # One after the other they would take twice as long.
    assert max(seconds for _, seconds in answers) < SOON


async def test_a_file_that_is_locked_when_it_is_opened_is_opened_later(real_ledger, path):
    await placed(real_ledger)
    await real_ledger.close()
    with locked(path), raises_code("LedgerLocked", path):
        await real_ledger.reports.count_images_since(0)

    assert await real_ledger.reports.count_images_since(0) == 1


async def test_reading_goes_on_while_another_process_prepares_a_write(real_ledger, path):
    order = await placed(real_ledger)
    with locked(path, "IMMEDIATE") as other:
        other.execute("UPDATE orders SET status = 'FAILED'")
        assert await real_ledger.orders.get(order.local_id) == order


async def test_a_write_ends_even_when_its_caller_is_cancelled(path):
    ledger = open_sqlite_ledger(path, SystemClock(), busy_seconds=5)
    order = await sent(ledger)
    with locked(path) as other:
        async with anyio.create_task_group() as group:

            @group.start_soon
            async def answer():
                await accept(ledger, order)

            await anyio.sleep(0.2)
            group.cancel_scope.cancel()

            @group.start_soon
            async def unlock():
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.1)
                    other.execute("ROLLBACK")

    assert (await ledger.orders.get("task")).local_id == order.local_id
    await ledger.close()


DAMAGES = {
    "another file's bytes": lambda data: b"\x89PNG\r\n\x1a\n" + b"\xaa" * 9000,
    "a torn end": lambda data: data[: len(data) // 2],
    "a wiped first page": lambda data: b"\x00" * 4096 + data[4096:],
    "text": lambda data: b"hello\n" * 400,
    # SQLite cannot see this while it has the pages in memory.
    "a scribbled middle": lambda data: data[:4096] + b"\xaa" * (len(data) - 4096),
}
CASES = [
    (name, is_open)
    for name in DAMAGES
    for is_open in (False, True)
    if (name, is_open) != ("a scribbled middle", True)
]


@pytest.mark.parametrize(("damage", "is_open"), CASES)
async def test_a_damaged_file_is_named_and_the_ledger_works_again_when_it_is_moved_away(
    ledger, path, damage, is_open
):
    for _ in range(20):
        await placed(ledger, request=make_request("x" * 1500))
    if not is_open:
        await ledger.close()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    with raises_code("LedgerDamaged", path):
        for _ in range(20):
            await placed(ledger, request=make_request("x" * 1500))
    with raises_code("LedgerDamaged", path):
        await list_ids(ledger)

    path.rename(path.with_name("damaged.sqlite3"))
    order = await placed(ledger)
    assert await list_ids(ledger) == [order.local_id]


async def test_a_database_of_another_program_is_not_taken_for_a_ledger(ledger, path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE bookmarks (url)")
        other.execute("PRAGMA user_version = 1")
    before = path.read_bytes()

    with raises_code("LedgerDamaged", path):
        await placed(ledger)
    assert path.read_bytes() == before


NO_LEDGERS = {
    "tables and no version": "CREATE TABLE bookmarks (url)",
    "tables of our names and no version": "CREATE TABLE orders (id); CREATE TABLE images (id)",
    "a version below the first": "PRAGMA user_version = -5",
    "the lowest version that there is": "PRAGMA user_version = -2147483648",
}
CHANGES = {
    "a table is gone": "DROP TABLE images",
    "a column is gone": "ALTER TABLE orders RENAME COLUMN stage TO step",
    "a trigger that undoes what is written": (
        "CREATE TRIGGER t BEFORE UPDATE ON orders BEGIN SELECT RAISE(IGNORE); END"
    ),
    "a trigger that removes what is written": "CREATE TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM orders; END",
    "a view in the place of a table": (
        "CREATE TABLE o AS SELECT * FROM orders; DROP TABLE orders; CREATE VIEW orders AS SELECT * FROM o"
    ),
    "a schema that cannot be parsed": (
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = CAST(x'435245d8' AS TEXT) WHERE name = 'orders'"
    ),
}


@pytest.mark.parametrize("content", NO_LEDGERS)
async def test_a_database_that_no_release_made_is_left_as_it_is(ledger, path, content):
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(NO_LEDGERS[content])
    before = path.read_bytes()

    for ask in (lambda: placed(ledger), lambda: list_ids(ledger), lambda: claim(ledger)):
        with raises_code("LedgerDamaged", path):
            await ask()
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_open", [False, True])
async def test_a_ledger_whose_tables_were_changed_is_refused_and_nothing_else_happens(ledger, path, change, is_open):
    await placed(ledger)
    if not is_open:
        await ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.executescript(CHANGES[change])

    if is_open and ("trigger" in change or "parsed" in change):
        # What SQLite has in memory is looked at again when the file is opened again.
        await ledger.close()
    for _ in range(2):
        with raises_code("LedgerDamaged", path):
            await placed(ledger)
            await list_ids(ledger)


@posix
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a link to itself"])
async def test_a_ledger_that_is_no_file_is_said_in_words_and_not_waited_for(ledger, path, kind):
    path.parent.mkdir()
    match kind:
        case "a pipe":
            os.mkfifo(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(path)

    for _ in range(2):
        with anyio.fail_after(LONGEST), raises_code("LedgerUnavailable", path):
            await placed(ledger)


async def test_damage_to_what_may_be_forgotten_is_not_even_noticed(ledger, path):
    limit = RateLimit("query", 1.0, is_durable=False)
    pace = path.with_name("pace.sqlite3")
    path.parent.mkdir()
    for content in (b"no database" * 1000, b"", b"SQLite format 3\x00"):
        await ledger.close()
        pace.write_bytes(content)
        assert await ledger.limits.reserve(limit) == 0.0
        assert await ledger.limits.reserve(limit) == 1.0
    with closing(sqlite3.connect(pace, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER t BEFORE UPDATE ON limits BEGIN SELECT RAISE(IGNORE); END")
    await ledger.close()
    assert await ledger.limits.reserve(limit) == 0.0
    assert await ledger.limits.reserve(limit) == 1.0


async def test_a_file_that_was_emptied_is_a_new_ledger_and_orders_under_way_go_on(ledger, path):
    order = await accepted(ledger)
    os.truncate(path, 0)
    with pytest.raises(LedgerError):
        await placed(ledger)

    assert (await save(ledger, order, status=TaskStatus.RUNNING)).status is TaskStatus.RUNNING


async def test_a_file_that_was_deleted_while_it_was_open_is_not_written_to(ledger, path):
    await placed(ledger)
    path.unlink()
    order = await placed(ledger, region="sandbox")

    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT local_id FROM orders").fetchall() == [(order.local_id,)]


async def test_what_costs_money_is_placed_only_in_the_file_that_was_there_from_the_beginning(ledger, path):
    await placed(ledger)
    path.unlink()
    for _ in range(2):
        with raises_code("LedgerReplaced", path):
            await placed(ledger)

    assert await list_ids(ledger) == []


async def test_a_damaged_file_that_was_moved_away_as_advised_is_followed_by_a_new_one(ledger, path):
    await placed(ledger)
    path.write_bytes(b"no database" * 1000)
    with raises_code("LedgerDamaged", path):
        await placed(ledger)
    path.rename(path.with_name("damaged"))

    order = await placed(ledger)
    assert await list_ids(ledger) == [order.local_id]


async def test_a_file_that_was_replaced_while_it_was_open_is_the_one_that_counts(ledger, path, clock):
    kept = await placed(ledger)
    await ledger.close()
    backup = path.read_bytes()
    await placed(ledger)
    path.rename(path.with_name("old"))
    path.write_bytes(backup)

    assert await list_ids(ledger) == [kept.local_id]


async def test_an_order_under_way_is_written_down_again_with_its_images_when_the_folder_is_gone(ledger, path):
    order = await accepted(ledger)
    waiting = tuple(OrderImage(index, ImageState.WAITING, url=f"http://image/{index}") for index in (1, 2))
    order = await save(ledger, order, status=TaskStatus.SUCCEEDED, notes=("kept",), images=waiting)
    for entry in path.parent.iterdir():
        entry.unlink()
    path.parent.rmdir()

    saved = OrderImage(2, ImageState.SAVED, path="/pictures/2.png")
    again = await save(ledger, order, images=(waiting[0], saved))
    assert (again.task_id, again.notes, again.images) == ("task", ("kept",), (waiting[0], saved))


async def test_an_order_is_not_written_down_twice_when_its_task_was_adopted_meanwhile(ledger, path):
    order = await accepted(ledger)
    path.unlink()
    adopted = await ledger.orders.adopt(make_found("task"))

    assert await save(ledger, order, status=TaskStatus.RUNNING) is None
    assert await ledger.orders.get("task") == adopted


async def test_a_state_folder_that_is_a_file_is_said_in_words(ledger, path):
    path.parent.write_text("not a folder")

    assert await ledger.exists()
    assert await ledger.version() is None
    for ask in (lambda: placed(ledger), lambda: list_ids(ledger)):
        with pytest.raises(LedgerError, match="is a file, and the ledger needs a folder there") as raised:
            await ask()
        assert str(path.parent) in raised.value.message
        assert "WAN_MCP_STATE_DIR" in raised.value.advice
    path.parent.unlink()
    await placed(ledger)


async def test_a_ledger_that_is_a_folder_is_said_in_words(ledger, path):
    path.mkdir(parents=True)

    with raises_code("LedgerUnavailable", path):
        await placed(ledger)
    path.rmdir()
    await placed(ledger)


@pytest.fixture
def open_folder():
    """A folder whose parents everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@posix
def test_a_folder_that_must_not_be_written_to_is_said_in_words(open_folder):
    path = open_folder / "ledger.sqlite3"
    open_folder.chmod(0o555)
    with Processes(1) as processes:
        [answer] = processes.run_all("order as nobody", path=path)

    assert answer["code"] == "LedgerUnavailable"
    assert str(path) in answer["text"]
    assert "WAN_MCP_STATE_DIR" in answer["text"]


@posix
async def test_a_file_that_must_not_be_written_to_is_said_in_words(open_folder):
    path = open_folder / "ledger.sqlite3"
    ledger = open_sqlite_ledger(path, SystemClock())
    await placed(ledger)
    await ledger.close()
    path.chmod(0o444)
    open_folder.chmod(0o555)
    with Processes(1) as processes:
        [answer] = processes.run_all("order as nobody", path=path)

    assert answer["code"] == "LedgerUnavailable"
    assert await ledger.reports.count_images_since(0) == 1
    await ledger.close()


async def test_a_full_disk_is_said_in_words_and_nothing_is_half_written(ledger, databases, path):
    order = await sent(ledger)
    connection = databases[0].database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    count = 1
    with raises_code("LedgerDiskFull", path):
        for _ in range(20):
            await placed(ledger, request=make_request("x" * 3000))
            count += 1

    assert await ledger.reports.count_images_since(0) == count
    named = await accept(ledger, order)
    assert named.task_id == "task"
    await placed(ledger, request=make_request("x" * 30_000))
    assert await ledger.reports.count_images_since(0) == count + 1


@posix
def test_a_file_that_may_not_grow_is_said_in_words_and_works_again_when_it_may(path):
    with Processes(1) as processes:
        [answer] = processes.run_all("fill", path=path, file_bytes=170_000)

    assert answer["code"] in ("LedgerUnavailable", "LedgerDiskFull")
    assert answer["placed"] > 3
    assert answer["readable"] == answer["placed"]
    assert answer["afterwards"] == answer["placed"] + 1


HALF_WRITE = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = PERSIST")
database.execute("PRAGMA cache_size = 2")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE orders SET status = 'FAILED', request = request || 'torn'")
print("written", flush=True)
time.sleep(60)
"""


def write_half(path):
    """Let a process write a part of a transaction to the file, and kill it."""
    with subprocess.Popen([sys.executable, "-c", HALF_WRITE, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)


@posix
async def test_what_a_killed_process_had_half_written_is_taken_back(ledger, path):
    for _ in range(40):
        await placed(ledger, request=make_request("x" * 3000))
    before = await list_ids(ledger)
    data = path.read_bytes()
    write_half(path)
    assert path.read_bytes() != data

    assert await list_ids(ledger) == before
    await placed(ledger)


async def test_a_clock_that_is_set_back_an_hour_changes_nothing_for_orders_and_their_images(ledger, clock):
    order = await accepted(ledger, fingerprint="same", images_ordered=2)
    clock.set_back(3600)

    assert await save(ledger, order, status=TaskStatus.RUNNING) is not None
    assert (await place(ledger, fingerprint="same")).deduplicated
    await placed(ledger)
    assert await ledger.reports.count_images_since(clock.now() - DAY) == 3
    assert len(await list_ids(ledger)) == 2


async def test_one_row_that_sqlite_refuses_is_an_error_and_the_next_call_works(ledger):
    order = await placed(ledger)
    with pytest.raises(LedgerError, match="cannot be used"):
        await ledger.orders.place(make_order(local_id=order.local_id), lease=30, deduplicate=True)

    assert await ledger.orders.get(order.local_id) == order
    assert await ledger.limits.reserve(RateLimit("query", 1.0)) == 0
    assert await claim(ledger) == []


@posix
@pytest.mark.parametrize("umask", [0, 0o022, 0o277])
async def test_the_ledger_and_its_folder_are_their_owners_alone_whatever_the_umask(tmp_path, umask):
    path = tmp_path / "state" / "ledger.sqlite3"
    before = os.umask(umask)
    try:
        ledger = open_sqlite_ledger(path, SystemClock())
        await sent(ledger)
        await ledger.close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "ledger.sqlite3" in modes


@posix
async def test_a_ledger_that_others_may_read_or_write_is_taken_from_them_and_its_folder_is_left_alone(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    ledger = open_sqlite_ledger(path, SystemClock())
    await placed(ledger)
    await ledger.close()
    tmp_path.chmod(0o755)
    for each in tmp_path.iterdir():
        each.chmod(0o666)

    ledger = open_sqlite_ledger(path, SystemClock())
    await placed(ledger)
    await ledger.close()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob("ledger*")} == {0o600}


async def test_nothing_waits_behind_a_read_of_much(path):
    database, is_over, has_begun = SqliteDatabase(path, SystemClock()), threading.Event(), threading.Event()
    await database.read(lambda tx: tx.execute("SELECT 1"))

    def read_long(tx):
        tx.execute("SELECT COUNT(*) FROM orders")
        has_begun.set()
        return is_over.wait(60)

    async with anyio.create_task_group() as group:
        group.start_soon(database.read_apart, read_long)
        await anyio.to_thread.run_sync(has_begun.wait, 60)
        try:
            assert await database.read(lambda tx: tx.execute("SELECT 1 AS one")) == [{"one": 1}]
        finally:
            is_over.set()
    await database.close()
