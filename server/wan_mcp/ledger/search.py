"""Finding orders: pages of them, by what is known of an order or remembered of it."""

from collections.abc import Mapping, Sequence

from wan_mcp.ledger.database import Repository, Transaction, reads, reads_apart
from wan_mcp.ledger.records import Order, Stage
from wan_mcp.ledger.rows import IS_CLOSED, IS_UNCOUNTED, NEWEST_FIRST, read_orders
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus

Cursor = tuple[float, str]
"""Creation time and local id of the last order seen."""

_FAILED = (
    f"CASE WHEN status IN ('{TaskStatus.FAILED}', '{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}') THEN 1 "
    f"WHEN status = '{TaskStatus.SUBMIT_UNKNOWN}' AND {IS_CLOSED} THEN 1 ELSE 0 END = 1"
)
"""By these very words an index has them."""
_CANCELED = f"status = '{TaskStatus.CANCELED}'"
_ENDED = f"({IS_CLOSED} OR ({_FAILED}) OR {_CANCELED})"
_RARE = (OrderState.SAVED, OrderState.FAILED, OrderState.CANCELED)
_STATES: Mapping[OrderState, str] = {
    # What goes on is never counted as closed: these words lead to the index of what is not.
    OrderState.OPEN: f"{IS_UNCOUNTED} AND NOT {_ENDED}",
    OrderState.ENDED: _ENDED,
    OrderState.SAVED: f"status = '{TaskStatus.SUCCEEDED}' AND {IS_CLOSED}",
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
_AT_ONCE = 5_000
"""Orders that one transaction looks through: a longer one keeps others from writing."""


class Search(Repository):
    """
    Finds orders; a row that cannot be read is left out.

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
        conditions = read_query(OrderQuery(since=since, until=until), principal)
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
        conditions = read_query(query, principal)
        conditions.add_cursor(before)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit)

    @reads_apart
    def _find_some(
        self, tx: Transaction, query: OrderQuery, *, limit: int, before: Cursor | None, principal: str | None
    ) -> tuple[Sequence[Order], Cursor | None]:
        """Look through the next orders; the cursor is where to go on, None if there are no more."""
        conditions = read_query(query, principal)
        end = find_boundary(tx, before, query.since, principal)
        conditions.add_window(before, end)
        return read_orders(tx, conditions.text, *conditions.values, order_by=NEWEST_FIRST, limit=limit), end


def _is_long(query: OrderQuery, principal: str | None) -> bool:
    """Say whether many orders may have to be looked through, because no index has just those that are meant."""
    if principal is not None:
        return query != OrderQuery(since=query.since, until=query.until)
    filters = (query.model, query.region, query.state if query.state in _RARE else None)
    return query.text is not None or sum(each is not None for each in filters) > 1


def find_boundary(
    tx: Transaction, before: Cursor | None, since: float | None, principal: str | None
) -> Cursor | None:
    """Give the cursor behind the next `_AT_ONCE` orders, None if there are no more."""
    conditions = read_query(OrderQuery(since=since), principal)
    conditions.add_cursor(before)
    rows = tx.execute(
        f"SELECT created_at, local_id FROM orders WHERE {conditions.text} "  # noqa: S608 - ours
        f"ORDER BY {', '.join(NEWEST_FIRST)} LIMIT 1 OFFSET {_AT_ONCE}",
        *conditions.values,
    )
    return (rows[0]["created_at"], rows[0]["local_id"]) if rows else None


class Conditions:
    """What selects rows, put together piece by piece with its values."""

    def __init__(self) -> None:
        self._pieces = ["1 = 1"]
        self.values: list[object] = []

    @property
    def text(self) -> str:
        """The conditions as one."""
        return " AND ".join(self._pieces)

    def add(self, piece: str, *values: object) -> None:
        """Add a condition; `{}` stands for the parameter of each value."""
        first = len(self.values) + 1
        self._pieces.append(piece.format(*(f"${number}" for number in range(first, first + len(values)))))
        self.values.extend(values)

    def add_cursor(self, before: Cursor | None) -> None:
        """Leave out what is not older than `before`."""
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


def read_query(query: OrderQuery, principal: str | None = None) -> Conditions:
    """Give what selects the orders that a query means, of a principal alone if one is named."""
    conditions = Conditions()
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
