"""What a task is: its state, its images, and what is known of its order."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from wan_mcp_tools.domain.errors import ErrorCode
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest, InputChange, InputImage
from wan_mcp_tools.domain.text import one_line


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


class NameReason(StrEnum):
    """Why a file has another name than was asked for."""

    TAKEN = "taken"
    """Another file had it; a number was put behind it."""
    ENDING = "ending"
    """The ending follows the picture's format."""
    LETTERS = "letters"
    """The system takes no such name: it is too long there, or has letters that cannot be written."""


_NAME_REASONS = {
    NameReason.TAKEN: "that name was taken",
    NameReason.ENDING: "the ending follows the picture's format",
    NameReason.LETTERS: "the system does not take that name as it is",
}
_NAME_CHARACTERS, _FOLDER_CHARACTERS = 80, 200
_INPUTS_TOLD = 4


class NameChange(Record):
    """The name that was asked for, and why the file has another one."""

    wanted: str
    reasons: tuple[NameReason, ...]


class RelativeFolder(Record):
    """A relative folder as a caller gave it, and the absolute path of the one that it means."""

    given: str
    path: str


class CopyRemark(StrEnum):
    """What a converted copy of an image lacks."""

    WHITE_BACKGROUND = "white_background"
    """The format has no transparency: transparent parts are white."""
    TEXTS_LEFT_OUT = "texts_left_out"
    """The format has no room for all that the file says of itself; the label of a generated picture is there."""


_COPY_REMARKS = {
    CopyRemark.WHITE_BACKGROUND: "JPEG has no transparency, so transparent parts are white; webp and png keep it.",
    CopyRemark.TEXTS_LEFT_OUT: (
        "The copy lacks some of the original's texts: the format has no room for them. It is labelled as AI-made."
    ),
}


class SavedImage(Record):
    """
    An image that is a verified file: `path` absolute, sizes in pixels and bytes, `index` from 1.

    A caller without a part in the server's disk is given the file's name alone as `path`, and a link to it as `url`,
    which ends at `url_expires_at`.

    `name_change` is set where it has another name than was asked for. `wanted_folder` is the folder that it belongs
    in, where that is not allowed any more and it lies in another one. `relative_folder` is set where a call has named
    its folder by a relative path, `remarks` where it is a converted copy. `other_name` is what people call it where
    the last part of its path is no name for them.
    """

    index: int
    path: str
    width: int
    height: int
    bytes: int
    name_change: NameChange | None = None
    wanted_folder: str | None = None
    relative_folder: RelativeFolder | None = None
    remarks: tuple[CopyRemark, ...] = ()
    url: str | None = None
    url_expires_at: datetime | None = None
    other_name: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its folder, on whatever system it lies."""
        return self.other_name or re.split(r"[\\/]", self.path)[-1]


class FailedImage(Record):
    """
    An image that is not a file.

    `url` is set only where the image exists at the service and could not be saved yet; it dies with the task.
    `message` is in plain words; `next_step` is set where the caller can do something about this image alone.
    """

    index: int
    code: str
    message: str
    url: str | None = None
    next_step: NextStep | None = None

    @property
    def can_fetch_again(self) -> bool:
        """Whether its file is gone and the service still has it, until `next_step.until`."""
        return self.next_step is not None and self.next_step.action is NextAction.FETCH_AGAIN


_REFUSALS = ("inspection", "infringe", "inappropriate", "sensitive")
"""
What the codes have in common by which the service's inspection refuses words or pictures.

Source: https://help.aliyun.com/zh/model-studio/error-code
"""


class Problem(Record):
    """
    Why a task did not succeed, or what holds it up.

    `code` is the service's where there is one, else an `ErrorCode`. `message` is in our plain words; `next_step` is
    set where the caller can do something about the problem itself.
    """

    code: str
    message: str
    next_step: NextStep | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether the service's inspection refused the order: the same words would be refused again."""
        code = self.code.lower()
        return any(mark in code for mark in _REFUSALS)


class Task(Record):
    """
    One order as the ledger and the service know it now.

    `task_id` is the service's id, or `local-…` as long as the service has not given one. `settled` says that
    waiting longer changes nothing for the caller: the task ended and each image was saved or given up for now.
    `open` says that the background still works on it. `problem` is why it failed, or what holds it up. `deduplicated`
    marks an answer that belongs to an earlier identical order, `saved_elsewhere` that its files were wanted in
    another folder or under another name. `updated_at` is the time of the last dated step. `relative_folder` is where
    the images go if the order has named it by a relative path. `principal` is the id of whose order it is.
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
    deduplicated: bool = False
    saved_elsewhere: bool = False
    open: bool = False
    updated_at: datetime | None = None
    relative_folder: RelativeFolder | None = None
    principal: str = LOCAL_ID

    @property
    def next_step(self) -> NextStep | None:
        """What a caller can do about the task; None where it has all that there is."""
        action = self._next_action()
        return None if action is None else NextStep(action, task_id=self.task_id)

    @property
    def is_failure(self) -> bool:
        """Whether a caller must be told of a failure: nothing came of it, or nobody knows what."""
        if self.status in (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.UNKNOWN):
            return True
        return self.status is TaskStatus.SUBMIT_UNKNOWN and not self.open

    def _next_action(self) -> NextAction | None:
        code = self.problem.code if self.problem is not None else None
        match self.status:
            case TaskStatus.SUCCEEDED if any(image.url for image in self.failed_images):
                return NextAction.GET_LATER
            case TaskStatus.SUCCEEDED if not self.settled:
                return NextAction.WAIT_FOR_FILES
            case TaskStatus.PENDING if self.task_id == self.local_id:
                return NextAction.WAIT_FOR_CONFIRMATION
            case TaskStatus.PENDING | TaskStatus.RUNNING:
                return NextAction.WAIT_FOR_RESULT
            case TaskStatus.SUBMIT_UNKNOWN if self.open:
                return NextAction.WAIT_FOR_SEARCH
            case TaskStatus.SUBMIT_UNKNOWN if code == ErrorCode.ANSWER_LOST_FOR_GOOD:
                return NextAction.ORDER_AT_RISK
            case TaskStatus.SUBMIT_UNKNOWN if code == ErrorCode.ANSWER_AMBIGUOUS:
                return NextAction.COMPARE_CANDIDATES
            case TaskStatus.SUBMIT_UNKNOWN:
                return NextAction.LIST_SERVICE_OR_ORDER_AT_RISK
            case TaskStatus.UNKNOWN:
                return NextAction.LIST_TASKS
            case _:
                return None


def describe_places(images: Sequence[SavedImage], relative_folder: RelativeFolder | None = None) -> tuple[str, ...]:
    """
    Say why images lie under another name, or in another folder, than was asked for, each reason once.

    `relative_folder` is that of their order. It also says what a converted copy lacks.
    """
    sentences: list[str] = []
    renamed = [(image, image.name_change) for image in images if image.name_change is not None]
    if renamed:
        image, change = renamed[0]
        wanted, given = (one_line(name, _NAME_CHARACTERS) for name in (change.wanted, image.name))
        more = ", and so on" if len(renamed) > 1 else ""
        reasons = dict.fromkeys(reason for _, change in renamed for reason in change.reasons)
        why = ", and ".join(_NAME_REASONS[reason] for reason in reasons)
        sentences.append(f"{wanted} is saved as {given}{more}: {why}.")
    relative = dict.fromkeys([relative_folder, *(image.relative_folder for image in images)])
    sentences += [_tell_relative_folder(each) for each in relative if each is not None]
    folders = dict.fromkeys(image.wanted_folder for image in images if image.wanted_folder)
    sentences += map(tell_other_folder, folders)
    return (*sentences, *(_COPY_REMARKS[each] for image in images for each in image.remarks))


def _tell_relative_folder(folder: RelativeFolder) -> str:
    given, path = (one_line(each, _FOLDER_CHARACTERS) for each in (folder.given, folder.path))
    return f"The relative folder {given} is {path}."


_CHANGES = {
    InputChange.FIRST_FRAME: "its first frame alone",
    InputChange.FORMAT: "in another format",
    InputChange.SCALED: "with fewer pixels",
    InputChange.FLATTENED: "with white in the place of transparency",
    InputChange.COMPRESSED: "compressed",
}


def describe_inputs(images: Sequence[InputImage]) -> str | None:
    """
    Say which input pictures are sent otherwise than they are, or although they are small; None if none.

    They are changed because the model does not take them as they are; they are small where it is advised for larger.
    """
    changed = {
        number: ", ".join(_CHANGES[change] for change in image.changes)
        for number, image in enumerate(images, 1)
        if image.changes
    }
    small = {
        number: f"has a side of less than {image.advised_side} pixels"
        for number, image in enumerate(images, 1)
        if image.advised_side
    }
    sentences: list[str] = []
    if changed:
        told = _tell_pictures(images, changed)
        sentences.append(f"Sent as the model takes it: {told}. The files stay as they are.")
    if small:
        told = _tell_pictures(images, small)
        sentences.append(f"Sent though larger ones are advised for this model: {told}.")
    return " ".join(sentences) or None


def _tell_pictures(images: Sequence[InputImage], words: Mapping[int, str]) -> str:
    """Name some pictures by their numbers, each with its words."""
    told: list[str] = []
    for number, text in list(words.items())[:_INPUTS_TOLD]:
        name = one_line(re.split(r"[\\/]", images[number - 1].reference)[-1], _NAME_CHARACTERS)
        told.append(f"picture {number} ({name}) {text}")
    more = f"; and {len(words) - _INPUTS_TOLD} more" if len(words) > _INPUTS_TOLD else ""
    return "; ".join(told) + more


def tell_other_folder(folder: str) -> str:
    """Say that a folder may not be written in any more, so that images were saved in another one."""
    shown = one_line(folder, _FOLDER_CHARACTERS)
    return f"The folder {shown} is not an allowed one now, so what belongs there is saved in the image folder."
