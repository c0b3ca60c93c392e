"""
The JSON the service answers about tasks, in both result shapes.

Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and manage-asynchronous-tasks there.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from fakes.dashscope_account import Task

CHINA = timezone(timedelta(hours=8))
_API_KEYS = {
    "legacy": "apikey:v1:aigc:text2image:image-synthesis:",
    "async": "apikey:v1:aigc:image-generation:generation:",
}
Link = Callable[[Task, int], str]


def write_error(code: str, message: str) -> dict[str, Any]:
    """Answer an error body of the native paths."""
    return {"request_id": str(uuid.uuid4()), "code": code, "message": message}


def write_created(task: Task) -> dict[str, Any]:
    """Answer the body that names a new task."""
    return {"request_id": task.request_id, "output": {"task_id": task.id, "task_status": "PENDING"}}


def write_unknown(task_id: str) -> dict[str, Any]:
    """Answer the body for an id that is expired, foreign to the region, or was never given."""
    return {"request_id": str(uuid.uuid4()), "output": {"task_id": task_id, "task_status": "UNKNOWN"}}


def write_choices(task: Task, link: Link, shape: str) -> dict[str, Any]:
    """
    Answer output and usage of the newer shape.

    How several images are arranged is not documented: "choices" puts one in each choice, "parts" all in one, with a
    text part among them.
    """
    parts: list[dict[str, Any]] = [{"image": link(task, index), "type": "image"} for index in task.good_images]
    groups = [[part] for part in parts] if shape == "choices" else [[{"text": "done", "type": "text"}, *parts]]
    choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}} for content in groups]
    usage: dict[str, Any] = {"image_count": len(parts), "size": f"{task.order.width}*{task.order.height}"}
    usage |= {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    return {"output": {"choices": choices, "finished": True}, "usage": usage}


def write_task(task: Task, now: float, link: Link, *, shape: str, echo: bool) -> dict[str, Any]:
    """Answer the body of a task query."""
    status = task.status_at(now)
    output: dict[str, Any] = {"task_id": task.id, "task_status": status, "submit_time": _write_time(task.created)}
    body: dict[str, Any] = {"request_id": str(uuid.uuid4()), "output": output}
    if status not in {"PENDING", "CANCELED"}:
        output["scheduled_time"] = _write_time(task.starts)
    if status in {"SUCCEEDED", "FAILED", "CANCELED"}:
        output["end_time"] = _write_time(task.finished)
    if status == "RUNNING" and task.protocol == "legacy":
        output["task_metrics"] = {"TOTAL": task.order.n, "SUCCEEDED": 0, "FAILED": 0}
    if status == "FAILED":
        output |= {"code": task.ending.code, "message": task.ending.message}
        output["task_metrics"] = {"TOTAL": task.order.n, "SUCCEEDED": 0, "FAILED": task.order.n}
    if status == "SUCCEEDED" and task.protocol == "legacy":
        good = len(task.good_images)
        output["results"] = [_write_slot(task, index, link, echo=echo) for index in range(1, task.order.n + 1)]
        output["task_metrics"] = {"TOTAL": task.order.n, "SUCCEEDED": good, "FAILED": task.order.n - good}
        body["usage"] = {"image_count": good}
    elif status == "SUCCEEDED":
        chosen = write_choices(task, link, shape)
        output |= chosen["output"]
        body["usage"] = chosen["usage"]
    return body


def write_page(
    tasks: list[Task], query: Mapping[str, str], now: float, zone: float = 8.0
) -> tuple[int, dict[str, Any]]:
    """Answer status and body of the list call for tasks already sorted, filtered and cut by its query."""
    try:
        window = _read_window(query, now, timezone(timedelta(hours=zone)))
        page, size = int(query.get("page_no", "1")), int(query.get("page_size", "10"))
    except ValueError:
        return 400, write_error("InvalidParameter", "start_time and end_time are YYYYMMDDhhmmss, the rest numbers.")
    if not (page >= 1 and 1 <= size <= 100) or window[1] - window[0] > 86400:
        return 400, write_error("InvalidParameter", "The page or the time span is out of range.")
    wanted = {"model_name": query.get("model_name"), "status": query.get("status"), "task_id": query.get("task_id")}
    rows = [_write_row(task, now) for task in tasks if window[0] <= task.created <= window[1]]
    rows = [row for row in rows if all(not value or row[name] == value for name, value in wanted.items())]
    shown = rows[(page - 1) * size : page * size]
    head = {"request_id": str(uuid.uuid4()), "total": len(rows), "total_page": -(-len(rows) // size)}
    return 200, {**head, "page_no": page, "page_size": size, "data": shown}


def _write_slot(task: Task, index: int, link: Link, *, echo: bool) -> dict[str, Any]:
    if index not in task.good_images:
        return {"code": task.ending.code, "message": task.ending.message}
    slot = {"orig_prompt": task.order.prompt} if echo else {}
    if task.order.extend:
        slot["actual_prompt"] = f"{task.order.prompt}, in soft light, finely detailed"
    return {**slot, "url": link(task, index)}


def _write_row(task: Task, now: float) -> dict[str, Any]:
    status = task.status_at(now)
    row: dict[str, Any] = {"api_key_id": "1", "caller_parent_id": "1", "caller_uid": "1"}
    row["gmt_create"] = int(task.created * 1000)
    if status not in {"PENDING", "CANCELED"}:
        row["start_time"] = int(task.starts * 1000)
    if status in {"SUCCEEDED", "FAILED", "CANCELED"}:
        row["end_time"] = int(task.finished * 1000)
    row |= {"model_name": task.order.model, "region": task.region, "request_id": task.request_id, "status": status}
    row |= {"task_id": task.id, "user_api_unique_key": _API_KEYS[task.protocol] + task.order.model}
    return row


def _read_window(query: Mapping[str, str], now: float, zone: timezone) -> tuple[float, float]:
    """Read the time filters, which are text without a zone; one missing end is a day from the other, both the last."""
    start, end = (_read_time(query.get(name), zone) for name in ("start_time", "end_time"))
    if start is None:
        end = now if end is None else end
        return end - 86400, end
    return start, min(now, start + 86400) if end is None else end


def _read_time(text: str | None, zone: timezone) -> float | None:
    if not text:
        return None
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=zone).timestamp()


def _write_time(moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S.%f")
    return text[:-3]
