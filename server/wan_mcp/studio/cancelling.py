"""Cancelling: only what has not begun."""

from wan_mcp.ledger import OrderRecord, Stage
from wan_mcp.studio.parts import Parts
from wan_mcp.studio.queries import Queries
from wan_mcp_tools.shared.errors import NotCancelableError
from wan_mcp_tools.shared.tasks import Problem, TaskStatus

UNSENT = Problem("Canceled", "The order was cancelled before it was sent. Nothing is charged.")
DONE = Problem("Canceled", "The task was cancelled before it began. It is not charged.")


class Canceler:
    """Cancels orders that stand in line here, and tasks that are PENDING at the service."""

    def __init__(self, parts: Parts, queries: Queries) -> None:
        self._parts = parts
        self._queries = queries

    async def cancel(self, order: OrderRecord) -> OrderRecord:
        """
        Cancel an order.

        Raises:
            NotCancelableError: it has begun or ended, or nobody knows its task.
        """
        if order.stage is Stage.QUEUED:
            cancelled = await self._close(order, UNSENT, Stage.QUEUED)
            if cancelled is not None:
                return cancelled
            order = await self._parts.ledger.get(order.local_id) or order
        if order.stage is not Stage.OPEN or order.status.is_final or order.task_id is None:
            raise NotCancelableError(_too_late(order), f"Call get_task with task_id={order.best_id}.", code="TooLate")
        try:
            await self._queries.cancel(order.region, order.task_id)
        except NotCancelableError as error:
            self._parts.news.poke(order.local_id)
            raise NotCancelableError(
                f"The task {order.task_id} has begun, and only a PENDING task can be cancelled. It will be finished, "
                "charged and saved.",
                f"Call get_task with task_id={order.task_id} to collect it.",
                code=error.code,
            ) from error
        return await self._close(order, DONE, Stage.OPEN) or order

    async def _close(self, order: OrderRecord, problem: Problem, stage: Stage) -> OrderRecord | None:
        changes = {
            "stage": Stage.CLOSED,
            "status": TaskStatus.CANCELED,
            "error_code": problem.code,
            "error_message": problem.message,
        }
        closed = await self._parts.ledger.override(order.local_id, changes, stages=(stage,))
        if closed is not None and self._parts.news.latest(order.local_id) is not None:
            self._parts.news.publish(closed)
        return closed


def _too_late(order: OrderRecord) -> str:
    if order.stage is Stage.SENDING:
        return f"The order {order.local_id} is being sent and cannot be cancelled at this moment."
    if order.stage is Stage.LOST:
        return f"The answer to the order {order.local_id} was lost; it is being looked for and cannot be cancelled."
    return f"The task {order.best_id} is {order.status}; only a PENDING task can be cancelled."
