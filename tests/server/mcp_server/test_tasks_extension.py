"""The protocol of tasks, on a server that keeps its tasks in memory and knows nothing of pictures."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone

import anyio
import httpx
import pytest
from mcp import Client
from mcp.client.extension import advertise
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ElicitRequest, ElicitRequestFormParams, TextContent

from fakes.memory_task_store import MemoryTaskStore
from fakes.tasks_client import IDENTIFIER, TaskHandle, Tasks, ask, call, end_of, listen
from wan_mcp.mcp_server.tasks_extension import (
    Completed,
    TasksExtension,
    TaskStoreError,
    Working,
    dump_created,
    dump_detailed,
    refuse_undeclared_subscriptions,
)

ERAS = ("auto", "legacy")


def _said(text, **more):
    return CallToolResult(content=[TextContent(type="text", text=text)], **more)


def _question(name):
    schema = {"type": "object", "properties": {name: {"type": "string"}}}
    return ElicitRequest(params=ElicitRequestFormParams(message=f"{name}?", requested_schema=schema))


async def _never(job):
    await anyio.sleep_forever()


async def _echo(job):
    return _said(job.call.arguments["word"], structured_content={"word": job.call.arguments["word"]})


async def _fail(job):
    return _said("it went wrong", is_error=True)


async def _break(job):
    raise MCPError(-32603, "it broke", {"where": "inside"})


async def _interview(job):
    answers = await job.ask(name=_question("name"), town=_question("town"))
    return _said(f"{answers['name']['content']['name']} of {answers['town']['content']['town']}")


JOBS = {"never": _never, "echo": _echo, "fail": _fail, "break": _break, "interview": _interview}


def _server(store, **options):
    @asynccontextmanager
    async def lifespan(_):
        async with store.running():
            yield

    server = MCPServer(
        "tasks",
        log_level="ERROR",
        lifespan=lifespan,
        extensions=[TasksExtension(store, **options)],
        middleware=[refuse_undeclared_subscriptions],
    )

    async def run(word: str = "") -> CallToolResult:
        return _said(f"at once: {word}")

    for name in (*JOBS, "plain"):
        server.add_tool(run, name=name, description="A tool.")
    return server


@asynccontextmanager
async def _talk(*, declares=True, era="auto", store=None, **options):
    server = _server(store or MemoryTaskStore(JOBS), **options)
    async with Client(server, mode=era, extensions=[Tasks()] if declares else []) as client:
        yield client


async def test_the_extension_is_announced():
    async with _talk() as client:
        assert client.server_capabilities.extensions == {IDENTIFIER: {}}


async def test_a_declaring_client_is_given_a_task_that_can_be_asked_for_at_once():
    async with _talk() as client:
        told = await call(client, "never")
        again = await ask(client, "tasks/get", told.task_id)

    assert isinstance(told, TaskHandle)
    assert told.status == again["status"] == "working"
    assert again["resultType"] == "complete"
    assert again["taskId"] == told.task_id
    assert (again["ttlMs"], again["pollIntervalMs"]) == (3_600_000, 200)
    assert not {"result", "error", "inputRequests", "requestState"} & again.keys()


async def test_a_finished_task_holds_what_the_call_would_have_been_answered_with():
    async with _talk() as client:
        task = await call(client, "echo", {"word": "hello"})
        told = await end_of(client, task.task_id)

    assert told["status"] == "completed"
    assert told["result"] == {
        "resultType": "complete",
        "content": [{"type": "text", "text": "hello"}],
        "structuredContent": {"word": "hello"},
        "isError": False,
    }


async def test_a_client_that_follows_tasks_by_itself_sees_only_the_answer():
    async with _talk() as client:
        answer = await client.call_tool("echo", {"word": "hello"})

    assert answer.structured_content == {"word": "hello"}


async def test_a_tool_that_fails_completes_its_task_and_an_error_of_the_protocol_fails_it():
    async with _talk() as client:
        failed = await end_of(client, (await call(client, "fail")).task_id)
        broken = await end_of(client, (await call(client, "break")).task_id)

    assert (failed["status"], failed["result"]["isError"]) == ("completed", True)
    assert (broken["status"], broken["error"]) == (
        "failed",
        {"code": -32603, "message": "it broke", "data": {"where": "inside"}},
    )
    assert "result" not in broken


async def test_a_task_is_cancelled_once_and_asking_again_changes_nothing():
    async with _talk() as client:
        task = await call(client, "never")
        answers = [await ask(client, "tasks/cancel", task.task_id) for _ in range(2)]
        told = await end_of(client, task.task_id)

    assert told["status"] == "cancelled"
    for answer in answers:
        assert {key: value for key, value in answer.items() if key != "_meta"} == {"resultType": "complete"}


async def test_a_task_that_asks_is_answered_in_parts_and_unknown_names_are_ignored():
    async with _talk() as client:
        task = await call(client, "interview")
        with anyio.fail_after(45):
            while (asked := await ask(client, "tasks/get", task.task_id))["status"] != "input_required":
                await anyio.sleep(0.01)
        await ask(
            client,
            "tasks/update",
            task.task_id,
            inputResponses={"name": {"action": "accept", "content": {"name": "Li"}}, "else": 3},
        )
        partly = await ask(client, "tasks/get", task.task_id)
        await ask(
            client,
            "tasks/update",
            task.task_id,
            inputResponses={"town": {"action": "accept", "content": {"town": "Hangzhou"}}},
        )
        told = await end_of(client, task.task_id)

    assert asked["inputRequests"]["name"]["method"] == "elicitation/create"
    assert set(asked["inputRequests"]) == {"name", "town"}
    assert partly["status"] == "input_required"
    assert set(partly["inputRequests"]) == {"town"}
    assert told["result"]["content"][0]["text"] == "Li of Hangzhou"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_an_unknown_task_is_a_wrong_parameter(method):
    async with _talk() as client:
        with pytest.raises(MCPError) as refusal:
            await ask(client, method, "nonesuch", inputResponses={})

    assert refusal.value.error.code == -32602
    assert "no such task" in refusal.value.error.message


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_declares_nothing_never_sees_a_task(era):
    async with _talk(declares=False, era=era) as client:
        answer = await client.call_tool("echo", {"word": "hello"})

    assert answer.content[0].text == "at once: hello"


async def test_an_old_client_that_declares_tasks_all_the_same_never_sees_one():
    server = _server(MemoryTaskStore(JOBS))
    async with Client(server, mode="legacy", extensions=[advertise(IDENTIFIER)]) as client:
        answer = await client.call_tool("echo", {"word": "hello"})
        with pytest.raises(MCPError) as refusal:
            await ask(client, "tasks/get", "any")

    assert answer.content[0].text == "at once: hello"
    assert refusal.value.error.code == -32601


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_the_methods_are_refused_to_a_client_that_declares_nothing(method):
    async with _talk(declares=False) as client:
        with pytest.raises(MCPError) as refusal:
            await ask(client, method, "any", inputResponses={})

    assert refusal.value.error.code == -32021
    assert refusal.value.error.data == {"requiredCapabilities": {"extensions": {IDENTIFIER: {}}}}


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_can_only_be_a_task_is_refused_to_a_client_that_declares_nothing(era):
    async with _talk(declares=False, era=era, requiring=["echo"]) as client:
        with pytest.raises(MCPError) as refusal:
            await client.call_tool("echo", {"word": "hello"})
        other = await client.call_tool("plain", {"word": "hello"})

    assert refusal.value.error.code == -32021
    assert other.content[0].text == "at once: hello"


async def test_a_call_that_the_store_leaves_alone_is_the_tools_own():
    async with _talk() as client:
        answer = await call(client, "plain", {"word": "hello"})

    assert answer.content[0].text == "at once: hello"


async def test_an_answer_before_there_is_a_task_is_an_ordinary_answer():
    store = MemoryTaskStore(JOBS, immediate_answers={"echo": lambda _: _said("no", is_error=True)})
    async with _talk(store=store) as client:
        answer = await call(client, "echo", {"word": "hello"})

    assert answer.is_error
    assert not store.jobs


async def test_an_error_of_the_store_is_told_in_its_words():
    class BrokenStore(MemoryTaskStore):
        async def get(self, task_id):
            raise TaskStoreError("the disk is full")

    async with _talk(store=BrokenStore(JOBS)) as client:
        with pytest.raises(MCPError) as refusal:
            await ask(client, "tasks/get", "any")

    assert refusal.value.error.code == -32603
    assert "the disk is full" in refusal.value.error.message


async def test_notifications_about_tasks_are_refused_to_a_client_that_declares_nothing():
    async with _talk(declares=False) as client:
        with pytest.raises(MCPError) as refusal:
            await listen(client, "any")

    assert refusal.value.error.code == -32021


def _headers(method, name=None):
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
    }
    return headers if name is None else headers | {"Mcp-Name": name}


def _body(method, **parameters):
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {IDENTIFIER: {}}},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**parameters, "_meta": meta}}


async def test_over_http_the_header_that_routes_must_name_the_task():
    server = _server(MemoryTaskStore(JOBS))
    app = server.streamable_http_app(stateless_http=True)
    transport = httpx.ASGITransport(app)
    async with (
        server.session_manager.run(),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http,
    ):
        begun = await http.post(
            "/mcp", json=_body("tools/call", name="never", arguments={}), headers=_headers("tools/call", "never")
        )
        task_id = begun.json()["result"]["taskId"]
        body = _body("tasks/get", taskId=task_id)
        good = await http.post("/mcp", json=body, headers=_headers("tasks/get", task_id))
        wrong = await http.post("/mcp", json=body, headers=_headers("tasks/get", "another"))
        missing = await http.post("/mcp", json=body, headers=_headers("tasks/get"))

    assert begun.json()["result"]["resultType"] == "task"
    assert good.json()["result"]["taskId"] == task_id
    for refused in (wrong, missing):
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020)


_CREATED = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=8)))


def _task(kind=Working, **more):
    return kind(**{"task_id": "t", "created_at": _CREATED, "updated_at": _CREATED, "lifetime": None} | more)


def test_a_task_that_is_kept_for_ever_says_so():
    assert dump_created(_task())["ttlMs"] is None


def test_a_task_without_a_poll_interval_or_a_message_leaves_them_out():
    assert not {"pollIntervalMs", "statusMessage"} & dump_created(_task()).keys()


@pytest.mark.parametrize(
    ("span", "told"),
    [(timedelta(milliseconds=1.6), 2), (timedelta(microseconds=1), 1), (timedelta(seconds=-5), 1)],
)
def test_spans_are_whole_milliseconds_and_never_less_than_one(span, told):
    answer = dump_created(_task(lifetime=span, poll_interval=span))

    assert (answer["ttlMs"], answer["pollIntervalMs"]) == (told, told)
    assert type(answer["ttlMs"]) is type(answer["pollIntervalMs"]) is int


def test_times_are_utc():
    later = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    answer = dump_created(_task(updated_at=later))

    assert answer["createdAt"] == "2026-01-01T19:04:05.678Z"
    assert answer["lastUpdatedAt"] == "2026-01-02T03:04:05.000Z"


def test_what_a_task_holds_comes_with_the_question_for_it_and_not_before():
    task = _task(Completed, result=_said("done"))

    assert "result" not in dump_created(task)
    assert dump_created(task)["resultType"] == "task"
    assert dump_detailed(task)["result"]["content"][0]["text"] == "done"
    assert dump_detailed(task)["resultType"] == "complete"
