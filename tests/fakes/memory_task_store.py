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
    CallOutcome,
    Cancelled,
    Completed,
    Failed,
    InputRequired,
    TaskState,
    UnknownTaskError,
    Working,
)


@dataclass
class Job:
    """One task: its call, what it has asked of the client, and how it ended."""

    call: CallToolRequestParams
    created_at: datetime
    updated_at: datetime
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


JobFunction = Callable[[Job], Awaitable[CallToolResult]]
ImmediateAnswer = Callable[[CallToolRequestParams], InputRequiredResult | CallToolResult | None]


class MemoryTaskStore:
    """
    Implements `TaskStore` for the functions it is given, by the name of their tool.

    `immediate_answers` answer a call before there is a task, if they answer at all. Enter `running` before any call.
    """

    def __init__(
        self,
        functions: Mapping[str, JobFunction],
        *,
        immediate_answers: Mapping[str, ImmediateAnswer] | None = None,
        lifetime: timedelta | None = timedelta(hours=1),
        poll_interval: timedelta | None = timedelta(milliseconds=200),
        message: str | None = None,
    ) -> None:
        self.functions = functions
        self.immediate_answers = immediate_answers or {}
        self.lifetime = lifetime
        self.poll_interval = poll_interval
        self.message = message
        self.jobs: dict[str, Job] = {}
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["MemoryTaskStore"]:
        async with anyio.create_task_group() as self._group:
            yield self
            self._group.cancel_scope.cancel()

    async def create(self, call: CallToolRequestParams) -> CallOutcome:
        if call.name not in self.functions:
            return None
        immediate = self.immediate_answers.get(call.name, lambda _: None)(call)
        if immediate is not None:
            return immediate
        task_id, now = secrets.token_hex(16), datetime.now(UTC)
        self.jobs[task_id] = Job(call, now, now)
        self._group.start_soon(self._work, self.jobs[task_id])
        return await self.get(task_id)

    async def get(self, task_id: str) -> TaskState:
        job = self._find(task_id)
        fields = {
            "task_id": task_id,
            "created_at": job.created_at,
            "updated_at": job.updated_at,
            "lifetime": self.lifetime,
            "poll_interval": self.poll_interval,
            "message": self.message,
        }
        if job.result is not None:
            return Completed(**fields, result=job.result)
        if job.error is not None:
            return Failed(**fields, error=job.error)
        if job.scope.cancel_called:
            return Cancelled(**fields)
        return InputRequired(**fields, requests=dict(job.open)) if job.open else Working(**fields)

    async def cancel(self, task_id: str) -> None:
        job = self._find(task_id)
        if job.result is None and job.error is None:
            job.scope.cancel()
            job.updated_at = datetime.now(UTC)

    async def update(self, task_id: str, responses: Mapping[str, Any]) -> None:
        job = self._find(task_id)
        known = {name: answer for name, answer in responses.items() if name in job.open}
        job.answers |= known
        job.open = {name: request for name, request in job.open.items() if name not in known}
        if known and not job.open:
            job.updated_at = datetime.now(UTC)
            job.answered.set()

    def _find(self, task_id: str) -> Job:
        if task_id not in self.jobs:
            raise UnknownTaskError("there is no such task")
        return self.jobs[task_id]

    async def _work(self, job: Job) -> None:
        with job.scope:
            try:
                job.result = await self.functions[job.call.name](job)
            except MCPError as error:
                job.error = error.error
        job.updated_at = datetime.now(UTC)
