"""
The task list: its filters and its pages.

Source: https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wan_mcp.sandbox import refusals
from wan_mcp.sandbox.answers import CHINA, list_row
from wan_mcp.sandbox.models import Wire
from wan_mcp.sandbox.options import DAY
from wan_mcp.sandbox.records import is_forgotten
from wan_mcp.sandbox.store import Records

_LARGEST_PAGE = 100
_LAST_PAGE = 1_000_000
_FILTERS = ("task_id", "model_name", "status", "region", "api_key_id")


@dataclass(frozen=True, slots=True)
class Query:
    """What a list call asks for: a span of submission times, pages counted from 1, and equal fields of the rows."""

    since: float
    until: float
    page: int
    page_size: int
    equal: Mapping[str, str]


def read_query(parameters: Mapping[str, str], now: float) -> Query:
    """
    Read the parameters of a list call.

    Raises:
        RefusalError: a time or a number is malformed, or the span is longer than 24 hours.
    """
    start, end = parameters.get("start_time"), parameters.get("end_time")
    since = _read_time("start_time", start) if start else None
    # The format has whole seconds: the last one belongs to the span.
    until = _read_time("end_time", end) + 1 if end else None
    if until is None:
        until = now if since is None else since + DAY
    if since is None:
        since = until - DAY
    if not since <= until <= since + DAY + 1:
        raise refusals.wrong_parameter("The time span of start_time and end_time must not exceed 24 hours.")
    return Query(
        since=since,
        until=until,
        page=_read_number(parameters, "page_no", 1, _LAST_PAGE),
        page_size=_read_number(parameters, "page_size", 10, _LARGEST_PAGE),
        equal={name: parameters[name] for name in _FILTERS if parameters.get(name)},
    )


def list_body(request_id: str, records: Records, query: Query, region: str, now: float) -> dict[str, Any]:
    """Give the answer to a list call: the newest submissions first, synchronous orders not among them."""
    rows = [
        list_row(record, region, now)
        for record in sorted(records.values(), key=lambda record: record.submitted, reverse=True)
        if record.wire is not Wire.SYNC
        and not is_forgotten(record, now)
        and query.since <= record.submitted <= query.until
    ]
    rows = [row for row in rows if all(row[name] == value for name, value in query.equal.items())]
    first = (query.page - 1) * query.page_size
    return {
        "request_id": request_id,
        "total": len(rows),
        "total_page": -(-len(rows) // query.page_size),
        "page_no": query.page,
        "page_size": query.page_size,
        "data": rows[first : first + query.page_size],
    }


def _read_time(name: str, text: str) -> float:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=CHINA).timestamp()
    except ValueError:
        raise refusals.wrong_parameter(f"{name} must be of the form YYYYMMDDhhmmss.") from None


def _read_number(parameters: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = parameters.get(name) or str(default)
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= number <= largest:
        raise refusals.wrong_parameter(f"Range of {name} should be [1, {largest}]")
    return number
