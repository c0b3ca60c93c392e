"""How many orders and saved images there are: closed orders as kept sums, the others counted one by one."""

from collections import defaultdict
from collections.abc import Sequence

from wan_mcp.ledger.database import Repository, Transaction, reads, reads_apart, writes
from wan_mcp.ledger.records import DAY, ImageState, Origin, Stage
from wan_mcp.ledger.rows import IS_UNCOUNTED, add_total, is_name
from wan_mcp.ledger.search import Cursor, find_boundary, read_query
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import OrderQuery, OrderState, OrderTotals
from wan_mcp_tools.domain.tasks import TaskStatus

_FAILURES = (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.UNKNOWN)
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


class OrderSum(Record):
    """So many orders, with so many saved images, are alike in this; `model` is empty where it is not known."""

    region: str
    model: str
    status: str
    stage: str
    orders: int
    images: int


class Totals(Repository):
    """Counts orders."""

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
        conditions = read_query(query, principal)
        end = find_boundary(tx, before, query.since, principal)
        conditions.add_window(before, end)
        row = tx.execute(
            f"SELECT COUNT(*) AS orders, CAST(COALESCE(SUM({_KNOWN_IMAGES}), 0) AS BIGINT) AS images "  # noqa: S608
            f"FROM orders WHERE {conditions.text}",
            *conditions.values,
        )[0]
        return row["orders"], row["images"], end

    async def settle(self, *, rounds: int) -> None:
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
