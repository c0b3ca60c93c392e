"""Statements for taking turns: rate limits, and the slot for one unanswered order at a time."""

import sqlite3

from wan_mcp.ledger.port import Dispatch, Limit, Slot
from wan_mcp.ledger.records import Order, Stage
from wan_mcp.ledger.rows import held_order, the_order, update_order


def begin_sending(
    database: sqlite3.Connection, *, order: Order, dispatch: Dispatch, now: float
) -> Order | float | None:
    """Take slot and turn and mark the order, or say how long to wait."""
    row = held_order(database, order)
    if row is None or row.stage is not Stage.QUEUED:
        return None
    slot, limit = dispatch.slot, dispatch.limit
    wait = max(_slot_wait(database, slot, order.local_id, now), _limit_wait(database, limit, now))
    if wait > 0:
        return wait
    turn(database, limit=limit, now=now)
    if slot is not None:
        _write_slot(database, slot, order.local_id, now)
    changes = {"stage": Stage.SENDING, "sent_at": now, "clock_offset": dispatch.clock_offset}
    update_order(database, order.local_id, changes)
    return the_order(database, order.local_id)


def _slot_wait(database: sqlite3.Connection, slot: Slot | None, holder: str, now: float) -> float:
    if slot is None:
        return 0.0
    row = database.execute("SELECT owner, until FROM slots WHERE name = ?", (slot.name,)).fetchone()
    if row is None or row["owner"] == holder:
        return 0.0
    left = float(row["until"]) - now
    # Nobody may hold a slot for longer than its time: such an entry was written before the clock was set back.
    return left if 0 < left <= slot.seconds else 0.0


def take_slot(database: sqlite3.Connection, *, slot: Slot, holder: str, now: float) -> bool:
    """Give a slot to a holder unless somebody else has it."""
    if _slot_wait(database, slot, holder, now) > 0:
        return False
    _write_slot(database, slot, holder, now)
    return True


def _write_slot(database: sqlite3.Connection, slot: Slot, holder: str, now: float) -> None:
    database.execute(
        "INSERT OR REPLACE INTO slots (name, owner, until) VALUES (?, ?, ?)",
        (slot.name, holder, now + slot.seconds),
    )


def leave_slot(database: sqlite3.Connection, *, name: str, holder: str) -> None:
    """Free a slot that the holder has."""
    database.execute("DELETE FROM slots WHERE name = ? AND owner = ?", (name, holder))


def turn(database: sqlite3.Connection, *, limit: Limit, now: float) -> float:
    """Reserve the next turn by the generic cell rate algorithm; give its moment."""
    next_at, not_before = _limit_row(database, limit, now)
    interval = 1 / limit.per_second
    at = max(now, next_at - (limit.burst - 1) * interval, not_before)
    database.execute(
        "INSERT INTO limits (name, next_at) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at",
        (limit.name, max(next_at, at) + interval),
    )
    return at


def _limit_wait(database: sqlite3.Connection, limit: Limit, now: float) -> float:
    next_at, not_before = _limit_row(database, limit, now)
    return max(0.0, next_at - (limit.burst - 1) / limit.per_second - now, not_before - now)


_LONGEST_QUEUE = 120.0
"""Seconds; a limit that is booked further ahead was written before the clock was set back."""


def _limit_row(database: sqlite3.Connection, limit: Limit, now: float) -> tuple[float, float]:
    row = database.execute("SELECT next_at, not_before FROM limits WHERE name = ?", (limit.name,)).fetchone()
    if row is None:
        return now, 0.0
    next_at, not_before = float(row["next_at"]), float(row["not_before"])
    return (
        next_at if next_at <= now + _LONGEST_QUEUE else now,
        not_before if not_before <= now + _LONGEST_QUEUE else 0.0,
    )


def hold_back(database: sqlite3.Connection, *, limit: Limit, now: float, seconds: float) -> None:
    """Let nobody have a turn before a moment."""
    next_at, not_before = _limit_row(database, limit, now)
    moment = max(not_before, now + min(seconds, _LONGEST_QUEUE))
    database.execute(
        "INSERT OR REPLACE INTO limits (name, next_at, not_before) VALUES (?, ?, ?)",
        (limit.name, next_at, moment),
    )
