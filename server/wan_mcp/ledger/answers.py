"""Statements for the moment in which the service has answered an order."""

import sqlite3
from collections.abc import Sequence

from wan_mcp.ledger.orders import adopt
from wan_mcp.ledger.port import Changes, Slot
from wan_mcp.ledger.records import Order, OrderImage, Origin, Stage
from wan_mcp.ledger.rows import put_back, read_order, the_order, update_order, write_images
from wan_mcp.ledger.turns import leave_slot
from wan_mcp_tools.domain.tasks import TaskStatus

_LEARNED = (
    "stage",
    "status",
    "finished_at",
    "expires_at",
    "duration",
    "actual_prompt",
    "error_code",
    "error_message",
)
"""What a row knows of a task that does not come with the answer to the order."""

_LOST_AGAIN: Changes = {
    **dict.fromkeys(("task_id", "accepted_at", "delivered_at", "owner", *_LEARNED)),
    "stage": Stage.LOST,
    "status": TaskStatus.SUBMIT_UNKNOWN,
    "notes": (),
    "lease_until": 0.0,
}


def accept(
    database: sqlite3.Connection,
    *,
    local_id: str,
    task_id: str | None,
    slot: Slot | None,
    changes: Changes,
    images: Sequence[OrderImage],
    held: Order | None,
    now: float,
) -> Order:
    """Record the answer to an order, in every situation in which it may arrive."""
    if slot is not None:
        leave_slot(database, name=slot.name, holder=local_id)
    if held is not None:
        put_back(database, held)
    row = the_order(database, local_id)
    if task_id is not None and row.task_id is not None:
        return row if row.task_id == task_id else _second_task(database, row, task_id, changes, now)
    if held is None or (held.owner, held.version) != (row.owner, row.version):
        # Whoever has taken the order over knows nothing of this answer: its next write must fail, and the order
        # must be free for anybody to follow.
        changes = {**changes, "owner": None, "lease_until": 0.0, "version": row.version + 1}
    if task_id is not None:
        take_over(database, task_id=task_id, local_id=local_id, changes=changes)
    else:
        update_order(database, local_id, changes)
    write_images(database, local_id, images)
    return the_order(database, local_id)


def _second_task(database: sqlite3.Connection, row: Order, task_id: str, changes: Changes, now: float) -> Order:
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


def take_over(database: sqlite3.Connection, *, task_id: str, local_id: str, changes: Changes) -> None:
    """Give the id to the order, with all that another row has learned of the task meanwhile."""
    other = read_order(database, "task_id = ?", task_id)
    if other is None:
        update_order(database, local_id, {"task_id": task_id, **changes})
        return
    database.execute("DELETE FROM images WHERE local_id = ?", (other.local_id,))
    if other.origin is Origin.ORDERED:
        # The search took this task for another order's. That order is lost again, and searched for anew.
        update_order(database, other.local_id, {**_LOST_AGAIN, "version": other.version + 1})
    else:
        database.execute("DELETE FROM orders WHERE local_id = ?", (other.local_id,))
    learned = {name: getattr(other, name) for name in _LEARNED}
    update_order(database, local_id, {"task_id": task_id, **changes, **learned})
    write_images(database, local_id, other.images)
