"""Between the ledger's rows and its records."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace

from wan_mcp.ledger.records import ImageState, Order, OrderImage, Origin, Stage
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

COLUMNS = frozenset(field.name for field in fields(Order)) - {"images"}
_IMAGE_COLUMNS = frozenset(field.name for field in fields(OrderImage))


def read_order(database: sqlite3.Connection, where: str, *values: object) -> Order | None:
    """Read the first order that fits a condition, with its images."""
    found = read_orders(database, f"{where} LIMIT 1", *values)
    return found[0] if found else None


def read_orders(database: sqlite3.Connection, where: str, *values: object) -> list[Order]:
    """Read the orders that fit a condition, with their images."""
    rows = database.execute(f"SELECT * FROM orders WHERE {where}", values).fetchall()  # noqa: S608 - ours alone
    return [replace(_order(row), images=_images(database, row["local_id"])) for row in rows]


def held_order(database: sqlite3.Connection, order: Order) -> Order | None:
    """Read an order if the lease of `order` still holds."""
    where = "local_id = ? AND owner = ? AND version = ?"
    return read_order(database, where, order.local_id, order.owner, order.version)


def the_order(database: sqlite3.Connection, local_id: str) -> Order:
    """
    Read an order that must be there.

    Raises:
        LedgerError: it is not.
    """
    order = read_order(database, "local_id = ?", local_id)
    if order is None:
        raise LedgerError(f"The order {local_id} is no longer in the ledger.", code="LedgerRowGone")
    return order


def put_back(database: sqlite3.Connection, order: Order) -> bool:
    """
    Write an order down again whose row went with its file: deleted, or moved away because it was damaged.

    False if the row is there, or if another row has its task.
    """
    if read_order(database, "local_id = ? OR task_id = ?", order.local_id, order.task_id) is not None:
        return False
    insert_order(database, {name: getattr(order, name) for name in COLUMNS})
    write_images(database, order.local_id, order.images)
    return True


def update_order(database: sqlite3.Connection, local_id: str, changes: Mapping[str, object]) -> None:
    """Write new values of an order."""
    unknown = changes.keys() - COLUMNS
    if unknown:
        raise ValueError(f"no such columns: {sorted(unknown)}")
    if changes:
        assignments = ", ".join(f"{name} = ?" for name in changes)
        database.execute(
            f"UPDATE orders SET {assignments} WHERE local_id = ?",  # noqa: S608 - names come from the record
            (*(_stored(value) for value in changes.values()), local_id),
        )


def insert_order(database: sqlite3.Connection, values: Mapping[str, object]) -> None:
    """Write a new order."""
    names = ", ".join(values)
    marks = ", ".join("?" for _ in values)
    database.execute(
        f"INSERT INTO orders ({names}) VALUES ({marks})",  # noqa: S608 - names come from the record
        tuple(_stored(value) for value in values.values()),
    )


def write_images(database: sqlite3.Connection, local_id: str, images: Sequence[OrderImage]) -> None:
    """Write images of an order in the place of those with the same index."""
    for image in images:
        values = {"local_id": local_id, **asdict(image)}
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        database.execute(
            f"INSERT OR REPLACE INTO images ({names}) VALUES ({marks})",  # noqa: S608 - names come from the record
            tuple(_stored(value) for value in values.values()),
        )


def _images(database: sqlite3.Connection, local_id: str) -> tuple[OrderImage, ...]:
    rows = database.execute('SELECT * FROM images WHERE local_id = ? ORDER BY "index"', (local_id,)).fetchall()
    return tuple(
        OrderImage(
            **{name: row[name] for name in _IMAGE_COLUMNS - {"state"}},
            state=ImageState(row["state"]),
        )
        for row in rows
    )


def _order(row: sqlite3.Row) -> Order:
    # A later release may have added columns: only those known here are read.
    values = {name: row[name] for name in COLUMNS}
    try:
        values["origin"] = Origin(row["origin"])
        values["stage"] = Stage(row["stage"])
        values["status"] = TaskStatus(row["status"])
        values["notes"] = tuple(json.loads(row["notes"]))
    except ValueError as error:
        raise LedgerError(
            f"The order {row['local_id']} cannot be read: {error}.",
            "A newer release of wan-mcp wrote it: update this one.",
            code="LedgerTooNew",
        ) from error
    return Order(**values)


def _stored(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else value
