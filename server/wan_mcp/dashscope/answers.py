"""
Reading the service's answers, leniently: what the documents leave open must not lose an image.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import ceil
from typing import NamedTuple

from wan_mcp.dashscope.endpoints import is_task_id
from wan_mcp.dashscope.loose import read_map, read_maps, read_text, read_whole
from wan_mcp.dashscope.quotes import clean_model_id, clean_request_id
from wan_mcp.dashscope.refusals import Circumstance, Moment, refuse
from wan_mcp.dashscope.replies import Reply, find_code, judge, unreadable
from wan_mcp.dashscope.values import ListedTask, RemoteImage, TaskAnswer, TaskListing
from wan_mcp_tools.domain.errors import ServiceError
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

_STATUSES = {
    status.value: status for status in TaskStatus if status not in (TaskStatus.SUBMIT_UNKNOWN, TaskStatus.EXPIRED)
}
_STATUSES["CANCELLED"] = TaskStatus.CANCELED


def read_creation(reply: Reply, where: Circumstance) -> TaskAnswer:
    """
    Read the answer to an order.

    A task id counts whatever else the answer says, because a task that exists may have to be paid for. The same
    holds for images.

    Raises:
        ServiceError: the order was refused, or the answer has neither a task id nor an image.
        AnswerLostError: a gateway gave up waiting.
    """
    output = reply.output
    task_id = _task_id(output)
    images = _read_images(output, where)
    if task_id is None and not any(image.url for image in images):
        raise judge(reply, where) or unreadable(reply, where)
    default = TaskStatus.SUCCEEDED if images else TaskStatus.PENDING
    return _read_task(reply, where, task_id=task_id, images=images, default=default)


def read_query(reply: Reply, where: Circumstance, task_id: str) -> TaskAnswer:
    """
    Read the answer to a question for a task.

    Raises:
        ServiceError: the question was refused, or the answer tells no state.
        AnswerLostError: a gateway gave up waiting.
    """
    if read_text(reply.output.get("task_status")) is None or reply.status != 200:  # noqa: PLR2004 - HTTP OK
        raise judge(reply, where) or unreadable(reply, where)
    images = _read_images(reply.output, where)
    return _read_task(reply, where, task_id=task_id, images=images, default=TaskStatus.RUNNING)


def read_listing(reply: Reply, where: Circumstance, *, page_no: int) -> TaskListing:
    """
    Read one page of the list.

    Raises:
        ServiceError: the list was refused, or the answer holds none: that must not pass for an empty one.
        AnswerLostError: a gateway gave up waiting.
    """
    problem = judge(reply, where)
    if problem is not None:
        raise problem
    payload = reply.payload or {}
    total = read_whole(payload.get("total"))
    if not isinstance(payload.get("data"), list) and total != 0:
        raise unreadable(reply, where)
    rows = read_maps(payload.get("data"))
    pages = read_whole(payload.get("total_page"))
    if pages is None:
        size = read_whole(payload.get("page_size")) or len(rows) or 1
        pages = page_no if total is None else ceil(total / size)
    return TaskListing(
        tasks=tuple(_read_row(row, task_id, where.region) for row in rows if (task_id := _task_id(row))),
        page_no=read_whole(payload.get("page_no")) or page_no,
        total_pages=pages,
        total=total,
        served_at=reply.served_at,
    )


def _read_row(row: Mapping[str, object], task_id: str, region: str) -> ListedTask:
    return ListedTask(
        task_id=task_id,
        status=_read_status(row.get("status")) or TaskStatus.RUNNING,
        region=region,
        model_id=clean_model_id(read_text(row.get("model_name"))),
        created_at=_read_milliseconds(row.get("gmt_create")),
        ended_at=_read_milliseconds(row.get("end_time")),
        request_id=clean_request_id(read_text(row.get("request_id"))),
    )


def _read_task(
    reply: Reply, where: Circumstance, *, task_id: str | None, images: tuple[RemoteImage, ...], default: TaskStatus
) -> TaskAnswer:
    output = reply.output
    status = _read_status(output.get("task_status")) or default
    error = _read_failure(reply, where) if status is TaskStatus.FAILED else None
    if status is TaskStatus.SUCCEEDED and not images:
        error = _no_images(reply, where)
    usage = _read_usage(reply)
    prompts = [output, *read_maps(output.get("results"))]
    return TaskAnswer(
        task_id=task_id,
        status=status,
        images=images,
        problem=Problem(error.code, str(error)) if error else None,
        error=error,
        actual_prompt=_first_text(prompts, "actual_prompt"),
        orig_prompt=_first_text(prompts, "orig_prompt"),
        size=usage.size,
        image_count=usage.image_count,
        total=read_whole(read_map(output.get("task_metrics")).get("TOTAL")),
        duration=_read_duration(output),
        request_id=clean_request_id(reply.request_id, secret=where.hidden),
        served_at=reply.served_at,
    )


def _read_failure(reply: Reply, where: Circumstance) -> ServiceError:
    """Read why a task failed: its own code, that of its first failed image, or one at the top."""
    spots = [reply.output, *read_maps(reply.output.get("results"))]
    top_code, top_message = find_code(reply)
    code = _first_text(spots, "code") or top_code
    message = next((read_text(spot.get("message")) for spot in spots if spot.get("code")), None) or top_message
    message = message or read_text(reply.output.get("message"))
    return refuse(where.during(Moment.TASK), code, message, status=reply.status, request_id=reply.request_id)


def _no_images(reply: Reply, where: Circumstance) -> ServiceError:
    error = ServiceError(
        f"The region {where.region} says that the task succeeded and names no image.",
        "Ask for the task again in a minute.",
        code="NoImages",
        http_status=reply.status,
        request_id=clean_request_id(reply.request_id, secret=where.hidden),
    )
    error.retryable = True
    error.nothing_created = False
    return error


def _read_images(output: Mapping[str, object], where: Circumstance) -> tuple[RemoteImage, ...]:
    """Read every image of both shapes: all parts of all choices, and the slots of `results`."""
    found: list[RemoteImage] = []
    for slot in _slots(output):
        index = len(found) + 1
        if slot.url is not None and slot.url.startswith(("https://", "http://")):
            found.append(RemoteImage(index, url=slot.url))
            continue
        code = slot.code or ("UnreadableAddress" if slot.url else None)
        error = refuse(where.during(Moment.TASK), code, slot.message, status=200)
        found.append(RemoteImage(index, code=error.code, message=str(error)))
    return tuple(found)


class _Slot(NamedTuple):
    url: str | None
    code: str | None = None
    message: str | None = None


def _slots(output: Mapping[str, object]) -> Iterator[_Slot]:
    for choice in read_maps(output.get("choices")):
        for part in read_maps(read_map(choice.get("message")).get("content")):
            if url := read_text(part.get("image")):
                yield _Slot(url)
    for result in read_maps(output.get("results")):
        slot = _Slot(*(read_text(result.get(name)) for name in ("url", "code", "message")))
        if slot.url or slot.code:
            yield slot


class _Usage(NamedTuple):
    size: str | None
    image_count: int | None


def _read_usage(reply: Reply) -> _Usage:
    usage = read_map((reply.payload or {}).get("usage"))
    width = read_whole(usage.get("width")) or read_whole(usage.get("output_width"))
    height = read_whole(usage.get("height")) or read_whole(usage.get("output_height"))
    size = read_text(usage.get("size")) or (f"{width}*{height}" if width and height else None)
    count = read_whole(usage.get("image_count"))
    return _Usage(size, read_whole(usage.get("output_image_count")) if count is None else count)


def _read_status(value: object) -> TaskStatus | None:
    """Read a state. A word that nobody has documented means that the task still goes on."""
    word = read_text(value)
    return None if word is None else _STATUSES.get(word.strip().upper(), TaskStatus.RUNNING)


def _read_duration(output: Mapping[str, object]) -> float | None:
    """Read the seconds from order to end. The two times carry no zone, but the same one."""
    start, end = (_read_time(output.get(name)) for name in ("submit_time", "end_time"))
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    seconds = (end - start).total_seconds()
    return seconds if seconds >= 0 else None


def _read_time(value: object) -> datetime | None:
    text = read_text(value)
    try:
        return datetime.fromisoformat(text.strip()) if text else None
    except ValueError:
        return None


def _read_milliseconds(value: object) -> float | None:
    milliseconds = read_whole(value)
    return None if milliseconds is None else milliseconds / 1000.0


def _task_id(part: Mapping[str, object]) -> str | None:
    text = read_text(part.get("task_id"))
    return text if text is not None and is_task_id(text) else None


def _first_text(parts: list[Mapping[str, object]], name: str) -> str | None:
    return next((text for part in parts if (text := read_text(part.get(name)))), None)
