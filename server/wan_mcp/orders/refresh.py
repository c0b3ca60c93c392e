"""Orders as they are now, for callers who do not wait: what is written down may be some seconds old, or a day."""

import anyio

from wan_mcp.clock import Clock
from wan_mcp.concurrency import wait_first
from wan_mcp.ledger import ImageState, Ledger, Order, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.wait import read_newest
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.worker import OrderWorker
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.tasks import TaskStatus

REFRESH_SECONDS = 1.5
"""For which a caller who does not wait may be kept for a fresher answer."""
SAVE_SECONDS = 10.0
"""For which a caller may be kept for images that are being saved."""
_READ_SECONDS = 0.3
"""For which the ledger may tell how an order stands after that."""


class OrderRefresh:
    """Has the service asked about an order once, by whoever may write down what it says."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, live: LiveOrders, queries: Queries, worker: OrderWorker
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._queries = queries
        self._worker = worker

    async def refresh(self, order: Order, *, seconds: float, within: float = REFRESH_SECONDS) -> Order:
        """
        Have the service asked about an order within some seconds, and give it as it is then.

        A caller who waits for `seconds` is not kept here: it hears of the answer while it waits.
        """
        if order.stage is not Stage.OPEN:
            return order
        told: Order | None = None

        async def ask() -> None:
            nonlocal told
            told = await self._ask_worker(order)

        live = self._live.get(order.local_id)
        if any(image.state is ImageState.UNSAVED for image in order.images):
            changed = live.changed
            self._hurry(order)
            await wait_first(self._clock, changed.wait, max(within, min(seconds, SAVE_SECONDS)))
        elif seconds > 0:
            self._hurry(order)
            return order
        else:
            await wait_first(self._clock, ask, within)
        newest = await read_newest(order, ledger=self._ledger, live=self._live, seconds=_READ_SECONDS)
        return told if told is not None and newest.stage is Stage.OPEN and not newest.images else newest

    async def refresh_inherited(self) -> None:
        """In a process that has just begun, ask about everything that an earlier one has left open."""
        if not self._worker.takes_over:
            return

        async def ask() -> None:
            self._worker.check_ledger()
            await self._worker.has_taken_over.wait()
            async with anyio.create_task_group() as group:
                for order in self._worker.orders():
                    if order.stage is Stage.OPEN and not self._live.get(order.local_id).was_asked:
                        group.start_soon(self._ask_worker, order)

        await wait_first(self._clock, ask, REFRESH_SECONDS)

    def _hurry(self, order: Order) -> None:
        """Let whoever works on the order go on now, or begin to work on it."""
        live = self._live.get(order.local_id)
        if live.is_followed:
            live.wake()
        else:
            self._worker.check_ledger()

    async def _ask_worker(self, order: Order) -> Order | None:
        """Have an order asked about; give it as it is told where only another process may write that down."""
        live = self._live.get(order.local_id)
        if not live.is_followed:
            if not (self._worker.takes_over and order.lease_until <= self._clock.now()):
                return await self._ask_service(order)
            changed = live.changed
            self._hurry(order)
            await changed.wait()
        if not order.images:
            asked = live.asked
            live.wake()
            await asked.wait()
        while True:
            changed, latest = live.changed, live.order
            if latest is None or latest.status is not TaskStatus.SUCCEEDED or lifecycle.is_settled(latest):
                return None
            await changed.wait()

    async def _ask_service(self, order: Order) -> Order | None:
        """Ask about an order that another process works on, and give it as that will write it down."""
        try:
            answer = await self._queries.get_task(order.region, order.task_id or "", images=order.images_ordered)
        except AppError:
            # Then what is known has to do: whoever works on the order tells of its troubles.
            return None
        now = self._clock.now()
        match answer.status:
            case TaskStatus.PENDING | TaskStatus.RUNNING | TaskStatus.SUCCEEDED:
                return lifecycle.running(order, answer.status)
            case TaskStatus.FAILED:
                return lifecycle.failed(order, answer, now=now)
            case TaskStatus.CANCELED:
                return lifecycle.canceled(order, answer, now=now)
            case _:
                return None
