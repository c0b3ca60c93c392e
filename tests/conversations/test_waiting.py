"""A wait always ends in time, tells how it goes, and what it waited for is saved whatever happens to it."""

import time
from itertools import pairwise

import anyio
import pytest
from mcp import Client

from fakes.bench import QUICK, make_settings, saved_files
from fakes.dashscope_service import FakeService
from fakes.talk import ERAS, facts
from wan_mcp.app import build_server, build_studio


def _server(settings):
    return build_server(build_studio(settings, timings=QUICK))


@pytest.mark.parametrize("era", ERAS)
async def test_an_expired_wait_is_a_normal_answer_with_the_id_and_the_next_call(tmp_path, era):
    with FakeService(duration=1.5) as service:
        async with Client(_server(make_settings(tmp_path, service)), mode=era) as client:
            told = facts(await client.call_tool("generate_image", {"prompt": "x", "wait_seconds": 0.5}))

            assert told["status"] in ("PENDING", "RUNNING")
            assert f"get_task with task_id={told['task_id']}" in told["next_step"]
            assert "try again" not in str(told)
            done = facts(await client.call_tool("get_task", {"task_id": told["task_id"], "wait_seconds": 10}))
    assert done["status"] == "SUCCEEDED"


async def test_fifty_waiting_calls_are_each_answered_in_their_time(tmp_path):
    with FakeService(duration=0.2, pending=0.0) as service:
        service.script_endings(*["never"] * 50)
        settings = make_settings(tmp_path, service)
        late: list[float] = []
        async with Client(_server(settings)) as client:
            orders = [
                facts(await client.call_tool("generate_image", {"prompt": f"p{number}", "wait_seconds": 0}))
                for number in range(50)
            ]

            async def wait(task_id: str) -> None:
                started = time.monotonic()
                facts(await client.call_tool("get_task", {"task_id": task_id, "wait_seconds": 2}))
                late.append(time.monotonic() - started)

            async with anyio.create_task_group() as group:
                for order in orders:
                    group.start_soon(wait, order["task_id"])

    assert len(late) == 50
    assert max(late) < 4.0


@pytest.mark.parametrize("era", ERAS)
async def test_progress_comes_early_and_only_grows(tmp_path, era):
    told: list[tuple[float, float]] = []
    started = time.monotonic()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        assert message
        told.append((time.monotonic() - started, progress))

    with FakeService(duration=1.5) as service:
        async with Client(_server(make_settings(tmp_path, service)), mode=era) as client:
            facts(await client.call_tool("generate_image", {"prompt": "x"}, progress_callback=note))
    assert told[0][0] < 1.0
    assert all(earlier[1] < later[1] for earlier, later in pairwise(told))


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_cancelled_while_the_order_is_sent_loses_nothing(tmp_path, era):
    with FakeService(duration=0.3, pending=0.0) as service:
        service.script("create", {"kind": "slow-after", "seconds": 0.6})
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings), mode=era) as client:
            with anyio.move_on_after(0.3):
                await client.call_tool("generate_image", {"prompt": "x"})
            with anyio.fail_after(8):
                while not saved_files(settings):
                    await anyio.sleep(0.05)
            again = facts(await client.call_tool("generate_image", {"prompt": "x"}))
            other = facts(await client.call_tool("generate_image", {"prompt": "x"}))

    assert "identical order" in again["message"]
    assert "message" not in other
    assert len(service.creates) == 2


async def test_calls_side_by_side_that_both_wait_are_two_orders(tmp_path):
    with FakeService(duration=0.5) as service:
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings)) as client, anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(client.call_tool, "generate_image", {"prompt": "the same"})

    assert len(service.creates) == len(saved_files(settings)) == 2


async def test_a_call_after_an_expired_wait_joins_the_order_and_fresh_overrides_that(tmp_path):
    with FakeService(duration=1.0) as service:
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings)) as client:
            first = facts(await client.call_tool("generate_image", {"prompt": "x", "wait_seconds": 0.3}))
            fresh = facts(
                await client.call_tool("generate_image", {"prompt": "x", "fresh": True, "wait_seconds": 0.2})
            )
            joined = facts(await client.call_tool("generate_image", {"prompt": "x"}))

    assert joined["status"] == "SUCCEEDED"
    assert joined["task_id"] in (first["task_id"], fresh["task_id"])
    assert len(service.creates) == 2


async def test_a_pending_task_whose_caller_has_gone_is_kept_and_saved(tmp_path):
    with FakeService(duration=0.3, pending=1.0) as service:
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings)) as client:
            with anyio.move_on_after(0.4):
                await client.call_tool("generate_image", {"prompt": "x"})
            with anyio.fail_after(8):
                while not saved_files(settings):
                    await anyio.sleep(0.05)

    assert len(service.creates) == 1


async def test_cancelling_a_pending_task_ends_it_and_a_begun_one_is_explained(tmp_path):
    with FakeService(duration=0.5, pending=3.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            waiting = facts(await client.call_tool("submit_task", {"prompt": "x"}))
            cancelled = facts(await client.call_tool("cancel_task", {"task_id": waiting["task_id"]}))
            service.configure(pending=0.0, duration=2.0)
            running = facts(await client.call_tool("submit_task", {"prompt": "y"}))
            with anyio.fail_after(5):
                while service.tasks[1]["status"] != "RUNNING":
                    await anyio.sleep(0.05)
            late = await client.call_tool("cancel_task", {"task_id": running["task_id"]})

    assert cancelled["status"] == "CANCELED"
    assert late.is_error
    assert "charged and saved" in late.content[0].text
