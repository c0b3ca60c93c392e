"""Time, passed in: so that a test can move it and nothing sleeps for luck."""

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the server needs of time. Seconds everywhere."""

    def now(self) -> float:
        """Give the wall clock: seconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Give a clock that never goes back, for measuring waits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Give the wall clock: seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Give the machine's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up the event loop."""
        await anyio.sleep(seconds)


def utc(timestamp: float) -> datetime:
    """Turn seconds since 1970 into an aware UTC time."""
    return datetime.fromtimestamp(timestamp, UTC)


def find_day(timestamp: float) -> date:
    """Give the day of a moment (seconds since 1970) by this machine's calendar."""
    # Not by aware times: Python takes no zone of more than 24 hours, and TZ=UTC+25 is one.
    local = time.localtime(timestamp)
    return date(local.tm_year, local.tm_mon, local.tm_mday)


def find_begin(moment: date) -> float:
    """Give when a day, or a time without a zone, begins by this machine's calendar, in seconds since 1970."""
    # What is not known is whether the clocks were put forward then; the machine knows.
    return time.mktime((*moment.timetuple()[:6], 0, 0, -1))
