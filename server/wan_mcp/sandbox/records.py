"""A task as it is written down once. Its state is never stored: it follows from the record and the time."""

from dataclasses import dataclass
from enum import StrEnum

from wan_mcp.sandbox.models import Wire
from wan_mcp.sandbox.options import DAY
from wan_mcp.sandbox.refusals import Trouble


class State(StrEnum):
    """
    The states of a task.

    Source: https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """
    One order, and everything that will become of it.

    Times are seconds since 1970. `count` images are wanted, `width` by `height` pixels each; those at the places
    `missing` (from 1) are never made. `failure` is why the task fails, if it does. `as_set` says that the images
    belong together as one set. The images are not stored: they follow from the record as well.
    """

    task_id: str
    request_id: str
    wire: Wire
    model: str
    prompt: str
    width: int
    height: int
    count: int
    seed: int
    prompt_extend: bool
    watermark: bool
    submitted: float
    started: float
    ended: float
    failure: Trouble | None = None
    missing: tuple[int, ...] = ()
    as_set: bool = False
    canceled: float | None = None

    @property
    def finished(self) -> float:
        """When the task reaches its last state."""
        return self.ended if self.canceled is None else self.canceled

    @property
    def made(self) -> tuple[int, ...]:
        """The places, from 1, of the images that are made if the task succeeds."""
        return tuple(place for place in range(1, self.count + 1) if place not in self.missing)


def state_of(record: TaskRecord | None, now: float) -> State:
    """Say how a task stands at a time; one that nobody knows, or that is over for a day, is UNKNOWN."""
    if record is None or is_forgotten(record, now):
        return State.UNKNOWN
    if record.canceled is not None:
        return State.CANCELED
    if now < record.started:
        return State.PENDING
    if now < record.ended:
        return State.RUNNING
    return State.SUCCEEDED if record.failure is None else State.FAILED


def is_forgotten(record: TaskRecord, now: float) -> bool:
    """Say whether the record's time is over: the service keeps it for 24 hours after the task's end."""
    return now > record.finished + DAY
