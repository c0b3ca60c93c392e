"""
Reading what the service answers, leniently: what the documents leave open must not lose an image.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from math import ceil
from typing import NamedTuple, cast

from wan_mcp.dashscope.errors import (
    CallContext,
    clean_model_id,
    clean_request_id,
    describe_task_failure,
    is_time_out,
    make_intercepted_error,
    make_lost_error,
    make_service_error,
    make_unreadable_error,
)
from wan_mcp.dashscope.image_addresses import is_readable, read_address
from wan_mcp.dashscope.payload import as_integer, as_object, as_text, iterate_objects
from wan_mcp.dashscope.requests import is_task_id
from wan_mcp.dashscope.types import ListedTask, TaskAnswer, TaskImage, TaskListing
from wan_mcp_tools.domain.errors import AppError, ErrorCode, ServiceError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

_OK = range(200, 300)
_PLAIN_OK = 200
_REFUSED = range(400, 500)
_GATEWAY_GAVE_UP = 408
_SERVER_ERROR = 500
_SIGN_IN_FIRST = 511
"""Source: https://www.rfc-editor.org/rfc/rfc6585#section-6"""
MOST_IMAGES = 12
"""The most that any model of the service makes of one order."""
_MOST_FAILURES_READ = 100
_MOST_ROWS = 1000
_LONGEST_SIZE = 32

_STATUSES = {
    status.value: status for status in TaskStatus if status not in (TaskStatus.SUBMIT_UNKNOWN, TaskStatus.EXPIRED)
}
_STATUSES["CANCELLED"] = TaskStatus.CANCELED
_ENDED_WITHOUT_IMAGES = frozenset({TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.UNKNOWN})


class JsonResponse(Record):
    """
    An HTTP answer: `payload` is its JSON object, None where it has none.

    `served_at` is the service's clock in seconds since 1970, `retry_after` what it asked to wait, in seconds.
    `is_long` says that reading it takes a while. `proxy` is the proxy that it came through, as it may be shown.
    """

    status: int
    payload: Mapping[str, object] | None
    served_at: float | None = None
    retry_after: float | None = None
    is_long: bool = False
    proxy: str | None = None

    @property
    def is_foreign_refusal(self) -> bool:
        """Whether it is a refusal that somebody else than the service has written."""
        if self.status not in _REFUSED and self.status != _SIGN_IN_FIRST:
            return False
        return self.request_id is None and not self.output and _find_code(self)[0] is None

    @property
    def output(self) -> Mapping[str, object]:
        """The part that holds a task or its images."""
        return as_object((self.payload or {}).get("output"))

    @property
    def request_id(self) -> str | None:
        """The service's own id of the call."""
        return as_text((self.payload or {}).get("request_id"))


def find_error(response: JsonResponse, context: CallContext) -> AppError | None:
    """Give the error that an answer stands for, or None if it is a good one with a JSON object."""
    code, message = _find_code(response)
    status = response.status
    if status == _GATEWAY_GAVE_UP and (response.is_foreign_refusal or is_time_out(code)):
        return make_lost_error(context, "a gateway gave up waiting for it (HTTP 408)")
    if response.is_foreign_refusal:
        return make_intercepted_error(context, status=status, proxy=response.proxy, retry_after=response.retry_after)
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


def read_created_task(response: JsonResponse, context: CallContext, *, most: int = MOST_IMAGES) -> TaskAnswer:
    """
    Read the answer to an order of `most` images.

    A task id counts whatever else the answer says, because a task that exists may have to be paid for. The same
    holds for images.

    Raises:
        ServiceError: the order was refused, or the answer has neither a task id nor an image.
        AnswerLostError: a gateway gave up waiting.
    """
    output = response.output
    task_id = _read_task_id(output)
    slots = _read_slots(output, context, most)
    if task_id is None and not slots.has_images:
        raise find_error(response, context) or _make_unreadable_error(response, context)
    default = TaskStatus.SUCCEEDED if slots.images else TaskStatus.PENDING
    return _make_answer(response, context, task_id=task_id, slots=slots, default=default)


def read_task(response: JsonResponse, context: CallContext, task_id: str, *, most: int = MOST_IMAGES) -> TaskAnswer:
    """
    Read the answer to a question for a task, with at most so many images.

    Raises:
        ServiceError: the question was refused, or the answer tells no state.
        AnswerLostError: a gateway gave up waiting.
    """
    slots = _read_slots(response.output, context, most)
    tells_state = as_text(response.output.get("task_status")) is not None and response.status == _PLAIN_OK
    if not tells_state and not slots.has_images:
        raise find_error(response, context) or _make_unreadable_error(response, context)
    default = TaskStatus.RUNNING if tells_state else TaskStatus.SUCCEEDED
    return _make_answer(response, context, task_id=task_id, slots=slots, default=default)


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
    rows = list(islice(iterate_objects(payload.get("data")), _MOST_ROWS))
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
        started_at=_read_milliseconds(row.get("start_time")),
        ended_at=_read_milliseconds(row.get("end_time")),
        request_id=clean_request_id(as_text(row.get("request_id"))),
    )


def _make_answer(
    response: JsonResponse, context: CallContext, *, task_id: str | None, slots: "_Slots", default: TaskStatus
) -> TaskAnswer:
    output = response.output
    status = _read_status(output.get("task_status")) or default
    if slots.has_images and (status in _ENDED_WITHOUT_IMAGES or _has_ended_in_other_words(output, slots)):
        # Whatever the service calls it: an image that it gives is one that it made.
        status = TaskStatus.SUCCEEDED
    problem = _read_failure(response, context) if status is TaskStatus.FAILED else None
    if status is TaskStatus.SUCCEEDED and not slots.images:
        said = f"The region {context.region} says that the task succeeded and names no image."
        problem = Problem(ErrorCode.NO_IMAGES, f"{said} Ask for the task again in a minute.")
    size, image_count = _read_usage(response)
    prompts = [output, *islice(iterate_objects(output.get("results")), _MOST_FAILURES_READ)]
    return TaskAnswer(
        task_id=task_id,
        status=status,
        images=slots.images,
        surplus=slots.surplus,
        problem=problem,
        actual_prompt=_first_text(prompts, "actual_prompt"),
        orig_prompt=_first_text(prompts, "orig_prompt"),
        size=size,
        image_count=image_count,
        total=as_integer(as_object(output.get("task_metrics")).get("TOTAL")),
        # The service calls the start of the work the time for which it was scheduled.
        queued=_read_seconds(output, "submit_time", "scheduled_time"),
        duration=_read_seconds(output, "scheduled_time", "end_time"),
        request_id=clean_request_id(response.request_id),
        served_at=response.served_at,
    )


def _has_ended_in_other_words(output: Mapping[str, object], slots: "_Slots") -> bool:
    """Tell whether a task is over though its state is a word that nobody has documented."""
    word = as_text(output.get("task_status"))
    if word is None or word.strip().upper() in _STATUSES:
        return False
    return slots.is_full or output.get("finished") is True or as_text(output.get("end_time")) is not None


def _read_failure(response: JsonResponse, context: CallContext) -> Problem:
    """Read why a task failed: its own code, that of its first failed image, or one at the top."""
    failures = islice(iterate_objects(response.output.get("results")), _MOST_FAILURES_READ)
    places = [response.output, *failures]
    top_code, top_message = _find_code(response)
    code = _first_text(places, "code") or top_code
    message = next((as_text(place.get("message")) for place in places if place.get("code")), None) or top_message
    message = message or as_text(response.output.get("message"))
    _, billed = _read_usage(response)
    return describe_task_failure(context, code, message, status=response.status, is_charged=bool(billed))


class _Slots(NamedTuple):
    """The images of an answer, and how many more it has than were wanted."""

    images: tuple[TaskImage, ...]
    surplus: int
    is_full: bool
    """Whether there are as many as were wanted."""

    @property
    def has_images(self) -> bool:
        """Whether there is an image that can be fetched, or at least an address for a person."""
        return any(image.url for image in self.images)


class _Slot(NamedTuple):
    address: str | None
    code: str | None = None
    message: str | None = None


def _read_slots(output: Mapping[str, object], context: CallContext, most: int) -> _Slots:
    """
    Read the images of both shapes: all parts of all choices, and the slots of `results`.

    If there are more than `most`, those that were made are taken first.
    """
    found = list(_list_slots(output))
    chosen = found
    if len(found) > most:
        made = [number for number, slot in enumerate(found) if slot.address]
        failed = (number for number, slot in enumerate(found) if not slot.address)
        chosen = [found[number] for number in sorted([*made[:most], *islice(failed, max(0, most - len(made)))])]
    images = [_read_image(index, slot, context) for index, slot in enumerate(chosen, 1)]
    return _Slots(tuple(images), len(found) - len(chosen), is_full=len(found) >= most)


def _read_image(index: int, slot: _Slot, context: CallContext) -> TaskImage:
    text = slot.address
    address = read_address(text) if text else None
    if address and (is_readable(address) or slot.code is None):
        # One that cannot be read is kept: the image was made, and a person may make something of it.
        return TaskImage(index, url=address)
    if text and slot.code is None:
        said = f"The region {context.region} made the image and gave an address of {len(text)} characters for it"
        return TaskImage(
            index, code=ErrorCode.UNREADABLE_ADDRESS, message=f"{said}, which is longer than any. It may be charged."
        )
    problem = describe_task_failure(context, slot.code, slot.message)
    return TaskImage(index, code=problem.code, message=problem.message)


def _list_slots(output: Mapping[str, object]) -> Iterator[_Slot]:
    for choice in iterate_objects(output.get("choices")):
        for part in iterate_objects(as_object(choice.get("message")).get("content")):
            yield from map(_Slot, _list_addresses(part.get("image")))
    for result in iterate_objects(output.get("results")):
        code, message = as_text(result.get("code")), as_text(result.get("message"))
        addresses = list(_list_addresses(result.get("url")))
        yield from (_Slot(address, code, message) for address in addresses)
        if code and not addresses:
            yield _Slot(None, code, message)


def _list_addresses(value: object) -> Iterator[str]:
    """Give the addresses that stand in one place: a text, an object with a `url`, or several of them."""
    for each in cast("list[object]", value) if isinstance(value, list) else (value,):
        text = as_text(each) or as_text(as_object(each).get("url"))
        if text:
            yield text


def _read_usage(response: JsonResponse) -> tuple[str | None, int | None]:
    """Read the size, as `W*H`, and how many images are billed."""
    usage = as_object((response.payload or {}).get("usage"))
    width = as_integer(usage.get("width")) or as_integer(usage.get("output_width"))
    height = as_integer(usage.get("height")) or as_integer(usage.get("output_height"))
    size = as_text(usage.get("size")) or (f"{width}*{height}" if width and height else None)
    size = size if size and len(size) <= _LONGEST_SIZE else None
    count = as_integer(usage.get("image_count"))
    return size, as_integer(usage.get("output_image_count")) if count is None else count


def _read_status(value: object) -> TaskStatus | None:
    """Read a state. A word that nobody has documented means that the task still goes on."""
    word = as_text(value)
    return None if word is None else _STATUSES.get(word.strip().upper(), TaskStatus.RUNNING)


def _read_seconds(output: Mapping[str, object], first: str, last: str) -> float | None:
    """Read the seconds between two times, which carry no zone, but the same one."""
    start, end = (_read_time(output.get(name)) for name in (first, last))
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


def _first_text(parts: Iterable[Mapping[str, object]], name: str) -> str | None:
    return next((text for part in parts if (text := as_text(part.get(name)))), None)


def _find_code(response: JsonResponse) -> tuple[str | None, str | None]:
    """Find the code and message of an error at the top, in either of the service's two forms."""
    payload = response.payload or {}
    for place in (payload, as_object(payload.get("error")), response.output):
        code = as_text(place.get("code")) or (as_text(place.get("type")) if place is not payload else None)
        if code:
            return code, as_text(place.get("message")) or as_text(payload.get("message"))
    return None, as_text(payload.get("message"))


def _make_unreadable_error(response: JsonResponse, context: CallContext) -> ServiceError:
    return make_unreadable_error(context, response.status, response.request_id)
