"""Tasks in memory: each call of a named tool runs as a job of its own, and may ask the client while it does."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolRequestParams, CallToolResult, ErrorData, InputRequest, InputRequiredResult, Result

from wan_mcp.mcp_server.tasks_extension import (
    Begun,
    Cancelled,
    Completed,
    Failed,
    InputRequired,
    TaskState,
    UnknownTaskError,
    Working,
)


@dataclass
class Desk:
    """Where a job and its client meet."""

    call: CallToolRequestParams
    born: datetime
    changed: datetime
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    open: dict[str, InputRequest] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    answered: anyio.Event = field(default_factory=anyio.Event)
    result: Result | None = None
    error: ErrorData | None = None

    async def ask(self, **requests: InputRequest) -> dict[str, Any]:
        """Ask the client and wait until everything is answered."""
        self.open, self.answers, self.answered = dict(requests), {}, anyio.Event()
        await self.answered.wait()
        return self.answers


Job = Callable[[Desk], Awaitable[CallToolResult]]
Opening = Callable[[CallToolRequestParams], InputRequiredResult | CallToolResult | None]


class MemoryKeeper:
    """
    Implements `TaskKeeper` for the jobs it is given, by the name of their tool.

    `openings` answer a call before there is a task, if they answer at all. Enter `running` before any call.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        *,
        openings: Mapping[str, Opening] | None = None,
        lifetime: timedelta | None = timedelta(hours=1),
        poll_interval: timedelta | None = timedelta(milliseconds=200),
        message: str | None = None,
    ) -> None:
        self.jobs = jobs
        self.openings = openings or {}
        self.lifetime = lifetime
        self.poll_interval = poll_interval
        self.message = message
        self.desks: dict[str, Desk] = {}
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["MemoryKeeper"]:
        async with anyio.create_task_group() as self._group:
            yield self
            self._group.cancel_scope.cancel()

    async def begin(self, call: CallToolRequestParams) -> Begun:
        if call.name not in self.jobs:
            return None
        first = self.openings.get(call.name, lambda _: None)(call)
        if first is not None:
            return first
        task_id, now = secrets.token_hex(16), datetime.now(UTC)
        self.desks[task_id] = Desk(call, now, now)
        self._group.start_soon(self._work, self.desks[task_id])
        return await self.get(task_id)

    async def get(self, task_id: str) -> TaskState:
        desk = self._find(task_id)
        told = {
            "task_id": task_id,
            "created_at": desk.born,
            "updated_at": desk.changed,
            "lifetime": self.lifetime,
            "poll_interval": self.poll_interval,
            "message": self.message,
        }
        if desk.result is not None:
            return Completed(**told, result=desk.result)
        if desk.error is not None:
            return Failed(**told, error=desk.error)
        if desk.scope.cancel_called:
            return Cancelled(**told)
        return InputRequired(**told, requests=dict(desk.open)) if desk.open else Working(**told)

    async def cancel(self, task_id: str) -> None:
        desk = self._find(task_id)
        if desk.result is None and desk.error is None:
            desk.scope.cancel()
            desk.changed = datetime.now(UTC)

    async def update(self, task_id: str, responses: Mapping[str, Any]) -> None:
        desk = self._find(task_id)
        known = {name: answer for name, answer in responses.items() if name in desk.open}
        desk.answers |= known
        desk.open = {name: request for name, request in desk.open.items() if name not in known}
        if known and not desk.open:
            desk.changed = datetime.now(UTC)
            desk.answered.set()

    def _find(self, task_id: str) -> Desk:
        if task_id not in self.desks:
            raise UnknownTaskError("there is no such task")
        return self.desks[task_id]

    async def _work(self, desk: Desk) -> None:
        with desk.scope:
            try:
                desk.result = await self.jobs[desk.call.name](desk)
            except MCPError as error:
                desk.error = error.error
        desk.changed = datetime.now(UTC)
