"""Where the tasks are kept: in memory, or in a file that outlives its process and that several processes share."""

import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from wan_mcp.sandbox import FileStore, MemoryStore, in_process_app
from wan_mcp.sandbox.catalogue.model import Mode, WireProtocol
from wan_mcp.sandbox.errors import invalid_parameter
from wan_mcp.sandbox.requests import ListQuery
from wan_mcp.sandbox.tasks import TaskRecord

START = 1_767_323_045.0
DAY = 86_400
FILE = "sandbox.sqlite3"
TURN = 1000.0


class ManualClock:
    def __init__(self):
        self.time = START

    def now(self):
        return self.time


def record(task_id="t1", **changes):
    return replace(
        TaskRecord(
            task_id=task_id,
            request_id="r1",
            protocol=WireProtocol.LEGACY,
            model="wan2.5-t2i-preview",
            prompt="花 “flower”\n",
            width=1280,
            height=1280,
            count=4,
            seed=1,
            prompt_extend=True,
            watermark=False,
            submitted=START,
            started=START + 0.3,
            ended=START + 2,
            failure=invalid_parameter("no"),
            missing=(2,),
        ),
        **changes,
    )


async def write(store, one, *, rate=math.inf, concurrency=5):
    """Write a record as it is, whatever the time, and give it back if it was written."""
    return await store.create(one.model, lambda now, free_from: one, rate=rate, concurrency=concurrency)


async def listed(store, now=START, **query):
    query = {"since": START - DAY, "until": START + DAY, "page": 1, "page_size": 100} | query
    total, records = await store.list_page(ListQuery(**query), now)
    return total, [one.task_id for one in records]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path, clock):
    return MemoryStore(clock) if request.param == "memory" else FileStore(tmp_path, clock)


@pytest.fixture
def open_store(tmp_path, clock):
    """Open a store on the file of this test, as another process would."""
    return lambda folder="": FileStore(tmp_path / folder, clock)


async def test_a_record_is_found_just_as_it_was_written(store):
    plain = record(
        "plain", failure=None, missing=(), canceled=START + 1, watermark=True, mode=Mode.SET, transparent=True
    )
    assert await write(store, record()) == await store.find("t1") == record()
    assert await write(store, plain) == await store.find("plain") == plain
    assert await store.find("another") is None


async def test_a_task_starts_when_one_of_its_models_places_is_free(store, clock):
    for number in (3, 1, 2):
        await write(store, record(f"t{number}", ended=START + number))
    await write(store, record("canceled", ended=START + 4, canceled=START))
    await write(store, record("of another model", model="wan2.6-t2i", ended=START + 5))
    await write(store, record("of the usual length"))
    clock.time += 0.5

    async def free_from(concurrency):
        found = []

        def plan(*times):
            found.append(times)
            return record(f"with {concurrency}", model="other")

        await store.create("wan2.5-t2i-preview", plan, rate=math.inf, concurrency=concurrency)
        ((now, free),) = found
        assert now == START + 0.5
        return free - START

    assert [await free_from(concurrency) for concurrency in (1, 2, 3, 4, 5)] == [3, 2, 2, 1, 0.5]


async def test_submissions_over_the_rate_are_not_written(store, clock):
    def submit(number, rate):
        return write(store, record(f"t{number}", submitted=clock.time), rate=rate)

    assert [bool(await submit(number, 2.5)) for number in (1, 2, 3)] == [True, True, False]
    assert await store.find("t3") is None
    assert await write(store, record("of another model", model="wan2.6-t2i"), rate=1)
    clock.time += 1
    assert await submit(4, 2)
    clock.time += 3.9
    assert not await submit(5, 0.25)
    clock.time += 0.1
    assert await submit(6, 0.25)


async def test_the_list_is_cut_into_pages_with_the_newest_first(store):
    for number in (2, 1, 3):
        await write(store, record(f"t{number}", submitted=START + number))
    # Of the same time, the one that was written first comes first.
    await write(store, record("also 3", submitted=START + 3))
    assert await listed(store, page_size=3) == (4, ["t3", "also 3", "t2"])
    assert await listed(store, page_size=3, page=2) == (4, ["t1"])
    assert await listed(store, page_size=3, page=3) == (4, [])
    assert await listed(store, since=START + 2, until=START + 2) == (1, ["t2"])


async def test_the_list_holds_what_fits_all_filters(store):
    await write(store, record("pending", started=START + 1))
    await write(store, record("running", started=START, ended=START + 1))
    await write(store, record("failed", started=START - 1, ended=START))
    await write(store, record("done", started=START - 1, ended=START, failure=None, model="wan2.6-t2i"))
    await write(store, record("canceled", canceled=START - 1))
    await write(store, record("no task", protocol=WireProtocol.SYNC))
    await write(store, record("forgotten", ended=START - DAY - 1))
    await write(store, record("forgotten too", canceled=START - DAY - 1))
    for status, task_id in [
        ("PENDING", "pending"),
        ("RUNNING", "running"),
        ("FAILED", "failed"),
        ("SUCCEEDED", "done"),
        ("CANCELED", "canceled"),
    ]:
        assert await listed(store, status=status) == (1, [task_id])
    assert await listed(store) == (5, ["pending", "running", "failed", "done", "canceled"])
    assert await listed(store, model="wan2.6-t2i") == (1, ["done"])
    assert await listed(store, task_id="running") == (1, ["running"])
    assert await listed(store, task_id="running", status="PENDING") == (0, [])
    assert await listed(store, status="UNKNOWN") == (0, [])


async def test_only_a_pending_task_is_canceled_and_only_once(store, clock):
    await write(store, record("a", started=START + 1))
    await write(store, record("no task", started=START + 1, protocol=WireProtocol.SYNC))
    clock.time += 0.5
    assert await store.cancel("a")
    assert (await store.find("a")).canceled == START + 0.5
    await write(store, record("b", started=START + 0.5))
    assert [await store.cancel(task_id) for task_id in ("a", "b", "no task", "another")] == [False] * 4


async def test_what_is_over_for_a_day_is_removed_at_the_next_order(store):
    await write(store, record("old", ended=START - DAY - 1))
    await write(store, record("lately", ended=START - DAY + 1))
    await write(store, record("new"))
    assert await store.find("old") is None
    assert await store.find("lately")


async def test_a_folder_that_does_not_exist_reads_as_empty_and_is_not_made(open_store, tmp_path):
    store = open_store("none")
    assert (await store.find("t1"), await listed(store)) == (None, (0, []))
    assert not (tmp_path / "none").exists()


async def test_two_stores_on_one_file_see_each_others_changes_at_once(open_store):
    first, second = open_store("deep/folder"), open_store("deep/folder")
    await write(first, record("a"))
    await write(second, record("b"))
    assert await first.find("b") == record("b")
    assert await second.cancel("a")
    assert (await first.find("a")).canceled == START


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes")
async def test_the_file_is_its_owners_alone(open_store, tmp_path):
    await write(open_store(), record())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed")
async def test_a_file_that_was_removed_is_begun_anew(open_store, tmp_path):
    store = open_store()
    await write(store, record("a"))
    (tmp_path / FILE).unlink()
    assert await store.find("a") is None
    await write(store, record("b"))
    assert await open_store().find("b")


async def test_a_file_whose_maker_was_killed_before_anything_was_in_it_is_used(open_store, tmp_path):
    (tmp_path / FILE).touch()
    assert await open_store().find("a") is None
    assert await write(open_store(), record("a"))


@pytest.mark.parametrize(
    ("damage", "is_open"),
    [
        (slice(0, 100), False),
        (slice(100, None), False),
        (slice(0, None), False),
        pytest.param(
            slice(0, None), True, marks=pytest.mark.skipif("sys.platform == 'win32'", reason="open files stay")
        ),
    ],
)
async def test_a_damaged_file_is_put_aside_and_another_one_begun(open_store, tmp_path, caplog, damage, is_open):
    store, path = open_store(), tmp_path / FILE
    for number in range(50):
        await write(store, record(f"t{number}"))
    content = bytearray(path.read_bytes())
    content[damage] = b"\xa5" * len(content[damage])
    path.write_bytes(content)
    store = store if is_open else open_store()
    assert await store.find("t1") is None
    await write(store, record("new"))
    assert await open_store().find("new")
    assert (tmp_path / "sandbox.damaged").read_bytes() == content
    assert "damaged" in caplog.text


async def test_what_a_later_release_added_does_no_harm(open_store, tmp_path):
    store = open_store()
    await write(store, record("a"))
    await write(store, record("b"))
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("ALTER TABLE tasks ADD COLUMN mood TEXT DEFAULT 'good'")
        database.execute("UPDATE tasks SET protocol = 'of tomorrow' WHERE task_id = 'b'")
    for each in (store, open_store()):
        assert await each.find("a") == record("a")
        assert await each.find("b") is None
        assert await listed(each) == (1, ["a"])
    assert await write(store, record("c"))


async def test_a_change_waits_while_another_process_makes_one(open_store, tmp_path):
    store = open_store()
    await write(store, record("a"))
    done = anyio.Event()

    async def change():
        await write(store, record("b"))
        done.set()

    async with anyio.create_task_group() as tasks:
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            tasks.start_soon(change)
            await anyio.sleep(0.1)
            assert not done.is_set()
        with anyio.fail_after(45):
            await done.wait()


async def test_what_is_no_file_is_an_error(open_store, tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(OSError, match="cannot be used: unable to open"):
        await write(open_store(), record())


WRITER = """
import math
import sys
from pathlib import Path
import anyio
from wan_mcp.sandbox import FileStore
from test_stores import TURN, record

async def main():
    store = FileStore(Path(sys.argv[1]))
    for number in range(int(sys.argv[3])):
        def follow(now, free_from):
            return record(f"{sys.argv[2]}-{number}", submitted=now, started=free_from, ended=free_from + TURN)
        await store.create(record().model, follow, rate=math.inf, concurrency=1)
        print(number, flush=True)

anyio.run(main)
"""


def test_no_record_is_lost_when_processes_write_at_the_same_time_and_one_is_killed(open_store, tmp_path):
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, here])}

    def start(name, count):
        command = [sys.executable, "-c", WRITER, str(tmp_path), name, str(count)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    with start("a", 40) as first, start("b", 40) as second, start("victim", 1_000_000) as victim:
        while int(victim.stdout.readline()) < 25:
            pass
        victim.kill()
        written = 25 + 1 + len(victim.stdout.readlines())
        assert [first.wait(30), second.wait(30)] == [0, 0]
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        starts = dict(database.execute("SELECT task_id, started FROM tasks ORDER BY started"))
    for name, count in (("a", 40), ("b", 40), ("victim", written)):
        assert set(starts) >= {f"{name}-{number}" for number in range(count)}
    # Each saw exactly those that were written before it.
    times = list(starts.values())
    assert [later - earlier for earlier, later in pairwise(times)] == [TURN] * (len(times) - 1)
    assert anyio.run(write, open_store(), record("after"))


async def test_the_tasks_of_one_process_are_seen_by_the_next(open_harness, tmp_path):
    first, second = (open_harness(lambda clock: in_process_app(tmp_path, clock)) for _ in range(2))
    order = await first.order_legacy(n=1, size="512*512", model="wan2.2-t2i-flash")
    assert (await second.task(order))["output"]["task_status"] == "PENDING"
    assert (await second.cancel(order.json()["output"]["task_id"])).status_code == 200
    assert (await first.ended(order))["output"]["task_status"] == "CANCELED"


async def test_the_throttle_counts_across_processes(open_sandbox, open_store):
    sandboxes = [open_sandbox(store=open_store(), throttle=2) for _ in range(3)]
    assert [(await sandbox.order_async()).status_code for sandbox in sandboxes] == [200, 200, 429]
