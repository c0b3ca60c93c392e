"""The answer that the ordering tools share, and the words in it."""

import re

from wan_mcp_tools.domain.errors import HostNotAllowedError, RequestRefusedError
from wan_mcp_tools.domain.tasks import FailedImage, Task, TaskStatus
from wan_mcp_tools.domain.text import leave_out_links, one_line
from wan_mcp_tools.tool import Answer, Result

_LONGEST_WAIT = 3600.0
_PROMPT_BYTES = 160
"""How much of a rewritten prompt an answer repeats; the whole stands beside the image, in its JSON file."""

_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]{1,1500}")
"""What the address of an image looks like; anything else that stands in its place is not passed on."""
_NEVER_LIVED = (TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED)
"""Ends after which nothing is left that could expire."""

JOINED = (
    "An identical order was placed before and its result was never received, so this is that order and nothing more "
    "is charged. Pass fresh=true to order another."
)
ELSEWHERE = (
    "Its files are saved where that order wanted them; once they are, download_image puts them into another folder "
    "or under another name, free of charge."
)


class ImageResult(Result):
    """A saved image: absolute path, sizes in pixels and bytes."""

    path: str
    width: int
    height: int
    bytes: int


class FailedImageResult(Result):
    """An image that is no file; `url` only where it exists and could not be saved yet."""

    index: int
    code: str
    message: str
    url: str | None = None


class TaskResult(Result):
    """A task as it is now. Absent values are left out."""

    task_id: str | None = None
    status: str
    region: str | None = None
    model: str | None = None
    code: str | None = None
    images: tuple[ImageResult, ...] | None = None
    failed_images: tuple[FailedImageResult, ...] | None = None
    actual_prompt: str | None = None
    expires_at: str | None = None
    message: str | None = None
    next_step: str | None = None


def task_result(task: Task) -> TaskResult:
    """Give a task as the answer of a tool."""
    images = tuple(ImageResult(path=i.path, width=i.width, height=i.height, bytes=i.bytes) for i in task.images)
    expires_at = None if task.status in _NEVER_LIVED else task.expires_at
    return TaskResult(
        task_id=task.task_id,
        status=task.status,
        region=task.region,
        model=task.model,
        code=task.problem.code if task.problem and is_failure(task) else None,
        images=images or None,
        failed_images=_failures(task),
        actual_prompt=_shorten(task.actual_prompt) if task.actual_prompt else None,
        expires_at=expires_at.isoformat(timespec="seconds") if expires_at else None,
        message=_message(task),
        next_step=_next_step(task),
    )


def task_answer(task: Task) -> Answer:
    """Give a task as an answer, marked as a failure where it failed."""
    return Answer(task_result(task), is_error=is_failure(task))


def is_failure(task: Task) -> bool:
    """Say whether the caller must be told of a failure."""
    if task.status in (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.UNKNOWN):
        return True
    return task.status is TaskStatus.SUBMIT_UNKNOWN and not task.open


def check_wait(seconds: float | None, default: float) -> float:
    """
    Give the seconds to wait.

    Raises:
        RequestRefusedError: not between 0 and an hour.
    """
    if seconds is None:
        return default
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise RequestRefusedError(f"wait_seconds is {seconds:g}.", f"Use a number from 0 to {_LONGEST_WAIT:.0f}.")
    return seconds


def _message(task: Task) -> str | None:
    parts = [JOINED] if task.joined else []
    parts += [ELSEWHERE] if task.elsewhere else []
    parts.extend(task.notes)
    told = task.status is TaskStatus.SUCCEEDED and task.failed_images
    if task.problem is not None and not told:
        parts.append(task.problem.message)
    elif task.status is TaskStatus.UNKNOWN:
        parts.append("The service does not know this task: it is older than 24 hours, or of another account.")
    elif task.status is TaskStatus.SUBMIT_UNKNOWN:
        parts.append("The order was sent and its answer was lost.")
    if task.status is TaskStatus.SUBMIT_UNKNOWN and task.open:
        parts.append("It is being looked for, and is not sent again.")
    return " ".join(parts) or None


def _next_step(task: Task) -> str | None:
    """Name the tool to call next, with its arguments, where there is a next step."""
    again = f"Call get_task with task_id={task.task_id}"
    match task.status:
        case TaskStatus.SUCCEEDED if any(image.url for image in task.failed_images):
            return f"{again} later: saving is tried again until expires_at. Do not order again: it is paid."
        case TaskStatus.SUCCEEDED if not task.settled:
            return f"{again} and wait_seconds=45: the images are being saved."
        case TaskStatus.PENDING if task.task_id == task.local_id:
            return f"{again} and wait_seconds=45. The service has not confirmed the order yet; do not order again."
        case TaskStatus.PENDING | TaskStatus.RUNNING:
            return f"{again} and wait_seconds=45 for the result. It is saved in any case."
        case TaskStatus.SUBMIT_UNKNOWN if task.open:
            return f"{again} and wait_seconds=45. Do not order again meanwhile, it may be paid for."
        case TaskStatus.SUBMIT_UNKNOWN if _code(task) == "AnswerLostForGood":
            return "Order again with fresh=true only if a second charge is acceptable."
        case TaskStatus.SUBMIT_UNKNOWN if _code(task) == "AnswerAmbiguous":
            return (
                "Call view_image with each of these task_ids to see which picture is yours. Order again with "
                "fresh=true only if none is and a second charge is acceptable."
            )
        case TaskStatus.SUBMIT_UNKNOWN:
            return (
                "Call list_tasks with remote=true to see the service's recent tasks. Order again with fresh=true "
                "only if a second charge is acceptable."
            )
        case TaskStatus.UNKNOWN:
            return "Call list_tasks to see the tasks that are known."
        case _:
            return None


def _code(task: Task) -> str | None:
    return task.problem.code if task.problem is not None else None


def _failures(task: Task) -> tuple[FailedImageResult, ...] | None:
    """Give the images that are no files, unless the task's own message says the same of all of them."""
    words = {image.message for image in task.failed_images}
    if is_failure(task) and task.problem is not None and words == {task.problem.message}:
        return None
    failed = (
        FailedImageResult(index=image.index, code=image.code, message=image.message, url=_address(image))
        for image in task.failed_images
    )
    return tuple(failed) or None


def _address(image: FailedImage) -> str | None:
    """Give an address that download_image can fetch."""
    if image.url is None or image.code == HostNotAllowedError.default_code:
        return None
    return image.url if _ADDRESS.fullmatch(image.url) else None


def _shorten(text: str) -> str:
    text = one_line(leave_out_links(text), _PROMPT_BYTES)
    data = text.encode()
    if len(data) <= _PROMPT_BYTES:
        return text
    return data[:_PROMPT_BYTES].decode(errors="ignore").rstrip() + "…"
