"""Questions of somebody who looks through everything."""

import sqlite3
from collections.abc import Mapping, Sequence

from wan_mcp.ledger.records import ImageState, Order, Stage
from wan_mcp.ledger.rows import read_orders
from wan_mcp_tools.domain.service import AlbumQuery, AlbumState, AlbumSurvey
from wan_mcp_tools.domain.tasks import TaskStatus

_CLOSED = f"stage = '{Stage.CLOSED}'"
_LOST_FOR_GOOD = f"status = '{TaskStatus.SUBMIT_UNKNOWN}' AND {_CLOSED}"
_FAILED = f"(status IN ('{TaskStatus.FAILED}', '{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}') OR ({_LOST_FOR_GOOD}))"
_CANCELED = f"status = '{TaskStatus.CANCELED}'"
_ENDED = f"({_CLOSED} OR {_FAILED} OR {_CANCELED})"
_STATES: Mapping[AlbumState, str] = {
    AlbumState.OPEN: f"NOT {_ENDED}",
    AlbumState.ENDED: _ENDED,
    AlbumState.SAVED: f"status = '{TaskStatus.SUCCEEDED}' AND {_CLOSED}",
    AlbumState.FAILED: _FAILED,
    AlbumState.CANCELED: _CANCELED,
}
_SAID = "coalesce(json_extract(request, '$.prompt'), '') || ' ' || coalesce(task_id, '') || ' ' || local_id"
_MOST_WORDS = 20


def album(
    database: sqlite3.Connection, *, query: AlbumQuery, limit: int, before: tuple[float, str] | None
) -> Sequence[Order]:
    """Read the orders that a query means, newest first."""
    where, values = _condition(database, query)
    if before is not None:
        where += " AND (created_at, local_id) < (?, ?)"
        values.extend(before)
    return read_orders(database, f"{where} ORDER BY created_at DESC, local_id DESC LIMIT ?", *values, limit)


def survey(database: sqlite3.Connection, *, query: AlbumQuery) -> AlbumSurvey:
    """Count what a query finds, and list what there is to choose from."""
    where, values = _condition(database, query)
    saved = "(SELECT count(*) FROM images WHERE images.local_id = orders.local_id AND state = ?)"
    row = database.execute(
        f"SELECT count(*) AS orders, coalesce(sum({saved}), 0) AS images FROM orders WHERE {where}",  # noqa: S608 - ours
        (ImageState.SAVED, *values),
    ).fetchone()
    return AlbumSurvey(row["orders"], row["images"], _list(database, "model"), _list(database, "region"))


def _condition(database: sqlite3.Connection, query: AlbumQuery) -> tuple[str, list[object]]:
    conditions, values = ["1"], list[object]()
    if query.state is not None:
        conditions.append(_STATES[query.state])
    for condition, value in (
        ("model = ?", query.model),
        ("region = ?", query.region),
        ("created_at >= ?", query.since),
        ("created_at < ?", query.until),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    words = (query.text or "").casefold().split()[:_MOST_WORDS]
    if words:
        # The database's own comparison knows the case of the English letters only.
        database.create_function("folded", 1, str.casefold, deterministic=True)
        conditions.extend(f"instr(folded({_SAID}), ?) > 0" for _ in words)
        values.extend(words)
    return " AND ".join(conditions), values


def _list(database: sqlite3.Connection, column: str) -> tuple[str, ...]:
    rows = database.execute(
        f"SELECT DISTINCT {column} AS name FROM orders WHERE {column} IS NOT NULL ORDER BY name"  # noqa: S608 - ours
    )
    return tuple(row["name"] for row in rows)
