"""What one process leaves, another finishes: at its start, by `collect`, and by the keeper."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from fakes.clock import LONGEST, until, wait_until
from fakes.dashscope import FakeService
from fakes.order_service import (
    HURRIED_WAIT,
    get,
    hurried_service,
    leftovers,
    make_settings,
    order,
    running_service,
    saved_files,
    submit,
)
from fakes.stdio_client import environment
from wan_mcp.clock import SystemClock
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus


async def test_what_an_earlier_run_left_is_saved_at_the_next_start_without_being_asked(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            await submit(service, n=2)
        assert not saved_files(settings)
        dashscope.advance(120)
        async with running_service(settings):
            await until(lambda: len(saved_files(settings)) == 2)

    assert len(dashscope.creates) == 1


async def test_a_caller_in_one_process_sees_a_task_that_another_follows_end(tmp_path):
    with FakeService(duration=0.8) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, lease=60.0) as one, running_service(settings, lease=60.0) as other:
            task = await submit(one)
            seen = await get(other, task.task_id)

            assert seen.status is TaskStatus.SUCCEEDED
            assert len(seen.images) == 1
    assert len(saved_files(settings)) == 1
    assert not leftovers(settings)
    assert dashscope.count_served().total() == 1


async def test_collecting_to_the_end_finishes_what_is_open_and_says_so(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            for number in range(3):
                await submit(service, f"picture {number}")
        dashscope.advance(120)
        async with running_service(settings, take_over=False) as service:
            summary = await service.collect(None, wait=True)

    assert (summary.finished, summary.saved, summary.open, summary.problems) == (3, 3, 0, ())
    assert len(saved_files(settings)) == 3


async def test_collecting_asks_once_for_each_open_task_saves_what_is_ready_and_leaves_the_rest(tmp_path):
    # By the learned pace, the first question would come an hour after the order.
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, first_poll=3600) as service:
            ready = [await submit(service, f"picture {number}", n=2) for number in range(3)]
            dashscope.advance(60)
            dashscope.duration = 3600
            running = [await submit(service, f"another {number}") for number in range(2)]
        before = dashscope.count_queries()
        async with running_service(settings, take_over=False, first_poll=3600) as service:
            with anyio.fail_after(45):
                summary = await service.collect(None)

    asked = dashscope.count_queries() - before
    assert asked == {task.task_id: 1 for task in (*ready, *running)}
    assert (summary.finished, summary.saved, summary.open, summary.problems) == (3, 6, 2, ())
    assert len(saved_files(settings)) == 6


async def test_collecting_does_not_stay_for_a_service_that_is_not_reached(tmp_path):
    with FakeService(duration=0.0) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, first_poll=3600) as service:
            task = await submit(service)
    async with running_service(settings, take_over=False, retry_step=600.0, retry_most=600.0) as service:
        with anyio.fail_after(45):
            summary = await service.collect(None)

    assert (summary.finished, summary.saved, summary.open) == (0, 0, 1)
    [problem] = summary.problems
    assert task.task_id in problem


async def test_collecting_searches_once_for_an_order_whose_answer_was_lost(tmp_path):
    with FakeService(duration=0.0) as dashscope:
        dashscope.script("create", "drop-after")
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, search_step=600.0, list_lag=600.0) as service:
            lost = await submit(service, wait=3)
        assert lost.status is TaskStatus.SUBMIT_UNKNOWN
        async with running_service(settings, take_over=False, search_step=600.0, list_lag=600.0) as service:
            with anyio.fail_after(45):
                too_early = await service.collect(None)
        async with running_service(settings, take_over=False, search_step=600.0, list_lag=0.0) as service:
            with anyio.fail_after(45):
                found = await service.collect(None)

    assert (too_early.finished, too_early.open) == (0, 1)
    assert (found.finished, found.saved, found.open) == (1, 1, 0)
    assert len(saved_files(settings)) == 1


async def test_collecting_waits_for_the_orders_of_a_process_that_was_killed(tmp_path):
    with FakeService(duration=0.0) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, first_poll=3600) as service:
            await submit(service)
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            pass
        with closing(sqlite3.connect(settings.state_dir / "ledger.sqlite3")) as file, file:
            owner = f"{socket.gethostname()}/{process.pid}/gone"
            file.execute("UPDATE orders SET owner = ?, lease_until = ?", (owner, time.time() + 1))
        told = []

        async def note(sentence: str) -> None:
            told.append(sentence)

        async with running_service(settings, take_over=False) as service:
            summary = await service.collect(note)

    assert (summary.finished, summary.saved, summary.open) == (1, 1, 0)
    assert told[0].startswith("Waiting for 1 order of a process that has ended")


async def test_collecting_to_the_end_ends_where_the_ledger_cannot_be_read(tmp_path):
    settings = make_settings(tmp_path)
    settings.state_dir.mkdir()
    (settings.state_dir / "ledger.sqlite3").write_bytes(b"This is no database." * 1000)
    async with running_service(settings, take_over=False) as service:
        with anyio.fail_after(45), pytest.raises(LedgerError) as raised:
            await service.collect(None, wait=True)
    assert raised.value.code == "LedgerDamaged"


async def test_collecting_tries_again_what_could_not_be_saved_before(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        dashscope.script("image", "redirect-private")
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, save_again=60.0) as service:
            left = await order(service)
        async with running_service(settings, take_over=False, save_again=60.0) as service:
            summary = await service.collect(None)

    assert left.images == ()
    assert (summary.finished, summary.saved, summary.open, summary.problems) == (1, 1, 0, ())
    assert len(saved_files(settings)) == 1


@dataclass(frozen=True)
class LaterClock(SystemClock):
    """The system's clock, some time later."""

    ahead: float = 0.0

    def now(self):
        return super().now() + self.ahead


@pytest.mark.parametrize(("ahead", "status"), [(0.0, TaskStatus.UNKNOWN), (90_000.0, TaskStatus.EXPIRED)])
async def test_a_task_that_the_service_has_forgotten_is_given_up_only_after_its_day(tmp_path, ahead, status):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
        dashscope.advance(90_000)
        async with running_service(settings, clock=LaterClock(ahead)) as service:
            seen = await get(service, task.task_id)

    assert seen.status is status
    assert seen.open is (status is TaskStatus.UNKNOWN)
    assert not saved_files(settings)


async def test_an_unknown_task_is_asked_for_in_every_region_and_its_image_saved(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        foreign = dashscope.create_foreign(model="wan2.6-t2i", n=2)
        async with running_service(settings) as service:
            task = await get(service, foreign.task_id)

    assert task.status is TaskStatus.SUCCEEDED
    assert task.model == "wan2.6-t2i"
    assert len(saved_files(settings)) == 2
    assert not dashscope.creates


async def test_listing_with_the_service_takes_in_what_the_ledger_lacks(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        foreign = dashscope.create_foreign(model="wan2.6-t2i", n=1)
        async with running_service(settings) as service:
            ours = await order(service)
            page = await service.list_tasks(status=None, limit=10, cursor=None, remote=True)
            await get(service, foreign.task_id)

    assert {task.task_id for task in page.tasks} == {ours.task_id, foreign.task_id}
    assert len(saved_files(settings)) == 2


async def test_pages_of_the_list_follow_one_another_without_gap_or_repeat(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            made = [(await order(service, f"p{number}")).task_id for number in range(5)]
            seen: list[str] = []
            cursor = None
            while True:
                page = await service.list_tasks(status=None, limit=2, cursor=cursor, remote=False)
                seen.extend(task.task_id for task in page.tasks)
                cursor = page.cursor
                if cursor is None:
                    break

    assert seen == made[::-1]


def test_the_keeper_outlives_its_server_and_goes_when_nothing_is_open(tmp_path):
    with FakeService(duration=600) as dashscope:
        variables = environment(tmp_path, dashscope, WAN_MCP_KEEPER="1")
        script = (
            "import anyio, os, sys; from wan_mcp.app import open_service; from wan_mcp.settings import read_settings\n"
            "async def main():\n"
            "    async with open_service(read_settings(os.environ)) as service:\n"
            "        request = service.catalogue.make_request(prompt='kept')\n"
            "        await service.order(request, wait_seconds=45, until_accepted=True, fresh=False, report=None)\n"
            "anyio.run(main)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script], env=variables, start_new_session=True) as process:
            assert process.wait(LONGEST) == 0
            with contextlib.suppress(ProcessLookupError):
                # As hosts do to what is left of a server.
                os.killpg(process.pid, signal.SIGKILL)
        assert _keepers(tmp_path)
        dashscope.advance(1200)
        wait_until(lambda: list((tmp_path / "pictures").glob("*kept*.png")))
        wait_until(lambda: not _keepers(tmp_path))

    assert len(dashscope.creates) == 1


def _keepers(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
            state = f"HOME={folder}".encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        if b"--keeper" in line and state:
            found.append(process.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="reads what Linux counts")
def test_an_idle_server_uses_no_processor_and_does_not_touch_the_disk(tmp_path):
    variables = environment(tmp_path)

    async def make():
        async with hurried_service(make_settings(tmp_path)) as service:
            assert (await order(service, wait=HURRIED_WAIT, model="wan2.2-t2i-flash", size="512*512")).images

    anyio.run(make)
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp"], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        client = {"name": "test", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
        process.stdin.write(request.encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        pause = threading.Event()
        before, earlier = _cost(process.pid), None
        while earlier is None or before["ticks"] != earlier["ticks"]:
            pause.wait(1.0)
            before, earlier = _cost(process.pid), before
        files = _files(tmp_path)
        pause.wait(4.0)
        after, files_after = _cost(process.pid), _files(tmp_path)
        process.stdin.close()
        process.wait(LONGEST)

    assert after["ticks"] - before["ticks"] <= 2
    assert files_after == files
    # A look at the ledger can make the file system note the time of it, on one page of its own.
    assert after["write_bytes"] - before["write_bytes"] <= 4096
    assert after["read_bytes"] == before["read_bytes"]


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def _cost(number: int) -> dict[str, int]:
    fields = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    lines = Path(f"/proc/{number}/io").read_text(encoding="ascii").splitlines()
    counts = {name: int(count) for name, _, count in (line.partition(": ") for line in lines)}
    return {**counts, "ticks": int(fields[11]) + int(fields[12])}
