"""Orders and images as their callers get them: with paths or with links, and noted as received."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

import anyio

from wan_mcp.ledger import Ledger, Order
from wan_mcp.ledger.leases import is_gone
from wan_mcp.orders.files.images import OrderImages
from wan_mcp.orders.live_orders import LiveOrders, LiveProblem
from wan_mcp.orders.presentation import hide_path, hide_paths, to_task
from wan_mcp.orders.worker.eligibility import OrderEligibility
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.principals import Principal
from wan_mcp_tools.domain.tasks import FailedImage, SavedImage, Task

if TYPE_CHECKING:
    from wan_mcp.orders.files.links import ImageLinkSigner

_BRIEFLY = 0.5
"""Seconds that an answer waits in line for a locked ledger, to note what is not worth an error."""


class Delivery:
    """
    Gives orders and images to callers, and notes in the ledger what they have received.

    Whoever shares the disk is told paths; everybody else gets links, or where `links` is None, names alone.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        live: LiveOrders,
        images: OrderImages,
        eligibility: OrderEligibility,
        links: "ImageLinkSigner | None",
    ) -> None:
        self._ledger = ledger
        self._live = live
        self._images = images
        self._eligibility = eligibility
        self._links = links

    async def deliver(
        self,
        order: Order,
        caller: Principal,
        *,
        deduplicated: bool = False,
        saved_elsewhere: bool = False,
        is_just_saved: bool = False,
    ) -> Task:
        """Give an order to a caller and note that it was delivered; files not saved just now are looked for."""
        gone: dict[int, FailedImage] = {}
        if not is_just_saved:
            order, gone = await self._images.find_files(order)
        task = to_task(
            order,
            deduplicated=deduplicated,
            saved_elsewhere=saved_elsewhere,
            live_problem=self._find_problem(order),
            gone=gone,
        )
        if is_callers(order, caller) and task.settled and task.images and order.delivered_at is None:
            # Not worth an error: the images are there, and the worst is that an equal order finds them again.
            await self._note(self._ledger.orders.mark_delivered(order.local_id))
        return await self.show_task(task, order, caller)

    async def show_task(self, task: Task, order: Order, caller: Principal) -> Task:
        """Give a task as its caller is told of it."""
        if caller.is_local:
            return task
        return await self._links.link_task(task, order) if self._links else hide_paths(task)

    async def show_image(self, saved: SavedImage, order: Order | None, caller: Principal) -> SavedImage:
        """Give an image as its caller is told of it; without an order it is the caller's own."""
        if caller.is_local:
            return saved
        if self._links is None:
            return hide_path(saved)
        return await self._links.link_saved(saved, order, owner=caller.id if order is None else order.principal)

    async def stop_waiting(self, order: Order) -> None:
        """Note that a call waits for the order no more; without this the row says so for some seconds."""
        await self._note(self._ledger.orders.stop_waiting(order.local_id))

    async def _note(self, write: Awaitable[None]) -> None:
        """Write what is not worth an error or a long wait."""
        try:
            with anyio.move_on_after(_BRIEFLY):
                await write
        except LedgerError:
            return

    def _find_problem(self, order: Order) -> LiveProblem | None:
        problem = self._live.problem_of(order.local_id)
        if problem is None and self._live.latest(order.local_id) is None and is_gone(order.worker_id):
            return self._eligibility.find_missing_key(order)
        return problem


def is_callers(order: Order, caller: Principal) -> bool:
    """Say whether a caller has placed an order: who looks after others does not receive their images for them."""
    return order.principal == caller.id
