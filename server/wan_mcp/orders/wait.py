"""Waiting for an order: bounded, whoever works on it."""

from collections.abc import Callable

import anyio

from wan_mcp.clock import Clock
from wan_mcp.concurrency import wait_first
from wan_mcp.ledger import Ledger, Order
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.progress import Progress
from wan_mcp_tools.domain.errors import LedgerError, NotFoundError
from wan_mcp_tools.domain.next_step import NextAction, NextStep

_FOREIGN_STEP = 0.5
"""Seconds between looks at an order that another process works on."""


async def wait(
    order: Order,
    until: Callable[[Order], bool],
    *,
    seconds: float,
    ledger: Ledger,
    live: LiveOrders,
    clock: Clock,
    progress: Progress | None = None,
) -> Order:
    """Give the order when `until` holds for it, or as it is after `seconds`."""
    ends = clock.monotonic() + seconds
    order = live.latest(order.local_id) or order
    if until(order) or seconds <= 0:
        return order
    with live.waiting(order.local_id) as entry:
        while True:
            changed = entry.changed
            order = await read_newest(order, ledger=ledger, live=live, seconds=ends - clock.monotonic())
            left = ends - clock.monotonic()
            if until(order) or left <= 0:
                return order
            if progress is not None:
                progress.show(order)
            await wait_first(clock, changed.wait, left if entry.order is not None else min(left, _FOREIGN_STEP))


async def read_newest(order: Order, *, ledger: Ledger, live: LiveOrders, seconds: float) -> Order:
    """
    Give an order as it is now; what is known stands where the ledger cannot be read within `seconds`.

    Raises:
        NotFoundError: it is no longer in the ledger.
    """
    latest = live.latest(order.local_id)
    if latest is not None:
        return latest
    found: Order | None = order
    with anyio.move_on_after(max(0.0, seconds)):
        try:
            found = await ledger.orders.get(order.local_id)
            if found is None and order.task_id is not None:
                found = await ledger.orders.get(order.task_id)
        except LedgerError:
            return order
    if found is None:
        raise NotFoundError(
            f"The order {order.best_id} is no longer in the ledger.", next_step=NextStep(NextAction.LIST_KNOWN_TASKS)
        )
    return found
