"""Waiting for an order: bounded, whoever follows it."""

from collections.abc import Callable

import anyio

from wan_mcp.ledger import Order
from wan_mcp.orders.news import wait_first
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.progress import Progress
from wan_mcp_tools.domain.errors import LedgerError, NotFoundError

_FOREIGN_LOOK = 0.5
"""Seconds between looks at an order that another process follows."""


class Waiter:
    """Waits for orders on behalf of calls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def wait(
        self,
        order: Order,
        until: Callable[[Order], bool],
        *,
        seconds: float,
        progress: Progress,
    ) -> Order:
        """Give the order when `until` holds for it, or as it is after `seconds`."""
        clock = self._parts.clock
        ends = clock.monotonic() + seconds
        order = self._parts.news.latest(order.local_id) or order
        if until(order) or seconds <= 0:
            return order
        with self._parts.news.waiting(order.local_id):
            while True:
                bell = self._parts.news.bell(order.local_id)
                order = await self.newest(order, ends - clock.monotonic())
                left = ends - clock.monotonic()
                if until(order) or left <= 0:
                    return order
                progress.show(order)
                followed_here = self._parts.news.latest(order.local_id) is not None
                await wait_first(clock, bell.wait, left if followed_here else min(left, _FOREIGN_LOOK))

    async def newest(self, order: Order, seconds: float) -> Order:
        """Give the order as it is now; what is known stands where the ledger cannot be read within `seconds`."""
        latest = self._parts.news.latest(order.local_id)
        if latest is not None:
            return latest
        found: Order | None = order
        with anyio.move_on_after(max(0.0, seconds)):
            try:
                found = await self._parts.ledger.get(order.local_id)
                if found is None and order.task_id is not None:
                    found = await self._parts.ledger.get(order.task_id)
            except LedgerError:
                return order
        if found is None:
            raise NotFoundError(f"The order {order.best_id} is no longer in the ledger.", "Use list_tasks.")
        return found
