"""Statements on leases: which process works on which order."""

import sqlite3
from collections.abc import Sequence

from wan_mcp.ledger.records import OrderRecord, Stage
from wan_mcp.ledger.rows import read_orders, the_order

_UNFINISHED = f"stage <> '{Stage.CLOSED}'"


def free_ids(database: sqlite3.Connection, *, owner: str, now: float, limit: int, longest_lease: float) -> list[str]:
    """
    Name the unfinished orders that nobody holds, those nearest to their end first.

    The owner's own are never free: it works on them, even if it slept through the end of its leases.
    """
    rows = database.execute(
        f"SELECT local_id FROM orders WHERE {_UNFINISHED} AND (lease_until <= ? OR lease_until > ?) "  # noqa: S608 - ours alone
        "AND owner IS NOT ? ORDER BY coalesce(expires_at, created_at) LIMIT ?",
        # A negative limit would mean none.
        (now, now + longest_lease, owner, max(limit, 0)),
    )
    return [row["local_id"] for row in rows]


def claim(
    database: sqlite3.Connection, *, owner: str, now: float, lease: float, limit: int, longest_lease: float
) -> Sequence[OrderRecord]:
    """Lease free orders to an owner; the new version fences off whoever had them."""
    claimed = free_ids(database, owner=owner, now=now, limit=limit, longest_lease=longest_lease)
    for local_id in claimed:
        database.execute(
            "UPDATE orders SET owner = ?, lease_until = ?, version = version + 1 WHERE local_id = ?",
            (owner, now + lease, local_id),
        )
    return [the_order(database, local_id) for local_id in claimed]


def renew(database: sqlite3.Connection, *, owner: str, now: float, lease: float) -> None:
    """Let every lease of an owner last for `lease` seconds from now on."""
    database.execute(
        f"UPDATE orders SET lease_until = ? WHERE owner = ? AND {_UNFINISHED}",  # noqa: S608 - ours alone
        (now + lease, owner),
    )


def release(database: sqlite3.Connection, *, owner: str) -> None:
    """Give every unfinished order of an owner away."""
    database.execute(
        f"UPDATE orders SET owner = NULL, lease_until = 0 WHERE owner = ? AND {_UNFINISHED}",  # noqa: S608 - ours alone
        (owner,),
    )


def next_lease_end(database: sqlite3.Connection, *, owner: str) -> float | None:
    """Give the end of the first lease that somebody else has."""
    row = database.execute(
        f"SELECT min(lease_until) AS first FROM orders WHERE {_UNFINISHED} AND owner IS NOT ?",  # noqa: S608 - ours alone
        (owner,),
    ).fetchone()
    return None if row["first"] is None else float(row["first"])


def elsewhere(database: sqlite3.Connection, *, owner: str) -> Sequence[OrderRecord]:
    """Read the unfinished orders that somebody else holds."""
    return read_orders(database, f"{_UNFINISHED} AND owner IS NOT ? ORDER BY created_at", owner)
