"""The extension: calls that become tasks, and the three methods that speak of them."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
)

from wan_mcp.mcp_server.tasks_extension.keeper import KeeperError, TaskKeeper, UnknownTaskError
from wan_mcp.mcp_server.tasks_extension.states import Cancelled, Completed, Failed, InputRequired, Working
from wan_mcp.mcp_server.tasks_extension.wire import (
    Message,
    TaskParams,
    TaskUpdateParams,
    acknowledged,
    created,
    detailed,
)

IDENTIFIER = "io.modelcontextprotocol/tasks"
_VERSIONS = frozenset({"2026-07-28"})

T = TypeVar("T")
Context = ServerRequestContext[Any, Any]


class TasksExtension(Extension):
    """
    Offers tasks to clients that declare them with the request; all others never see one.

    `requiring` names the tools that can be called in no other way: a client that declares nothing is refused there.
    """

    identifier = IDENTIFIER

    def __init__(self, keeper: TaskKeeper, *, requiring: Collection[str] = ()) -> None:
        self._keeper = keeper
        self._requiring = frozenset(requiring)

    def methods(self) -> Sequence[MethodBinding]:
        """Serve the methods of the extension, in the protocol that has it."""
        return [
            MethodBinding("tasks/get", TaskParams, self._get, _VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, _VERSIONS),
            MethodBinding("tasks/update", TaskUpdateParams, self._update, _VERSIONS),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        """Let the keeper begin a task if the client can take one."""
        if not _is_declared(ctx):
            if params.name in self._requiring:
                raise _undeclared()
            return await call_next(ctx)
        begun = await self._keeper.begin(params)
        match begun:
            case None:
                return await call_next(ctx)
            case Working() | InputRequired() | Completed() | Failed() | Cancelled():
                return created(begun)
            case answer:
                return answer

    async def _get(self, ctx: Context, params: TaskParams) -> Message:
        _check(ctx, params)
        return detailed(await _ask("The task cannot be told", self._keeper.get(params.task_id)))

    async def _cancel(self, ctx: Context, params: TaskParams) -> Message:
        _check(ctx, params)
        await _ask("The task cannot be cancelled", self._keeper.cancel(params.task_id))
        return acknowledged()

    async def _update(self, ctx: Context, params: TaskUpdateParams) -> Message:
        _check(ctx, params)
        await _ask("The task cannot be updated", self._keeper.update(params.task_id, params.input_responses))
        return acknowledged()


async def guard_listening(ctx: Context, call_next: CallNext) -> HandlerResult:
    """
    Refuse to open a stream of task news to a client that does not declare tasks; goes into a server's `middleware`.

    A client that declares them is told by the server's acknowledgement that no such news are sent: it asks instead.
    """
    is_listening = ctx.method == "subscriptions/listen" and ctx.protocol_version in _VERSIONS
    if is_listening and _asks_for_task_news(ctx.params) and not _is_declared(ctx):
        raise _undeclared()
    return await call_next(ctx)


def _is_declared(ctx: Context) -> bool:
    """Say whether the client can take a task in answer to this very request."""
    declared = ctx.session.client_capabilities
    return ctx.protocol_version in _VERSIONS and IDENTIFIER in ((declared and declared.extensions) or {})


def _asks_for_task_news(params: Mapping[str, Any] | None) -> bool:
    wanted = (params or {}).get("notifications")
    return isinstance(wanted, Mapping) and bool(cast("Mapping[str, Any]", wanted).get("taskIds"))


def _undeclared() -> MCPError:
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        f"This needs a client that declares the extension {IDENTIFIER} with the request.",
        {"requiredCapabilities": {"extensions": {IDENTIFIER: {}}}},
    )


def _check(ctx: Context, params: TaskParams) -> None:
    """
    Check what every request about a task must bring.

    Over HTTP the header `Mcp-Name` repeats the task id, for machines on the way that route by it; the SDK compares it
    only for the methods that it knows itself.

    Raises:
        MCPError: the client declares no tasks, or the header tells of another task.
    """
    headers: Mapping[str, str] | None = getattr(ctx.request, "headers", None)
    if headers is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != params.task_id:
        raise MCPError(HEADER_MISMATCH, f"The header {MCP_NAME_HEADER} does not repeat the parameter taskId.")
    if not _is_declared(ctx):
        raise _undeclared()


async def _ask(trouble: str, answer: Awaitable[T]) -> T:
    """
    Wait for the keeper's answer.

    Raises:
        MCPError: there is no such task, or the keeper cannot answer; `trouble` begins the sentence.
    """
    try:
        return await answer
    except UnknownTaskError as error:
        raise MCPError(INVALID_PARAMS, f"{trouble}: {error}") from error
    except KeeperError as error:
        raise MCPError(INTERNAL_ERROR, f"{trouble}: {error}") from error
