"""What a task is: its state, its images, and what is known of its order."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from wan_mcp_tools.domain.requests import ImageRequest


class TaskStatus(StrEnum):
    """
    The states of a task: six of the service's words and two of ours.

    Source: https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"
    """The service does not know the id: it expired, never existed, or belongs to another account."""
    SUBMIT_UNKNOWN = "SUBMIT_UNKNOWN"
    """Ours: the order was sent, its answer was lost, and the task has not been found."""
    EXPIRED = "EXPIRED"
    """Ours: the 24 hours are over and nothing was saved."""

    @property
    def is_final(self) -> bool:
        """Whether no later answer of the service can change it."""
        return self in _FINAL


_FINAL = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED})


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image that is a verified file: `path` absolute, sizes in pixels and bytes, `index` from 1."""

    index: int
    path: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FailedImage:
    """
    An image that is not a file.

    `url` is set only where the image exists at the service and could not be saved yet; it dies with the task.
    """

    index: int
    code: str
    message: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a task did not succeed, in our words: `code` is the service's where there is one."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Task:
    """
    One order as the ledger and the service know it now.

    `task_id` is the service's id, or `local-…` as long as the service has not named it. `settled` says that
    waiting longer changes nothing for the caller: the task ended and each image was saved or given up for now.
    `open` says that the background still works on it. `problem` is why it failed, or what holds it up. `joined`
    marks an answer that belongs to an earlier identical order, `elsewhere` that its files were wanted in another
    folder or under another name. `updated_at` is the time of the last dated step.
    """

    task_id: str
    local_id: str
    status: TaskStatus
    region: str
    settled: bool
    created_at: datetime
    model: str | None = None
    request: ImageRequest | None = None
    images: tuple[SavedImage, ...] = ()
    failed_images: tuple[FailedImage, ...] = ()
    actual_prompt: str | None = None
    expires_at: datetime | None = None
    problem: Problem | None = None
    notes: tuple[str, ...] = ()
    joined: bool = False
    elsewhere: bool = False
    open: bool = False
    updated_at: datetime | None = None
