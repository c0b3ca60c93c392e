"""Between the ledger's rows and its records."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any, TypeVar, cast

from wan_mcp.ledger.database import FREE_ORDERS, Row, Transaction
from wan_mcp.ledger.records import ImageState, Order, OrderImage, Origin, Stage
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.requests import ImageRequest, InputImage
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.text import well_formed

W = TypeVar("W", bound=StrEnum)

# An older release may have the file open beside this one, so that a column keeps the name it was born with.
_RENAMED = {"worker_id": "owner", "awaited_until": "wanted_until", "awaited_by": "wanted_by"}
_COLUMNS = {field.name: _RENAMED.get(field.name, field.name) for field in fields(Order) if field.name != "images"}
_IMAGE_COLUMNS = {field.name: f'"{field.name}"' for field in fields(OrderImage)}
_TYPES: Mapping[str, Any] = {
    field.name: field.type for field in fields(Order) if field.name not in ("request", "notes", "images")
}
"""What a column must hold: SQLite takes a text for a number."""
_IMAGE_TYPES: Mapping[str, Any] = {field.name: field.type for field in fields(OrderImage)}
_REQUEST_TYPES: Mapping[str, Any] = {field.name: field.type for field in fields(ImageRequest)} | {
    "images": tuple,
    "options": Mapping,
}
_INPUT_TYPES: Mapping[str, Any] = {field.name: field.type for field in fields(InputImage)} | {"changes": tuple}
_REQUIRED = tuple(
    field.name for field in fields(ImageRequest) if field.default is MISSING and field.default_factory is MISSING
)
_LATEST = 32_503_680_000.0
"""The year 3000, in seconds: a calendar has no place for what is far from it, nor a sum."""
_LARGEST = 2**53
_LONGEST_NAME = 400
"""Characters of an id, a model, a region or a code; the other columns hold sentences, paths and addresses."""
_PATHS = frozenset({"folder", "path", "output_dir", "filename", "reference"})
_SENTENCES = frozenset({"error_message", "message"})
_LONG = _PATHS | _SENTENCES | {"url", "actual_prompt", "prompt", "negative_prompt", "principal"}
_LONGEST_SENTENCE = 1_000
"""Characters of a sentence that are read: it stands in answers."""
IS_COUNTABLE = f"(images_ordered BETWEEN 0 AND 10000 AND created_at <= {_LATEST:.0f})"
"""What selects the rows whose numbers can be summed; to SQLite a text is larger than any number."""
IS_CLOSED = f"stage = '{Stage.CLOSED}'"
IS_UNCOUNTED = (
    f"CASE WHEN counted <> status OR counted_version <> version OR stage <> '{Stage.CLOSED}' THEN 1 ELSE 0 END = 1"
)
"""What selects the orders that `totals` does not have as they are; an index has them, by these very words."""
_SHOWN = 40
"""Characters of an odd value that are told."""
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


def find_unreadable(tx: Transaction, limit: int) -> dict[str, str]:
    """
    Look through the newest orders, and through all that are not closed, for rows that cannot be read.

    Gives what is said of each by its best id.
    """
    newest = "local_id IN (SELECT local_id FROM orders ORDER BY created_at DESC LIMIT $1)"
    found: dict[str, str] = {}
    for rows in _select(tx, f"stage <> $2 OR local_id IS NULL OR {newest}", (limit, Stage.CLOSED.value)):
        try:
            _load_order(rows)
        except LedgerError as error:
            best_id = rows[0]["task_id"] or rows[0]["local_id"]
            found[best_id if isinstance(best_id, str) else _show(best_id)] = error.message
    return found


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
    if order.worker_id is None and order.stage is not Stage.CLOSED:
        tx.announce(FREE_ORDERS)


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
    tx.announce(local_id)
    if "worker_id" in changes and changes["worker_id"] is None:
        tx.announce(FREE_ORDERS)


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


def uncount_order(tx: Transaction, local_id: str) -> None:
    """Take an order out of `totals`, because it goes or is opened again; it is counted by itself from now on."""
    rows = tx.execute(
        "SELECT region, COALESCE(model, '') AS model, counted, counted_images FROM orders "
        "WHERE local_id = $1 AND counted <> ''",
        local_id,
    )
    for row in rows:
        add_total(tx, row["region"], row["model"], row["counted"], orders=-1, images=-row["counted_images"])
        tx.execute("UPDATE orders SET counted = '', counted_images = 0 WHERE local_id = $1", local_id)


def add_total(tx: Transaction, region: str, model: str, status: str, *, orders: int, images: int) -> None:
    """Add closed orders and their saved images to `totals`; less than nought takes them away."""
    tx.execute(
        "INSERT INTO totals (region, model, status, orders, images) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (region, model, status) DO UPDATE SET "
        "orders = totals.orders + excluded.orders, images = totals.images + excluded.images",
        region,
        model,
        status,
        orders,
        images,
    )


def read_moment(value: object) -> float:
    """Give a time of a row, 0 for what is none: it is over, and the next write puts it right."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= _LATEST else 0.0


def is_name(value: object) -> bool:
    """Say whether a value can be the name of a model or a region."""
    return isinstance(value, str) and len(value) <= _LONGEST_NAME


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


class _OddValueError(Exception):
    """Raised with what is odd, in words that go on from "The order … cannot be read:"."""


def _load_order(rows: Sequence[Row]) -> Order:
    """
    Make an order of its row, joined with each of its images.

    Raises:
        LedgerError: a column holds what this release does not write.
    """
    row = rows[0]
    try:
        # A later release may have added columns: only those known here are read.
        values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
        values["origin"] = _load_word(Origin, "its origin", row["origin"])
        values["stage"] = _load_word(Stage, "its stage", row["stage"])
        values["status"] = _load_word(TaskStatus, "its status", row["status"])
        values["notes"] = _load_notes(row["notes"])
        values["request"] = None if row["request"] is None else _load_request(row["request"])
        values["images"] = tuple(_load_image(each) for each in rows if each["image_index"] is not None)
        _check_values(values, _TYPES, "its")
        return Order(**_shorten(values))
    except _OddValueError as odd:
        name = _show(row["local_id"]).strip("'")
        raise LedgerError(
            f"The order {name} cannot be read: {odd}.",
            "If a newer release of wan-mcp wrote it, update this one.",
            code=ErrorCode.LEDGER_TOO_NEW,
            retryable=False,
        ) from None


def _load_image(row: Row) -> OrderImage:
    values: dict[str, Any] = {name: row[f"image_{name}"] for name in _IMAGE_COLUMNS}
    values["state"] = _load_word(ImageState, "an image's state", values["state"])
    _check_values(values, _IMAGE_TYPES, "an image's")
    if not values["index"]:
        raise _OddValueError("an image's index is 0")
    return OrderImage(**_shorten(values))


def _load_word(words: type[W], what: str, value: object) -> W:
    try:
        return words(value)
    except ValueError:
        raise _OddValueError(f"{what} is {_show(value)}") from None


def read_request(text: object) -> ImageRequest | None:
    """Read the request of a row; None where it has none, or one that cannot be read."""
    try:
        return None if text is None else _load_request(text)
    except _OddValueError:
        return None


def _load_request(text: object) -> ImageRequest:
    values = _parse_json(text)
    if not isinstance(values, dict):
        raise _OddValueError(f"its request is {_show(text)}")
    members = cast("dict[str, Any]", values)
    missing = [name for name in _REQUIRED if name not in members]
    if missing:
        raise _OddValueError(f"its request has no {missing[0]}")
    texts = {name: well_formed(value) for name, value in members.items() if isinstance(value, str)}
    try:
        request = ImageRequest.from_dict(members | texts)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _OddValueError(f"its request's images are {_show(members.get('images'))}") from None
    _check_values({name: getattr(request, name) for name in _REQUEST_TYPES}, _REQUEST_TYPES, "its request's")
    for image in request.images:
        _check_values({name: getattr(image, name) for name in _INPUT_TYPES}, _INPUT_TYPES, "an input image's")
    return request


def _load_notes(text: object) -> tuple[str, ...]:
    notes = _parse_json(text)
    if not isinstance(notes, list):
        raise _OddValueError(f"its notes are {_show(text)}")
    return tuple(well_formed(str(note))[:_LONGEST_SENTENCE] for note in cast("list[object]", notes))


def _parse_json(text: object) -> object:
    """Give what a text holds as JSON, None if it holds none."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _check_values(values: Mapping[str, object], types: Mapping[str, Any], whose: str) -> None:
    for name, kind in types.items():
        value = values[name]
        if not isinstance(value, kind) or not _is_sensible(name, value):
            raise _OddValueError(f"{whose} {name} is {_show(value)}")


def _shorten(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value[:_LONGEST_SENTENCE] if name in _SENTENCES and value else value for name, value in values.items()
    }


def _is_sensible(name: str, value: object) -> bool:
    match value:
        case float():
            return -_LATEST <= value <= _LATEST
        case bool():
            return True
        case int():
            return 0 <= value <= _LARGEST
        case str():
            # A path with a zero in it is an error to every system.
            return (len(value) <= _LONGEST_NAME or name in _LONG) and not (name in _PATHS and "\0" in value)
        case _:
            return True


def _show(value: object) -> str:
    """Tell a value in a few signs that a terminal and a model can read."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes that are no text"
    shown = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


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
