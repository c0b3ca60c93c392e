"""One answer of the service, and whether it is one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from wan_mcp.dashscope.loose import read_map, read_text
from wan_mcp.dashscope.quotes import clean_request_id
from wan_mcp.dashscope.refusals import Circumstance, Moment, refuse
from wan_mcp_tools.domain.errors import AnswerLostError, AppError, ServiceDownError

_OK = range(200, 300)
_REDIRECTED = range(300, 400)
_REFUSED = range(400, 500)
_GATEWAY_GAVE_UP = 408
_SERVER_TROUBLE = 500
_LOOK_FIRST = "The order may have been taken: look for the task before ordering again."


@dataclass(frozen=True, slots=True)
class Reply:
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
        return read_map((self.payload or {}).get("output"))

    @property
    def request_id(self) -> str | None:
        """The service's own id of the call."""
        return read_text((self.payload or {}).get("request_id"))


def parse_payload(content: bytes | None) -> Mapping[str, object] | None:
    """Read a JSON object; None for anything else."""
    if not content:
        return None
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def find_code(reply: Reply) -> tuple[str | None, str | None]:
    """Find the code and message of an error at the top, in either of the service's two forms."""
    payload = reply.payload or {}
    compatible = read_map(payload.get("error"))
    code = read_text(payload.get("code")) or read_text(compatible.get("code")) or read_text(compatible.get("type"))
    return code, read_text(payload.get("message")) or read_text(compatible.get("message"))


def judge(reply: Reply, where: Circumstance) -> AppError | None:
    """Give the error that an answer stands for, or None if it is a good one with a JSON object."""
    code, message = find_code(reply)
    if reply.status == _GATEWAY_GAVE_UP:
        return lost_answer(where, "a gateway gave up waiting for it (HTTP 408)")
    if reply.status in _REFUSED or reply.status >= _SERVER_TROUBLE or (reply.status in _OK and code):
        return refuse(
            where,
            code,
            message,
            status=reply.status,
            request_id=reply.request_id,
            retry_after=reply.retry_after,
        )
    if reply.status not in _OK or reply.payload is None:
        return unreadable(reply, where)
    return None


def unreadable(reply: Reply, where: Circumstance) -> ServiceDownError:
    """Give the error for an answer that is not the service's own, or lacks what it must have."""
    if reply.status in _REDIRECTED:
        message = f"The region {where.region} sent the call elsewhere; the key does not follow it."
    else:
        message = f"The answer of the region {where.region} is not one of the service's (HTTP {reply.status})."
    check = "If this goes on, look for a proxy or a sign-in page in the network, and check DASHSCOPE_HTTP_BASE_URL."
    return ServiceDownError(
        message,
        f"{_LOOK_FIRST} {check}" if where.moment is Moment.ORDER else check,
        code="UnreadableAnswer",
        http_status=reply.status,
        request_id=clean_request_id(reply.request_id, secret=where.hidden),
    )


def lost_answer(where: Circumstance, how: str) -> AnswerLostError:
    """Give the error for a call that was sent and not answered."""
    is_order = where.moment is Moment.ORDER
    return AnswerLostError(
        f"{'The order' if is_order else 'The call'} was sent to the region {where.region}"
        f" and its answer was lost: {how}.",
        _LOOK_FIRST if is_order else "Try again in a moment.",
    )
