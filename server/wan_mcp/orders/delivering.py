"""Handing an order over to the caller who asked for it."""

import anyio

from wan_mcp.ledger import Order
from wan_mcp.ledger.liveness import is_gone
from wan_mcp.orders.fetching import Fetcher
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.reach import Reach
from wan_mcp.orders.views import view
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import Problem, Task

_BRIEFLY = 0.5
"""Seconds that an answer waits in line for a locked ledger, to note what is not worth an error."""


class Delivery:
    """Gives orders to callers as tasks, and notes who still waits and what was received."""

    def __init__(self, parts: Parts, fetcher: Fetcher, reach: Reach) -> None:
        self._parts = parts
        self._fetcher = fetcher
        self._reach = reach

    async def hand_over(
        self, order: Order, *, joined: bool = False, elsewhere: bool = False, is_fresh: bool = False
    ) -> Task:
        """Give the order and note that it was received; files that were not saved just now are looked for."""
        gone = {} if is_fresh else await self._fetcher.gone(order)
        task = view(order, joined=joined, elsewhere=elsewhere, trouble=self._trouble(order), gone=gone)
        if task.settled and task.images and order.delivered_at is None:
            try:
                with anyio.move_on_after(_BRIEFLY):
                    await self._parts.ledger.deliver(order.local_id)
            except LedgerError:
                # Not worth an error: the images are there, and the worst is that an equal order finds them again.
                return task
        return task

    async def unwant(self, order: Order) -> None:
        """Note that a call waits for the order no more."""
        try:
            with anyio.move_on_after(_BRIEFLY):
                await self._parts.ledger.unwant(order.local_id)
        except LedgerError:
            # Then the row says for some seconds more that a call waits for it, which ends by itself.
            return

    def _trouble(self, order: Order) -> Problem | None:
        trouble = self._parts.news.trouble_of(order.local_id)
        if trouble is None and self._parts.news.latest(order.local_id) is None and is_gone(order.owner):
            return self._reach.lack(order)
        return trouble
