"""Tasks that outlive their process, and a file that several processes share."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from blockbuster import blockbuster_ctx

from wan_mcp.sandbox import IN_PROCESS_URL, JournalStore, MemoryStore, in_process_app
from wan_mcp.sandbox.locks import held
from wan_mcp.sandbox.models import Wire
from wan_mcp.sandbox.records import TaskRecord
from wan_mcp.sandbox.refusals import Trouble

START = 1_767_323_045.0


class StandingClock:
    def now(self):
        return START


def record(task_id="t1", **changes):
    return replace(
        TaskRecord(
            task_id=task_id,
            request_id="r1",
            wire=Wire.LEGACY,
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
            failure=Trouble("InvalidParameter", "no"),
            missing=(2,),
        ),
        **changes,
    )


def open_store(folder, **options):
    return JournalStore(folder, StandingClock(), **options)


async def write(store, one):
    await store.change(lambda _: (None, one))


async def test_a_record_is_read_back_by_another_store_just_as_it_was(tmp_path):
    await write(open_store(tmp_path / "deep" / "folder"), record())
    assert await open_store(tmp_path / "deep" / "folder").read() == {"t1": record()}


async def test_a_folder_that_does_not_exist_reads_as_empty_and_is_not_made(tmp_path):
    assert await open_store(tmp_path / "none").read() == {}
    assert not (tmp_path / "none").exists()


async def test_two_stores_on_one_file_see_each_others_changes_at_once(tmp_path):
    first, second = open_store(tmp_path), open_store(tmp_path)
    await write(first, record("a"))
    await write(second, record("b"))
    assert set(await first.read()) == set(await second.read()) == {"a", "b"}

    def cancel(records):
        return None, replace(records["a"], canceled=START + 0.1)

    await second.change(cancel)
    assert (await first.read())["a"].canceled == START + 0.1
    assert (tmp_path / "sandbox-tasks.jsonl").read_bytes().count(b"\n") == 3


async def test_what_decides_sees_the_latest_records_and_writes_only_if_it_wants(tmp_path):
    first, second = open_store(tmp_path), open_store(tmp_path)
    await write(first, record("a"))
    assert await second.change(lambda records: (sorted(records), None)) == ["a"]
    assert (tmp_path / "sandbox-tasks.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("cut", [1, 20, 200])
async def test_a_torn_last_line_is_passed_over_and_does_not_spoil_the_next(tmp_path, cut):
    store = open_store(tmp_path)
    await write(store, record("a"))
    await write(store, record("b"))
    path = tmp_path / "sandbox-tasks.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert set(await open_store(tmp_path).read()) == {"a"}
    assert set(await store.read()) == {"a"}
    await write(store, record("c"))
    # Only the last byte was missing: with the line break back the record is whole again.
    kept = {"a", "b", "c"} if cut == 1 else {"a", "c"}
    assert set(await store.read()) == set(await open_store(tmp_path).read()) == kept


async def test_a_line_under_way_is_taken_in_once_it_is_whole(tmp_path):
    store, path = open_store(tmp_path), tmp_path / "sandbox-tasks.jsonl"
    await write(store, record("a"))
    line = path.read_bytes().replace(b'"a"', b'"b"')
    with path.open("ab") as file:
        file.write(line[:50])
        file.flush()
        assert set(await store.read()) == {"a"}
        file.write(line[50:])
    assert set(await store.read()) == {"a", "b"}


@pytest.mark.parametrize("line", [b"{}", b"\xff\xfe", b"null", b'{"task_id": 5}', b"", b"\x00" * 30])
async def test_lines_that_are_no_records_are_passed_over(tmp_path, line):
    store = open_store(tmp_path)
    await write(store, record("a"))
    with (tmp_path / "sandbox-tasks.jsonl").open("ab") as file:
        file.write(line + b"\n")
    await write(store, record("b"))
    assert set(await store.read()) == set(await open_store(tmp_path).read()) == {"a", "b"}


async def test_a_line_of_a_later_release_with_more_fields_is_read(tmp_path):
    await write(open_store(tmp_path), record("a"))
    path = tmp_path / "sandbox-tasks.jsonl"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "good"}) + "\n")
    assert await open_store(tmp_path).read() == {"a": record("a")}


async def test_a_large_file_is_rewritten_at_the_start_without_what_is_over(tmp_path):
    old = open_store(tmp_path)
    for number in range(30):
        await write(old, record(f"old-{number}", ended=START - 86_401))
        await write(old, record("kept", seed=number))
    path = tmp_path / "sandbox-tasks.jsonl"
    size = path.stat().st_size
    assert set(await open_store(tmp_path, compact_above=1000).read()) >= {"kept", "old-29"}
    assert path.stat().st_size == size
    fresh = open_store(tmp_path, compact_above=1000)
    await write(fresh, record("new"))
    assert path.read_bytes().count(b"\n") == 2
    expected = {"kept": record("kept", seed=29), "new": record("new")}
    assert await fresh.read() == await old.read() == await open_store(tmp_path).read() == expected
    await write(old, record("more"))
    assert set(await fresh.read()) == {"kept", "new", "more"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sandbox-tasks.jsonl", "sandbox-tasks.lock"]


@pytest.mark.parametrize("in_memory", [True, False])
async def test_what_is_over_for_a_day_leaves_the_memory_at_the_next_change(tmp_path, in_memory):
    store = MemoryStore(StandingClock()) if in_memory else open_store(tmp_path)
    await write(store, record("old", ended=START - 86_401))
    await write(store, record("canceled", ended=START, canceled=START - 86_401))
    await write(store, record("lately", ended=START - 86_399))
    await write(store, record("new"))
    await write(store, record("newer"))
    assert set(await store.read()) == {"lately", "new", "newer"}


async def test_a_file_that_was_removed_is_begun_anew(tmp_path):
    store = open_store(tmp_path)
    await write(store, record("a"))
    (tmp_path / "sandbox-tasks.jsonl").unlink()
    assert await store.read() == {}
    await write(store, record("b"))
    assert set(await store.read()) == {"b"}


async def test_a_change_waits_while_another_holds_the_lock(tmp_path):
    store = open_store(tmp_path)
    done = anyio.Event()

    async def change():
        await write(store, record("a"))
        done.set()

    async with anyio.create_task_group() as tasks:
        with held(tmp_path / "sandbox-tasks.lock"):
            tasks.start_soon(change)
            await anyio.sleep(0.1)
            assert not done.is_set()
        with anyio.fail_after(3):
            await done.wait()


WRITER = """
import sys
from pathlib import Path
import anyio
from wan_mcp.sandbox import JournalStore
from test_journal import record

async def main():
    store = JournalStore(Path(sys.argv[1]), compact_above=4000)
    for number in range(40):
        def count(records):
            one = record(f"{sys.argv[2]}-{number}", seed=len(records), submitted=4e9, started=4e9, ended=4e9)
            return None, one
        await store.change(count)

anyio.run(main)
"""


def test_no_record_is_lost_when_processes_write_and_compact_at_the_same_time(tmp_path):
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, here])}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], env=environment) for name in "abc"
    ]
    assert [writer.wait(30) for writer in writers] == [0, 0, 0]
    records = anyio.run(open_store(tmp_path).read)
    assert set(records) == {f"{name}-{number}" for name in "abc" for number in range(40)}
    # Each saw exactly those that were written before it.
    assert sorted(one.seed for one in records.values()) == list(range(120))


async def test_nothing_blocks_the_event_loop(open_harness, tmp_path):
    sandbox = open_harness(lambda clock: in_process_app(tmp_path / "state", clock))
    with blockbuster_ctx():
        task_id = (await sandbox.order_async(n=1)).json()["output"]["task_id"]
        await sandbox.cancel(task_id)
        task = await sandbox.ended(await sandbox.order_legacy(n=1, model="wan2.2-t2i-flash"))
        await sandbox.listed()
        assert (await sandbox.client.get(task["output"]["results"][0]["url"])).status_code == 200


async def test_the_tasks_of_one_process_are_seen_by_the_next(open_sandbox, tmp_path):
    first = open_sandbox(store=open_store(tmp_path))
    order = await first.order_legacy(n=1, size="512*512", model="wan2.2-t2i-flash")
    second = open_sandbox(store=open_store(tmp_path))
    assert (await second.task(order))["output"]["task_status"] == "PENDING"
    assert (await second.cancel(order.json()["output"]["task_id"])).status_code == 200
    assert (await first.ended(order))["output"]["task_status"] == "CANCELED"


async def test_the_throttle_counts_across_processes(open_sandbox, tmp_path):
    sandboxes = [open_sandbox(store=open_store(tmp_path), throttle=2) for _ in range(3)]
    assert [(await sandbox.order_async()).status_code for sandbox in sandboxes] == [200, 200, 429]


async def test_a_file_that_cannot_be_written_is_an_error_of_the_service(open_sandbox, tmp_path):
    (tmp_path / "sandbox-tasks.jsonl").mkdir()
    answer = await open_sandbox(store=open_store(tmp_path)).order_async()
    assert (answer.status_code, answer.json()["code"]) == (500, "InternalError")


async def test_the_sandbox_inside_the_process_links_to_a_name_that_no_resolver_answers(open_harness, tmp_path):
    sandbox = open_harness(lambda clock: in_process_app(tmp_path, clock))
    sandbox.client.base_url = "http://elsewhere.invalid"
    task = await sandbox.ended(await sandbox.order_async(n=1))
    url = task["output"]["choices"][0]["message"]["content"][0]["image"]
    assert url.startswith(IN_PROCESS_URL + "/results/")
    assert (await sandbox.client.get(url)).headers["content-type"] == "image/png"
    assert (tmp_path / "sandbox-tasks.jsonl").exists()
