"""From an id that a caller gives to the order behind it."""

from wan_mcp.dashscope import is_task_id
from wan_mcp.ledger import Order
from wan_mcp.orders.discovering import Discoverer
from wan_mcp.orders.following import Follower
from wan_mcp.orders.ids import is_local_id
from wan_mcp.orders.looking import FRESH_LOOK
from wan_mcp.orders.news import wait_first
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError

_USE = "Use the task_id of an earlier answer, or list_tasks."


class Finder:
    """Finds orders in the ledger, and tasks that only the service knows."""

    def __init__(self, parts: Parts, discoverer: Discoverer, follower: Follower) -> None:
        self._parts = parts
        self._discoverer = discoverer
        self._follower = follower

    async def find(self, task_id: str, *, seconds: float) -> Order:
        """
        Find an order by its id or the service's; the service is asked for at most `seconds`.

        Raises:
            NotFoundError: nobody knows the id.
            RequestRefusedError: it is empty.
        """
        task_id = task_id.strip()
        if not task_id:
            raise RequestRefusedError("The task id is empty.", _USE)
        if not is_task_id(task_id):
            raise RequestRefusedError(f"{task_id[:60]!r} is not a task id.", _USE)
        order = await self.peek(task_id)
        if order is not None:
            return order
        if is_local_id(task_id):
            raise NotFoundError(
                f"No order {task_id} is in this ledger.", "Use list_tasks to see those that are.", code="TaskNotFound"
            )
        ends = self._parts.clock.monotonic() + seconds
        order = await self._discoverer.by_id(task_id, seconds=seconds)
        bell = self._parts.news.bell(order.local_id)
        self._follower.watcher.look()
        await wait_first(self._parts.clock, bell.wait, min(FRESH_LOOK, ends - self._parts.clock.monotonic()))
        return self._parts.news.latest(order.local_id) or order

    async def peek(self, any_id: str) -> Order | None:
        """Give what is known here of an order, without asking anybody."""
        followed = self._parts.news.find(any_id.strip())
        if followed is not None:
            # Known for certain, even while the ledger is locked or gone.
            return followed
        if not await self._parts.ledger.exists():
            return None
        order = await self._parts.ledger.get(any_id.strip())
        return order and (self._parts.news.latest(order.local_id) or order)
