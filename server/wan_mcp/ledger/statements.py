"""The statements of the ledger, each a function of an open transaction."""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from wan_mcp.ledger.liveness import is_gone
from wan_mcp.ledger.port import Changes, Limit, Slot
from wan_mcp.ledger.records import ImageRecord, NewOrder, OrderRecord, Origin, Placement, Stage
from wan_mcp.ledger.rows import insert_order, read_order, read_orders, update_order, write_images
from wan_mcp_tools.shared.errors import DailyLimitError, LedgerError
from wan_mcp_tools.shared.tasks import TaskStatus

DAY = 86_400.0
_UNFINISHED = f"stage <> '{Stage.CLOSED}'"


def place(
    database: sqlite3.Connection,
    *,
    order: NewOrder,
    owner: str,
    now: float,
    lease: float,
    wanted_until: float,
    daily_limit: int,
    join: bool,
) -> Placement:
    """Insert an order, or find its unreceived twin."""
    twin = _twin(database, order.fingerprint, now) if join else None
    if twin is not None:
        changes = {
            "wanted_until": max(wanted_until, twin.wanted_until),
            "wanted_by": owner,
            "abandoned_at": None,
        }
        update_order(database, twin.local_id, changes)
        return Placement(_row(database, twin.local_id), joined=True)
    ordered = images_since(database, moment=now - DAY)
    if daily_limit and ordered + order.images > daily_limit:
        raise DailyLimitError(
            f"{ordered} images were ordered in the last 24 hours, and the limit of this server is {daily_limit}.",
            "Wait, or let the operator raise WAN_MCP_DAILY_IMAGE_LIMIT.",
        )
    values = asdict(order)
    values["images_ordered"] = values.pop("images")
    insert_order(
        database,
        {
            **values,
            "origin": Origin.ORDERED,
            "stage": Stage.QUEUED,
            "status": TaskStatus.PENDING,
            "created_at": now,
            "owner": owner,
            "lease_until": now + lease,
            "wanted_until": wanted_until,
            "wanted_by": owner,
        },
    )
    return Placement(_row(database, order.local_id), joined=False)


def _twin(database: sqlite3.Connection, fingerprint: str, now: float) -> OrderRecord | None:
    candidates = read_orders(
        database,
        "fingerprint = ? AND delivered_at IS NULL AND created_at > ? AND status NOT IN (?, ?, ?) "
        "ORDER BY created_at DESC",
        fingerprint,
        now - DAY,
        TaskStatus.FAILED,
        TaskStatus.CANCELED,
        TaskStatus.EXPIRED,
    )
    for candidate in candidates:
        # Another call still waits for it: two calls side by side are two orders.
        waited_for = candidate.wanted_until > now and not is_gone(candidate.wanted_by)
        if not waited_for:
            return candidate
    return None


def adopt(database: sqlite3.Connection, *, values: Mapping[str, object]) -> OrderRecord:
    """Insert a task found at the service, unless its id is known."""
    found = read_order(database, "task_id = ?", values["task_id"])
    if found is not None:
        return found
    insert_order(database, values)
    return _row(database, str(values["local_id"]))


def get(database: sqlite3.Connection, *, any_id: str) -> OrderRecord | None:
    """Find an order by either id."""
    return read_order(database, "task_id = ? OR local_id = ?", any_id, any_id)


def page(
    database: sqlite3.Connection, *, status: TaskStatus | None, limit: int, before: tuple[float, str] | None
) -> Sequence[OrderRecord]:
    """Read orders, newest first."""
    conditions, values = ["1"], list[object]()
    if status is not None:
        conditions.append("status = ?")
        values.append(status)
    if before is not None:
        conditions.append("(created_at, local_id) < (?, ?)")
        values.extend(before)
    where = f"{' AND '.join(conditions)} ORDER BY created_at DESC, local_id DESC LIMIT ?"
    return read_orders(database, where, *values, limit)


def begin_sending(
    database: sqlite3.Connection,
    *,
    order: OrderRecord,
    slot: Slot | None,
    limit: Limit,
    clock_offset: float | None,
    now: float,
) -> OrderRecord | float | None:
    """Take slot and turn and mark the order, or say how long to wait."""
    row = _held(database, order)
    if row is None or row.stage is not Stage.QUEUED:
        return None
    wait = max(_slot_wait(database, slot, order.local_id, now), _limit_wait(database, limit, now))
    if wait > 0:
        return wait
    turn(database, limit=limit, now=now)
    if slot is not None:
        hold_slot(database, slot=slot, holder=order.local_id, now=now)
    changes = {"stage": Stage.SENDING, "sent_at": now, "clock_offset": clock_offset}
    update_order(database, order.local_id, changes)
    return _row(database, order.local_id)


def _slot_wait(database: sqlite3.Connection, slot: Slot | None, holder: str, now: float) -> float:
    if slot is None:
        return 0.0
    row = database.execute("SELECT owner, until FROM slots WHERE name = ?", (slot.name,)).fetchone()
    if row is None or row["owner"] == holder:
        return 0.0
    left = float(row["until"]) - now
    # Nobody may hold a slot for longer than its time: such an entry was written before the clock was set back.
    return left if 0 < left <= slot.seconds else 0.0


def hold_slot(database: sqlite3.Connection, *, slot: Slot, holder: str, now: float) -> None:
    """Give a slot to a holder until its time is over."""
    database.execute(
        "INSERT OR REPLACE INTO slots (name, owner, until) VALUES (?, ?, ?)",
        (slot.name, holder, now + slot.seconds),
    )


def leave_slot(database: sqlite3.Connection, *, name: str, holder: str) -> None:
    """Free a slot that the holder has."""
    database.execute("DELETE FROM slots WHERE name = ? AND owner = ?", (name, holder))


def accept(
    database: sqlite3.Connection,
    *,
    local_id: str,
    task_id: str | None,
    slot: Slot | None,
    changes: Changes,
    images: Sequence[ImageRecord],
    now: float,
) -> OrderRecord:
    """Record the answer to an order, in every situation in which it may arrive."""
    if slot is not None:
        leave_slot(database, name=slot.name, holder=local_id)
    row = _row(database, local_id)
    if task_id is not None and row.task_id is not None:
        return row if row.task_id == task_id else _second_task(database, row, task_id, changes, now)
    if task_id is not None:
        _take_over(database, task_id=task_id, local_id=local_id, changes=changes)
    else:
        update_order(database, local_id, changes)
    write_images(database, local_id, images)
    return _row(database, local_id)


def _second_task(
    database: sqlite3.Connection, row: OrderRecord, task_id: str, changes: Changes, now: float
) -> OrderRecord:
    # The lookup took another task for this order's: the one that answers now is paid for as well.
    inherited = ("region", "account", "model", "wire_model", "protocol", "request", "folder")
    values = {
        **{name: getattr(row, name) for name in inherited},
        "local_id": f"{row.local_id}-late",
        "task_id": task_id,
        "origin": Origin.RECOVERED,
        "images_ordered": 0,
        "created_at": now,
        **changes,
    }
    return adopt(database, values=values)


def _take_over(database: sqlite3.Connection, *, task_id: str, local_id: str, changes: Changes) -> None:
    """Give the id to the order, with all that another row has learned of the task meanwhile."""
    other = read_order(database, "task_id = ?", task_id)
    if other is None:
        update_order(database, local_id, {"task_id": task_id, **changes})
        return
    database.execute("DELETE FROM images WHERE local_id = ?", (other.local_id,))
    database.execute("DELETE FROM orders WHERE local_id = ?", (other.local_id,))
    learned = ("stage", "status", "finished_at", "expires_at", "duration", "actual_prompt", "error_code")
    update_order(
        database,
        local_id,
        {"task_id": task_id, **changes, **{name: getattr(other, name) for name in learned}},
    )
    write_images(database, local_id, other.images)


def advance(
    database: sqlite3.Connection,
    *,
    order: OrderRecord,
    changes: Changes,
    images: Sequence[ImageRecord],
    free_slot: str | None,
) -> OrderRecord | None:
    """Change an order whose lease still holds."""
    if free_slot is not None:
        leave_slot(database, name=free_slot, holder=order.local_id)
    if _held(database, order) is None:
        return None
    update_order(database, order.local_id, changes)
    write_images(database, order.local_id, images)
    return _row(database, order.local_id)


def override(
    database: sqlite3.Connection, *, local_id: str, changes: Changes, stages: Collection[str]
) -> OrderRecord | None:
    """Change an order in one of the stages, whoever holds it."""
    row = read_order(database, "local_id = ?", local_id)
    if row is None or row.stage not in stages:
        return None
    fence = {"owner": None, "lease_until": 0.0, "version": row.version + 1}
    update_order(database, local_id, {**changes, **fence})
    return _row(database, local_id)


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
    return [_row(database, local_id) for local_id in claimed]


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


def deliver(database: sqlite3.Connection, *, local_id: str, now: float) -> None:
    """Record that a call was answered with the images."""
    database.execute(
        "UPDATE orders SET delivered_at = coalesce(delivered_at, ?), wanted_until = 0 WHERE local_id = ?",
        (now, local_id),
    )


def unwant(database: sqlite3.Connection, *, local_id: str, abandoned_at: float | None) -> None:
    """Record that nobody waits for the order."""
    database.execute(
        "UPDATE orders SET wanted_until = 0, abandoned_at = coalesce(?, abandoned_at) WHERE local_id = ?",
        (abandoned_at, local_id),
    )


def turn(database: sqlite3.Connection, *, limit: Limit, now: float) -> float:
    """Reserve the next turn by the generic cell rate algorithm; give the seconds until it comes."""
    next_at, not_before = _limit_row(database, limit, now)
    interval = 1 / limit.per_second
    at = max(now, next_at - (limit.burst - 1) * interval, not_before)
    database.execute(
        "INSERT INTO limits (name, next_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at",
        (limit.name, max(next_at, at) + interval),
    )
    return at - now


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
    moment = now + min(seconds, _LONGEST_QUEUE)
    database.execute(
        "INSERT INTO limits (name, next_at, not_before) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET not_before = max(not_before, excluded.not_before)",
        (limit.name, now, moment),
    )


def known(database: sqlite3.Connection, *, task_ids: Sequence[str]) -> frozenset[str]:
    """Say which ids have a row."""
    rows = database.execute(
        "SELECT task_id FROM orders WHERE task_id IN (SELECT value FROM json_each(?))",
        (json.dumps(task_ids),),
    )
    return frozenset(row["task_id"] for row in rows)


def unanswered(database: sqlite3.Connection, *, region: str, wire_model: str) -> Sequence[OrderRecord]:
    """Read the orders that were sent and have no id."""
    return read_orders(
        database,
        "region = ? AND wire_model = ? AND task_id IS NULL AND sent_at IS NOT NULL AND stage IN (?, ?) "
        "ORDER BY sent_at",
        region,
        wire_model,
        Stage.SENDING,
        Stage.LOST,
    )


def durations(database: sqlite3.Connection, *, region: str, model: str, images: int) -> Sequence[float]:
    """Read the running times of the last tasks of a model."""
    rows = database.execute(
        "SELECT duration FROM orders WHERE region = ? AND model = ? AND images_ordered = ? "
        "AND duration IS NOT NULL ORDER BY created_at DESC LIMIT 50",
        (region, model, images),
    )
    return [float(row["duration"]) for row in rows]


def images_since(database: sqlite3.Connection, *, moment: float) -> int:
    """Count the images of orders that were, or may have been, accepted."""
    row = database.execute(
        "SELECT coalesce(sum(images_ordered), 0) AS images FROM orders WHERE created_at > ? AND origin = ? "
        "AND NOT (status = ? AND task_id IS NULL) AND status <> ?",
        (moment, Origin.ORDERED, TaskStatus.FAILED, TaskStatus.CANCELED),
    ).fetchone()
    return int(row["images"])


def _held(database: sqlite3.Connection, order: OrderRecord) -> OrderRecord | None:
    return read_order(
        database, "local_id = ? AND owner = ? AND version = ?", order.local_id, order.owner, order.version
    )


def _row(database: sqlite3.Connection, local_id: str) -> OrderRecord:
    row = read_order(database, "local_id = ?", local_id)
    if row is None:
        raise LedgerError(f"The order {local_id} is no longer in the ledger.", code="LedgerRowGone")
    return row
