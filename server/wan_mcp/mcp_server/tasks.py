"""
Orders as tasks of MCP: what `generate_image` answers a client that can take a task.

The ledger's row is the task, so a task outlives the server, and its id is the order's: whichever the client was told,
ours or the service's, leads to it. Nothing is ever asked of the client.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from mcp.types import CallToolRequestParams

from wan_mcp.mcp_server.arguments import read_arguments
from wan_mcp.mcp_server.tasks_extension import (
    CallOutcome,
    Cancelled,
    Completed,
    TaskState,
    TaskStoreError,
    UnknownTaskError,
    Working,
)
from wan_mcp.mcp_server.tools import as_error_result, as_result
from wan_mcp_tools.domain.errors import AppError, NotCancelableError, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task, TaskStatus
from wan_mcp_tools.generate_image import GenerateImageArguments, generate_image
from wan_mcp_tools.results import check_wait, describe_error, task_answer, task_result

_ACCEPTANCE_SECONDS = 0.75
"""What the service gets to name, or to refuse, an order before the client is told of the task."""
_LIFETIME = timedelta(hours=24)
"""How long the service keeps a task: the life of one that has not ended, until its own end is known."""
_SHORTEST_POLL, _LONGEST_POLL = 1.0, 30.0
"""Seconds between two questions."""
_UNLEARNED_POLL, _OVERDUE_POLL = 3.0, 2.0
"""Seconds between questions while nothing was learned of such orders, and once one should be done."""

_STATUS_TEXTS = {
    TaskStatus.PENDING: "Waiting at the service",
    TaskStatus.RUNNING: "Running at the service",
    TaskStatus.SUCCEEDED: "Done; the images are being saved",
    TaskStatus.SUBMIT_UNKNOWN: "The order is being looked for",
}


class OrderTaskStore:
    """Keeps the tasks of `TasksExtension` in the service's ledger: a `TaskStore`."""

    def __init__(self, service: ImageService) -> None:
        self._service = service
        self._tool = generate_image(service)

    async def create(self, call: CallToolRequestParams) -> CallOutcome:
        """
        Order what the call asks for, and give the task once its row is written.

        An order that is refused, or that has ended already, is answered as it is without tasks.
        """
        if call.name != self._tool.name:
            return None
        try:
            task = await self._order(call.arguments or {})
        except AppError as error:
            return as_error_result(error)
        if task.settled:
            return as_result(task_answer(task))
        return await self._working(task, task.task_id)

    async def get(self, task_id: str) -> TaskState:
        """
        Give an order as a task; one that has ended comes with the answer that the call would have had.

        Its images then count as received.

        Raises:
            UnknownTaskError: nobody knows the id.
            TaskStoreError: the order could not be read now.
        """
        try:
            task = await self._service.get(task_id, wait_seconds=0, report=None)
        except AppError as error:
            raise _as_store_error(error) from error
        if not task.settled:
            return await self._working(task, task_id)
        if task.status is TaskStatus.CANCELED:
            return Cancelled(**_common_fields(task, task_id), message=task_result(task).message)
        return Completed(**_common_fields(task, task_id), result=as_result(task_answer(task)))

    async def cancel(self, task_id: str) -> None:
        """
        Cancel an order that has not begun; one that has is finished and saved all the same.

        Raises:
            UnknownTaskError: nobody knows the id.
            TaskStoreError: it could not be tried.
        """
        try:
            await self._service.cancel(task_id)
        except NotCancelableError:
            # Too late. The extension knows no refusal here: the client sees what becomes of the task.
            return
        except AppError as error:
            raise _as_store_error(error) from error

    async def update(self, task_id: str, responses: Mapping[str, Any]) -> None:
        """
        Take no notice of answers, for nothing was asked.

        Raises:
            UnknownTaskError: nobody knows the id.
            TaskStoreError: the ledger cannot be read now.
        """
        del responses
        try:
            task = await self._service.peek(task_id)
        except AppError as error:
            raise _as_store_error(error) from error
        if task is None:
            raise UnknownTaskError(f"No order {task_id} is in this ledger.")

    async def _order(self, given: Mapping[str, object]) -> Task:
        """
        Place the order that `generate_image` would place.

        Raises:
            AppError: nothing was ordered.
        """
        arguments = cast("GenerateImageArguments", read_arguments(self._tool, given))
        # A task waits for nobody, but what the tool refuses is refused here too.
        check_wait(arguments.wait_seconds, self._service.default_wait_seconds)
        return await self._service.order(
            arguments.make_request(self._service.catalogue),
            wait_seconds=_ACCEPTANCE_SECONDS,
            until_accepted=True,
            fresh=arguments.fresh,
            report=None,
        )

    async def _working(self, task: Task, task_id: str) -> Working:
        left = await self._service.seconds_left(task)
        return Working(
            **_common_fields(task, task_id), poll_interval=poll_interval(left), message=_progress_message(task, left)
        )


def poll_interval(left: float | None) -> timedelta:
    """Give the time to the next question: about when the task should be done, then every few seconds."""
    if left is None:
        seconds = _UNLEARNED_POLL
    elif left > 0:
        seconds = left
    else:
        seconds = max(_OVERDUE_POLL, -left / 4)
    return timedelta(seconds=min(max(seconds, _SHORTEST_POLL), _LONGEST_POLL))


def _common_fields(task: Task, task_id: str) -> dict[str, Any]:
    """
    Give what all states of a task tell, under the id that the client knows.

    What is open may come to nothing when the service forgets it; what has ended stays in the ledger for good.
    """
    until = task.expires_at or task.created_at + _LIFETIME
    return {
        "task_id": task_id,
        "created_at": task.created_at,
        "updated_at": task.updated_at or task.created_at,
        "lifetime": until - task.created_at if task.open else None,
    }


def _progress_message(task: Task, left: float | None) -> str:
    is_named = task.task_id != task.local_id
    text = _STATUS_TEXTS.get(task.status, task.status.capitalize())
    if task.status is TaskStatus.PENDING and not is_named:
        text = "Being sent"
    if left is not None and left > 1:
        text += f", usually done in about {left:.0f} s"
    return f"{text}. {task_result(task).message or ''}".strip()


def _as_store_error(error: AppError) -> TaskStoreError:
    if isinstance(error, NotFoundError | RequestRefusedError):
        return UnknownTaskError(describe_error(error))
    return TaskStoreError(describe_error(error))
