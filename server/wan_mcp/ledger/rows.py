"""Between the ledger's rows and its records."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from enum import StrEnum
from typing import Any, cast

from wan_mcp.ledger.database import Row, Transaction
from wan_mcp.ledger.records import ImageState, Order, OrderImage, Origin, Stage
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import TaskStatus

# An older release may have the file open beside this one, so that a column keeps the name it was born with.
_RENAMED = {"worker_id": "owner", "awaited_until": "wanted_until", "awaited_by": "wanted_by"}
_COLUMNS = {field.name: _RENAMED.get(field.name, field.name) for field in fields(Order) if field.name != "images"}
_IMAGE_COLUMNS = {field.name: f'"{field.name}"' for field in fields(OrderImage)}
_TYPES: Mapping[str, Any] = {
    field.name: field.type for field in fields(Order) if field.name not in ("request", "notes", "images")
}
"""What a column must hold: SQLite takes a text for a number."""
_IMAGE_TYPES: Mapping[str, Any] = {field.name: field.type for field in fields(OrderImage)}
_SELECTED = ", ".join(
    (
        *(f"o.{column} AS {name}" for name, column in _COLUMNS.items()),
        *(f"i.{column} AS image_{name}" for name, column in _IMAGE_COLUMNS.items()),
    )
)
MOST_VALUES = 500
"""In one list of values: SQLite before 3.32 takes no more than 999."""

NEWEST_FIRST = ("created_at DESC", "local_id DESC")


def read_order(tx: Transaction, where: str, *values: object) -> Order | None:
    """
    Read the first order that fits a condition, with its images.

    Raises:
        LedgerError: its row cannot be read.
    """
    rows = _select(tx, f"{where} ORDER BY created_at LIMIT 1", values)
    return _load_order(rows[0]) if rows else None


def lock_order(tx: Transaction, where: str, *values: object) -> Order | None:
    """Read an order like `read_order`, to change it: nobody else changes it before the transaction ends."""
    rows = _select(tx, f"{where} {{for_update}}", values)
    return _load_order(rows[0]) if rows else None


def read_orders(
    tx: Transaction,
    where: str,
    *values: object,
    order_by: Sequence[str] = ("created_at",),
    limit: int | None = None,
    lock: str = "",
) -> list[Order]:
    """
    Read the orders that fit a condition, with their images; a row that cannot be read is left out.

    There are fewer than `limit` only if no more can be read. `lock` is the placeholder that locks rows.
    """
    chosen = f"{where} ORDER BY {', '.join(order_by)}"
    if limit is None:
        return _load_readable(_select(tx, f"{chosen} {lock}", values, order_by))
    first = len(values) + 1
    chosen += f" LIMIT ${first} OFFSET ${first + 1} {lock}"
    orders: list[Order] = []
    seen = 0
    while len(orders) < limit:
        missing = limit - len(orders)
        rows = _select(tx, chosen, (*values, missing, seen), order_by)
        orders += _load_readable(rows)
        if len(rows) < missing:
            break
        seen += missing
    return orders


def read_held_order(tx: Transaction, order: Order) -> Order | None:
    """Read an order if the lease of `order` still holds."""
    return lock_order(
        tx, "local_id = $1 AND owner = $2 AND version = $3", order.local_id, order.worker_id, order.version
    )


def read_existing_order(tx: Transaction, local_id: str) -> Order:
    """
    Read an order that must be there.

    Raises:
        LedgerError: it is not.
    """
    order = lock_order(tx, "local_id = $1", local_id)
    if order is None:
        raise LedgerError(f"The order {local_id} is no longer in the ledger.", code=ErrorCode.LEDGER_ROW_GONE)
    return order


def insert_order(tx: Transaction, order: Order) -> None:
    """Write a new order with its images."""
    values = {column: getattr(order, name) for name, column in _COLUMNS.items()}
    values["search_text"] = order.request.prompt.casefold() if order.request else ""
    marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    tx.execute(f"INSERT INTO orders ({', '.join(values)}) VALUES ({marks})", *map(_store, values.values()))  # noqa: S608
    write_images(tx, order.local_id, order.images)


def restore_order(tx: Transaction, order: Order) -> bool:
    """
    Write an order down again whose row went with its file: deleted, or moved away because it was damaged.

    False if the row is there, or if another row has its task.
    """
    if tx.execute("SELECT 1 FROM orders WHERE local_id = $1 OR task_id = $2", order.local_id, order.task_id):
        return False
    insert_order(tx, order)
    return True


def update_order(tx: Transaction, local_id: str, changes: Mapping[str, object]) -> None:
    """Write new values of an order, by the names of `Order`'s fields."""
    if not changes:
        return
    assignments = ", ".join(f"{_COLUMNS[name]} = ${number}" for number, name in enumerate(changes, start=2))
    tx.execute(
        f"UPDATE orders SET {assignments} WHERE local_id = $1",  # noqa: S608 - names come from the record
        local_id,
        *map(_store, changes.values()),
    )


def find_changes(before: Order, after: Order) -> dict[str, object]:
    """Give the values, by field, that differ between two states of an order; its images are not among them."""
    values = {name: getattr(after, name) for name in _COLUMNS}
    return {name: value for name, value in values.items() if value != getattr(before, name)}


def find_changed_images(before: Order, after: Order) -> list[OrderImage]:
    """Give the images of `after` that `before` has not, or not so."""
    known = {image.index: image for image in before.images}
    return [image for image in after.images if known.get(image.index) != image]


def write_images(tx: Transaction, local_id: str, images: Iterable[OrderImage]) -> None:
    """Write images of an order in the place of those with the same index."""
    columns = ", ".join(_IMAGE_COLUMNS.values())
    marks = ", ".join(f"${number}" for number in range(2, len(_IMAGE_COLUMNS) + 2))
    updates = ", ".join(f"{column} = excluded.{column}" for column in _IMAGE_COLUMNS.values())
    for image in images:
        tx.execute(
            f"INSERT INTO images (local_id, {columns}) VALUES ($1, {marks}) "  # noqa: S608 - names of the record
            f'ON CONFLICT (local_id, "index") DO UPDATE SET {updates}',
            local_id,
            *(_store(getattr(image, name)) for name in _IMAGE_COLUMNS),
        )


def chunks(values: Sequence[str]) -> list[Sequence[str]]:
    """Cut a list of values into lists that one statement can take."""
    return [values[start : start + MOST_VALUES] for start in range(0, len(values), MOST_VALUES)]


def number_parameters(values: Sequence[object], first: int = 1) -> str:
    """Give the parameters for a list of values, numbered from `first`: `$1, $2, $3`."""
    return ", ".join(f"${number}" for number in range(first, first + len(values)))


def _select(tx: Transaction, chosen: str, values: Sequence[object], order_by: Sequence[str] = ()) -> list[list[Row]]:
    """Give the rows of each order that is chosen: one for each of its images, at least one."""
    rows = tx.execute(
        f"SELECT {_SELECTED} FROM (SELECT * FROM orders WHERE {chosen}) AS o "  # noqa: S608 - ours alone
        "LEFT JOIN images AS i ON i.local_id = o.local_id "
        f'ORDER BY {", ".join((*order_by, "o.local_id"))}, i."index"',
        *values,
    )
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["local_id"], []).append(row)
    return list(grouped.values())


def _load_readable(groups: Iterable[Sequence[Row]]) -> list[Order]:
    orders: list[Order] = []
    for rows in groups:
        with suppress(LedgerError):
            orders.append(_load_order(rows))
    return orders


def _load_order(rows: Sequence[Row]) -> Order:
    """Make an order of its row, joined with each of its images."""
    row = rows[0]
    # A later release may have added columns: only those known here are read.
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    try:
        values["origin"] = Origin(row["origin"])
        values["stage"] = Stage(row["stage"])
        values["status"] = TaskStatus(row["status"])
        values["notes"] = _load_notes(row["notes"])
        values["request"] = ImageRequest.from_dict(json.loads(row["request"])) if row["request"] else None
        values["images"] = tuple(_load_image(each) for each in rows if each["image_index"] is not None)
        _check_types(values, _TYPES)
        return Order(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise LedgerError(
            f"The order {row['local_id']} cannot be read: {error}.",
            "A newer release of wan-mcp wrote it: update this one.",
            code=ErrorCode.LEDGER_TOO_NEW,
        ) from error


def _load_image(row: Row) -> OrderImage:
    values: dict[str, Any] = {name: row[f"image_{name}"] for name in _IMAGE_COLUMNS}
    values["state"] = ImageState(values["state"])
    _check_types(values, _IMAGE_TYPES)
    return OrderImage(**values)


def _check_types(values: Mapping[str, object], types: Mapping[str, Any]) -> None:
    for name, kind in types.items():
        if not isinstance(values[name], kind):
            raise TypeError(f"its {name} is {values[name]!r}")


def _load_notes(text: str) -> tuple[str, ...]:
    notes = json.loads(text)
    if not isinstance(notes, list):
        raise TypeError("its notes are no list")
    return tuple(str(note) for note in cast("list[object]", notes))


def _store(value: object) -> object:
    match value:
        case ImageRequest():
            return json.dumps(value.to_dict(), ensure_ascii=False, sort_keys=True)
        case tuple():
            return json.dumps(value, ensure_ascii=False)
        case StrEnum():
            return value.value
        case _:
            return value
