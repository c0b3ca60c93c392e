"""Questions about many orders at once: pages, numbers, durations, images by day."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from wan_mcp.ledger.database import Repository, Transaction, reads, reads_apart, writes
from wan_mcp.ledger.quotas import count_images_since
from wan_mcp.ledger.records import DAY, ImageState, Order, Origin, Stage
from wan_mcp.ledger.rows import (
    IS_COUNTABLE,
    IS_UNCOUNTED,
    NEWEST_FIRST,
    add_total,
    is_name,
    read_orders,
    read_request,
)
from wan_mcp_tools.catalogue.prices import ImageCount, PricedImages
from wan_mcp_tools.domain.service import OrderQuery, OrderState, OrderTotals
from wan_mcp_tools.domain.tasks import TaskStatus

Cursor = tuple[float, str]
"""Creation time and local id of the last order seen."""

_CLOSED = f"stage = '{Stage.CLOSED}'"
_FAILED = (
    f"CASE WHEN status IN ('{TaskStatus.FAILED}', '{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}') THEN 1 "
    f"WHEN status = '{TaskStatus.SUBMIT_UNKNOWN}' AND {_CLOSED} THEN 1 ELSE 0 END = 1"
)
"""By these very words an index has them."""
_CANCELED = f"status = '{TaskStatus.CANCELED}'"
_ENDED = f"({_CLOSED} OR ({_FAILED}) OR {_CANCELED})"
_FAILURES = (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.UNKNOWN)
_RARE = (OrderState.SAVED, OrderState.FAILED, OrderState.CANCELED)
_STATES: Mapping[OrderState, str] = {
    # What goes on is never counted as closed: these words lead to the index of what is not.
    OrderState.OPEN: f"{IS_UNCOUNTED} AND NOT {_ENDED}",
    OrderState.ENDED: _ENDED,
    OrderState.SAVED: f"status = '{TaskStatus.SUCCEEDED}' AND {_CLOSED}",
    OrderState.FAILED: _FAILED,
    OrderState.CANCELED: _CANCELED,
}
_OWN_STATES: Mapping[OrderState, str] = {
    OrderState.OPEN: f"NOT {_ENDED}",
    OrderState.ENDED: _ENDED,
    OrderState.SAVED: f"COALESCE(status, '') = '{TaskStatus.SUCCEEDED}' AND COALESCE(stage, '') = '{Stage.CLOSED}'",
    OrderState.FAILED: f"COALESCE({_FAILED}, FALSE)",
    OrderState.CANCELED: f"COALESCE(status, '') = '{TaskStatus.CANCELED}'",
}
"""The same in words that lead to no index."""
# An order of an older release that has the file open beside this one has no search text.
_SEARCHED = (
    "(COALESCE(search_text, LOWER(request), '') || ' ' || LOWER(COALESCE(task_id, '')) || ' ' || LOWER(local_id))"
)
_MOST_WORDS = 20
_LONGEST_WORD = 1_000
"""Characters; a longer one is found by its beginning. SQLite refuses a pattern of more than 50,000 bytes."""
_DURATIONS = 50
_AT_ONCE = 5_000
"""Orders that one transaction looks through: a longer one keeps others from writing."""
_DAYS_AT_ONCE = 14
_MOVED_AT_ONCE = 1_000
_FEW = 100
"""Closed orders that are counted one by one at least, before it pays to move them into the totals."""
_LATE = 2 * DAY
"""Seconds after which no row is given up any more because its task turns out to be another order's."""

_SAVED_IMAGES = (
    "(SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id "  # noqa: S608 - a constant
    f"AND state = '{ImageState.SAVED}')"
)
_KNOWN_IMAGES = f"CASE WHEN {IS_UNCOUNTED} THEN {_SAVED_IMAGES} ELSE counted_images END"
# Closed orders as `totals` has them; the others as they are, and what `totals` says of them taken back.
_STANDING = f"""
    SELECT region, model, status, '{Stage.CLOSED}' AS stage, orders, images FROM totals
    UNION ALL
    SELECT region, COALESCE(model, ''), status, stage, 1, {_SAVED_IMAGES} FROM orders WHERE {IS_UNCOUNTED}
    UNION ALL
    SELECT region, COALESCE(model, ''), counted, '{Stage.CLOSED}', -1, -counted_images FROM orders
    WHERE {IS_UNCOUNTED} AND counted <> ''
"""  # noqa: S608 - put together of constants
_SUMMARY = f"""
    SELECT region, model, status, stage, CAST(SUM(orders) AS BIGINT) AS orders, CAST(SUM(images) AS BIGINT) AS images
    FROM ({_STANDING}) AS standing GROUP BY region, model, status, stage HAVING SUM(orders) > 0
    ORDER BY region, model, status, stage
"""  # noqa: S608 - put together of constants
_IS_MOVABLE = (
    f"{IS_UNCOUNTED} AND stage = '{Stage.CLOSED}' AND local_id IS NOT NULL "
    f"AND (origin = '{Origin.ORDERED}' OR created_at < $1)"
)

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
_COUNTED_OWN = f"{_COUNTED} AND principal = $3"
_IS_LOST = (
    f"(status = '{TaskStatus.SUBMIT_UNKNOWN}' "
    f"OR ({_CLOSED} AND status IN ('{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}')))"
)
_IS_OPEN = f"(told = 0 AND NOT {_CLOSED} AND status <> '{TaskStatus.SUBMIT_UNKNOWN}')"
_SUMS = f"""
    SELECT region, model,
        CAST(SUM(ours * made) AS BIGINT) AS charged,
        CAST(SUM(CASE WHEN {_IS_OPEN} THEN ours * images_ordered ELSE 0 END) AS BIGINT) AS open,
        CAST(SUM(CASE WHEN told = 0 AND {_IS_LOST} THEN ours * images_ordered ELSE 0 END) AS BIGINT) AS unclear,
        CAST(SUM((1 - ours) * made) AS BIGINT) AS found
"""
_BY_KIND = "GROUP BY region, model ORDER BY region, model"
_SUMMED = f"{_SUMS} FROM ({_COUNTED}) AS counted {_BY_KIND}"
_SUMMED_OWN = f"{_SUMS} FROM ({_COUNTED_OWN}) AS counted {_BY_KIND}"
_KINDS = f"""
    SELECT region, model, request, ours * made AS charged,
        CASE WHEN {_IS_OPEN} THEN ours * images_ordered ELSE 0 END AS open
"""
_LISTED = f"{_KINDS} FROM ({_COUNTED}) AS counted WHERE model = $3"
_LISTED_OWN = f"{_KINDS} FROM ({_COUNTED_OWN}) AS counted WHERE model = $4"


@dataclass(frozen=True, slots=True)
class OrderSum:
    """So many orders, with so many saved images, are alike in this; `model` is empty where it is not known."""

    region: str
    model: str
    status: str
    stage: str
    orders: int
    images: int


class Reports(Repository):
    """
    Reads orders in many; a row that cannot be read is left out.

    With `principal` a method knows the orders of a principal alone, and finds them by an index of their own.
    """

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
        principal: str | None = None,
    ) -> Sequence[Order]:
        """Give orders, newest first, older than `before`; of those placed from `since` on and before `until`."""
        conditions = _read_query(OrderQuery(since=since, until=until), principal)
        if status is not None:
            conditions.add("status = {}" if principal is None else "COALESCE(status, '') = {}", status.value)
        conditions.add_cursor(before)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit)

    async def find_orders(
        self, query: OrderQuery, *, limit: int, before: Cursor | None, principal: str | None = None
    ) -> Sequence[Order]:
        """Give the orders that a query means, newest first, older than `before`."""
        if not _is_long(query, principal):
            return await self._find(query, limit=limit, before=before, principal=principal)
        found: list[Order] = []
        cursor = before
        while True:
            orders, cursor = await self._find_some(
                query, limit=limit - len(found), before=cursor, principal=principal
            )
            found += orders
            if cursor is None or len(found) >= limit:
                return found

    @reads
    def _find(
        self, tx: Transaction, query: OrderQuery, *, limit: int, before: Cursor | None, principal: str | None
    ) -> Sequence[Order]:
        conditions = _read_query(query, principal)
        conditions.add_cursor(before)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit)

    @reads_apart
    def _find_some(
        self, tx: Transaction, query: OrderQuery, *, limit: int, before: Cursor | None, principal: str | None
    ) -> tuple[Sequence[Order], Cursor | None]:
        """Look through the next orders; the cursor is where to go on, None if there are no more."""
        conditions = _read_query(query, principal)
        end = _find_boundary(tx, before, query.since, principal)
        conditions.add_window(before, end)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit), end

    @reads
    def summarize(self, tx: Transaction) -> tuple[OrderSum, ...]:
        """Count all orders and their saved images, by what most queries choose from. It reads few rows."""
        return tuple(OrderSum(**row) for row in tx.execute(_SUMMARY))

    async def count_orders(self, query: OrderQuery, summary: Sequence[OrderSum] | None = None) -> OrderTotals:
        """
        Count the orders that a query means and their saved images; name the models and regions of all.

        `summary` is what `summarize` gave, if that was asked for already.
        """
        if summary is None:
            summary = await self.summarize()
        orders = images = 0
        if _can_be_summed(query):
            chosen = [each for each in summary if _is_meant(each, query)]
            orders, images = sum(each.orders for each in chosen), sum(each.images for each in chosen)
        else:
            cursor: Cursor | None = None
            while True:
                more_orders, more_images, cursor = await self._count_some(query, before=cursor, principal=None)
                orders, images = orders + more_orders, images + more_images
                if cursor is None:
                    break
        return OrderTotals(
            orders,
            images,
            models=tuple(sorted({each.model for each in summary if each.model and is_name(each.model)})),
            regions=tuple(sorted({each.region for each in summary if is_name(each.region)})),
        )

    async def count_own_orders(self, query: OrderQuery, principal: str) -> OrderTotals:
        """Count what a query finds among the orders of a principal; name the models and regions of these."""
        orders = images = 0
        cursor: Cursor | None = None
        while True:
            more_orders, more_images, cursor = await self._count_some(query, before=cursor, principal=principal)
            orders, images = orders + more_orders, images + more_images
            if cursor is None:
                break
        models, regions = await self._list_own_kinds(principal)
        return OrderTotals(orders, images, models=models, regions=regions)

    @reads
    def _list_own_kinds(self, tx: Transaction, principal: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        rows = tx.execute("SELECT DISTINCT model, region FROM orders WHERE principal = $1", principal)
        return (
            tuple(sorted({row["model"] for row in rows if row["model"] and is_name(row["model"])})),
            tuple(sorted({row["region"] for row in rows if is_name(row["region"])})),
        )

    @reads_apart
    def _count_some(
        self, tx: Transaction, query: OrderQuery, *, before: Cursor | None, principal: str | None
    ) -> tuple[int, int, Cursor | None]:
        """Count among the next orders; the cursor is where to go on, None if there are no more."""
        conditions = _read_query(query, principal)
        end = _find_boundary(tx, before, query.since, principal)
        conditions.add_window(before, end)
        row = tx.execute(
            f"SELECT COUNT(*) AS orders, CAST(COALESCE(SUM({_KNOWN_IMAGES}), 0) AS BIGINT) AS images "  # noqa: S608
            f"FROM orders WHERE {conditions.text}",
            *conditions.values,
        )[0]
        return row["orders"], row["images"], end

    async def settle_totals(self, *, rounds: int) -> None:
        """
        Move orders that were closed since into the totals, so that they need not be counted one by one.

        Each of the `rounds` at most is a short write of its own; where only a few could be moved there is none.
        """
        for _ in range(rounds):
            if not await self._has_movable() or await self._move() < _MOVED_AT_ONCE:
                return

    @reads
    def _has_movable(self, tx: Transaction) -> bool:
        rows = tx.execute(
            f"SELECT local_id FROM orders WHERE {_IS_MOVABLE} LIMIT $2",  # noqa: S608 - put together of constants
            tx.now - _LATE,
            _FEW,
        )
        return len(rows) == _FEW

    @writes
    def _move(self, tx: Transaction) -> int:
        rows = tx.execute(
            "SELECT local_id, region, COALESCE(model, '') AS model, status, counted, counted_images, "  # noqa: S608
            f"{_SAVED_IMAGES} AS images FROM orders WHERE {_IS_MOVABLE} LIMIT $2",
            tx.now - _LATE,
            _MOVED_AT_ONCE,
        )
        sums: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for row in rows:
            found = sums[row["region"], row["model"], row["status"]]
            found[:] = [found[0] + 1, found[1] + row["images"]]
            if row["counted"]:
                found = sums[row["region"], row["model"], row["counted"]]
                found[:] = [found[0] - 1, found[1] - row["counted_images"]]
            tx.execute(
                "UPDATE orders SET counted = status, counted_version = version, counted_images = $1 "
                "WHERE local_id = $2",
                row["images"],
                row["local_id"],
            )
        for (region, model, status), (orders, images) in sums.items():
            add_total(tx, region, model, status, orders=orders, images=images)
        return len(rows)

    @reads
    def list_durations(self, tx: Transaction, region: str, model: str, images: int) -> Sequence[float]:
        """Give the running times in seconds of the last tasks of this kind, newest first."""
        rows = tx.execute(
            "SELECT duration FROM orders WHERE region = $1 AND model = $2 AND images_ordered = $3 "
            "AND duration IS NOT NULL AND duration BETWEEN 0 AND $4 ORDER BY created_at DESC, local_id DESC LIMIT $5",
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
    def find_first_order(self, tx: Transaction, *, principal: str | None = None) -> float | None:
        """Give the time of the first order; None if there is none."""
        first = f"SELECT MIN(created_at) AS first FROM orders WHERE {IS_COUNTABLE}"  # noqa: S608 - ours
        if principal is None:
            return tx.execute(first)[0]["first"]
        return tx.execute(f"{first} AND principal = $1", principal)[0]["first"]

    async def count_images(
        self,
        days: Sequence[tuple[date, float, float]],
        *,
        graded: Collection[str] = (),
        principal: str | None = None,
    ) -> Sequence[ImageCount]:
        """
        Count the images of the orders placed on each day by region and model; what was never made counts nowhere.

        `days` have their date, their first moment, and the first moment that is too late. Of the models that are
        `graded` it is also told what the price of an image depends on.
        """
        counts: list[ImageCount] = []
        for first in range(0, len(days), _DAYS_AT_ONCE):
            counts += await self._count_images(days[first : first + _DAYS_AT_ONCE], graded, principal)
        return counts

    @reads_apart
    def _count_images(
        self,
        tx: Transaction,
        days: Sequence[tuple[date, float, float]],
        graded: Collection[str],
        principal: str | None,
    ) -> Sequence[ImageCount]:
        whose = () if principal is None else (principal,)
        summed = _SUMMED_OWN if whose else _SUMMED
        counts = [
            ImageCount(
                day,
                row["region"],
                row["model"],
                charged=row["charged"],
                open=row["open"],
                unclear=row["unclear"],
                found=row["found"],
                priced=(
                    _list_priced(tx, row["region"], row["model"], days=(start, end), whose=whose)
                    if row["model"] in graded
                    else ()
                ),
            )
            for day, start, end in days
            for row in tx.execute(summed, start, end, *whose)
            if is_name(row["region"]) and (row["model"] is None or is_name(row["model"]))
        ]
        return [count for count in counts if count.charged + count.open + count.unclear + count.found]


def _can_be_summed(query: OrderQuery) -> bool:
    """Say whether the sums tell what a query finds; else the orders have to be looked through."""
    return query.text is None and query.since is None and query.until is None


def _is_meant(each: OrderSum, query: OrderQuery) -> bool:
    """Say whether a query means these orders; its state in the same words as `_STATES`."""
    is_closed = each.stage == Stage.CLOSED
    is_failed = each.status in _FAILURES or (each.status == TaskStatus.SUBMIT_UNKNOWN and is_closed)
    is_canceled = each.status == TaskStatus.CANCELED
    is_ended = is_closed or is_failed or is_canceled
    states = {
        None: True,
        OrderState.OPEN: not is_ended,
        OrderState.ENDED: is_ended,
        OrderState.SAVED: is_closed and each.status == TaskStatus.SUCCEEDED,
        OrderState.FAILED: is_failed,
        OrderState.CANCELED: is_canceled,
    }
    return states[query.state] and query.model in (None, each.model) and query.region in (None, each.region)


def _is_long(query: OrderQuery, principal: str | None) -> bool:
    """Say whether many orders may have to be looked through, because no index has just those that are meant."""
    if principal is not None:
        return query != OrderQuery(since=query.since, until=query.until)
    filters = (query.model, query.region, query.state if query.state in _RARE else None)
    return query.text is not None or sum(each is not None for each in filters) > 1


def _find_boundary(
    tx: Transaction, before: Cursor | None, since: float | None, principal: str | None
) -> Cursor | None:
    """Give the cursor behind the next `_AT_ONCE` orders, None if there are no more."""
    conditions = _read_query(OrderQuery(since=since), principal)
    conditions.add_cursor(before)
    rows = tx.execute(
        f"SELECT created_at, local_id FROM orders WHERE {conditions.text} "  # noqa: S608 - ours
        f"ORDER BY {', '.join(NEWEST_FIRST)} LIMIT 1 OFFSET {_AT_ONCE}",
        *conditions.values,
    )
    return (rows[0]["created_at"], rows[0]["local_id"]) if rows else None


def _list_priced(
    tx: Transaction, region: str, model: object, *, days: tuple[float, float], whose: Sequence[str]
) -> tuple[PricedImages, ...]:
    """Add up the orders of a model that are alike in what their price depends on; `whose` is a principal or none."""
    sums: defaultdict[tuple[str | None, bool], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in tx.execute(_LISTED_OWN if whose else _LISTED, *days, *whose, model):
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

    def add_window(self, before: Cursor | None, end: Cursor | None) -> None:
        """Leave out what is not older than `before`, and what is older than `end`."""
        self.add_cursor(before)
        # The times alone once more: of two comparisons of pairs SQLite uses one, and reads on to the newest order.
        if before is not None:
            self.add("created_at <= {}", before[0])
        if end is not None:
            self.add("created_at >= {}", end[0])
            self.add("(created_at, local_id) >= ({}, {})", *end)


def _read_query(query: OrderQuery, principal: str | None = None) -> _Conditions:
    conditions = _Conditions()
    if principal is not None:
        conditions.add("principal = {}", principal)
    if query.state is not None:
        # Of what a principal has ordered nothing is left to the indexes that have everybody's.
        conditions.add(_STATES[query.state] if principal is None else _OWN_STATES[query.state])
    # Those that go on are few, and an index has them: it shall not be passed over for the index of a model.
    is_indexed = query.state is not OrderState.OPEN and principal is None
    equals = "{} = {{}}" if is_indexed else "COALESCE({}, '') = {{}}"
    for piece, value in (
        (equals.format("model"), query.model),
        (equals.format("region"), query.region),
        ("created_at >= {}", query.since),
        ("created_at < {}", query.until),
    ):
        if value is not None:
            conditions.add(piece, value)
    for word in (query.text or "").casefold().split()[:_MOST_WORDS]:
        escaped = word[:_LONGEST_WORD].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.add(f"{_SEARCHED} LIKE {{}} ESCAPE '\\'", f"%{escaped}%")
    return conditions
