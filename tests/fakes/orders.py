"""Orders in a ledger, with as little said as a test needs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from wan_mcp.ledger import Dispatch, Ledger, Order, OrderLimits, Origin, Placement, RateLimit, Slot, Stage
from wan_mcp.orders import lifecycle
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Quota

LEASE = 30.0
LONGEST_LEASE = 45.0
UNLIMITED = RateLimit("create/unlimited", 1000.0, 1000.0)
"""A rate limit that stops nobody."""
CLOSED = {"stage": Stage.CLOSED, "status": TaskStatus.SUCCEEDED}
FAILED = {"stage": Stage.CLOSED, "status": TaskStatus.FAILED}
LOST = {"stage": Stage.LOST, "status": TaskStatus.SUBMIT_UNKNOWN, "error_code": "AnswerLost", "lost_at": 2.0}

_numbers = itertools.count(1)


def make_request(prompt: str = "a flower shop", **changes) -> ImageRequest:
    return replace(ImageRequest("wan2.6-t2i", "singapore", prompt, "1280*1280"), **changes)


def make_order(**changes) -> Order:
    """Make an order that is about to be placed and unlike every other one, but for what is given."""
    # Of one width, so that the ids of orders of one moment sort as they were made.
    number = f"{next(_numbers):06}"
    order = Order(
        local_id=f"local-{number}",
        origin=Origin.ORDERED,
        region="singapore",
        account="account",
        stage=Stage.QUEUED,
        status=TaskStatus.PENDING,
        created_at=0.0,
        model="wan2.6-t2i",
        wire_model="wan2.6-t2i",
        protocol="async",
        request=make_request(),
        fingerprint=f"request {number}",
        images_ordered=1,
        folder="/pictures",
        worker_id="me",
        awaited_by=changes.get("worker_id", "me"),
    )
    return replace(order, **changes)


def make_found(task_id: str, **changes) -> Order:
    """Make an order of a task that only the service knew."""
    order = Order(
        local_id=f"local-of-{task_id}",
        task_id=task_id,
        origin=Origin.ADOPTED,
        region="singapore",
        account="account",
        stage=Stage.OPEN,
        status=TaskStatus.RUNNING,
        created_at=1.0,
    )
    return replace(order, **changes)


def begin(order: Order) -> Order:
    """Make an order as it is when its creating request leaves."""
    return replace(order, stage=Stage.SENDING)


async def place(
    ledger: Ledger,
    *,
    daily_limit: int = 0,
    limits: OrderLimits | None = None,
    recent: Mapping[str, int] | None = None,
    deduplicate: bool = True,
    lease: float = LEASE,
    **changes,
) -> Placement:
    """Place an order; give what became of it."""
    return await ledger.orders.place(
        make_order(**changes),
        lease=lease,
        limits=limits or OrderLimits(Quota(daily_images=daily_limit)),
        recent=recent or {},
        deduplicate=deduplicate,
    )


async def placed(ledger: Ledger, **changes) -> Order:
    """Place an order; give its row."""
    return (await place(ledger, **changes)).order


async def sent(ledger: Ledger, *, slot: Slot | None = None, **changes) -> Order:
    """Place an order and begin to send it."""
    order = await placed(ledger, **changes)
    begun = await ledger.orders.begin_sending(order, begin(order), Dispatch(slot, UNLIMITED))
    assert isinstance(begun, Order)
    return begun


async def accept(
    ledger: Ledger, order: Order, task_id: str | None = "task", *, slot: Slot | None = None, **changes
) -> Order:
    """Record the service's answer to an order."""
    answer = {"stage": Stage.OPEN, "status": TaskStatus.PENDING, "accepted_at": 1.0, "task_id": task_id}
    answered = replace(order, **answer | {"error_code": None, "error_message": None} | changes)
    return await ledger.orders.accept(order, answered, slot=slot, displace=lifecycle.displaced)


async def accepted(ledger: Ledger, task_id: str = "task", **changes) -> Order:
    """Place an order that the service has given a task."""
    return await accept(ledger, await sent(ledger, **changes), task_id)


async def save(ledger: Ledger, order: Order, *, slot: Slot | None = None, **changes) -> Order | None:
    """Change an order as whoever holds its lease."""
    return await ledger.orders.save(order, replace(order, **changes), slot=slot)


async def take_over(ledger: Ledger, worker_id: str = "other", *, limit: int = 10) -> Sequence[Order]:
    """Claim what is free."""
    return await ledger.leases.claim(worker_id, lease=LEASE, limit=limit, longest_lease=LONGEST_LEASE)


async def claim(ledger: Ledger, worker_id: str = "other", *, limit: int = 10) -> list[str]:
    """Claim what is free; give the local ids."""
    return [order.local_id for order in await take_over(ledger, worker_id, limit=limit)]


async def list_ids(ledger: Ledger) -> list[str]:
    """Give the local ids of all orders, newest first."""
    orders = await ledger.search.list_orders(status=None, limit=1000, before=None)
    return [order.local_id for order in orders]
