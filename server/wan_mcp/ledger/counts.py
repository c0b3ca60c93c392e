"""Questions about many orders at once."""

import json
import sqlite3
from collections.abc import Sequence

from wan_mcp.ledger.records import Order, Origin, Stage
from wan_mcp.ledger.rows import read_orders
from wan_mcp_tools.domain.tasks import TaskStatus


def known(database: sqlite3.Connection, *, task_ids: Sequence[str]) -> frozenset[str]:
    """Say which ids have a row."""
    rows = database.execute(
        "SELECT task_id FROM orders WHERE task_id IN (SELECT value FROM json_each(?))",
        (json.dumps(task_ids),),
    )
    return frozenset(row["task_id"] for row in rows)


def unanswered(database: sqlite3.Connection, *, region: str, wire_model: str) -> Sequence[Order]:
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


_COUNTED = "created_at > ? AND origin = ? AND NOT (status = ? AND task_id IS NULL) AND status <> ?"
"""Orders that were, or may have been, accepted."""


def images_since(database: sqlite3.Connection, *, moment: float) -> int:
    """Count the images of orders that were, or may have been, accepted."""
    row = database.execute(
        f"SELECT coalesce(sum(images_ordered), 0) AS images FROM orders WHERE {_COUNTED}",  # noqa: S608 - a constant
        (moment, Origin.ORDERED, TaskStatus.FAILED, TaskStatus.CANCELED),
    ).fetchone()
    return int(row["images"])


def passed_by(database: sqlite3.Connection, *, moment: float, images: int) -> float | None:
    """Give the creation time of the order with which, counted from `moment` on, `images` images are reached."""
    sums = "sum(images_ordered) OVER (ORDER BY created_at) AS images"
    running = f"SELECT created_at, {sums} FROM orders WHERE {_COUNTED}"  # noqa: S608 - a constant
    row = database.execute(
        f"SELECT created_at FROM ({running}) WHERE images >= ? ORDER BY created_at LIMIT 1",  # noqa: S608 - the same
        (moment, Origin.ORDERED, TaskStatus.FAILED, TaskStatus.CANCELED, images),
    ).fetchone()
    return None if row is None else float(row["created_at"])
