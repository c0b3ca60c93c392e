"""Tasks on the wire: parameters in, results out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from mcp.types import RequestParams
from pydantic import BaseModel

from wan_mcp.mcp_server.tasks_extension.states import Cancelled, Completed, Failed, InputRequired, TaskState, Working

Message = dict[str, Any]


class TaskParams(RequestParams):
    """The parameters of tasks/get and tasks/cancel."""

    task_id: str


class TaskUpdateParams(TaskParams):
    """The parameters of tasks/update. An answer of any shape is let through: one to an unknown name is no error."""

    input_responses: dict[str, Any]


def created(task: TaskState) -> Message:
    """Give the answer to a call that has become a task. What the task holds comes with the first question for it."""
    return {"resultType": "task", **_outline(task)}


def detailed(task: TaskState) -> Message:
    """Give the answer to tasks/get."""
    told: Message = {"resultType": "complete", **_outline(task)}
    match task:
        case InputRequired():
            told["inputRequests"] = {name: _dump(request) for name, request in task.requests.items()}
        case Completed():
            told["result"] = _dump(task.result)
        case Failed():
            told["error"] = _dump(task.error)
        case Working() | Cancelled():
            pass
    return told


def acknowledged() -> Message:
    """Give the answer to tasks/cancel and tasks/update: empty, whatever comes of it."""
    return {"resultType": "complete"}


def _outline(task: TaskState) -> Message:
    told: Message = {
        "taskId": task.task_id,
        "status": _status(task),
        "createdAt": _moment(task.created_at),
        "lastUpdatedAt": _moment(task.updated_at),
        # Null is a value of its own here: the task is kept for ever.
        "ttlMs": None if task.lifetime is None else _milliseconds(task.lifetime),
    }
    if task.message is not None:
        told["statusMessage"] = task.message
    if task.poll_interval is not None:
        told["pollIntervalMs"] = _milliseconds(task.poll_interval)
    return told


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


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(span: timedelta) -> int:
    """Give whole milliseconds, at least one: nought and less have no meaning on the wire."""
    return max(1, round(span / timedelta(milliseconds=1)))


def _dump(value: BaseModel) -> Message:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
