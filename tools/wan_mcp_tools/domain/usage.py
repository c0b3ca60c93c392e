"""How much a principal may order, and how much it has ordered."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal

from wan_mcp_tools.domain.record import Record

Amounts = Mapping[str, Decimal]
"""Amounts by their currency: one is never added to another."""


class Quota(Record):
    """
    How much may be ordered; nought and nothing are no limit.

    `daily_images` and `daily_cost` are of the last 24 hours, `monthly_cost` is of the last 30 days. A limit of costs
    has an amount for each currency that may be ordered in. `open_orders` may go on at once.
    """

    daily_images: int = 0
    daily_cost: Amounts = field(default_factory=dict[str, Decimal])
    monthly_cost: Amounts = field(default_factory=dict[str, Decimal])
    open_orders: int = 0


class Use(Record):
    """
    How much was ordered, as it counts for a quota; costs are the most that orders may cost by the catalogue.

    `frees_at` is when the oldest order of the last 24 hours counts no more for these.
    """

    daily_images: int = 0
    daily_cost: Amounts = field(default_factory=dict[str, Decimal])
    monthly_cost: Amounts = field(default_factory=dict[str, Decimal])
    open_orders: int = 0
    frees_at: datetime | None = None


class UsageReport(Record):
    """
    What a principal has ordered and may order.

    `quota` is each principal's own, `server_quota` that of all together. For whoever sees everybody's orders
    `server_use` is the use of all together, and `others` has that of every principal of the last 30 days.
    """

    principal: str
    use: Use
    quota: Quota
    server_quota: Quota
    calls_per_minute: int = 0
    server_use: Use | None = None
    others: Mapping[str, Use] = field(default_factory=dict[str, Use])
