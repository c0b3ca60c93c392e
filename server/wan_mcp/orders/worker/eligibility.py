"""Which orders this process can work on with the keys that it has."""

from collections.abc import Mapping

from wan_mcp.clock import Clock
from wan_mcp.ledger import DAY, Eligibility, Order, Stage
from wan_mcp.orders.live_orders import LiveProblem
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import ErrorCode


class NotEligibleError(Exception):
    """Raised when an order turns out to need a key that this process lacks: it is left to others."""


class OrderEligibility:
    """
    Tells the orders that this process can finish from those that need the key of another process.

    A key may be a new one of the same account, so a task of another key is asked for as well; if the service does
    not know it under ours, it is left to others for `exclusion_seconds`.
    """

    def __init__(self, regions: Mapping[str, RegionAccess], clock: Clock, *, exclusion_seconds: float) -> None:
        self._regions = regions
        self._clock = clock
        self._exclusion_seconds = exclusion_seconds
        usable = (access for access in regions.values() if access.base_url and not access.problem)
        self._accounts = {access.region: access.account for access in usable if access.api_key}
        self._excluded_until: dict[str, float] = {}

    def describe(self) -> Eligibility:
        """Give what selects the eligible orders in the ledger."""
        return Eligibility(self._accounts, frozenset(self._excluded_until))

    def covers(self, order: Order) -> bool:
        """Say whether this process can take the order further: the same as `describe` selects."""
        if order.local_id in self._excluded_until:
            return False
        if order.stage in (Stage.QUEUED, Stage.SENDING) or order.images or order.protocol == WireProtocol.SYNC:
            # What comes next needs no key: the images lie elsewhere.
            return True
        if self._clock.now() > (order.expires_at or order.created_at + DAY):
            return True
        account = self._accounts.get(order.region)
        return account is not None and (order.stage is Stage.OPEN or account == order.account)

    def is_foreign(self, order: Order) -> bool:
        """Say whether the order was placed with another key than the one that its region has here."""
        return self._accounts.get(order.region) != order.account

    def exclude(self, order: Order) -> None:
        """Leave an order to others for a while."""
        self._excluded_until[order.local_id] = self._clock.monotonic() + self._exclusion_seconds

    def readmit(self) -> bool:
        """Take back the orders that were left to others long enough; say whether there were any."""
        now = self._clock.monotonic()
        over = [local_id for local_id, moment in self._excluded_until.items() if moment <= now]
        for local_id in over:
            del self._excluded_until[local_id]
        return bool(over)

    def find_missing_key(self, order: Order) -> LiveProblem | None:
        """Say which key this process lacks for an order, if any."""
        if order.stage is Stage.CLOSED or self.covers(order):
            return None
        access = self._regions.get(order.region)
        if order.region in self._accounts or access is None:
            return LiveProblem(
                ErrorCode.OTHER_KEY,
                f"The order was placed with another key of the region {order.region} than this server has; a server "
                "with that key finishes it.",
                is_retried=False,
            )
        why = f": {access.problem}" if access.problem else "."
        return LiveProblem(
            ErrorCode.MISSING_KEY,
            f"This server has no usable key for the region {order.region}{why} Set {access.key_setting}, and the "
            "order is followed again.",
            is_retried=False,
        )
