"""
The bodies of the service's answers.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference,
https://www.alibabacloud.com/help/en/model-studio/qwen-image-generation-and-editing-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from wan_mcp.sandbox.catalogue.model import CHINA, Mode, UsageShape, WireProtocol
from wan_mcp.sandbox.errors import OUTPUT_INSPECTED, ErrorReply
from wan_mcp.sandbox.requests import ListQuery
from wan_mcp.sandbox.tasks import TaskRecord, TaskState, state_of

API_KEY_ID = "1"
"""The id of every key: the sandbox has one account."""
_ACCOUNT = "1000000000000001"
_LARGEST_1K = 2_250_000
"""Pixels: a larger picture is billed as 2K."""
_INPUT_TOKENS = 10_000
"""About what a picture counts as."""

UrlOf = Callable[[TaskRecord, int], str]
"""Gives the address of a task's image, counted from 1."""


def error_body(request_id: str, error: ErrorReply) -> dict[str, Any]:
    """Give the body of an error."""
    return {"code": error.code, "message": error.message, "request_id": request_id}


def creation_body(record: TaskRecord) -> dict[str, Any]:
    """Give the answer to an accepted asynchronous order."""
    return {
        "output": {"task_status": TaskState.PENDING, "task_id": record.task_id},
        "request_id": record.request_id,
    }


def sync_body(record: TaskRecord, url_of: UrlOf) -> dict[str, Any]:
    """Give the answer to a finished synchronous order."""
    return {
        "output": {"choices": _choices(record, url_of), "finished": True} | _rewriting(record),
        "usage": _usage(record),
        "request_id": record.request_id,
    }


def task_body(request_id: str, task_id: str, record: TaskRecord | None, now: float, url_of: UrlOf) -> dict[str, Any]:
    """Give the answer to a task query."""
    state = state_of(record, now)
    output: dict[str, Any] = {"task_id": task_id, "task_status": state}
    body: dict[str, Any] = {"request_id": request_id, "output": output}
    if record is None or state is TaskState.UNKNOWN:
        return body
    output |= _times(record, state)
    if state is TaskState.FAILED and record.failure is not None:
        output |= {"code": record.failure.code, "message": record.failure.message}
    if record.protocol.is_legacy:
        output["task_metrics"] = _metrics(record, state)
    if state is TaskState.SUCCEEDED:
        if record.protocol.is_legacy:
            output["results"] = [_result(record, index, url_of) for index in range(1, record.count + 1)]
            body["usage"] = {"image_count": len(record.image_indexes)}
        else:
            output |= {"finished": True, "choices": _choices(record, url_of)} | _rewriting(record)
            body["usage"] = _usage(record)
    return body


def list_body(
    request_id: str, query: ListQuery, total: int, records: Sequence[TaskRecord], *, region: str, now: float
) -> dict[str, Any]:
    """Give the answer to a call of the task list: `records` are those of its page, of `total` that fit the query."""
    return {
        "request_id": request_id,
        "total": total,
        "total_page": -(-total // query.page_size),
        "page_no": query.page,
        "page_size": query.page_size,
        "data": [_list_row(record, region, now) for record in records],
    }


def _list_row(record: TaskRecord, region: str, now: float) -> dict[str, Any]:
    """Give one row of the task list. Times are milliseconds since 1970, and absent before they come."""
    row: dict[str, Any] = {
        "api_key_id": API_KEY_ID,
        "caller_parent_id": _ACCOUNT,
        "caller_uid": _ACCOUNT,
        "gmt_create": int(record.submitted * 1000),
        "model_name": record.model,
        "region": region,
        "request_id": record.request_id,
        "status": state_of(record, now),
        "task_id": record.task_id,
        "user_api_unique_key": f"apikey:v1:aigc:{record.protocol.replace('/', ':')}:{record.model}",
    }
    if record.canceled is None and now >= record.started:
        row["start_time"] = int(record.started * 1000)
    if now >= record.finished:
        row["end_time"] = int(record.finished * 1000)
    return row


def _times(record: TaskRecord, state: TaskState) -> dict[str, str]:
    times = {"submit_time": _format_time(record.submitted)}
    if state not in (TaskState.PENDING, TaskState.CANCELED):
        times["scheduled_time"] = _format_time(record.started)
    if state not in (TaskState.PENDING, TaskState.RUNNING):
        times["end_time"] = _format_time(record.finished)
    return times


def _format_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, CHINA).isoformat(" ", "milliseconds").removesuffix("+08:00")


def _metrics(record: TaskRecord, state: TaskState) -> dict[str, int]:
    succeeded = len(record.image_indexes) if state is TaskState.SUCCEEDED else 0
    failed = record.count - succeeded if state in (TaskState.SUCCEEDED, TaskState.FAILED) else 0
    return {"TOTAL": record.count, "SUCCEEDED": succeeded, "FAILED": failed}


def _result(record: TaskRecord, index: int, url_of: UrlOf) -> dict[str, str]:
    if index in record.missing:
        return {"code": OUTPUT_INSPECTED.code, "message": OUTPUT_INSPECTED.message}
    result = {"orig_prompt": record.prompt}
    if record.prompt_extend:
        result["actual_prompt"] = _rewrite(record)
    return result | {"url": url_of(record, index)}


def _rewrite(record: TaskRecord) -> str:
    return f"{record.prompt}, soft natural light, fine detail, balanced composition"


def _rewriting(record: TaskRecord) -> dict[str, str]:
    """Say whether the prompt was rewritten, as the newest family does."""
    if record.usage is not UsageShape.OUTPUT:
        return {}
    return {"rewrite_status": "success" if record.prompt_extend else "not_use"}


def _choices(record: TaskRecord, url_of: UrlOf) -> list[dict[str, Any]]:
    """
    Give the images: those of Wan in a choice each, those of a set, of a story and of the other families in one.

    A story has words before each image; Z-Image puts the prompt that it rewrote before its own.
    """
    parts = [_part(record, url_of(record, index)) for index in record.image_indexes]
    contents = [[part] for part in parts]
    if record.mode is Mode.INTERLEAVE:
        stories = [[{"type": "text", "text": f"Step {step}."}, part] for step, part in enumerate(parts, 1)]
        contents = [[part for story in stories for part in story]]
    elif record.mode is Mode.SET or record.usage is not UsageShape.SIZE:
        contents = [parts]
    if record.model.startswith("z-image") and record.prompt_extend:
        contents = [[{"text": _rewrite(record)}, *content] for content in contents]
    return [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}} for content in contents]


def _part(record: TaskRecord, url: str) -> dict[str, str]:
    """Give one image; the synchronous answers of Qwen-Image and Z-Image do not say that it is one."""
    is_bare = record.protocol is WireProtocol.SYNC and record.usage is not UsageShape.SIZE
    return {"image": url} if is_bare else {"image": url, "type": "image"}


def _usage(record: TaskRecord) -> dict[str, Any]:
    """Count what was made: fewer images than were ordered are billed as they are."""
    count = len(record.image_indexes)
    if record.usage is UsageShape.SIDES:
        return {"image_count": count, "width": record.width, "height": record.height}
    if record.usage is UsageShape.OUTPUT:
        grade = "1k" if record.width * record.height <= _LARGEST_1K else "2k"
        return {
            "output_width": record.width,
            "output_height": record.height,
            "input_image_count": len(record.inputs),
            # It is there without an input too.
            "input_image_type": "qima_input_1k",
            "output_image_count": count,
            "output_image_type": f"qima_output_{grade}",
        }
    # Wan 2.7 counts tokens beside images; the older models answer with zeros.
    is_counted = record.model.startswith("wan2.7")
    tokens = (len(record.prompt) + _INPUT_TOKENS * len(record.inputs), 2) if is_counted else (0, 0)
    return {
        "image_count": count,
        "size": f"{record.width}*{record.height}",
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "total_tokens": sum(tokens),
    }
