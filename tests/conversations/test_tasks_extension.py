"""An order as a task of MCP: told at once, kept by the ledger, and never shown to a client that knows no tasks."""

import json
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from fakes.clock import SlowedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service, saved_files
from fakes.stdio_client import ERAS, facts
from fakes.tasks_client import TaskHandle, Tasks, ask, call, end_of, listen
from wan_mcp.app import build_server

DAY_MS = 86_400_000
SOON = 15.0
"""Some times the second within which a task is told, and a part of the time that a call waits for a picture."""


@asynccontextmanager
async def _talk(settings, *, declares=True, era="auto", clock=None):
    server = build_server(quick_service(settings, clock=clock))
    async with Client(server, mode=era, extensions=[Tasks()] if declares else []) as client:
        yield client


def _text(answer):
    """Give the text of an answer as it is on the wire."""
    return answer["content"][0]["text"]


async def _best_id(client, task_id):
    """Give the service's id of a task, which a busy machine may not have known yet when the client was told of it."""
    read = await client.read_resource(f"wan://tasks/{task_id}")
    return json.loads(read.contents[0].text)["task_id"]


async def _until_saved(client):
    """Wait until an image is written down as saved, without being given it."""
    with anyio.fail_after(45):
        while not any("images" in row for row in facts(await call(client, "list_tasks"))["tasks"]):
            await anyio.sleep(0.05)


async def test_an_order_is_a_task_and_ends_with_what_the_tool_would_have_answered(tmp_path):
    with FakeService(duration=0.3) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            task = await call(client, "generate_image", {"prompt": "a flower shop"})
            told = await end_of(client, task.task_id)
            plain = facts(await client.call_tool("get_task", {"task_id": task.task_id}))

    assert isinstance(task, TaskHandle)
    assert task.status == "working"
    assert told["status"] == "completed"
    answer = told["result"]
    assert answer["structuredContent"] == json.loads(_text(answer)) == plain
    assert answer["isError"] is False
    assert await anyio.Path(plain["images"][0]["path"]).is_file()
    assert len(service.creates) == 1


async def test_a_task_is_told_at_once_although_the_service_is_slow_to_take_the_order(tmp_path):
    with FakeService(duration=0.2) as service:
        service.script("create", "held")
        async with _talk(make_settings(tmp_path, service)) as client:
            with anyio.fail_after(SOON):
                task = await call(client, "generate_image", {"prompt": "x"})
            first = await ask(client, "tasks/get", task.task_id)
            service.release()
            told = await end_of(client, task.task_id)

    assert first["status"] == "working"
    assert "sent" in first["statusMessage"].lower()
    assert told["taskId"] == task.task_id
    assert told["result"]["structuredContent"]["task_id"] == service.tasks[0]["id"] != task.task_id
    assert len(service.creates) == 1


async def test_a_task_outlives_the_server_that_told_of_it(tmp_path):
    with FakeService(duration=60) as service:
        settings = make_settings(tmp_path, service)
        async with _talk(settings) as client:
            task = await call(client, "generate_image", {"prompt": "x"})
        async with _talk(settings) as client:
            again = await ask(client, "tasks/get", task.task_id)
            await until(lambda: service.tasks)
            service.advance(120)
            told = await end_of(client, task.task_id)

    assert (again["taskId"], again["createdAt"]) == (task.task_id, task.created_at)
    assert told["status"] == "completed"
    assert await anyio.Path(told["result"]["structuredContent"]["images"][0]["path"]).is_file()
    assert len(service.creates) == 1


async def test_a_task_whose_order_was_unanswered_when_the_server_ended_is_found_by_the_next(tmp_path):
    with FakeService(duration=0.2) as service:
        service.script("create", "held")
        settings = make_settings(tmp_path, service)
        async with _talk(settings) as client:
            task = await call(client, "generate_image", {"prompt": "x"})
        async with _talk(settings) as client:
            again = await ask(client, "tasks/get", task.task_id)

    assert task.task_id.startswith("local-")
    assert (again["taskId"], again["status"]) == (task.task_id, "working")
    assert len(service.creates) == 1


async def test_an_order_by_the_synchronous_protocol_is_a_task_too(tmp_path):
    with FakeService(duration=1.5, pending=0.0) as service:
        async with _talk(make_settings(tmp_path, service, WAN_MCP_PROTOCOL="sync")) as client:
            task = await call(client, "generate_image", {"prompt": "x"})
            told = await end_of(client, task.task_id)

    assert isinstance(task, TaskHandle)
    assert (told["taskId"], told["status"]) == (task.task_id, "completed")
    assert len(told["result"]["structuredContent"]["images"]) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_declares_nothing_never_sees_a_task(tmp_path, era):
    with FakeService(duration=0.2) as service:
        async with _talk(make_settings(tmp_path, service), declares=False, era=era) as client:
            answer = facts(await client.call_tool("generate_image", {"prompt": "x"}))
            with pytest.raises(MCPError) as refusal:
                await ask(client, "tasks/get", answer["task_id"])
            with pytest.raises(MCPError) as silence:
                await listen(client, answer["task_id"])

    assert answer["status"] == "SUCCEEDED"
    code = {"auto": -32021, "legacy": -32601}[era]
    assert refusal.value.error.code == silence.value.error.code == code


async def test_the_other_tools_answer_a_declaring_client_as_any_other(tmp_path):
    with FakeService(duration=0.2) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            submitted = facts(await call(client, "submit_task", {"prompt": "x"}))
            listed = facts(await call(client, "list_tasks"))

    assert [row["task_id"] for row in listed["tasks"]] == [submitted["task_id"]]


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": "x", "colour": "red"},
        {"prompt": "x", "size": "7x"},
        {"prompt": "x", "wait_seconds": -1},
        {"prompt": "x", "output_dir": "/elsewhere"},
        {"prompt": "x", "region": "beijing"},
    ],
)
async def test_a_refusal_is_the_answer_that_it_is_without_tasks(tmp_path, arguments):
    settings = make_settings(tmp_path)
    async with _talk(settings) as client, _talk(settings, declares=False) as other:
        refused = await call(client, "generate_image", arguments)
        plain = await other.call_tool("generate_image", arguments)

    assert refused.is_error
    assert refused.model_dump() == plain.model_dump()
    assert not (settings.state_dir / "ledger.sqlite3").exists()


async def test_an_order_that_the_service_refuses_is_answered_at_once(tmp_path):
    with FakeService(keys="sk-the-right-key") as service:
        async with _talk(make_settings(tmp_path, service), clock=SlowedClock()) as client:
            refused = await call(client, "generate_image", {"prompt": "x"})

    assert refused.is_error
    assert "DASHSCOPE_API_KEY" in refused.content[0].text


async def test_a_task_that_fails_at_the_service_is_completed_with_an_error(tmp_path):
    async with _talk(make_settings(tmp_path)) as client:
        task = await call(client, "generate_image", {"prompt": "sandbox:refuse a flower shop"})
        told = await end_of(client, task.task_id)

    assert told["status"] == "completed"
    assert told["result"]["isError"] is True
    assert told["result"]["structuredContent"]["code"] == "DataInspectionFailed"
    assert "error" not in told


async def test_a_task_that_waits_is_cancelled_and_one_that_runs_is_finished(tmp_path):
    with FakeService(pending=60) as service:
        settings = make_settings(tmp_path, service)
        async with _talk(settings) as client:
            waiting = await call(client, "generate_image", {"prompt": "x"})
            acknowledged = await ask(client, "tasks/cancel", waiting.task_id)
            gone = await end_of(client, waiting.task_id)
            service.pending, service.duration = 0.0, 60.0
            running = await call(client, "generate_image", {"prompt": "y"})
            await until(lambda: service.tasks[1:])
            late = await ask(client, "tasks/cancel", running.task_id)
            service.advance(120)
            done = await end_of(client, running.task_id)
            later = await ask(client, "tasks/cancel", running.task_id)

    assert gone["status"] == "cancelled"
    assert "not charged" in gone["statusMessage"]
    assert gone["lastUpdatedAt"] > waiting.last_updated_at
    assert done["status"] == "completed"
    for answer in (acknowledged, late, later):
        assert {key: value for key, value in answer.items() if key != "_meta"} == {"resultType": "complete"}
    assert len(saved_files(settings)) == 1


async def test_a_task_that_is_cancelled_while_its_order_is_being_sent_is_not_paid_for(tmp_path):
    with FakeService(pending=60) as service:
        service.script("create", "held")
        async with _talk(make_settings(tmp_path, service)) as client:
            task = await call(client, "generate_image", {"prompt": "x"})
            async with anyio.create_task_group() as group:
                group.start_soon(ask, client, "tasks/cancel", task.task_id)
                await anyio.sleep(0.2)
                service.release()
            told = await end_of(client, task.task_id)

    assert task.task_id.startswith("local-")
    assert len(task.task_id.removeprefix("local-")) == 32
    assert told["status"] == "cancelled"
    assert (len(service.creates), service.paid_images()) == (1, 0)


@pytest.mark.parametrize("task_id", ["local-0123456789abcdef", "11111111-2222-3333-4444-555555555555", ""])
async def test_an_unknown_task_is_a_wrong_parameter(tmp_path, task_id):
    with FakeService() as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                with pytest.raises(MCPError) as refusal:
                    await ask(client, method, task_id, inputResponses={})
                assert refusal.value.error.code == -32602, method


async def test_an_identical_call_joins_the_task_and_fresh_begins_another(tmp_path):
    with FakeService(duration=60) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            first = await call(client, "generate_image", {"prompt": "x"})
            joined = await call(client, "generate_image", {"prompt": "x"})
            fresh = await call(client, "generate_image", {"prompt": "x", "fresh": True})
            best = [await _best_id(client, task.task_id) for task in (first, joined, fresh)]

    assert best[0] == best[1] != best[2]
    assert "identical order" in joined.status_message
    assert "identical order" not in first.status_message
    assert len(service.creates) == 2


async def test_a_call_that_joins_what_is_done_already_is_answered_at_once_and_only_once(tmp_path):
    with FakeService(duration=0.2) as service:
        settings = make_settings(tmp_path, service)
        async with _talk(settings) as client:
            first = await call(client, "generate_image", {"prompt": "x"})
            await _until_saved(client)
            await ask(client, "tasks/update", first.task_id, inputResponses={})
            joined = facts(await call(client, "generate_image", {"prompt": "x"}))
            other = await call(client, "generate_image", {"prompt": "x"})
            best = await _best_id(client, first.task_id)

    assert joined["task_id"] == best
    assert "identical order" in joined["message"]
    assert isinstance(other, TaskHandle)
    assert len(service.creates) == 2


async def test_a_result_that_a_task_has_told_counts_as_received(tmp_path):
    with FakeService(duration=0.2) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            first = await call(client, "generate_image", {"prompt": "x"})
            await end_of(client, first.task_id)
            second = await call(client, "generate_image", {"prompt": "x"})

    assert second.task_id != first.task_id
    assert len(service.creates) == 2


async def test_a_task_lives_for_the_services_day_until_it_has_ended_and_then_for_good(tmp_path):
    with FakeService(duration=0.4) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            task = await call(client, "generate_image", {"prompt": "x"})
            told = await end_of(client, task.task_id)

    assert DAY_MS <= task.ttl_ms < DAY_MS + 5_000
    assert told["ttlMs"] is None
    born, changed = (datetime.fromisoformat(told[key]) for key in ("createdAt", "lastUpdatedAt"))
    assert timedelta(0) < changed - born < timedelta(minutes=1)


async def test_the_pace_of_questions_follows_what_was_learned(tmp_path):
    with FakeService(duration=2.0) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            first = await call(client, "generate_image", {"prompt": "x"})
            await end_of(client, first.task_id)
            second = await call(client, "generate_image", {"prompt": "y"})

    assert first.poll_interval_ms == 3_000
    assert 1_000 <= second.poll_interval_ms <= 2_100
    assert "usually done in about 2 s" in second.status_message


async def test_a_call_that_is_cancelled_before_its_task_is_told_loses_no_order(tmp_path):
    with FakeService(duration=0.2) as service:
        service.script("create", "held")
        settings = make_settings(tmp_path, service)
        async with _talk(settings, clock=SlowedClock()) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(call, client, "generate_image", {"prompt": "x"})
                await until(lambda: service.creates)
                group.cancel_scope.cancel()
            service.release()
            await _until_saved(client)
            again = facts(await call(client, "generate_image", {"prompt": "x"}))

    assert "identical order" in again["message"]
    assert len(service.creates) == 1


async def test_a_task_makes_no_progress_reports(tmp_path):
    told = []

    async def note(progress, total, message):
        told.append(message)

    with FakeService(duration=0.3) as service:
        async with _talk(make_settings(tmp_path, service)) as client:
            task = await call(client, "generate_image", {"prompt": "x"}, progress_callback=note)
            await end_of(client, task.task_id)

    assert told == []
