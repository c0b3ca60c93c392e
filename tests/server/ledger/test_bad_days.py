"""Locks, full disks, damaged and vanished files: said in words, nothing lost, and over when the cause is."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from fakes.orders import OPEN, accepted, claim, new_order, place, placed, sent
from fakes.rivals import Rivals
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import ImageState, Limit, OrderImage, SqliteLedger, Stage
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")


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
    assert raised.value.advice


@pytest.fixture
async def real_ledger(path):
    """A ledger in real time, because SQLite waits for locks in real time."""
    ledger = SqliteLedger(path, SystemClock(), busy_seconds=0.3)
    yield ledger
    await ledger.close()


async def test_a_write_waits_for_as_long_as_it_may_for_a_lock(path):
    ledger = SqliteLedger(path, SystemClock(), busy_seconds=10)
    order = await sent(ledger)
    started = time.monotonic()
    with locked(path) as other:
        async with anyio.create_task_group() as group:

            @group.start_soon
            async def accept():
                await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)

            await anyio.sleep(0.5)
            other.execute("ROLLBACK")
    assert 0.5 <= time.monotonic() - started < 5
    assert (await ledger.get("task")).local_id == order.local_id
    await ledger.close()


async def test_a_lock_that_lasts_is_said_in_time_and_nothing_is_half_written(real_ledger, path):
    order = await sent(real_ledger)
    started = time.monotonic()
    with locked(path), raises_code("LedgerLocked", path):
        await real_ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)

    assert time.monotonic() - started < 1.3
    assert await real_ledger.get(order.local_id) == order
    named = await real_ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)
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
            for _ in range(10):
                group.start_soon(try_to_place)

    assert [code for code, _ in answers] == ["LedgerLocked"] * 10
    assert max(seconds for _, seconds in answers) < 1.3


async def test_a_file_that_is_locked_when_it_is_opened_is_opened_later(real_ledger, path):
    await placed(real_ledger)
    await real_ledger.close()
    with locked(path), raises_code("LedgerLocked", path):
        await real_ledger.images_since(0)

    assert await real_ledger.images_since(0) == 1


async def test_reading_goes_on_while_another_process_prepares_a_write(real_ledger, path):
    order = await placed(real_ledger)
    with locked(path, "IMMEDIATE") as other:
        other.execute("UPDATE orders SET status = 'FAILED'")
        assert await real_ledger.get(order.local_id) == order


async def test_a_write_ends_even_when_its_caller_is_cancelled(path):
    ledger = SqliteLedger(path, SystemClock(), busy_seconds=5)
    order = await sent(ledger)
    with locked(path) as other:
        async with anyio.create_task_group() as group:

            @group.start_soon
            async def accept():
                await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)

            await anyio.sleep(0.2)
            group.cancel_scope.cancel()

            @group.start_soon
            async def unlock():
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.1)
                    other.execute("ROLLBACK")

    assert (await ledger.get("task")).local_id == order.local_id
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
        await placed(ledger, request="x" * 1500)
    if not is_open:
        await ledger.close()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    with raises_code("LedgerDamaged", path):
        for _ in range(20):
            await placed(ledger, request="x" * 1500)
    with raises_code("LedgerDamaged", path):
        await ledger.page(status=None, limit=100, before=None)

    path.rename(path.with_name("damaged.sqlite3"))
    order = await placed(ledger)
    assert [row.local_id for row in await ledger.page(status=None, limit=100, before=None)] == [order.local_id]


async def test_a_database_of_another_program_is_not_taken_for_a_ledger(ledger, path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE bookmarks (url)")
        other.execute("PRAGMA user_version = 1")
    before = path.read_bytes()

    with raises_code("LedgerDamaged", path):
        await placed(ledger)
    assert path.read_bytes() == before


async def test_a_file_that_was_emptied_is_a_new_ledger_and_orders_under_way_go_on(ledger, path):
    order = await accepted(ledger, "task")
    os.truncate(path, 0)
    with pytest.raises(LedgerError):
        await placed(ledger)

    assert (await ledger.advance(order, {"status": TaskStatus.RUNNING})).status is TaskStatus.RUNNING


async def test_a_file_that_was_deleted_while_it_was_open_is_not_written_to(ledger, path):
    await placed(ledger)
    path.unlink()
    order = await placed(ledger)

    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT local_id FROM orders").fetchall() == [(order.local_id,)]


async def test_a_file_that_was_replaced_while_it_was_open_is_the_one_that_counts(ledger, path, clock):
    kept = await placed(ledger)
    await ledger.close()
    backup = path.read_bytes()
    await placed(ledger)
    path.rename(path.with_name("old"))
    path.write_bytes(backup)

    assert [row.local_id for row in await ledger.page(status=None, limit=9, before=None)] == [kept.local_id]


async def test_an_answer_is_recorded_even_when_its_orders_row_went_with_the_file(ledger, path):
    order = await sent(ledger, images=2)
    path.unlink()
    named = await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)

    assert (named.task_id, named.stage, named.request) == ("task", Stage.OPEN, order.request)
    assert (named.owner, named.version) == (order.owner, order.version)
    assert await ledger.images_since(0) == 2


async def test_an_order_under_way_is_written_down_again_with_its_images_when_the_folder_is_gone(ledger, path):
    order = await accepted(ledger, "task")
    waiting = [OrderImage(index, ImageState.WAITING, url=f"http://image/{index}") for index in (1, 2)]
    order = await ledger.advance(order, {"status": TaskStatus.SUCCEEDED, "notes": ("kept",)}, waiting)
    for entry in path.parent.iterdir():
        entry.unlink()
    path.parent.rmdir()

    saved = OrderImage(2, ImageState.SAVED, path="/pictures/2.png")
    again = await ledger.advance(order, {}, [saved])
    assert (again.task_id, again.notes, again.images) == ("task", ("kept",), (waiting[0], saved))


async def test_an_order_is_not_written_down_twice_when_its_task_was_adopted_meanwhile(ledger, path):
    order = await accepted(ledger, "task")
    path.unlink()
    adopted = await ledger.adopt(
        local_id="found", task_id="task", origin="adopted", region="singapore", account="account", changes=OPEN
    )

    assert await ledger.advance(order, {"status": TaskStatus.RUNNING}) is None
    assert await ledger.get("task") == adopted


async def test_a_state_folder_that_is_a_file_is_said_in_words(ledger, path):
    path.parent.write_text("not a folder")

    assert await ledger.exists()
    assert await ledger.token() is None
    for ask in (lambda: placed(ledger), lambda: ledger.page(status=None, limit=1, before=None)):
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
    with Rivals(1) as rivals:
        [answer] = rivals.race("order as nobody", path=path)

    assert answer["code"] == "LedgerUnavailable"
    assert str(path) in answer["text"]
    assert "WAN_MCP_STATE_DIR" in answer["text"]


@posix
async def test_a_file_that_must_not_be_written_to_is_said_in_words(open_folder):
    path = open_folder / "ledger.sqlite3"
    ledger = SqliteLedger(path, SystemClock())
    await placed(ledger)
    await ledger.close()
    path.chmod(0o444)
    open_folder.chmod(0o555)
    with Rivals(1) as rivals:
        [answer] = rivals.race("order as nobody", path=path)

    assert answer["code"] == "LedgerUnavailable"
    assert await ledger.images_since(0) == 1
    await ledger.close()


async def test_a_full_disk_is_said_in_words_and_nothing_is_half_written(ledger, path):
    order = await sent(ledger)
    pages = ledger._connection._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection._database.execute(f"PRAGMA max_page_count = {pages}")
    count = 1
    with raises_code("LedgerDiskFull", path):
        for _ in range(20):
            await placed(ledger, request="x" * 3000)
            count += 1

    assert await ledger.images_since(0) == count
    named = await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)
    assert named.task_id == "task"
    await placed(ledger, request="x" * 30_000)
    assert await ledger.images_since(0) == count + 1


@posix
def test_a_file_that_may_not_grow_is_said_in_words_and_works_again_when_it_may(path):
    with Rivals(1) as rivals:
        [answer] = rivals.race("fill", path=path, file_bytes=150_000)

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
        await placed(ledger, request="x" * 3000)
    before = await ledger.page(status=None, limit=100, before=None)
    data = path.read_bytes()
    write_half(path)
    assert path.read_bytes() != data

    assert await ledger.page(status=None, limit=100, before=None) == before
    await placed(ledger)


async def test_a_clock_that_is_set_back_an_hour_changes_nothing_for_orders_and_their_images(ledger, clock):
    order = await accepted(ledger, "task", fingerprint="same", images=2)
    clock.set_back(3600)

    assert await ledger.advance(order, {"status": TaskStatus.RUNNING}) is not None
    assert (await place(ledger, fingerprint="same")).joined
    await placed(ledger)
    assert await ledger.images_since(clock.now() - 86_400) == 3
    assert len(await ledger.page(status=None, limit=9, before=None)) == 2


async def test_one_row_that_sqlite_refuses_is_an_error_and_the_next_call_works(ledger):
    order = await placed(ledger)
    with pytest.raises(LedgerError, match="cannot be used"):
        await ledger.place(
            new_order(local_id=order.local_id), owner="me", lease=30, wanted_until=0, daily_limit=0, join=True
        )

    assert await ledger.get(order.local_id) == order
    assert await ledger.turn(Limit("query", 1.0)) == 0
    assert await claim(ledger) == []
