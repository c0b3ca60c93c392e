"""Statements on orders: placing, finding, changing."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from wan_mcp.ledger.allowance import DAY, check_allowance
from wan_mcp.ledger.liveness import is_gone
from wan_mcp.ledger.port import Changes, Dispatch
from wan_mcp.ledger.records import ImageState, NewOrder, Order, OrderImage, Origin, Placement, Stage
from wan_mcp.ledger.rows import (
    held_order,
    insert_order,
    put_back,
    read_order,
    read_orders,
    the_order,
    update_order,
    write_images,
)
from wan_mcp.ledger.turns import begin_sending, leave_slot
from wan_mcp_tools.domain.tasks import TaskStatus


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
    dispatch: Dispatch | None,
) -> Placement:
    """Insert an order, or find its unreceived twin."""
    twin = _twin(database, order.fingerprint, now) if join else None
    if twin is not None:
        changes = {"wanted_until": max(wanted_until, twin.wanted_until), "wanted_by": owner}
        update_order(database, twin.local_id, changes)
        # Twins order the same picture, so whatever else differs is the place of its files.
        elsewhere = (twin.folder, twin.request) != (order.folder, order.request)
        return Placement(the_order(database, twin.local_id), joined=True, elsewhere=elsewhere)
    check_allowance(database, wanted=order.images, daily_limit=daily_limit, now=now)
    held = {"owner": owner, "lease_until": now + lease, "wanted_until": wanted_until, "wanted_by": owner}
    insert_order(database, {**_as_row(order), **held, "created_at": now})
    placed = the_order(database, order.local_id)
    begun = begin_sending(database, order=placed, dispatch=dispatch, now=now) if dispatch else None
    return Placement(begun if isinstance(begun, Order) else placed, joined=False)


def _as_row(order: NewOrder) -> dict[str, object]:
    values = asdict(order)
    values["images_ordered"] = values.pop("images")
    return {**values, "origin": Origin.ORDERED, "stage": Stage.QUEUED, "status": TaskStatus.PENDING}


def _twin(database: sqlite3.Connection, fingerprint: str, now: float) -> Order | None:
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


def adopt(database: sqlite3.Connection, *, values: Mapping[str, object]) -> Order:
    """Insert a task found at the service, unless its id is known."""
    found = read_order(database, "task_id = ?", values["task_id"])
    if found is not None:
        return found
    insert_order(database, values)
    return the_order(database, str(values["local_id"]))


def get(database: sqlite3.Connection, *, any_id: str) -> Order | None:
    """Find an order by either id."""
    return read_order(database, "task_id = ? OR local_id = ?", any_id, any_id)


def page(
    database: sqlite3.Connection, *, status: TaskStatus | None, limit: int, before: tuple[float, str] | None
) -> Sequence[Order]:
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


def advance(
    database: sqlite3.Connection,
    *,
    order: Order,
    changes: Changes,
    images: Sequence[OrderImage],
    free_slot: str | None,
) -> Order | None:
    """Change an order whose lease still holds, or whose row is gone."""
    if free_slot is not None:
        leave_slot(database, name=free_slot, holder=order.local_id)
    if held_order(database, order) is None and not put_back(database, order):
        return None
    update_order(database, order.local_id, changes)
    write_images(database, order.local_id, images)
    return the_order(database, order.local_id)


def override(
    database: sqlite3.Connection, *, local_id: str, changes: Changes, stages: Collection[str]
) -> Order | None:
    """Change an order in one of the stages, whoever holds it."""
    row = read_order(database, "local_id = ?", local_id)
    if row is None or row.stage not in stages:
        return None
    fence = {"owner": None, "lease_until": 0.0, "version": row.version + 1}
    update_order(database, local_id, {**changes, **fence})
    return the_order(database, local_id)


def relocate(database: sqlite3.Connection, *, local_id: str, image: OrderImage) -> None:
    """Record where a saved image lies now."""
    row = read_order(database, "local_id = ?", local_id)
    states = {known.index: known.state for known in row.images} if row else {}
    if states.get(image.index) is ImageState.SAVED:
        write_images(database, local_id, [image])


def deliver(database: sqlite3.Connection, *, local_id: str, now: float) -> None:
    """Record that a call was answered with the images."""
    database.execute(
        "UPDATE orders SET delivered_at = coalesce(delivered_at, ?), wanted_until = 0 WHERE local_id = ?",
        (now, local_id),
    )


def unwant(database: sqlite3.Connection, *, local_id: str) -> None:
    """Record that nobody waits for the order."""
    database.execute("UPDATE orders SET wanted_until = 0 WHERE local_id = ?", (local_id,))
