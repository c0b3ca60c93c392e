"""Cancelling: only what has not begun."""

from collections.abc import Awaitable, Callable

from wan_mcp.clock import Clock
from wan_mcp.ledger import ImageState, Ledger, Order, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import NO_OBSERVERS, Observers
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.wait import wait
from wan_mcp.orders.worker.queries import Queries
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import ErrorCode, NotCancelableError
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.tasks import TaskStatus

Refresh = Callable[[Order], Awaitable[Order]]
"""Has the service asked about an order now."""


async def cancel(
    order: Order,
    *,
    ledger: Ledger,
    clock: Clock,
    live: LiveOrders,
    queries: Queries,
    refresh: Refresh,
    answer_seconds: float,
    observers: Observers = NO_OBSERVERS,
) -> Order:
    """
    Cancel an order; one that is just being sent as soon as the service has answered, within `answer_seconds`.

    One that is cancelled already is given as it is.

    Raises:
        NotCancelableError: it has begun or ended, or nobody knows its task.
    """
    while order.stage in (Stage.QUEUED, Stage.SENDING):
        if order.stage is Stage.SENDING:
            if order.protocol == WireProtocol.SYNC:
                raise _explain_too_late(order)
            order = await wait(order, _is_sent, seconds=answer_seconds, ledger=ledger, live=live, clock=clock)
            if not _is_sent(order):
                raise _explain_too_late(order)
            continue
        cancelled = await _close(order, Stage.QUEUED, ledger, clock, live, observers=observers)
        if cancelled is not None:
            return cancelled
        order = await ledger.orders.get(order.local_id) or order
    if order.status is TaskStatus.CANCELED:
        return order
    if order.stage is not Stage.OPEN or order.status.is_final or order.task_id is None:
        raise _explain_too_late(order)
    try:
        await queries.cancel_task(order.region, order.task_id)
    except NotCancelableError as error:
        # What the refusal says of the task is written down, so that no later answer calls it PENDING.
        order = await refresh(order)
        if order.status is TaskStatus.CANCELED:
            return order
        raise _explain_refusal(order, error) from error
    cancelled = await _close(order, Stage.OPEN, ledger, clock, live, observers=observers)
    # Its worker may have heard it from the service before us: it is cancelled all the same.
    return cancelled or lifecycle.canceled_here(order, now=clock.now())


async def _close(
    order: Order, stage: Stage, ledger: Ledger, clock: Clock, live: LiveOrders, *, observers: Observers
) -> Order | None:
    ended = await ledger.orders.close(lifecycle.canceled_here(order, now=clock.now()), stages=(stage,))
    if ended is not None:
        observers.tell_change(order, ended)
    if ended is not None and live.latest(order.local_id) is not None:
        live.get(order.local_id).publish(ended)
    return ended


def _is_sent(order: Order) -> bool:
    return order.stage is not Stage.SENDING


def _explain_refusal(order: Order, error: NotCancelableError) -> NotCancelableError:
    if order.status.is_final:
        return _explain_too_late(order)
    return NotCancelableError(
        f"The task {order.task_id} has begun, and only a PENDING task can be cancelled. "
        f"It will be finished{_tell_charge(order)} and saved.",
        code=error.code,
        next_step=NextStep(NextAction.GET_TASK_TO_COLLECT, task_id=order.task_id),
    )


def _explain_too_late(order: Order) -> NotCancelableError:
    message = _tell_end(order)
    step = NextStep(NextAction.GET_TASK, task_id=order.best_id)
    can_help = False
    if order.stage is Stage.SENDING and order.protocol == WireProtocol.SYNC:
        message = (
            f"The order {order.local_id} is being made by the synchronous protocol, which knows no cancelling. "
            f"It will be finished{_tell_charge(order)} and saved."
        )
    elif order.stage is Stage.SENDING:
        message = f"The order {order.local_id} is being sent and cannot be cancelled at this moment."
        step = NextStep(NextAction.CANCEL_AGAIN, task_id=order.best_id)
        can_help = True
    elif order.stage is Stage.LOST:
        message = f"The answer to the order {order.local_id} was lost; it is looked for and cannot be cancelled."
    return NotCancelableError(message, code=ErrorCode.TOO_LATE, next_step=step, retryable=can_help)


def _tell_end(order: Order) -> str:
    ended = f"The task {order.best_id} is {order.status}"
    facts = [] if order.status is not TaskStatus.SUCCEEDED or _is_free(order) else ["was charged"]
    if order.images and all(image.state is ImageState.SAVED for image in order.images):
        facts.append("is saved")
    return f"{ended}{': it ' + ' and '.join(facts) if facts else ''}; there is nothing to cancel."


def _tell_charge(order: Order) -> str:
    return "" if _is_free(order) else ", charged"


def _is_free(order: Order) -> bool:
    return order.region == SANDBOX.name
