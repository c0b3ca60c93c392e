"""A client of the tasks extension: it declares tasks, and shows what is on the wire."""

from collections.abc import Mapping
from typing import Any, Literal

import anyio
from mcp import Client, types
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from pydantic import TypeAdapter

from fakes.clock import LONGEST

IDENTIFIER = "io.modelcontextprotocol/tasks"
_ENDS = ("completed", "failed", "cancelled")
_ANYTHING = TypeAdapter(dict[str, Any])


class TaskHandle(types.Result):
    """A call's answer that is a task."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    status_message: str | None = None
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None


class TaskRequest(types.Request[dict[str, Any], str]):
    """A request about a task."""

    name_param = "taskId"


class Tasks(ClientExtension):
    """Declares tasks. `Client.call_tool` follows them to their end; `call` below does not."""

    identifier = IDENTIFIER

    def claims(self):
        return (ResultClaim(result_type="task", model=TaskHandle, resolve=self._resolve),)

    async def _resolve(self, handle: TaskHandle, context: ClaimContext) -> types.CallToolResult:
        while True:
            told = await _send(context.session, "tasks/get", {"taskId": handle.task_id})
            if told["status"] in _ENDS:
                return types.CallToolResult.model_validate(told["result"])
            await anyio.sleep(0.05)


async def call(client: Client, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """Call a tool; a task is given as it is told."""
    return await client.session.call_tool(tool, dict(arguments or {}), allow_claimed=True, **more)


async def ask(client: Client, method: str, task_id: str, **parameters: Any) -> dict[str, Any]:
    """Send a request about a task; give the result as it came."""
    return await _send(client.session, method, {"taskId": task_id, **parameters})


async def listen(client: Client, *task_ids: str) -> dict[str, Any]:
    """Ask for news of tasks."""
    request = types.Request[dict[str, Any], str](
        method="subscriptions/listen", params={"notifications": {"taskIds": list(task_ids)}}
    )
    return await client.session.send_request(request, _ANYTHING)


async def end_of(client: Client, task_id: str) -> dict[str, Any]:
    """Ask until the task has ended."""
    with anyio.fail_after(LONGEST):
        while (told := await ask(client, "tasks/get", task_id))["status"] not in _ENDS:
            await anyio.sleep(0.05)
    return told


async def _send(session: Any, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return await session.send_request(TaskRequest(method=method, params=parameters), _ANYTHING)
