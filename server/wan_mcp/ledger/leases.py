"""Statements on leases: which process works on which order."""

import sqlite3
from collections.abc import Sequence
from itertools import islice

from wan_mcp.ledger.port import Fits
from wan_mcp.ledger.records import ImageState, Order, Stage
from wan_mcp.ledger.rows import read_order, read_orders, the_order

_UNFINISHED = f"stage <> '{Stage.CLOSED}'"


def anything(order: Order) -> bool:
    """Say yes to every order."""
    del order
    return True


def free_ids(
    database: sqlite3.Connection, *, owner: str, now: float, limit: int, longest_lease: float, fits: Fits = anything
) -> list[str]:
    """
    Name the unfinished orders that nobody holds and that fit, those nearest to their end first.

    The owner's own are never free: it works on them, even if it slept through the end of its leases.
    """
    free = read_orders(
        database,
        f"{_UNFINISHED} AND (lease_until <= ? OR lease_until > ?) AND owner IS NOT ? "
        "ORDER BY coalesce(expires_at, created_at)",
        now,
        now + longest_lease,
        owner,
    )
    return list(islice((order.local_id for order in free if fits(order)), max(limit, 0)))


def claim(
    database: sqlite3.Connection,
    *,
    owner: str,
    now: float,
    lease: float,
    limit: int,
    longest_lease: float,
    fits: Fits = anything,
) -> Sequence[Order]:
    """Lease free orders to an owner; the new version fences off whoever had them."""
    claimed = free_ids(database, owner=owner, now=now, limit=limit, longest_lease=longest_lease, fits=fits)
    for local_id in claimed:
        database.execute(
            "UPDATE orders SET owner = ?, lease_until = ?, version = version + 1 WHERE local_id = ?",
            (owner, now + lease, local_id),
        )
    return [the_order(database, local_id) for local_id in claimed]


def seize(
    database: sqlite3.Connection, *, local_id: str, index: int, owner: str, now: float, lease: float
) -> Order | None:
    """Lease an order to an owner, whoever has it, while nobody is about to give the image a name."""
    row = read_order(database, "local_id = ? AND stage = ?", local_id, Stage.OPEN)
    states = {image.index: image.state for image in row.images} if row else {}
    if states.get(index) not in (ImageState.WAITING, ImageState.UNSAVED):
        return None
    database.execute(
        "UPDATE orders SET owner = ?, lease_until = ?, version = version + 1 WHERE local_id = ?",
        (owner, now + lease, local_id),
    )
    return the_order(database, local_id)


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


def next_lease_end(database: sqlite3.Connection, *, owner: str, fits: Fits = anything) -> float | None:
    """Give the end of the first lease that somebody else has on an order that fits."""
    ends = (order.lease_until for order in elsewhere(database, owner=owner) if fits(order))
    return min(ends, default=None)


def elsewhere(database: sqlite3.Connection, *, owner: str) -> Sequence[Order]:
    """Read the unfinished orders that somebody else holds."""
    return read_orders(database, f"{_UNFINISHED} AND owner IS NOT ? ORDER BY created_at", owner)
