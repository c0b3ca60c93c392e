"""How much may be ordered: images, indicative costs, and orders that go on, of each principal and of all together."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

from wan_mcp.clock import utc
from wan_mcp.ledger.database import Repository, Transaction, reads
from wan_mcp.ledger.records import DAY, MILLIONTHS, MONTH, Order, OrderLimits, Origin, Stage
from wan_mcp.ledger.rows import IS_COUNTABLE, chunks, is_name, number_parameters, read_moment
from wan_mcp_tools.catalogue.model import format_amount
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import CostLimitError, DailyLimitError, OpenLimitError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Amounts, Quota, Use

_COUNTED = (
    "created_at > $1 AND origin = $2 AND NOT (status = $3 AND task_id IS NULL) AND status <> $4 "
    f"AND region <> '{SANDBOX.name}' AND {IS_COUNTABLE}"
)
"""Orders that were, or may have been, accepted, and that cost something."""
_GOING_ON = ", ".join(
    f"'{status}'"
    for status in (TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.UNKNOWN, TaskStatus.SUBMIT_UNKNOWN)
)
_IS_OPEN = (
    f"stage <> '{Stage.CLOSED}' AND origin = '{Origin.ORDERED}' AND status IN ({_GOING_ON}) "
    f"AND region <> '{SANDBOX.name}'"
)
"""What goes on at the service, or waits to be sent; images that are being saved do not count."""
_OPEN = f"SELECT COUNT(*) AS orders FROM orders WHERE {_IS_OPEN}"  # noqa: S608 - put together of constants
_IMAGES, _COST = "images_ordered", f"CASE WHEN cost BETWEEN 0 AND {2**53} THEN cost ELSE 0 END"
_WAIT_OR = "Wait until then, or"


class _Scope(Record):
    """Whose orders are counted, and how that is told; without a `principal` they are everybody's."""

    principal: str | None
    by: str
    limit: str
    settings: str

    @property
    def condition(self) -> str:
        return _COUNTED if self.principal is None else f"{_COUNTED} AND principal = $5"

    def values(self, moment: float) -> tuple[object, ...]:
        counted = (moment, Origin.ORDERED.value, TaskStatus.FAILED.value, TaskStatus.CANCELED.value)
        return counted if self.principal is None else (*counted, self.principal)

    def tell_advice(self, setting: str) -> str:
        return f"let the operator raise {self.settings}{setting}."


_EVERYBODY = _Scope(None, "", "the limit of this server", "WAN_MCP_")


class Quotas(Repository):
    """Tells how much was ordered, as it counts for the limits."""

    @reads
    def read_use(self, tx: Transaction, principal: str | None) -> Use:
        """Give the use of a principal, or of all together."""
        scope = _EVERYBODY if principal is None else _own(principal)
        oldest = tx.execute(
            f"SELECT MIN(created_at) AS oldest FROM orders WHERE {scope.condition}",  # noqa: S608 - constants
            *scope.values(tx.now - DAY),
        )[0]["oldest"]
        return Use(
            daily_images=_sum(tx, scope, _IMAGES, tx.now - DAY),
            daily_cost=_sum_costs(tx, scope, tx.now - DAY),
            monthly_cost=_sum_costs(tx, scope, tx.now - MONTH),
            open_orders=_count_open(tx, principal),
            frees_at=None if oldest is None else utc(oldest + DAY),
        )

    @reads
    def list_principals(self, tx: Transaction) -> Sequence[str]:
        """Give whoever has ordered in the last 30 days."""
        # Not by DISTINCT: of that SQLite would look for everybody of all times in an index.
        whose = "COALESCE(principal, '')"
        rows = tx.execute(
            f"SELECT {whose} AS name FROM orders WHERE created_at > $1 GROUP BY {whose}",  # noqa: S608 - a constant
            tx.now - MONTH,
        )
        return sorted(row["name"] for row in rows if isinstance(row["name"], str))


def count_images_since(tx: Transaction, moment: float) -> int:
    """Count the images of the orders since a moment that were, or may have been, accepted; no free ones."""
    return _sum(tx, _EVERYBODY, _IMAGES, moment)


def check_quotas(tx: Transaction, order: Order, limits: OrderLimits, recent: Mapping[str, int]) -> None:
    """
    Make sure that an order is within the limits of all together and of its principal.

    `recent` has the local ids of what this process has ordered in the last 24 hours, with the images of each: they
    count for all together even if their rows are gone, or the wall clock was set forward since.

    Raises:
        LimitError: it is not; it says how much was ordered, and from when on it can be.
    """
    for scope, quota in ((_EVERYBODY, limits.everybody), (_own(order.principal), limits.each)):
        _check_open(tx, scope, quota)
        _check_images(tx, scope, order.images_ordered, quota, recent if scope.principal is None else {})
        _check_cost(tx, scope, order, quota.daily_cost, DAY)
        _check_cost(tx, scope, order, quota.monthly_cost, MONTH)


def _own(principal: str) -> _Scope:
    return _Scope(principal, " by you", "your limit", "WAN_MCP_USER_")


def _check_open(tx: Transaction, scope: _Scope, quota: Quota) -> None:
    if not quota.open_orders:
        return
    orders = _count_open(tx, scope.principal)
    if orders >= quota.open_orders:
        going_on = "1 order goes on" if orders == 1 else f"{orders} orders go on"
        raise OpenLimitError(
            f"{going_on} now{' that you have placed' * bool(scope.principal)}, and {scope.limit} is "
            f"{quota.open_orders} at once. Nothing was ordered.",
            f"Order again when one of them has ended, or {scope.tell_advice('OPEN_LIMIT')}",
        )


def _check_images(tx: Transaction, scope: _Scope, images: int, quota: Quota, recent: Mapping[str, int]) -> None:
    limit = quota.daily_images
    if not limit:
        return
    day_ago = tx.now - DAY
    ordered = _sum(tx, scope, _IMAGES, day_ago) + _count_missing(tx, recent, day_ago)
    left = max(0, limit - ordered)
    if images <= left:
        return
    advice = scope.tell_advice("DAILY_IMAGE_LIMIT")
    message = (
        f"{_tell_images(ordered)} ordered{scope.by} in the last 24 hours, and {scope.limit} is {limit}. "
        "Nothing was ordered."
    )
    if images > limit:
        raise DailyLimitError(
            f"{message} {images} in one order are more than it ever allows.",
            f"Order fewer, or {advice}",
            retryable=False,
        )
    message += f" {images} can be ordered {_tell_release(tx, scope, _IMAGES, DAY, images - left)}."
    raise DailyLimitError(message, f"Order at most {left} now, or {advice}" if left else f"{_WAIT_OR} {advice}")


def _check_cost(tx: Transaction, scope: _Scope, order: Order, limit: Amounts, span: float) -> None:
    if not limit:
        return
    advice = scope.tell_advice("DAILY_COST_LIMIT" if span == DAY else "MONTHLY_COST_LIMIT")
    known = " and ".join(f"{format_amount(amount)} {name}" for name, amount in sorted(limit.items()))
    currency = order.currency
    if currency is None or currency not in limit:
        price = "of no known price" if currency is None else f"priced in {currency}"
        raise CostLimitError(
            f"This order is {price}, and {scope.limit} is {known}. Nothing was ordered.",
            f"Choose another model or region, or {advice}",
            retryable=False,
        )
    most = int((limit[currency] * MILLIONTHS).to_integral_value())
    column = f"CASE WHEN currency = '{currency}' THEN {_COST} ELSE 0 END"
    used = _sum(tx, scope, column, tx.now - span)
    if used + order.cost <= most:
        return
    window = "24 hours" if span == DAY else "30 days"
    message = (
        f"About {_tell_cost(used, currency)} were ordered{scope.by} in the last {window}, this order may cost "
        f"{_tell_cost(order.cost, currency)}, and {scope.limit} is {known}. Nothing was ordered."
    )
    if order.cost > most:
        raise CostLimitError(
            f"{message} It is more than that ever allows.", f"Order fewer images, or {advice}", retryable=False
        )
    message += f" It can be ordered {_tell_release(tx, scope, column, span, used + order.cost - most)}."
    raise CostLimitError(message, f"{_WAIT_OR} {advice}")


def _sum(tx: Transaction, scope: _Scope, column: str, moment: float) -> int:
    rows = tx.execute(
        f"SELECT CAST(COALESCE(SUM({column}), 0) AS BIGINT) AS total FROM orders "  # noqa: S608 - ours
        f"WHERE {scope.condition}",
        *scope.values(moment),
    )
    return int(rows[0]["total"])


def _sum_costs(tx: Transaction, scope: _Scope, moment: float) -> Amounts:
    rows = tx.execute(
        f"SELECT currency, CAST(SUM({_COST}) AS BIGINT) AS total FROM orders "  # noqa: S608 - ours
        f"WHERE {scope.condition} AND currency IS NOT NULL GROUP BY currency",
        *scope.values(moment),
    )
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if is_name(row["currency"]):
            totals[row["currency"]] += Decimal(row["total"]) / MILLIONTHS
    return dict(sorted(totals.items()))


def _count_open(tx: Transaction, principal: str | None) -> int:
    if principal is None:
        return int(tx.execute(_OPEN)[0]["orders"])
    # Those that go on are few, and an index has them: it shall not be passed over for that of a principal.
    return int(tx.execute(f"{_OPEN} AND COALESCE(principal, '') = $1", principal)[0]["orders"])


def _count_missing(tx: Transaction, recent: Mapping[str, int], moment: float) -> int:
    """Count the images of recent orders that the ledger does not count since a moment, though it should."""
    rows = [
        row
        for chunk in chunks(list(recent))
        for row in tx.execute(
            "SELECT local_id, created_at, status, task_id FROM orders "  # noqa: S608 - parameters only
            f"WHERE local_id IN ({number_parameters(chunk)})",
            *chunk,
        )
    ]
    counted_or_free = {
        row["local_id"]
        for row in rows
        if read_moment(row["created_at"]) > moment
        or row["status"] == TaskStatus.CANCELED
        or (row["status"] == TaskStatus.FAILED and row["task_id"] is None)
    }
    return sum(images for local_id, images in recent.items() if local_id not in counted_or_free)


def _tell_release(tx: Transaction, scope: _Scope, column: str, span: float, missing: int) -> str:
    """Tell from when on so much of what was ordered in a span counts no more."""
    values = scope.values(tx.now - span)
    running = (
        f"SELECT created_at, SUM({column}) OVER (ORDER BY created_at) AS total "  # noqa: S608 - ours
        f"FROM orders WHERE {scope.condition}"
    )
    rows = tx.execute(
        f"SELECT created_at FROM ({running}) AS summed "  # noqa: S608 - ours
        f"WHERE total >= ${len(values) + 1} ORDER BY created_at LIMIT 1",
        *values,
        missing,
    )
    freed = float(rows[0]["created_at"]) if rows else tx.now
    again = utc(freed + span).isoformat(timespec="seconds")
    return f"from {again} on, in {_tell_span(freed + span - tx.now)}"


def to_millionths(amount: Decimal) -> int:
    """Give an amount as it is kept: what is less than a millionth counts as one."""
    return int((amount * MILLIONTHS).to_integral_value(ROUND_CEILING))


def _tell_cost(millionths: int, currency: str) -> str:
    return f"{format_amount(Decimal(millionths) / MILLIONTHS)} {currency}"


def _tell_images(count: int) -> str:
    return "1 image was" if count == 1 else f"{count} images were"


def _tell_span(seconds: float) -> str:
    minutes = max(1, math.ceil(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
