"""Finishing what is open, without a server: for a person, for cron, and for the keeper."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wan_mcp.ledger import ImageState, Order
from wan_mcp.ledger.liveness import is_gone
from wan_mcp.orders.following import Follower
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.views import is_settled
from wan_mcp_tools.domain.tasks import TaskStatus

_STEP = 0.2
_SAD = (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.SUBMIT_UNKNOWN)
_PATIENCE = 15.0
"""Seconds after which an order that is held up by trouble is left to the next collection."""
_LONGEST = 600.0
"""Seconds that one collection takes at most."""


@dataclass(frozen=True, slots=True)
class CollectSummary:
    """What a collection did: tasks that ended, images saved, tasks still open, and what stands in their way."""

    finished: int
    saved: int
    open: int
    problems: tuple[str, ...]


async def collect(
    parts: Parts, follower: Follower, report: Callable[[str], Awaitable[None]] | None, *, until_idle: bool
) -> CollectSummary:
    """Take over every free order and work on it until it ends or nothing more can be done now."""
    if not await parts.ledger.exists():
        return CollectSummary(0, 0, 0, ())
    started = parts.clock.monotonic()
    seen: dict[str, str] = {}
    first: dict[str, Order] = {}
    while True:
        await follower.watcher.take_over()
        orders = follower.orders()
        await _tell_changes(orders, seen, report)
        waited = parts.clock.monotonic() - started
        if until_idle:
            if not orders and await follower.watcher.is_idle():
                break
            await parts.clock.sleep(parts.timings.look)
            continue
        others = await parts.ledger.elsewhere(parts.owner)
        # A process that is gone still holds its orders until their lease ends; it is worth waiting for.
        orphans = [order for order in others if is_gone(order.owner) and follower.reach.covers(order)]
        # An order that was left with a failure counts as stuck only after it was tried here.
        untried = [order for order in orders if first.setdefault(order.local_id, order) is order]
        stuck = all(_is_stuck(parts, order, waited) for order in orders)
        if waited > _LONGEST or (stuck and not orphans and not untried):
            break
        await parts.clock.sleep(_STEP)
    return await _summary(parts, follower, seen)


def _is_stuck(parts: Parts, order: Order, waited: float) -> bool:
    return is_settled(order) or (waited > _PATIENCE and parts.news.trouble_of(order.local_id) is not None)


async def _tell_changes(
    orders: list[Order], seen: dict[str, str], report: Callable[[str], Awaitable[None]] | None
) -> None:
    for order in orders:
        if seen.get(order.local_id) != order.status:
            seen[order.local_id] = order.status
            if report is not None:
                await report(f"{order.best_id}: {order.status}")


async def _summary(parts: Parts, follower: Follower, seen: dict[str, str]) -> CollectSummary:
    finished = saved = left = 0
    problems: list[str] = []
    for local_id in seen:
        order = parts.news.latest(local_id) or await parts.ledger.get(local_id)
        if order is None:
            continue
        saved += sum(image.state is ImageState.SAVED for image in order.images)
        unsaved = [image for image in order.images if image.state is ImageState.UNSAVED]
        trouble = parts.news.trouble_of(local_id)
        if is_settled(order) and not unsaved:
            finished += 1
            if order.status in _SAD:
                problems.append(f"{order.best_id} ended {order.status}: {order.error_message or ''}".rstrip(": "))
            continue
        left += 1
        problems.extend(f"{order.best_id} image {image.index}: {image.message}" for image in unsaved)
        if trouble is not None:
            problems.append(f"{order.best_id}: {trouble.message}")
    others = await parts.ledger.elsewhere(parts.owner)
    left += len({order.local_id for order in others} - seen.keys())
    lacks = {order.best_id: follower.reach.lack(order) for order in others if is_gone(order.owner)}
    problems.extend(f"{best_id}: {lack.message}" for best_id, lack in lacks.items() if lack is not None)
    return CollectSummary(finished, saved, left, tuple(problems))
