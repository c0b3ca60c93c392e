"""How long to wait before trying again: pure arithmetic."""

import email.utils
import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC

BASE_SECONDS = 0.5
CAP_SECONDS = 30.0
LONGEST_RETRY_AFTER = 300.0
"""A longer wait that the service asks for is cut to this."""
HOPELESS_RETRY_AFTER = 3600.0
"""A service that asks for more than this speaks of a quota, not of a rush."""


_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{0,9})?")


def next_delay(
    attempt: int,
    *,
    retry_after: float | None = None,
    base: float = BASE_SECONDS,
    cap: float = CAP_SECONDS,
    draw: Callable[[], float] = random.random,
) -> float:
    """
    Give the seconds to wait after failed attempt number `attempt`, counted from 1.

    The wait is drawn evenly from the upper half of a bound that doubles up to `cap`, so that many clients spread
    out. What the service asked for wins when it is longer.
    """
    bound = min(cap, base * 2.0 ** min(attempt - 1, 32))
    return max(bound * (0.5 + 0.5 * draw()), retry_after or 0.0)


def read_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """
    Read how many seconds the service asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.

    `headers` finds names in lower case; `now` is the service's clock, seconds since 1970. The value is not capped.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    moment = read_date(value)
    return None if moment is None else max(0.0, moment - now)


def read_date(value: str | None) -> float | None:
    """Read a date of an HTTP header; None if there is none, or none that makes sense."""
    if not value:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _number(value: str | None) -> float | None:
    return float(value) if value is not None and _NUMBER.fullmatch(value.strip()) else None
