"""
A server for the public conformance suite's scenarios about tasks: the real extension, and a store in memory.

    python tests/interop/tasks_server.py [PORT]

prints the address of the endpoint when it can be reached, and serves until it is killed. The tools are those that
the suite expects.
"""

import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    TextContent,
)

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the others
    _TESTS = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(_TESTS), str(_TESTS.parent / "server"), str(_TESTS.parent / "tools")]

from fakes.memory_task_store import Job, MemoryTaskStore
from wan_mcp.mcp_server.tasks_extension import TasksExtension, refuse_undeclared_subscriptions


def _say(text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


def _ask(message: str, name: str, kind: str) -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


async def _slow_compute(job: Job) -> CallToolResult:
    arguments = job.call.arguments or {}
    await anyio.sleep(float(arguments.get("seconds", 0)))
    return _say(f"{arguments.get('label', 'it')} is computed")


async def _failing_job(job: Job) -> CallToolResult:
    await anyio.sleep(0.5)
    return _say("the job has failed, as it always does", is_error=True)


async def _protocol_error_job(job: Job) -> CallToolResult:
    await anyio.sleep(0.2)
    raise MCPError(INTERNAL_ERROR, "the job has broken")


async def _confirm_delete(job: Job) -> CallToolResult:
    filename = (job.call.arguments or {}).get("filename", "the file")
    answers = await job.ask(confirm=_ask(f"Delete {filename}?", "confirm", "boolean"))
    sure = answers["confirm"].get("content", {}).get("confirm")
    return _say(f"{filename} is {'deleted' if sure else 'kept'}")


async def _multi_input(job: Job) -> CallToolResult:
    answers = await job.ask(
        first=_ask("What is the first name?", "name", "string"), second=_ask("And the second?", "name", "string")
    )
    return _say(" and ".join(answers[key].get("content", {}).get("name", "?") for key in ("first", "second")))


def _ask_for_name(call: CallToolRequestParams) -> InputRequiredResult | None:
    if call.input_responses:
        return None
    return InputRequiredResult(input_requests={"user_name": _ask("What is your name?", "name", "string")})


async def _test_tool_with_task(job: Job) -> CallToolResult:
    answer: Any = (job.call.input_responses or {})["user_name"]
    await anyio.sleep(0.2)
    return _say(f"Hello, {answer.content['name']}!")


def _build() -> tuple[MCPServer[None], MemoryTaskStore]:
    store = MemoryTaskStore(
        {
            "slow_compute": _slow_compute,
            "failing_job": _failing_job,
            "protocol_error_job": _protocol_error_job,
            "confirm_delete": _confirm_delete,
            "multi_input": _multi_input,
            "test_tool_with_task": _test_tool_with_task,
        },
        immediate_answers={"test_tool_with_task": _ask_for_name},
    )
    only_tasks = ("failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task")

    @asynccontextmanager
    async def lifespan(_):
        async with store.running():
            yield

    server = MCPServer(
        "tasks",
        version="1",
        log_level="WARNING",
        lifespan=lifespan,
        extensions=[TasksExtension(store, requiring=only_tasks)],
        middleware=[refuse_undeclared_subscriptions],
    )

    @server.tool(description="Greet somebody at once.")
    async def greet(name: str) -> CallToolResult:
        return _say(f"Hello, {name}!")

    @server.tool(description="Take some seconds.")
    async def slow_compute(seconds: float = 0, label: str = "it") -> CallToolResult:
        await anyio.sleep(seconds)
        return _say(f"{label} is computed")

    for name in only_tasks:
        # The extension creates a task or refuses these before any of them is run.
        server.add_tool(_unreachable, name=name, description="Runs as a task only.")
    return server, store


async def _unreachable() -> CallToolResult:
    raise AssertionError("a tool that is a task was run")


async def _serve(port: int) -> None:
    server, _ = _build()
    app = server.streamable_http_app(stateless_http=True)
    with socket.create_server(("127.0.0.1", port)) as listener:
        host, port = listener.getsockname()[:2]
        print(f"http://{host}:{port}/mcp", flush=True)
        await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


if __name__ == "__main__":
    anyio.run(_serve, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
