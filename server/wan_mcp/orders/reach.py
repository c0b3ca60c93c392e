"""Which orders this process can work on with the keys that it has."""

from wan_mcp.ledger import Order, Stage
from wan_mcp.orders.accounts import fingerprint
from wan_mcp.orders.outcomes import DAY
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.tasks import Problem


class OutOfReachError(Exception):
    """Raised when an order turns out to need a key that this process lacks: it is left to others."""


class Reach:
    """
    Tells the orders that this process can finish from those that need the key of another process.

    A key may be a new one of the same account, so a task of another key is asked for as well; if the service does
    not know it under ours, it is left to others for a while.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        usable = (access for access in parts.settings.regions.values() if access.base_url and not access.problem)
        self._accounts = {access.region: fingerprint(access.api_key) for access in usable if access.api_key}
        self._left: dict[str, float] = {}

    def covers(self, order: Order) -> bool:
        """Say whether this process can take the order further."""
        if order.local_id in self._left:
            return False
        if order.stage in (Stage.QUEUED, Stage.SENDING) or order.images or order.protocol == WireProtocol.SYNC:
            # What comes next needs no key: the images lie elsewhere.
            return True
        if self._parts.clock.now() > (order.expires_at or order.created_at + DAY):
            return True
        account = self._accounts.get(order.region)
        return account is not None and (order.stage is Stage.OPEN or account == order.account)

    def is_foreign(self, order: Order) -> bool:
        """Say whether the order was placed with another key than the one that its region has here."""
        return self._accounts.get(order.region) != order.account

    def leave(self, order: Order) -> None:
        """Remember for a while that the order is for others."""
        self._left[order.local_id] = self._parts.clock.monotonic() + self._parts.timings.save_again_most

    def come_back(self) -> bool:
        """Forget the orders that were left long enough ago; say whether there were any."""
        now = self._parts.clock.monotonic()
        ripe = [local_id for local_id, moment in self._left.items() if moment <= now]
        for local_id in ripe:
            del self._left[local_id]
        return bool(ripe)

    def lack(self, order: Order) -> Problem | None:
        """Say what this process lacks for an order, if anything."""
        if order.stage is Stage.CLOSED or self.covers(order):
            return None
        access = self._parts.settings.regions.get(order.region)
        if order.region in self._accounts or access is None:
            return Problem(
                "OtherKey",
                f"The order was placed with another key of the region {order.region} than this server has; a server "
                "with that key finishes it.",
            )
        return Problem(
            "MissingKey",
            f"This server has no usable key for the region {order.region}: {access.problem or ''} Set "
            f"{access.key_setting}, and the order is followed again.".replace(":  Set", ". Set"),
        )
