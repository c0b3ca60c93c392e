"""Orders as a service would write them down, with as little said as a test needs."""

import itertools

from wan_mcp.ledger import Dispatch, Limit, NewOrder, Order, SqliteLedger, Stage
from wan_mcp_tools.domain.tasks import TaskStatus

OPEN = {"stage": Stage.OPEN, "status": TaskStatus.PENDING, "accepted_at": 1.0}
"""What the service's answer changes."""
LEASE = 30.0
LONGEST = 45.0
EASY = Limit("create/easy", 1000.0, 1000.0)
"""A limit that stops nobody."""

_numbers = itertools.count(1)


def new_order(**words) -> NewOrder:
    """Describe an order that is unlike every other one, but for what is given."""
    name = f"{next(_numbers)}"
    values = {
        "local_id": f"local-{name}",
        "region": "singapore",
        "account": "account",
        "model": "wan2.6-t2i",
        "wire_model": "wan2.6-t2i",
        "protocol": "async",
        "request": '{"prompt": "a flower shop"}',
        "fingerprint": f"request {name}",
        "images": 1,
        "folder": "/pictures",
    }
    return NewOrder(**(values | words))


async def place(
    ledger: SqliteLedger, *, owner="me", wanted_until=0.0, daily_limit=0, join=True, lease=LEASE, **words
):
    """Write an order down; give what became of it."""
    return await ledger.place(
        new_order(**words),
        owner=owner,
        lease=lease,
        wanted_until=wanted_until,
        daily_limit=daily_limit,
        join=join,
    )


async def placed(ledger: SqliteLedger, **words) -> Order:
    """Write an order down; give its row."""
    return (await place(ledger, **words)).order


async def sent(ledger: SqliteLedger, *, slot=None, **words) -> Order:
    """Write an order down and mark it as sent."""
    order = await placed(ledger, **words)
    begun = await ledger.begin_sending(order, Dispatch(slot, EASY, None))
    assert isinstance(begun, Order)
    return begun


async def accepted(ledger: SqliteLedger, task_id: str, **words) -> Order:
    """Write down an order that the service has named."""
    order = await sent(ledger, **words)
    return await ledger.accept(order.local_id, task_id, slot=None, changes=OPEN, held=order)


async def claim(ledger: SqliteLedger, owner="other", *, limit=10):
    """Take what is free; give the local ids."""
    claimed = await ledger.claim(owner, lease=LEASE, limit=limit, longest_lease=LONGEST)
    return [order.local_id for order in claimed]
