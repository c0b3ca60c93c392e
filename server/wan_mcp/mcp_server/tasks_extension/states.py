"""The states of a task, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mcp.types import ErrorData, InputRequest, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """
    What every state tells.

    `created_at` and `updated_at` are aware times. The keeper may forget the task when `lifetime` has passed since its
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
