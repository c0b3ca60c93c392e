"""Rate limits that every process on the ledger keeps."""

from wan_mcp.ledger.database import Database, Repository, Transaction, writes
from wan_mcp.ledger.records import RateLimit
from wan_mcp.ledger.rows import read_moment

LONGEST_LINE = 5.0
"""Seconds; a turn that would come later is not given yet, so whatever is booked further ahead is of another clock."""
_LONGEST_PAUSE = 120.0
"""Seconds; a pause that ends later was written before the clock was set back."""


class _Reservations(Repository):
    """The turns of rate limits, in one database."""

    @writes
    def reserve(self, tx: Transaction, limit: RateLimit, *, longest: float) -> float:
        """Reserve the next turn unless the line is too long; give the seconds until it comes."""
        wait = seconds_until_turn(tx, limit)
        if wait <= longest:
            take_turn(tx, limit)
        return wait

    @writes
    def take(self, tx: Transaction, limit: RateLimit) -> float:
        """Take a turn if one is free now; give the seconds until one is."""
        wait = seconds_until_turn(tx, limit)
        if wait <= 0:
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

    async def reserve(self, limit: RateLimit, *, longest: float = LONGEST_LINE) -> float:
        """
        Reserve the next turn of a limit; give the seconds until it comes, from the transaction on.

        A turn that is more than `longest` seconds ahead is not reserved: ask again when it is not.
        """
        return await self._choose(limit).reserve(limit, longest=longest)

    async def take(self, limit: RateLimit) -> float:
        """Take a turn of a limit if one is free now, and give 0; else take none, and give the seconds until then."""
        return await self._choose(limit).take(limit)

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
