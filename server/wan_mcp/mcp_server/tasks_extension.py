"""
The tasks of MCP: a server that needs long for a call answers it with a task, and the client asks again.

This module knows the protocol and nothing of what the tasks are about; whoever keeps the tasks fulfils `TaskStore`.

Source: https://modelcontextprotocol.io/seps/2663-tasks-extension
"""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar, cast

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
    CallToolResult,
    ErrorData,
    InputRequest,
    InputRequiredResult,
    RequestParams,
    Result,
)
from pydantic import BaseModel

IDENTIFIER = "io.modelcontextprotocol/tasks"
_VERSIONS = frozenset({"2026-07-28"})

T = TypeVar("T")
Context = ServerRequestContext[Any, Any]
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """
    What a task of any state tells.

    `created_at` and `updated_at` are aware times. The store may forget the task when `lifetime` has passed since its
    creation, and never does if that is None. `poll_interval` is how long a client should wait before it asks again.
    `message` is for people and models.
    """

    task_id: str
    created_at: datetime
    updated_at: datetime
    lifetime: timedelta | None
    poll_interval: timedelta | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Working(_Task):
    """It is being worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRequired(_Task):
    """It waits for the client's answers to `requests`: all that are open now, each under a name of its own."""

    requests: Mapping[str, InputRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(_Task):
    """It has ended with what the call would have been answered with, a tool's error among it."""

    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_Task):
    """It has ended with what is an error of the protocol, and of nothing else."""

    error: ErrorData


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(_Task):
    """It was cancelled before it was done."""


TaskState = Working | InputRequired | Completed | Failed | Cancelled

CallOutcome = TaskState | CallToolResult | InputRequiredResult | None
"""
What became of a call: a task; or an answer at once, because it was refused or is done already; or a question that
comes before there is a task; or None, if this call is none that becomes a task.
"""


class TaskStoreError(Exception):
    """Raised when the store cannot answer now; the client is told the message."""


class UnknownTaskError(TaskStoreError):
    """Raised when there is no such task, or no longer."""


class TaskStore(Protocol):
    """
    Keeps the tasks of one server.

    An id is all that a client needs to reach a task: ids must be impossible to guess.
    """

    async def create(self, call: CallToolRequestParams) -> CallOutcome:
        """
        Create the task of a call, or answer it otherwise.

        A task that is given is kept already: `get` finds it, also after the server has been restarted if the
        store outlives that.
        """
        ...

    async def get(self, task_id: str) -> TaskState:
        """
        Give a task as it is now, under the id that was asked for.

        Raises:
            UnknownTaskError: there is none.
        """
        ...

    async def cancel(self, task_id: str) -> None:
        """
        Take note that nobody wants the task any more. Whether it then ends as cancelled is the store's decision.

        Raises:
            UnknownTaskError: there is none.
        """
        ...

    async def update(self, task_id: str, responses: Mapping[str, Any]) -> None:
        """
        Take answers to what a task has asked; names that are not open are ignored.

        Raises:
            UnknownTaskError: there is none.
        """
        ...


class TaskParams(RequestParams):
    """The parameters of tasks/get and tasks/cancel."""

    task_id: str


class TaskUpdateParams(TaskParams):
    """The parameters of tasks/update. An answer of any shape is let through: one to an unknown name is no error."""

    input_responses: dict[str, Any]


class TasksExtension(Extension):
    """
    Offers tasks to clients that declare them with the request; all others never see one.

    `requiring` names the tools that can be called in no other way: a client that declares nothing is refused there.
    """

    identifier = IDENTIFIER

    def __init__(self, store: TaskStore, *, requiring: Collection[str] = ()) -> None:
        self._store = store
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
        """Let the store create a task if the client can take one."""
        if not _is_declared(ctx):
            if params.name in self._requiring:
                raise _undeclared()
            return await call_next(ctx)
        outcome = await self._store.create(params)
        match outcome:
            case None:
                return await call_next(ctx)
            case Working() | InputRequired() | Completed() | Failed() | Cancelled():
                return dump_created(outcome)
            case answer:
                return answer

    async def _get(self, ctx: Context, params: TaskParams) -> JsonObject:
        _check(ctx, params)
        return dump_detailed(await _ask("The task cannot be told", self._store.get(params.task_id)))

    async def _cancel(self, ctx: Context, params: TaskParams) -> JsonObject:
        _check(ctx, params)
        await _ask("The task cannot be cancelled", self._store.cancel(params.task_id))
        return _dump_acknowledgement()

    async def _update(self, ctx: Context, params: TaskUpdateParams) -> JsonObject:
        _check(ctx, params)
        await _ask("The task cannot be updated", self._store.update(params.task_id, params.input_responses))
        return _dump_acknowledgement()


async def refuse_undeclared_subscriptions(ctx: Context, call_next: CallNext) -> HandlerResult:
    """
    Refuse to open a stream of notifications about tasks to a client that does not declare tasks; for `middleware`.

    A client that declares them is told by the server's acknowledgement that no such notifications are sent: it asks
    instead.
    """
    is_subscription = ctx.method == "subscriptions/listen" and ctx.protocol_version in _VERSIONS
    if is_subscription and _is_about_tasks(ctx.params) and not _is_declared(ctx):
        raise _undeclared()
    return await call_next(ctx)


def _is_declared(ctx: Context) -> bool:
    """Say whether the client can take a task in answer to this very request."""
    declared = ctx.session.client_capabilities
    return ctx.protocol_version in _VERSIONS and IDENTIFIER in ((declared and declared.extensions) or {})


def _is_about_tasks(params: Mapping[str, Any] | None) -> bool:
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


async def _ask(failure: str, answer: Awaitable[T]) -> T:
    """
    Wait for the store's answer.

    Raises:
        MCPError: there is no such task, or the store cannot answer; `failure` begins the sentence.
    """
    try:
        return await answer
    except UnknownTaskError as error:
        raise MCPError(INVALID_PARAMS, f"{failure}: {error}") from error
    except TaskStoreError as error:
        raise MCPError(INTERNAL_ERROR, f"{failure}: {error}") from error


def dump_created(task: TaskState) -> JsonObject:
    """Give the answer to a call that has become a task. What the task holds comes with the first question for it."""
    return {"resultType": "task", **_dump_task(task)}


def dump_detailed(task: TaskState) -> JsonObject:
    """Give the answer to tasks/get."""
    dumped: JsonObject = {"resultType": "complete", **_dump_task(task)}
    match task:
        case InputRequired():
            dumped["inputRequests"] = {name: _dump(request) for name, request in task.requests.items()}
        case Completed():
            dumped["result"] = _dump(task.result)
        case Failed():
            dumped["error"] = _dump(task.error)
        case Working() | Cancelled():
            pass
    return dumped


def _dump_acknowledgement() -> JsonObject:
    """Give the answer to tasks/cancel and tasks/update: empty, whatever comes of it."""
    return {"resultType": "complete"}


def _dump_task(task: TaskState) -> JsonObject:
    dumped: JsonObject = {
        "taskId": task.task_id,
        "status": _status(task),
        "createdAt": _timestamp(task.created_at),
        "lastUpdatedAt": _timestamp(task.updated_at),
        # Null is a value of its own here: the task is kept for ever.
        "ttlMs": None if task.lifetime is None else _milliseconds(task.lifetime),
    }
    if task.message is not None:
        dumped["statusMessage"] = task.message
    if task.poll_interval is not None:
        dumped["pollIntervalMs"] = _milliseconds(task.poll_interval)
    return dumped


def _status(task: TaskState) -> str:
    match task:
        case Working():
            return "working"
        case InputRequired():
            return "input_required"
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"


def _timestamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(span: timedelta) -> int:
    """Give whole milliseconds, at least one: nought and less have no meaning on the wire."""
    return max(1, round(span / timedelta(milliseconds=1)))


def _dump(value: BaseModel) -> JsonObject:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
