"""
Reading what the service answers, leniently: what the documents leave open must not lose an image.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any, NamedTuple, cast

from wan_mcp.dashscope.errors import (
    CallContext,
    clean_model_id,
    clean_request_id,
    describe_task_failure,
    make_lost_error,
    make_service_error,
    make_unreadable_error,
)
from wan_mcp.dashscope.requests import is_task_id
from wan_mcp.dashscope.types import ListedTask, RemoteImage, TaskAnswer, TaskListing
from wan_mcp_tools.domain.errors import AppError, ErrorCode, ServiceError
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

_OK = range(200, 300)
_REFUSED = range(400, 500)
_GATEWAY_GAVE_UP = 408
_SERVER_ERROR = 500
_DIGITS = re.compile(r"[0-9]{1,18}")
_LARGEST_INTEGER = 10**18

_STATUSES = {
    status.value: status for status in TaskStatus if status not in (TaskStatus.SUBMIT_UNKNOWN, TaskStatus.EXPIRED)
}
_STATUSES["CANCELLED"] = TaskStatus.CANCELED


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """
    An HTTP answer: `payload` is its JSON object, None where it has none.

    `served_at` is the service's clock in seconds since 1970, `retry_after` what it asked to wait, in seconds.
    """

    status: int
    payload: Mapping[str, object] | None
    served_at: float | None = None
    retry_after: float | None = None

    @property
    def output(self) -> Mapping[str, object]:
        """The part that holds a task or its images."""
        return as_object((self.payload or {}).get("output"))

    @property
    def request_id(self) -> str | None:
        """The service's own id of the call."""
        return as_text((self.payload or {}).get("request_id"))


def parse_object(content: bytes | None) -> Mapping[str, object] | None:
    """Read a JSON object; None for anything else."""
    if not content:
        return None
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def find_error(response: JsonResponse, context: CallContext) -> AppError | None:
    """Give the error that an answer stands for, or None if it is a good one with a JSON object."""
    code, message = _find_code(response)
    status = response.status
    if status == _GATEWAY_GAVE_UP:
        return make_lost_error(context, "a gateway gave up waiting for it (HTTP 408)")
    if status in _REFUSED or status >= _SERVER_ERROR or (status in _OK and code):
        return make_service_error(
            context,
            code,
            message,
            status=status,
            request_id=response.request_id,
            retry_after=response.retry_after,
        )
    if status not in _OK or response.payload is None:
        return _make_unreadable_error(response, context)
    return None


def read_created_task(response: JsonResponse, context: CallContext) -> TaskAnswer:
    """
    Read the answer to an order.

    A task id counts whatever else the answer says, because a task that exists may have to be paid for. The same
    holds for images.

    Raises:
        ServiceError: the order was refused, or the answer has neither a task id nor an image.
        AnswerLostError: a gateway gave up waiting.
    """
    output = response.output
    task_id = _read_task_id(output)
    images = _read_images(output, context)
    if task_id is None and not any(image.url for image in images):
        raise find_error(response, context) or _make_unreadable_error(response, context)
    default = TaskStatus.SUCCEEDED if images else TaskStatus.PENDING
    return _make_answer(response, context, task_id=task_id, images=images, default=default)


def read_task(response: JsonResponse, context: CallContext, task_id: str) -> TaskAnswer:
    """
    Read the answer to a question for a task.

    Raises:
        ServiceError: the question was refused, or the answer tells no state.
        AnswerLostError: a gateway gave up waiting.
    """
    if as_text(response.output.get("task_status")) is None or response.status != 200:  # noqa: PLR2004 - HTTP OK
        raise find_error(response, context) or _make_unreadable_error(response, context)
    images = _read_images(response.output, context)
    return _make_answer(response, context, task_id=task_id, images=images, default=TaskStatus.RUNNING)


def read_task_list(response: JsonResponse, context: CallContext, *, page_no: int) -> TaskListing:
    """
    Read one page of the list.

    Raises:
        ServiceError: the list was refused, or the answer holds none: that must not pass for an empty one.
        AnswerLostError: a gateway gave up waiting.
    """
    problem = find_error(response, context)
    if problem is not None:
        raise problem
    payload = response.payload or {}
    total = as_integer(payload.get("total"))
    if not isinstance(payload.get("data"), list) and total != 0:
        raise _make_unreadable_error(response, context)
    rows = as_objects(payload.get("data"))
    pages = as_integer(payload.get("total_page"))
    if pages is None:
        size = as_integer(payload.get("page_size")) or len(rows) or 1
        pages = page_no if total is None else ceil(total / size)
    return TaskListing(
        tasks=tuple(_read_row(row, task_id, context.region) for row in rows if (task_id := _read_task_id(row))),
        page_no=as_integer(payload.get("page_no")) or page_no,
        total_pages=pages,
        total=total,
        served_at=response.served_at,
    )


def _read_row(row: Mapping[str, object], task_id: str, region: str) -> ListedTask:
    return ListedTask(
        task_id=task_id,
        status=_read_status(row.get("status")) or TaskStatus.RUNNING,
        region=region,
        model_id=clean_model_id(as_text(row.get("model_name"))),
        created_at=_read_milliseconds(row.get("gmt_create")),
        ended_at=_read_milliseconds(row.get("end_time")),
        request_id=clean_request_id(as_text(row.get("request_id"))),
    )


def _make_answer(
    response: JsonResponse,
    context: CallContext,
    *,
    task_id: str | None,
    images: tuple[RemoteImage, ...],
    default: TaskStatus,
) -> TaskAnswer:
    output = response.output
    status = _read_status(output.get("task_status")) or default
    problem = _read_failure(response, context) if status is TaskStatus.FAILED else None
    if status is TaskStatus.SUCCEEDED and not images:
        said = f"The region {context.region} says that the task succeeded and names no image."
        problem = Problem(ErrorCode.NO_IMAGES, f"{said} Ask for the task again in a minute.")
    size, image_count = _read_usage(response)
    prompts = [output, *as_objects(output.get("results"))]
    return TaskAnswer(
        task_id=task_id,
        status=status,
        images=images,
        problem=problem,
        actual_prompt=_first_text(prompts, "actual_prompt"),
        orig_prompt=_first_text(prompts, "orig_prompt"),
        size=size,
        image_count=image_count,
        total=as_integer(as_object(output.get("task_metrics")).get("TOTAL")),
        duration=_read_duration(output),
        request_id=clean_request_id(response.request_id, secret=context.secret),
        served_at=response.served_at,
    )


def _read_failure(response: JsonResponse, context: CallContext) -> Problem:
    """Read why a task failed: its own code, that of its first failed image, or one at the top."""
    places = [response.output, *as_objects(response.output.get("results"))]
    top_code, top_message = _find_code(response)
    code = _first_text(places, "code") or top_code
    message = next((as_text(place.get("message")) for place in places if place.get("code")), None) or top_message
    message = message or as_text(response.output.get("message"))
    return describe_task_failure(context, code, message, status=response.status)


def _read_images(output: Mapping[str, object], context: CallContext) -> tuple[RemoteImage, ...]:
    """Read every image of both shapes: all parts of all choices, and the slots of `results`."""
    found: list[RemoteImage] = []
    for slot in _list_slots(output):
        index = len(found) + 1
        if slot.url is not None and slot.url.startswith(("https://", "http://")):
            found.append(RemoteImage(index, url=slot.url))
            continue
        code = slot.code or (ErrorCode.UNREADABLE_ADDRESS if slot.url else None)
        problem = describe_task_failure(context, code, slot.message)
        found.append(RemoteImage(index, code=problem.code, message=problem.message))
    return tuple(found)


class _Slot(NamedTuple):
    url: str | None
    code: str | None = None
    message: str | None = None


def _list_slots(output: Mapping[str, object]) -> Iterator[_Slot]:
    for choice in as_objects(output.get("choices")):
        for part in as_objects(as_object(choice.get("message")).get("content")):
            if url := as_text(part.get("image")):
                yield _Slot(url)
    for result in as_objects(output.get("results")):
        slot = _Slot(*(as_text(result.get(name)) for name in ("url", "code", "message")))
        if slot.url or slot.code:
            yield slot


def _read_usage(response: JsonResponse) -> tuple[str | None, int | None]:
    """Read the size, as `W*H`, and how many images are billed."""
    usage = as_object((response.payload or {}).get("usage"))
    width = as_integer(usage.get("width")) or as_integer(usage.get("output_width"))
    height = as_integer(usage.get("height")) or as_integer(usage.get("output_height"))
    size = as_text(usage.get("size")) or (f"{width}*{height}" if width and height else None)
    count = as_integer(usage.get("image_count"))
    return size, as_integer(usage.get("output_image_count")) if count is None else count


def _read_status(value: object) -> TaskStatus | None:
    """Read a state. A word that nobody has documented means that the task still goes on."""
    word = as_text(value)
    return None if word is None else _STATUSES.get(word.strip().upper(), TaskStatus.RUNNING)


def _read_duration(output: Mapping[str, object]) -> float | None:
    """Read the seconds from order to end. The two times carry no zone, but the same one."""
    start, end = (_read_time(output.get(name)) for name in ("submit_time", "end_time"))
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    seconds = (end - start).total_seconds()
    return seconds if seconds >= 0 else None


def _read_time(value: object) -> datetime | None:
    text = as_text(value)
    try:
        return datetime.fromisoformat(text.strip()) if text else None
    except ValueError:
        return None


def _read_milliseconds(value: object) -> float | None:
    milliseconds = as_integer(value)
    return None if milliseconds is None else milliseconds / 1000.0


def _read_task_id(part: Mapping[str, object]) -> str | None:
    text = as_text(part.get("task_id"))
    return text if text is not None and is_task_id(text) else None


def _first_text(parts: list[Mapping[str, object]], name: str) -> str | None:
    return next((text for part in parts if (text := as_text(part.get(name)))), None)


def _find_code(response: JsonResponse) -> tuple[str | None, str | None]:
    """Find the code and message of an error at the top, in either of the service's two forms."""
    payload = response.payload or {}
    compatible = as_object(payload.get("error"))
    code = as_text(payload.get("code")) or as_text(compatible.get("code")) or as_text(compatible.get("type"))
    return code, as_text(payload.get("message")) or as_text(compatible.get("message"))


def _make_unreadable_error(response: JsonResponse, context: CallContext) -> ServiceError:
    return make_unreadable_error(context, response.status, response.request_id)


# JSON of which nothing is certain: each function gives the wanted type, or nothing.


def as_object(value: object) -> Mapping[str, object]:
    """Give a JSON object; anything else is an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> Sequence[Mapping[str, object]]:
    """Give the objects of a JSON array; anything else has none."""
    if not isinstance(value, list):
        return ()
    return [cast("Mapping[str, object]", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def as_text(value: object) -> str | None:
    """Give a text that is not empty."""
    return value if isinstance(value, str) and value.strip() else None


def as_integer(value: object) -> int | None:
    """Give a whole number of at least zero, also one that came as a text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # Python counts True as 1, and whole numbers without end would not fit a float later.
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_INTEGER
    return value if isinstance(value, int) and fits else None
