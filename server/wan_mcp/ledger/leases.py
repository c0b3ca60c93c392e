"""Statements on leases: which process works on which order."""

import sqlite3
from collections.abc import Sequence

from wan_mcp.ledger.records import OrderRecord, Stage
from wan_mcp.ledger.rows import the_order

_UNFINISHED = f"stage <> '{Stage.CLOSED}'"


def free_ids(database: sqlite3.Connection, *, now: float, limit: int, longest_lease: float) -> list[str]:
    """Name the unfinished orders that nobody holds, those nearest to their end first."""
    rows = database.execute(
        f"SELECT local_id FROM orders WHERE {_UNFINISHED} AND (lease_until <= ? OR lease_until > ?) "  # noqa: S608 - ours alone
        "ORDER BY coalesce(expires_at, created_at) LIMIT ?",
        (now, now + longest_lease, limit),
    )
    return [row["local_id"] for row in rows]


def claim(
    database: sqlite3.Connection, *, owner: str, now: float, lease: float, limit: int, longest_lease: float
) -> Sequence[OrderRecord]:
    """Lease free orders to an owner; the new version fences off whoever had them."""
    claimed = free_ids(database, now=now, limit=limit, longest_lease=longest_lease)
    for local_id in claimed:
        database.execute(
            "UPDATE orders SET owner = ?, lease_until = ?, version = version + 1 WHERE local_id = ?",
            (owner, now + lease, local_id),
        )
    return [the_order(database, local_id) for local_id in claimed]


def set_leases(database: sqlite3.Connection, *, owner: str, until: float) -> None:
    """Set the end of every lease of an owner."""
    database.execute(
        f"UPDATE orders SET lease_until = ? WHERE owner = ? AND {_UNFINISHED}",  # noqa: S608 - ours alone
        (until, owner),
    )


def next_lease_end(database: sqlite3.Connection, *, owner: str) -> float | None:
    """Give the end of the first lease that somebody else has."""
    row = database.execute(
        f"SELECT min(lease_until) AS first FROM orders WHERE {_UNFINISHED} AND owner IS NOT ?",  # noqa: S608 - ours alone
        (owner,),
    ).fetchone()
    return None if row["first"] is None else float(row["first"])
