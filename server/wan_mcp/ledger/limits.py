"""Limits that every process on the ledger keeps: requests a second, and images in 24 hours."""

import math
from collections.abc import Mapping

from wan_mcp.clock import utc
from wan_mcp.ledger.database import Database, Repository, Transaction, writes
from wan_mcp.ledger.records import DAY, Origin, RateLimit
from wan_mcp.ledger.rows import IS_COUNTABLE, chunks, number_parameters, read_moment
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import DailyLimitError
from wan_mcp_tools.domain.tasks import TaskStatus

LONGEST_LINE = 5.0
"""Seconds; a turn that would come later is not given yet, so whatever is booked further ahead is of another clock."""
_LONGEST_PAUSE = 120.0
"""Seconds; a pause that ends later was written before the clock was set back."""
_RAISE = "let the operator raise WAN_MCP_DAILY_IMAGE_LIMIT."


class _Reservations(Repository):
    """The turns of rate limits, in one database."""

    @writes
    def reserve(self, tx: Transaction, limit: RateLimit) -> float:
        """Reserve the next turn unless the line is too long; give the seconds until it comes."""
        wait = seconds_until_turn(tx, limit)
        if wait <= LONGEST_LINE:
            take_turn(tx, limit)
        return wait

    @writes
    def pause(self, tx: Transaction, limit: RateLimit, seconds: float) -> None:
        """Let nobody have a turn before a moment."""
        next_at, not_before = _read_limit(tx, limit)
        moment = max(not_before, tx.now + min(seconds, _LONGEST_PAUSE))
        tx.execute(
            "INSERT INTO limits (name, next_at, not_before) VALUES ($1, $2, $3) ON CONFLICT (name) "
            "DO UPDATE SET next_at = excluded.next_at, not_before = excluded.not_before",
            limit.name,
            next_at,
            moment,
        )


class Limits:
    """
    The rate limits: those that must last lie in the ledger's own database, the others in one that costs less.

    Every method raises `LedgerError` when its database cannot be used.
    """

    def __init__(self, database: Database, volatile_database: Database) -> None:
        self._durable = _Reservations(database)
        self._volatile = _Reservations(volatile_database)

    async def reserve(self, limit: RateLimit) -> float:
        """
        Reserve the next turn of a limit; give the seconds until it comes, from the transaction on.

        A turn that is more than `LONGEST_LINE` seconds ahead is not reserved: ask again when it is not.
        """
        return await self._choose(limit).reserve(limit)

    async def pause(self, limit: RateLimit, seconds: float) -> None:
        """Let nobody have a turn for some seconds, because the service said that we were too fast."""
        await self._choose(limit).pause(limit, seconds)

    def _choose(self, limit: RateLimit) -> _Reservations:
        return self._durable if limit.is_durable else self._volatile


def take_turn(tx: Transaction, limit: RateLimit) -> float:
    """Reserve the next turn by the generic cell rate algorithm; give its moment."""
    next_at, not_before = _read_limit(tx, limit)
    interval = 1 / limit.per_second
    at = max(tx.now, next_at - (limit.burst - 1) * interval, not_before)
    tx.execute(
        "INSERT INTO limits (name, next_at) VALUES ($1, $2) "
        "ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at",
        limit.name,
        max(next_at, at) + interval,
    )
    return at


def seconds_until_turn(tx: Transaction, limit: RateLimit) -> float:
    """Give the seconds until a turn would be free, without taking it."""
    next_at, not_before = _read_limit(tx, limit)
    return max(0.0, next_at - (limit.burst - 1) / limit.per_second - tx.now, not_before - tx.now)


def _read_limit(tx: Transaction, limit: RateLimit) -> tuple[float, float]:
    rows = tx.execute("SELECT next_at, not_before FROM limits WHERE name = $1 {for_update}", limit.name)
    if not rows:
        return tx.now, 0.0
    next_at, not_before = read_moment(rows[0]["next_at"]), read_moment(rows[0]["not_before"])
    # However many stand in line, no turn is given further ahead than this: what is was written before the clock was
    # set back, and a line of any length is never taken for that.
    latest = tx.now + LONGEST_LINE + (limit.burst + 1) / limit.per_second
    return (
        next_at if next_at <= latest else tx.now,
        not_before if not_before <= tx.now + _LONGEST_PAUSE else 0.0,
    )


# --- images in 24 hours --------------------------------------------------------------------------------------

_COUNTED = (
    "created_at > $1 AND origin = $2 AND NOT (status = $3 AND task_id IS NULL) AND status <> $4 "
    f"AND region <> '{SANDBOX.name}' AND {IS_COUNTABLE}"
)
"""Orders that were, or may have been, accepted, and that cost something."""


def count_images_since(tx: Transaction, moment: float) -> int:
    """Count the images of the orders since a moment that were, or may have been, accepted; no free ones."""
    rows = tx.execute(
        f"SELECT CAST(COALESCE(SUM(images_ordered), 0) AS BIGINT) AS images FROM orders WHERE {_COUNTED}",  # noqa: S608
        *_counted_values(moment),
    )
    return int(rows[0]["images"])


def check_daily_limit(tx: Transaction, *, images: int, daily_limit: int, recent: Mapping[str, int]) -> None:
    """
    Make sure that `images` more are within the operator's limit for 24 hours; 0 means that there is none.

    `recent` has the local ids of what the caller has ordered itself in that time, with the images of each: they count
    even if their rows are gone, or the wall clock was set forward since.

    Raises:
        DailyLimitError: they are not; it says how many are, and from when on the others.
    """
    if not daily_limit:
        return
    day_ago = tx.now - DAY
    ordered = count_images_since(tx, day_ago) + _count_missing(tx, recent, day_ago)
    left = max(0, daily_limit - ordered)
    if images <= left:
        return
    message = (
        f"{_tell_images(ordered)} ordered in the last 24 hours, and the limit of this server is {daily_limit}. "
        "Nothing was ordered."
    )
    if images > daily_limit:
        raise DailyLimitError(
            f"{message} {images} in one order are more than it ever allows.",
            f"Order fewer, or {_RAISE}",
            retryable=False,
        )
    freed = _find_release(tx, day_ago, images - left) or tx.now
    again = utc(freed + DAY).isoformat(timespec="seconds")
    message += f" {images} can be ordered from {again} on, in {_tell_span(freed + DAY - tx.now)}."
    raise DailyLimitError(
        message, f"Order at most {left} now, or {_RAISE}" if left else f"Wait until then, or {_RAISE}"
    )


def _count_missing(tx: Transaction, recent: Mapping[str, int], moment: float) -> int:
    """Count the images of recent orders that the ledger does not count since a moment, though it should."""
    rows = [
        row
        for chunk in chunks(list(recent))
        for row in tx.execute(
            "SELECT local_id, created_at, status, task_id FROM orders "  # noqa: S608 - parameters only
            f"WHERE local_id IN ({number_parameters(chunk)})",
            *chunk,
        )
    ]
    counted_or_free = {
        row["local_id"]
        for row in rows
        if read_moment(row["created_at"]) > moment
        or row["status"] == TaskStatus.CANCELED
        or (row["status"] == TaskStatus.FAILED and row["task_id"] is None)
    }
    return sum(images for local_id, images in recent.items() if local_id not in counted_or_free)


def _find_release(tx: Transaction, moment: float, images: int) -> float | None:
    """Give the creation time of the order with which, counted from `moment` on, `images` images are reached."""
    running = (
        "SELECT created_at, SUM(images_ordered) OVER (ORDER BY created_at) AS images "  # noqa: S608 - a constant
        f"FROM orders WHERE {_COUNTED}"
    )
    rows = tx.execute(
        f"SELECT created_at FROM ({running}) AS summed WHERE images >= $5 ORDER BY created_at LIMIT 1",  # noqa: S608
        *_counted_values(moment),
        images,
    )
    return float(rows[0]["created_at"]) if rows else None


def _counted_values(moment: float) -> tuple[object, ...]:
    return moment, Origin.ORDERED.value, TaskStatus.FAILED.value, TaskStatus.CANCELED.value


def _tell_images(count: int) -> str:
    return "1 image was" if count == 1 else f"{count} images were"


def _tell_span(seconds: float) -> str:
    minutes = max(1, math.ceil(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
