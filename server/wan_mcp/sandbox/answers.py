"""
The bodies of the service's answers.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from wan_mcp.sandbox.models import Wire
from wan_mcp.sandbox.records import State, TaskRecord, state_of
from wan_mcp.sandbox.refusals import OUTPUT_INSPECTED, Trouble

CHINA = timezone(timedelta(hours=8))
"""The zone of the service's times, which do not name it."""

UrlOf = Callable[[TaskRecord, int], str]
"""Gives the address of a task's image, counted from 1."""


def refusal_body(request_id: str, trouble: Trouble) -> dict[str, Any]:
    """Give the body of an error."""
    return {"code": trouble.code, "message": trouble.message, "request_id": request_id}


def creation_body(record: TaskRecord) -> dict[str, Any]:
    """Give the answer to an accepted asynchronous order."""
    return {
        "output": {"task_status": State.PENDING, "task_id": record.task_id},
        "request_id": record.request_id,
    }


def sync_body(record: TaskRecord, url_of: UrlOf) -> dict[str, Any]:
    """Give the answer to a finished synchronous order."""
    return {
        "output": {"choices": _choices(record, url_of), "finished": True},
        "usage": _usage(record),
        "request_id": record.request_id,
    }


def task_body(request_id: str, task_id: str, record: TaskRecord | None, now: float, url_of: UrlOf) -> dict[str, Any]:
    """Give the answer to a task query."""
    state = state_of(record, now)
    output: dict[str, Any] = {"task_id": task_id, "task_status": state}
    body: dict[str, Any] = {"request_id": request_id, "output": output}
    if record is None or state is State.UNKNOWN:
        return body
    output |= _times(record, state)
    if state is State.FAILED and record.failure is not None:
        output |= {"code": record.failure.code, "message": record.failure.message}
    if record.wire is Wire.LEGACY:
        output["task_metrics"] = _metrics(record, state)
    if state is State.SUCCEEDED:
        if record.wire is Wire.LEGACY:
            output["results"] = [_result(record, place, url_of) for place in range(1, record.count + 1)]
            body["usage"] = {"image_count": len(record.made)}
        else:
            output |= {"finished": True, "choices": _choices(record, url_of)}
            body["usage"] = _usage(record)
    return body


def list_row(record: TaskRecord, region: str, now: float) -> dict[str, Any]:
    """Give one row of the task list. Times are milliseconds since 1970, and absent before they come."""
    row: dict[str, Any] = {
        "api_key_id": "1",
        "caller_parent_id": "1000000000000001",
        "caller_uid": "1000000000000001",
        "gmt_create": int(record.submitted * 1000),
        "model_name": record.model,
        "region": region,
        "request_id": record.request_id,
        "status": state_of(record, now),
        "task_id": record.task_id,
        "user_api_unique_key": f"apikey:v1:aigc:{record.wire.replace('/', ':')}:{record.model}",
    }
    if record.canceled is None and now >= record.started:
        row["start_time"] = int(record.started * 1000)
    if now >= record.finished:
        row["end_time"] = int(record.finished * 1000)
    return row


def _times(record: TaskRecord, state: State) -> dict[str, str]:
    times = {"submit_time": _clock_time(record.submitted)}
    if state not in (State.PENDING, State.CANCELED):
        times["scheduled_time"] = _clock_time(record.started)
    if state not in (State.PENDING, State.RUNNING):
        times["end_time"] = _clock_time(record.finished)
    return times


def _clock_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, CHINA).isoformat(" ", "milliseconds").removesuffix("+08:00")


def _metrics(record: TaskRecord, state: State) -> dict[str, int]:
    good = len(record.made) if state is State.SUCCEEDED else 0
    bad = record.count - good if state in (State.SUCCEEDED, State.FAILED) else 0
    return {"TOTAL": record.count, "SUCCEEDED": good, "FAILED": bad}


def _result(record: TaskRecord, place: int, url_of: UrlOf) -> dict[str, str]:
    if place not in record.made:
        return {"code": OUTPUT_INSPECTED.code, "message": OUTPUT_INSPECTED.message}
    result = {"orig_prompt": record.prompt}
    if record.prompt_extend:
        result["actual_prompt"] = f"{record.prompt}, soft natural light, fine detail, balanced composition"
    return result | {"url": url_of(record, place)}


def _choices(record: TaskRecord, url_of: UrlOf) -> list[dict[str, Any]]:
    """Give one choice for each image; the images of a set are parts of one choice."""
    parts = [{"image": url_of(record, place), "type": "image"} for place in record.made]
    contents = [parts] if record.as_set else [[part] for part in parts]
    return [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}} for content in contents]


def _usage(record: TaskRecord) -> dict[str, Any]:
    # Wan 2.7 counts tokens beside images; the older models answer with zeros.
    tokens = (len(record.prompt), 2) if record.model.startswith("wan2.7") else (0, 0)
    return {
        "image_count": len(record.made),
        "size": f"{record.width}*{record.height}",
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "total_tokens": sum(tokens),
    }
