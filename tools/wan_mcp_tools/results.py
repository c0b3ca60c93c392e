"""The answer that the ordering tools share, and the words in it."""

import re
from collections.abc import Sequence

from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import AppError, ErrorCode, RequestRefusedError, StorageError
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.principals import current_principal
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService, ProgressReport
from wan_mcp_tools.domain.tasks import FailedImage, SavedImage, Task, TaskStatus, describe_inputs, describe_places
from wan_mcp_tools.domain.text import cut_middle, leave_out_links, one_line
from wan_mcp_tools.tool import Answer, Result

_LONGEST_WAIT = 3600.0
_LONGEST_PROGRESS = 400
"""Characters of a sentence about the progress of a call."""
_SLOW_FROM = 60.0
"""Seconds from which a model's usual duration is worth a word: an answer is expected within a minute anyway."""
_PROMPT_BYTES = 140
"""How much of a rewritten prompt an answer repeats; the whole stands beside the image, in its JSON file."""
_ERROR_BYTES, _MESSAGE_BYTES, _FAILURE_BYTES = 1_600, 900, 400
"""How long an error may be in all, what happened in it or to a task, and what is said of one image."""

_ADDRESS = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]{1,1500}")
"""What the address of an image looks like; anything else that stands in its place is not passed on."""
_WITHOUT_RESULTS = (TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.EXPIRED)
"""Ends after which nothing is left that could expire."""

_DEDUPLICATED = (
    "An identical order was placed before and its result was never received, so this is that order and nothing more "
    "is charged."
)
_ORDER_ANOTHER = "Pass fresh=true to order another."
_SAVED_ELSEWHERE = "Its files are saved where that order wanted them"
_COPY_THEM = "once they are, download_image puts them into another folder or under another name, free of charge."

_TELL_OPERATOR = "Try again in a minute; if that does not help, tell whoever runs this server: its log says more."
"""What helps where a disk that the caller has no part in refuses."""

_GET = "Call get_task with task_id={task_id}"
_WAIT = f"{_GET} and wait_seconds=45"
_AT_RISK = "Order again with fresh=true only if a second charge is acceptable."
_NEXT_STEPS = {
    NextAction.WAIT_FOR_RESULT: f"{_WAIT} for the result. It is saved in any case.",
    NextAction.WAIT_FOR_CONFIRMATION: f"{_WAIT}. The service has not confirmed the order yet; do not order again.",
    NextAction.WAIT_FOR_FILES: f"{_WAIT}: the images are being saved.",
    NextAction.WAIT_FOR_SEARCH: f"{_WAIT}. Do not order again meanwhile, it may be paid for.",
    NextAction.WAIT_FIRST: f"{_WAIT} first.",
    NextAction.GET_LATER: f"{_GET} later: saving is tried again until expires_at. Do not order again: it is paid.",
    NextAction.GET_TASK: f"{_GET}.",
    NextAction.GET_TASK_TO_COLLECT: f"{_GET} to collect it.",
    NextAction.GET_TASK_FOR_REASON: f"{_GET} to see why.",
    NextAction.GET_TASK_AGAIN: "Call get_task again in a moment.",
    NextAction.CHECK_CANCELLATION: "Call get_task to see whether it was cancelled.",
    NextAction.CHECK_DOWNLOAD: "Call get_task to see where it stands, then call again.",
    NextAction.CANCEL_AGAIN: "Call cancel_task again in a moment.",
    NextAction.ORDER_AT_RISK: _AT_RISK,
    NextAction.COMPARE_CANDIDATES: (
        "Call view_image with each of these task_ids to see which picture is yours. Order again with fresh=true only "
        "if none is and a second charge is acceptable."
    ),
    NextAction.LIST_SERVICE_OR_ORDER_AT_RISK: (
        f"Call list_tasks with remote=true to see the service's recent tasks. {_AT_RISK}"
    ),
    NextAction.LIST_TASKS: "Call list_tasks to see the tasks that are known.",
    NextAction.LIST_KNOWN_TASKS: "Use list_tasks to see the tasks that are known.",
    NextAction.LIST_LEDGER: "Use list_tasks to see those that are.",
    NextAction.LIST_LEDGER_OR_ASK: "Use list_tasks to see those that are, or get_task to ask the service for it.",
    NextAction.CORRECT_TASK_ID: "Use the task_id of an earlier answer, or list_tasks.",
    NextAction.FETCH_AGAIN: (
        "If it is wanted, download_image with task_id={task_id} and index={index} fetches it again, free of charge, "
        "until {until}."
    ),
    NextAction.REPLACE_LEDGER: (
        "Move the file away (keep it) and call again; list_tasks with remote=true finds the tasks of the last 24 "
        "hours."
    ),
}
"""What a model is told to do; every tool and argument that a next step names stands here and nowhere else."""


class ImageResult(Result):
    """A saved image: absolute path, or a link and when it ends; sizes in pixels and bytes."""

    path: str | None = None
    url: str | None = None
    url_expires_at: str | None = None
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
    seed: int | None = None
    code: str | None = None
    images: tuple[ImageResult, ...] | None = None
    failed_images: tuple[FailedImageResult, ...] | None = None
    actual_prompt: str | None = None
    expires_at: str | None = None
    message: str | None = None
    next_step: str | None = None


def task_result(task: Task, remarks: Sequence[str] = ()) -> TaskResult:
    """Give a task as the answer of a tool; `remarks` are sentences about the order that stand in its message."""
    images = tuple(map(image_result, task.images))
    expires_at = None if task.status in _WITHOUT_RESULTS else task.expires_at
    message = " ".join(part for part in (_message(task, for_models=True), *remarks) if part)
    return TaskResult(
        task_id=task.task_id,
        status=task.status,
        region=task.region,
        model=task.model,
        seed=task.request.seed if task.request and images else None,
        code=task.problem.code if task.problem and task.is_failure else None,
        images=images or None,
        failed_images=_failures(task),
        actual_prompt=_shorten(task.actual_prompt) if task.actual_prompt else None,
        expires_at=expires_at.isoformat(timespec="seconds") if expires_at else None,
        message=cut_middle(message, _MESSAGE_BYTES) if message else None,
        next_step=describe_next_step(task.next_step) if task.next_step else None,
    )


def image_result(image: SavedImage) -> ImageResult:
    """Give a saved image as an answer tells it: by its path, or by a link where no disk is shared."""
    until = image.url_expires_at
    return ImageResult(
        path=image.path if image.url is None else None,
        url=image.url,
        url_expires_at=until.isoformat(timespec="seconds") if until else None,
        width=image.width,
        height=image.height,
        bytes=image.bytes,
    )


def task_answer(task: Task, remarks: Sequence[str] = ()) -> Answer:
    """Give a task as an answer, marked as a failure where it failed; `remarks` stand in its message."""
    return Answer(task_result(task, remarks), is_error=task.is_failure, facts=task_facts(task))


async def list_remarks(service: ImageService, request: ImageRequest, task: Task) -> tuple[str, ...]:
    """Say what whoever has just ordered should know: what may not come out as meant, and that it takes long."""
    remarks = service.catalogue.list_remarks(request)
    usual = service.catalogue.find(request.model).usual_seconds
    is_open = task.next_step is not None and task.next_step.action.is_wait and not task.images
    if usual <= _SLOW_FROM or not is_open or request.region == SANDBOX.name:
        return remarks
    left = await service.seconds_left(task)
    # What was learned here says more than the row does.
    if left is None:
        return (*remarks, f"{request.model} usually takes about {usual:.0f} s in all.")
    return (*remarks, f"Such orders usually take about {left:.0f} s more.") if left > 0 else remarks


def task_facts(task: Task) -> dict[str, object]:
    """
    Give what a page needs beside the result of a task, or in the place of its values; most tasks need nothing.

    `is_waiting` says that asking again brings something by itself, `is_unsaved` that images exist that could not be
    saved yet, `is_refusal` that the service's inspection refused the order; what is not so is left out. `message` and
    `failed_images` are there where those of the result advise to call a tool: here they are in plain words, and
    `can_fetch_again` of an image says that its file is gone and the service still has it.
    """
    facts: dict[str, object] = {}
    if task.next_step is not None and task.next_step.action.is_wait:
        facts["is_waiting"] = True
    if any(image.url for image in task.failed_images):
        facts["is_unsaved"] = True
    if task.problem is not None and task.problem.is_refusal:
        facts["is_refusal"] = True
    plain = _message(task, for_models=False)
    if plain != _message(task, for_models=True):
        facts["message"] = plain
    if any(image.next_step for image in task.failed_images):
        facts["failed_images"] = [
            _failure(image, image.message).model_dump(exclude_none=True) | {"can_fetch_again": image.can_fetch_again}
            for image in task.failed_images
        ]
    return facts


def describe_error(error: AppError) -> str:
    """
    Give an error as a model reads it: what happened, what helps, and which tool to call next.

    It is short whatever stands in it: what happened may repeat what a caller sent.
    """
    happened = cut_middle(error.message, _MESSAGE_BYTES)
    is_operators = isinstance(error, StorageError) and not current_principal().is_local
    advice = _TELL_OPERATOR if is_operators else error.advice
    return cut_middle(_with_step(f"{happened} {advice}".strip(), error.next_step), _ERROR_BYTES)


def describe_progress(report: ProgressReport) -> str:
    """Say in a sentence how a call is doing."""
    sentence = f"{report.state}, {report.timing}" if report.timing else report.state
    if report.problem is not None:
        sentence += f". {_with_step(report.problem.message, report.problem.next_step)}"
    return one_line(sentence, _LONGEST_PROGRESS)


def _with_step(words: str, step: NextStep | None) -> str:
    """Give plain words with the step that helps behind them, if there is one."""
    return words if step is None else f"{words} {describe_next_step(step)}"


def describe_next_step(step: NextStep) -> str:
    """Say which tool to call next, with its arguments."""
    until = step.until.isoformat(timespec="seconds") if step.until else ""
    return _NEXT_STEPS[step.action].format(task_id=step.task_id, index=step.index, until=until)


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


def _message(task: Task, *, for_models: bool) -> str | None:
    """Say what is to be known of a task; to models also which tool helps."""
    parts: list[str] = []
    if task.deduplicated:
        parts.append(f"{_DEDUPLICATED} {_ORDER_ANOTHER}" if for_models else _DEDUPLICATED)
    if task.saved_elsewhere:
        parts.append(f"{_SAVED_ELSEWHERE}; {_COPY_THEM}" if for_models else f"{_SAVED_ELSEWHERE}.")
    else:
        parts.extend(describe_places(task.images, task.relative_folder))
    if task.request is not None and (changed := describe_inputs(task.request.images)):
        parts.append(changed)
    parts.extend(task.notes)
    told = task.status is TaskStatus.SUCCEEDED and task.failed_images
    if task.problem is not None and not told:
        parts.append(_with_step(task.problem.message, task.problem.next_step if for_models else None))
    elif task.status is TaskStatus.UNKNOWN:
        parts.append("The service does not know this task: it is older than 24 hours, or of another account.")
    elif task.status is TaskStatus.SUBMIT_UNKNOWN:
        parts.append("The order was sent and its answer was lost.")
    if task.status is TaskStatus.SUBMIT_UNKNOWN and task.open:
        parts.append("It is being looked for, and is not sent again.")
    return " ".join(parts) or None


def _failures(task: Task) -> tuple[FailedImageResult, ...] | None:
    """Give the images that are no files, unless the task's own message says the same of all of them."""
    words = {image.message for image in task.failed_images}
    if task.is_failure and task.problem is not None and words == {task.problem.message}:
        return None
    failed = (_failure(image, _with_step(image.message, image.next_step)) for image in task.failed_images)
    return tuple(failed) or None


def _failure(image: FailedImage, message: str) -> FailedImageResult:
    message = cut_middle(message, _FAILURE_BYTES)
    return FailedImageResult(index=image.index, code=image.code, message=message, url=_address(image))


def _address(image: FailedImage) -> str | None:
    """Give an address that download_image can fetch."""
    if image.url is None or image.code == ErrorCode.HOST_NOT_ALLOWED:
        return None
    return image.url if _ADDRESS.fullmatch(image.url) else None


def _shorten(text: str) -> str:
    text = one_line(leave_out_links(text), _PROMPT_BYTES)
    data = text.encode()
    if len(data) <= _PROMPT_BYTES:
        return text
    return data[:_PROMPT_BYTES].decode(errors="ignore").rstrip() + "…"
