"""Looking at orders now, for callers who do not wait: what is written down may be some seconds old, or a day."""

from dataclasses import replace
from typing import Any

import anyio

from wan_mcp.ledger import ImageState, Order, Stage
from wan_mcp.orders.following import Follower
from wan_mcp.orders.news import wait_first
from wan_mcp.orders.outcomes import CANCELED, closed
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.polling import FAILED
from wan_mcp.orders.views import is_settled
from wan_mcp.orders.waiting import Waiter
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.tasks import TaskStatus

FRESH_LOOK = 1.5
"""Seconds that a caller who does not wait may be kept for a fresher answer."""
SAVING_LOOK = 10.0
"""Seconds that a caller may be kept for images that are being saved."""
_READING = 0.3
"""Seconds that the ledger gets to tell how an order stands after that."""


class Looker:
    """Has the service asked about an order once, by whoever may write down what it says."""

    def __init__(self, parts: Parts, follower: Follower, waiter: Waiter) -> None:
        self._parts = parts
        self._follower = follower
        self._waiter = waiter

    async def freshen(self, order: Order, *, seconds: float, within: float = FRESH_LOOK) -> Order:
        """
        Have the service asked about an order within some seconds, and give it as it is then.

        A caller who waits for `seconds` is not kept here: it hears of the answer while it waits.
        """
        if order.stage is not Stage.OPEN:
            return order
        told: Order | None = None

        async def look() -> None:
            nonlocal told
            told = await self._look(order)

        if any(image.state is ImageState.UNSAVED for image in order.images):
            bell = self._nudge(order)
            await wait_first(self._parts.clock, bell.wait, max(within, min(seconds, SAVING_LOOK)))
        elif seconds > 0:
            self._nudge(order)
            return order
        else:
            await wait_first(self._parts.clock, look, within)
        newest = await self._waiter.newest(order, _READING)
        return told if told is not None and newest.stage is Stage.OPEN and not newest.images else newest

    async def catch_up(self) -> None:
        """In a process that has just begun, look at everything that an earlier one has left open."""
        if not self._follower.is_watching:
            return
        news = self._parts.news

        async def look() -> None:
            self._follower.watcher.look()
            await self._follower.watcher.begun.wait()
            async with anyio.create_task_group() as group:
                for order in self._follower.orders():
                    if order.stage is Stage.OPEN and not news.was_looked_at(order.local_id):
                        group.start_soon(self._look, order)

        await wait_first(self._parts.clock, look, FRESH_LOOK)

    def _nudge(self, order: Order) -> anyio.Event:
        """Let whoever follows the order look at it now, or begin to follow it; the event tells of news."""
        bell = self._parts.news.bell(order.local_id)
        if self._parts.news.is_followed(order.local_id):
            self._parts.news.poke(order.local_id)
        else:
            self._follower.watcher.look()
        return bell

    async def _look(self, order: Order) -> Order | None:
        """Look at an order; give it as it is told where only another process may write that down."""
        news, local_id = self._parts.news, order.local_id
        if not news.is_followed(local_id):
            if not (self._follower.is_watching and order.lease_until <= self._parts.clock.now()):
                return await self._ask(order)
            await self._nudge(order).wait()
        if not order.images:
            looked = news.next_look(local_id)
            news.poke(local_id)
            await looked.wait()
        while True:
            bell, latest = news.bell(local_id), news.latest(local_id)
            if latest is None or latest.status is not TaskStatus.SUCCEEDED or is_settled(latest):
                return None
            await bell.wait()

    async def _ask(self, order: Order) -> Order | None:
        """Ask about an order that another process works on, and give it as that will write it down."""
        try:
            answer = await self._follower.queries.ask(order.region, order.task_id or "")
        except AppError:
            # Then what is known has to do: whoever works on the order tells of its troubles.
            return None
        changes: dict[str, Any]
        match answer.status:
            case TaskStatus.PENDING | TaskStatus.RUNNING | TaskStatus.SUCCEEDED:
                changes = {"status": answer.status}
            case TaskStatus.FAILED:
                changes = closed(answer.problem or FAILED)
            case TaskStatus.CANCELED:
                changes = closed(CANCELED, TaskStatus.CANCELED)
            case _:
                return None
        return replace(order, **changes)
