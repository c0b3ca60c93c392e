"""Cancelling: only what has not begun."""

from dataclasses import replace
from typing import Any

from wan_mcp.ledger import ImageState, Order, Stage
from wan_mcp.orders.looking import Looker
from wan_mcp.orders.outcomes import CANCELED, closed
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.progress import Progress
from wan_mcp.orders.queries import Queries
from wan_mcp.orders.waiting import Waiter
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import NotCancelableError
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

UNSENT = Problem("Canceled", "The order was cancelled before it was sent. Nothing is charged.")

_ANSWERING = 10.0
"""Seconds that the service gets to take an order which is just being sent, so that it can be cancelled then."""


class Canceler:
    """Cancels orders that stand in line here, and tasks that are PENDING at the service."""

    def __init__(self, parts: Parts, queries: Queries, waiter: Waiter, looker: Looker) -> None:
        self._parts = parts
        self._queries = queries
        self._waiter = waiter
        self._looker = looker

    async def cancel(self, order: Order) -> Order:
        """
        Cancel an order; one that is just being sent as soon as the service has answered.

        Raises:
            NotCancelableError: it has begun or ended, or nobody knows its task.
        """
        while order.stage in (Stage.QUEUED, Stage.SENDING):
            if order.stage is Stage.SENDING:
                order = await self._answered(order)
                continue
            cancelled = await self._close(order, UNSENT, Stage.QUEUED)
            if cancelled is not None:
                return cancelled
            order = await self._parts.ledger.get(order.local_id) or order
        if order.stage is not Stage.OPEN or order.status.is_final or order.task_id is None:
            raise _too_late(order)
        try:
            await self._queries.cancel(order.region, order.task_id)
        except NotCancelableError as error:
            # What the refusal says of the task is written down, so that no later answer calls it PENDING.
            order = await self._looker.freshen(order, seconds=0)
            if order.status.is_final:
                raise _too_late(order) from error
            raise NotCancelableError(
                f"The task {order.task_id} has begun, and only a PENDING task can be cancelled. "
                f"It will be finished{_charged(order)} and saved.",
                f"Call get_task with task_id={order.task_id} to collect it.",
                code=error.code,
            ) from error
        cancelled = await self._close(order, CANCELED, Stage.OPEN)
        # Its follower may have heard it from the service before us: it is cancelled all the same.
        return cancelled or replace(order, **self._changes(CANCELED))

    async def _answered(self, order: Order) -> Order:
        """
        Give an order that was being sent as it is afterwards.

        Raises:
            NotCancelableError: it is still being sent, or its answer will be the picture.
        """
        if order.protocol == WireProtocol.SYNC:
            raise _too_late(order)
        seconds = min(_ANSWERING, self._parts.settings.wait_seconds / 2)
        silent = Progress(self._parts, None, "")
        order = await self._waiter.wait(order, _is_sent, seconds=seconds, progress=silent)
        if not _is_sent(order):
            raise _too_late(order)
        return order

    async def _close(self, order: Order, problem: Problem, stage: Stage) -> Order | None:
        changes = self._changes(problem)
        ended = await self._parts.ledger.override(order.local_id, changes, stages=(stage,))
        if ended is not None and self._parts.news.latest(order.local_id) is not None:
            self._parts.news.publish(ended)
        return ended

    def _changes(self, problem: Problem) -> dict[str, Any]:
        return {**closed(problem, TaskStatus.CANCELED), "finished_at": self._parts.clock.now()}


def _tell_end(order: Order) -> str:
    ended = f"The task {order.best_id} is {order.status}"
    facts = [] if order.status is not TaskStatus.SUCCEEDED or _is_free(order) else ["was charged"]
    if order.images and all(image.state is ImageState.SAVED for image in order.images):
        facts.append("is saved")
    return f"{ended}{': it ' + ' and '.join(facts) if facts else ''}; there is nothing to cancel."


def _charged(order: Order) -> str:
    return "" if _is_free(order) else ", charged"


def _is_free(order: Order) -> bool:
    return order.region == SANDBOX.name


def _is_sent(order: Order) -> bool:
    return order.stage is not Stage.SENDING


def _too_late(order: Order) -> NotCancelableError:
    message = _tell_end(order)
    advice = f"Call get_task with task_id={order.best_id}."
    can_help = False
    if order.stage is Stage.SENDING and order.protocol == WireProtocol.SYNC:
        message = (
            f"The order {order.local_id} is being made by the synchronous protocol, which knows no cancelling. "
            f"It will be finished{_charged(order)} and saved."
        )
    elif order.stage is Stage.SENDING:
        message = f"The order {order.local_id} is being sent and cannot be cancelled at this moment."
        advice = "Call cancel_task again in a moment."
        can_help = True
    elif order.stage is Stage.LOST:
        message = f"The answer to the order {order.local_id} was lost; it is looked for and cannot be cancelled."
    error = NotCancelableError(message, advice, code="TooLate")
    error.retryable = can_help
    return error
