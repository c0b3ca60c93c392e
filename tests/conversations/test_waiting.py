"""A wait always ends in time, tells how it goes, and what it waited for is saved whatever happens to it."""

import runpy
import sys
import time
from dataclasses import replace
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from mcp import Client

from campaigns import waiting
from campaigns.waiting import Plan, locked_now_and_then, run
from fakes.clock import FakeClock, until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service, saved_files
from fakes.orders import accepted
from fakes.stdio_client import ERAS, facts, words
from wan_mcp.app import build_context, build_server
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.wait import ProgressReporter, UsualDuration, describe_state, describe_timing
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.service import ProgressReport
from wan_mcp_tools.domain.tasks import Problem, TaskStatus
from wan_mcp_tools.results import describe_progress


def _server(settings):
    return build_server(quick_service(settings))


@pytest.mark.parametrize("era", ERAS)
async def test_an_expired_wait_is_a_normal_answer_with_the_id_and_the_next_call(tmp_path, era):
    with FakeService(duration=60) as dashscope:
        async with Client(_server(make_settings(tmp_path, dashscope)), mode=era) as client:
            told = facts(await client.call_tool("generate_image", {"prompt": "x", "wait_seconds": 0.5}))

            assert told["status"] in ("PENDING", "RUNNING")
            assert f"get_task with task_id={told['task_id']}" in told["next_step"]
            assert "try again" not in str(told)
            await until(lambda: dashscope.tasks)
            dashscope.advance(120)
            done = facts(await client.call_tool("get_task", {"task_id": told["task_id"], "wait_seconds": 45}))
    assert done["status"] == "SUCCEEDED"


async def test_many_calls_that_wait_side_by_side_are_each_answered_in_their_time(tmp_path):
    # Over stdio: own orders, those of another server, joined and new ones; a slow service; a ledger that is locked
    # while they wait, and again when they end.
    plan = Plan(calls=25, waits=(4.0, 4.5, 2.0, 0.5, 5.0), locks=((1.2, 2.0), (4.3, 2.0)), slow_seconds=2.0)
    report = await run(plan, tmp_path)

    assert len(report.calls) == 25
    assert not report.broken, str(report)


def test_the_program_for_a_person_measures_and_prints_its_report(monkeypatch, capsys):
    options = ["--calls", "5", "--seconds", "2", "--era", "legacy", "--no-locks"]
    monkeypatch.setattr(sys, "argv", [waiting.__file__, *options])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(waiting.__file__, run_name="__main__")

    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    assert "calls side by side" in printed


async def test_progress_is_told_every_few_seconds_while_nothing_changes(tmp_path):
    clock = FakeClock()
    told: list[ProgressReport] = []

    async def report(progress: ProgressReport) -> None:
        told.append(progress)

    ledger = build_context(make_settings(tmp_path), clock=clock).ledger
    progress = ProgressReporter(
        ledger,
        clock,
        live=LiveOrders(),
        catalogue=Catalogue(),
        report=report,
        first="Looking for the task",
        interval=4.0,
    )

    async def work() -> str:
        for _ in range(200):
            clock.advance(0.1)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
        return "done"

    assert await progress.report_during(work) == "done"
    moments = [progress.seconds for progress in told]
    assert moments[0] <= 1.0
    assert all(0 < later - earlier <= 5.0 for earlier, later in pairwise([*moments, clock.monotonic()]))
    assert {progress.state for progress in told} == {"Looking for the task"}


async def test_a_client_that_cannot_be_told_gets_its_answer_all_the_same(tmp_path):
    async def fail(progress: ProgressReport) -> None:
        raise anyio.BrokenResourceError

    with FakeService(duration=0.8) as dashscope:
        service = quick_service(make_settings(tmp_path, dashscope))
        async with service.running():
            request = service.catalogue.make_request(prompt="a red fox")
            task = await service.order(request, wait_seconds=45, until_accepted=False, fresh=False, report=fail)
    assert task.images


async def test_a_client_that_reads_slowly_does_not_hold_its_answer_up(tmp_path):
    async def hang(progress: ProgressReport) -> None:
        await anyio.sleep_forever()

    with FakeService(pending=60) as dashscope:
        service = quick_service(make_settings(tmp_path, dashscope))
        async with service.running():
            request = service.catalogue.make_request(prompt="a red fox")
            with anyio.fail_after(45):
                task = await service.order(request, wait_seconds=1, until_accepted=False, fresh=False, report=hang)
    assert not task.settled


async def test_the_time_that_a_locked_ledger_takes_is_part_of_the_wait(tmp_path):
    with FakeService(pending=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        service = quick_service(settings)
        async with service.running():
            await service.list_tasks(status=None, limit=1, cursor=None, remote=True)
            request = service.catalogue.make_request(prompt="a red fox")
            with locked_now_and_then(settings.state_dir / "ledger.sqlite3", [(0.0, 8.0)]):
                await anyio.sleep(0.1)
                started = time.monotonic()
                await service.order(request, wait_seconds=9, until_accepted=False, fresh=False, report=None)
                seconds = time.monotonic() - started
    # The wait alone would end seventeen seconds after the lock began.
    assert 8.9 < seconds < 16


@pytest.mark.parametrize("wait", [0, 5])
async def test_an_id_never_seen_is_answered_in_time_however_slowly_the_service_speaks(tmp_path, wait):
    with FakeService(pending=60) as dashscope:
        foreign = dashscope.create_foreign(model="wan2.6-t2i", n=1)
        dashscope.set_chance("query", 1.0, {"kind": "slow", "seconds": 0.1 + wait / 3})
        dashscope.set_chance("list", 1.0, "hang")
        async with Client(_server(make_settings(tmp_path, dashscope))) as client:
            # The service itself is given up after thirty seconds.
            with anyio.fail_after(25):
                answer = await client.call_tool("get_task", {"task_id": foreign.task_id, "wait_seconds": wait})
    if wait or not answer.is_error:
        assert facts(answer)["task_id"] == foreign.task_id
    else:
        # Who does not wait is told what is known after a moment, which on a busy machine is nothing yet.
        assert "did not answer in time. Call get_task again" in words(answer)


STATES = {
    "Sending the order, 7 s so far": {"task_id": None},
    "In the queue of the service, 7 s since the order, usually about 20 s in all": {},
    "The service draws, 7 s since the order, usually about 20 s in all": {"status": TaskStatus.RUNNING},
    "The picture is drawn and is being saved": {"status": TaskStatus.SUCCEEDED},
    "The pictures are drawn and are being saved": {"status": TaskStatus.SUCCEEDED, "images_ordered": 4},
    "The answer to the order was lost; looking for its task, 7 s since the order": {
        "status": TaskStatus.SUBMIT_UNKNOWN
    },
}


@pytest.mark.parametrize("sentence", STATES)
async def test_the_progress_says_what_happens(tmp_path, sentence):
    ledger = open_sqlite_ledger(tmp_path / "ledger.sqlite3", FakeClock())
    order = replace(await accepted(ledger, "t-1"), **STATES[sentence])
    await ledger.close()
    timing = describe_timing(order, 7.0, UsualDuration(20.0, is_known=True))
    report = ProgressReport(7.0, 20.0, describe_state(order), timing)
    held_up = replace(report, problem=Problem("Slow", "The service is slow."))

    said = describe_progress(report)
    assert said.replace(", usually about 20 s in all", "") == sentence.replace(", usually about 20 s in all", "")
    assert describe_progress(held_up) == f"{said}. The service is slow."


async def test_what_takes_longer_than_usual_is_said_to(tmp_path):
    ledger = open_sqlite_ledger(tmp_path / "ledger.sqlite3", FakeClock())
    order = replace(await accepted(ledger, "t-1"), status=TaskStatus.RUNNING)
    await ledger.close()

    assert describe_timing(order, 63.0, UsualDuration(20.0, is_known=True)).endswith(", longer than the usual 20 s")
    assert describe_timing(order, 63.0, UsualDuration(60.0, is_known=False)) == "63 s since the order"


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_cancelled_while_the_order_is_sent_loses_nothing(tmp_path, era):
    with FakeService(duration=0.3, pending=0.0) as dashscope:
        dashscope.script("create", "held")
        settings = make_settings(tmp_path, dashscope)
        async with Client(_server(settings), mode=era) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "generate_image", {"prompt": "x"})
                await until(lambda: dashscope.creates)
                group.cancel_scope.cancel()
            dashscope.release()
            await until(lambda: saved_files(settings))
            again = facts(await client.call_tool("generate_image", {"prompt": "x"}))
            other = facts(await client.call_tool("generate_image", {"prompt": "x"}))

    assert "identical order" in again["message"]
    assert "message" not in other
    assert len(dashscope.creates) == 2


async def test_calls_side_by_side_that_both_wait_are_two_orders(tmp_path):
    with FakeService(duration=0.5) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with Client(_server(settings)) as client, anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(client.call_tool, "generate_image", {"prompt": "the same"})

    assert len(dashscope.creates) == len(saved_files(settings)) == 2


async def test_a_call_after_an_expired_wait_joins_the_order_and_fresh_overrides_that(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with Client(_server(settings)) as client:
            first = facts(await client.call_tool("generate_image", {"prompt": "x", "wait_seconds": 0.3}))
            fresh = facts(
                await client.call_tool("generate_image", {"prompt": "x", "fresh": True, "wait_seconds": 0.2})
            )
            await until(lambda: dashscope.tasks[1:])
            dashscope.advance(120)
            joined = facts(await client.call_tool("generate_image", {"prompt": "x"}))
            named = [
                facts(await client.call_tool("get_task", {"task_id": told["task_id"]}))["task_id"]
                for told in (first, fresh)
            ]

    assert joined["status"] == "SUCCEEDED"
    assert joined["task_id"] in named
    assert len(dashscope.creates) == 2


async def test_a_pending_task_whose_caller_has_gone_is_kept_and_saved(tmp_path):
    with FakeService(pending=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with Client(_server(settings)) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "generate_image", {"prompt": "x"})
                await until(dashscope.count_queries)
                group.cancel_scope.cancel()
            dashscope.advance(120)
            await until(lambda: saved_files(settings))

    assert len(dashscope.creates) == 1


async def test_cancelling_a_pending_task_ends_it_and_a_begun_one_is_explained(tmp_path):
    with FakeService(pending=60) as dashscope:
        async with Client(_server(make_settings(tmp_path, dashscope))) as client:
            waiting = facts(await client.call_tool("submit_task", {"prompt": "x"}))
            cancelled = facts(await client.call_tool("cancel_task", {"task_id": waiting["task_id"]}))
            dashscope.pending, dashscope.duration = 0.0, 60.0
            running = facts(await client.call_tool("submit_task", {"prompt": "y"}))
            late = await client.call_tool("cancel_task", {"task_id": running["task_id"]})

    assert cancelled["status"] == "CANCELED"
    assert late.is_error
    assert "charged and saved" in late.content[0].text
