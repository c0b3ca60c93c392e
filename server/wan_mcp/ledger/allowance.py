"""How many images may still be ordered: the operator's own limit for 24 hours."""

import math
import sqlite3

from wan_mcp.clock import utc
from wan_mcp.ledger.counts import images_since, passed_by
from wan_mcp_tools.domain.errors import DailyLimitError

DAY = 86_400.0
_RAISE = "let the operator raise WAN_MCP_DAILY_IMAGE_LIMIT."


def check_allowance(database: sqlite3.Connection, *, wanted: int, daily_limit: int, now: float) -> None:
    """
    Make sure that `wanted` images more are within the limit; 0 means that there is none.

    Raises:
        DailyLimitError: they are not; it says how many are, and from when on the others.
    """
    ordered = images_since(database, moment=now - DAY)
    left = max(0, daily_limit - ordered)
    if not daily_limit or wanted <= left:
        return
    message = (
        f"{_images(ordered)} ordered in the last 24 hours, and the limit of this server is {daily_limit}. "
        "Nothing was ordered."
    )
    if wanted > daily_limit:
        never = DailyLimitError(
            f"{message} {wanted} in one order are more than it ever allows.", f"Order fewer, or {_RAISE}"
        )
        never.retryable = False
        raise never
    freed = passed_by(database, moment=now - DAY, images=wanted - left) or now
    again = utc(freed + DAY).isoformat(timespec="seconds")
    message += f" {wanted} can be ordered from {again} on, in {_span(freed + DAY - now)}."
    raise DailyLimitError(
        message, f"Order at most {left} now, or {_RAISE}" if left else f"Wait until then, or {_RAISE}"
    )


def _images(count: int) -> str:
    return "1 image was" if count == 1 else f"{count} images were"


def _span(seconds: float) -> str:
    minutes = max(1, math.ceil(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
