"""Questions about many orders at once: pages, numbers, durations, images by day."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import cast

from wan_mcp.ledger.database import Repository, Transaction, reads
from wan_mcp.ledger.limits import count_images_since
from wan_mcp.ledger.records import DAY, ImageState, Order, Origin, Stage
from wan_mcp.ledger.rows import IS_COUNTABLE, NEWEST_FIRST, is_name, read_orders, read_request
from wan_mcp_tools.catalogue.prices import ImageCount, PricedImages
from wan_mcp_tools.domain.service import OrderQuery, OrderState, OrderTotals
from wan_mcp_tools.domain.tasks import TaskStatus

Cursor = tuple[float, str]
"""Creation time and local id of the last order seen."""

_CLOSED = f"stage = '{Stage.CLOSED}'"
_LOST_FOR_GOOD = f"status = '{TaskStatus.SUBMIT_UNKNOWN}' AND {_CLOSED}"
_FAILED = f"(status IN ('{TaskStatus.FAILED}', '{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}') OR ({_LOST_FOR_GOOD}))"
_CANCELED = f"status = '{TaskStatus.CANCELED}'"
_ENDED = f"({_CLOSED} OR {_FAILED} OR {_CANCELED})"
_STATES: Mapping[OrderState, str] = {
    OrderState.OPEN: f"NOT {_ENDED}",
    OrderState.ENDED: _ENDED,
    OrderState.SAVED: f"status = '{TaskStatus.SUCCEEDED}' AND {_CLOSED}",
    OrderState.FAILED: _FAILED,
    OrderState.CANCELED: _CANCELED,
}
# An order of an older release that has the file open beside this one has no search text.
_SEARCHED = (
    "(COALESCE(search_text, LOWER(request), '') || ' ' || LOWER(COALESCE(task_id, '')) || ' ' || LOWER(local_id))"
)
_MOST_WORDS = 20
_LONGEST_WORD = 1_000
"""Characters; a longer one is found by its beginning. SQLite refuses a pattern of more than 50,000 bytes."""
_DURATIONS = 50

# The service charges the images that it makes, and these have a row with a link or a file. One that it did not make
# is FAILED with the service's code; one whose link died before it was saved is FAILED with ours, and was charged.
# Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference
_COUNTED = f"""
    SELECT region, model, request, stage, status, images_ordered,
        CASE WHEN origin = '{Origin.ORDERED}' THEN 1 ELSE 0 END AS ours,
        (SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id) AS told,
        (SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id
            AND (state <> '{ImageState.FAILED}' OR code = 'Expired')) AS made
    FROM orders WHERE created_at >= $1 AND created_at < $2 AND {IS_COUNTABLE}
"""  # noqa: S608 - put together of constants
_IS_LOST = (
    f"(status = '{TaskStatus.SUBMIT_UNKNOWN}' "
    f"OR ({_CLOSED} AND status IN ('{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}')))"
)
_IS_OPEN = f"(told = 0 AND NOT {_CLOSED} AND status <> '{TaskStatus.SUBMIT_UNKNOWN}')"
_SUMMED = f"""
    SELECT region, model,
        CAST(SUM(ours * made) AS BIGINT) AS charged,
        CAST(SUM(CASE WHEN {_IS_OPEN} THEN ours * images_ordered ELSE 0 END) AS BIGINT) AS open,
        CAST(SUM(CASE WHEN told = 0 AND {_IS_LOST} THEN ours * images_ordered ELSE 0 END) AS BIGINT) AS unclear,
        CAST(SUM((1 - ours) * made) AS BIGINT) AS found
    FROM ({_COUNTED}) AS counted GROUP BY region, model ORDER BY region, model
"""  # noqa: S608 - put together of constants
_LISTED = f"""
    SELECT region, model, request, ours * made AS charged,
        CASE WHEN {_IS_OPEN} THEN ours * images_ordered ELSE 0 END AS open
    FROM ({_COUNTED}) AS counted WHERE model = $3
"""  # noqa: S608 - put together of constants


class Reports(Repository):
    """Reads orders in many; a row that cannot be read is left out."""

    @reads
    def list_orders(
        self,
        tx: Transaction,
        *,
        status: TaskStatus | None,
        limit: int,
        before: Cursor | None,
        since: float | None = None,
        until: float | None = None,
    ) -> Sequence[Order]:
        """Give orders, newest first, older than `before`; of those placed from `since` on and before `until`."""
        conditions = _read_query(OrderQuery(since=since, until=until))
        if status is not None:
            conditions.add("status = {}", status.value)
        conditions.add_cursor(before)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit)

    @reads
    def find_orders(
        self, tx: Transaction, query: OrderQuery, *, limit: int, before: Cursor | None
    ) -> Sequence[Order]:
        """Give the orders that a query means, newest first, older than `before`."""
        conditions = _read_query(query)
        conditions.add_cursor(before)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit)

    @reads
    def count_orders(self, tx: Transaction, query: OrderQuery) -> OrderTotals:
        """Count the orders that a query means and their saved images; name the models and regions of all."""
        conditions = _read_query(query)
        saved = (
            "(SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id "  # noqa: S608 - a constant
            f"AND state = '{ImageState.SAVED}')"
        )
        row = tx.execute(
            f"SELECT COUNT(*) AS orders, CAST(COALESCE(SUM({saved}), 0) AS BIGINT) AS images "  # noqa: S608 - ours
            f"FROM orders WHERE {conditions.text}",
            *conditions.values,
        )[0]
        return OrderTotals(row["orders"], row["images"], _list_names(tx, "model"), _list_names(tx, "region"))

    @reads
    def list_durations(self, tx: Transaction, region: str, model: str, images: int) -> Sequence[float]:
        """Give the running times in seconds of the last tasks of this kind, newest first."""
        rows = tx.execute(
            "SELECT duration FROM orders WHERE region = $1 AND model = $2 AND images_ordered = $3 "
            "AND duration BETWEEN 0 AND $4 ORDER BY created_at DESC LIMIT $5",
            region,
            model,
            images,
            DAY,
            _DURATIONS,
        )
        return [float(row["duration"]) for row in rows]

    @reads
    def count_images_since(self, tx: Transaction, moment: float) -> int:
        """Count the images ordered since a moment; refused and unsent orders do not count."""
        return count_images_since(tx, moment)

    @reads
    def find_first_order(self, tx: Transaction) -> float | None:
        """Give the time of the first order; None if there is none."""
        rows = tx.execute(f"SELECT MIN(created_at) AS first FROM orders WHERE {IS_COUNTABLE}")  # noqa: S608 - ours
        return rows[0]["first"]

    @reads
    def count_images(
        self, tx: Transaction, days: Sequence[tuple[date, float, float]], *, graded: Collection[str] = ()
    ) -> Sequence[ImageCount]:
        """
        Count the images of the orders placed on each day by region and model; what was never made counts nowhere.

        `days` have their date, their first moment, and the first moment that is too late. Of the models that are
        `graded` it is also told what the price of an image depends on.
        """
        counts = [
            ImageCount(
                day,
                row["region"],
                row["model"],
                charged=row["charged"],
                open=row["open"],
                unclear=row["unclear"],
                found=row["found"],
                priced=_list_priced(tx, row["region"], row["model"], start, end) if row["model"] in graded else (),
            )
            for day, start, end in days
            for row in tx.execute(_SUMMED, start, end)
            if is_name(row["region"]) and (row["model"] is None or is_name(row["model"]))
        ]
        return [count for count in counts if count.charged + count.open + count.unclear + count.found]


def _list_priced(tx: Transaction, region: str, model: object, start: float, end: float) -> tuple[PricedImages, ...]:
    """Add up the orders of a model that are alike in what their price depends on."""
    sums: defaultdict[tuple[str | None, bool], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in tx.execute(_LISTED, start, end, model):
        request = read_request(row["request"])
        if request is None or row["region"] != region:
            continue
        found = sums[request.size, request.prompt_extend is True]
        inputs = len(request.images)
        added = (row["charged"], row["open"], inputs * (row["charged"] > 0), inputs * (row["open"] > 0))
        found[:] = [one + other for one, other in zip(found, added, strict=True)]
    return tuple(PricedImages(size, is_extended, *numbers) for (size, is_extended), numbers in sums.items())


class _Conditions:
    """What selects rows, put together piece by piece with its values."""

    def __init__(self) -> None:
        self._pieces = ["1 = 1"]
        self.values: list[object] = []

    @property
    def text(self) -> str:
        return " AND ".join(self._pieces)

    def add(self, piece: str, *values: object) -> None:
        """Add a condition; `{}` stands for the parameter of each value."""
        first = len(self.values) + 1
        self._pieces.append(piece.format(*(f"${number}" for number in range(first, first + len(values)))))
        self.values.extend(values)

    def add_cursor(self, before: Cursor | None) -> None:
        if before is not None:
            self.add("(created_at, local_id) < ({}, {})", *before)


def _read_query(query: OrderQuery) -> _Conditions:
    conditions = _Conditions()
    if query.state is not None:
        conditions.add(_STATES[query.state])
    for piece, value in (
        ("model = {}", query.model),
        ("region = {}", query.region),
        ("created_at >= {}", query.since),
        ("created_at < {}", query.until),
    ):
        if value is not None:
            conditions.add(piece, value)
    for word in (query.text or "").casefold().split()[:_MOST_WORDS]:
        escaped = word[:_LONGEST_WORD].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.add(f"{_SEARCHED} LIKE {{}} ESCAPE '\\'", f"%{escaped}%")
    return conditions


def _list_names(tx: Transaction, column: str) -> tuple[str, ...]:
    rows = tx.execute(
        f"SELECT DISTINCT {column} AS name FROM orders WHERE {column} IS NOT NULL ORDER BY name"  # noqa: S608 - ours
    )
    return tuple(cast("str", row["name"]) for row in rows if is_name(row["name"]))
