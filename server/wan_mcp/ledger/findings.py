"""Statements for what the search for a lost order has found. A finding, unlike an answer, may be wrong."""

import sqlite3
from collections.abc import Mapping

from wan_mcp.ledger.answers import take_over
from wan_mcp.ledger.orders import adopt, advance
from wan_mcp.ledger.port import Changes
from wan_mcp.ledger.records import Order, Origin
from wan_mcp.ledger.rows import read_order, the_order


def identify(database: sqlite3.Connection, *, order: Order, task_id: str, changes: Changes) -> Order | None:
    """Give a lost order its task, unless another order has it by now."""
    held = advance(database, order=order, changes={}, images=(), free_slot=None)
    if held is None:
        return None
    other = read_order(database, "task_id = ?", task_id)
    if other is not None and other.origin is not Origin.ADOPTED:
        return held
    take_over(database, task_id=task_id, local_id=order.local_id, changes=changes)
    return the_order(database, order.local_id)


def offer(
    database: sqlite3.Connection,
    *,
    order: Order,
    changes: Changes,
    tasks: Mapping[str, str],
    task: Changes,
    now: float,
) -> Order | None:
    """End a lost order and give every task that may be its own a row."""
    held = advance(database, order=order, changes=changes, images=(), free_slot=None)
    if held is None:
        return None
    for local_id, task_id in tasks.items():
        values = {
            "region": order.region,
            "account": order.account,
            "images_ordered": 0,
            "created_at": now,
            **task,
            "local_id": local_id,
            "task_id": task_id,
            "origin": Origin.RECOVERED,
        }
        adopt(database, values=values)
    return held
