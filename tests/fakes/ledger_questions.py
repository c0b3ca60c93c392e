"""What calls, pages and polls ask of a ledger; `order` is any that is in it."""

from dataclasses import replace
from decimal import Decimal

from wan_mcp.ledger import DAY, Eligibility, OrderLimits
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Quota

NEVER = "never-ordered"
"""An id, a model and a region that no order has."""
QUOTA = Quota(1_000_000, {"USD": Decimal(10)}, {"USD": Decimal(100)}, 5)
LIMITS = OrderLimits(QUOTA, QUOTA)


def scan(ledger, **query):
    return ledger.search.find_orders(OrderQuery(**query), limit=50, before=None)


def count(ledger, **query):
    return ledger.totals.count_orders(OrderQuery(**query))


QUESTIONS = {
    "an order by any id": lambda ledger, order: ledger.orders.get(order.task_id),
    "an id that is none": lambda ledger, _: ledger.orders.get(NEVER),
    "the beginning of an id": lambda ledger, order: ledger.orders.find_by_beginning(order.task_id[:7], limit=10),
    "known ids": lambda ledger, order: ledger.orders.find_known([order.task_id, NEVER]),
    "unanswered orders": lambda ledger, order: ledger.orders.list_unanswered(order.region, order.wire_model),
    "durations": lambda ledger, order: ledger.reports.list_durations(order.region, order.model, 1),
    "durations of a kind never ordered": lambda ledger, order: ledger.reports.list_durations(order.region, NEVER, 3),
    "a page": lambda ledger, _: ledger.search.list_orders(status=None, limit=50, before=None),
    "a later page": lambda ledger, order: ledger.search.list_orders(
        status=None, limit=50, before=(order.created_at, order.local_id)
    ),
    "a status that nothing has": lambda ledger, _: ledger.search.list_orders(
        status=TaskStatus.RUNNING, limit=50, before=None
    ),
    "a model never ordered": lambda ledger, _: scan(ledger, model=NEVER),
    "a region never ordered in": lambda ledger, _: scan(ledger, region=NEVER),
    "what goes on": lambda ledger, _: scan(ledger, state=OrderState.OPEN),
    "what goes on of a model": lambda ledger, order: scan(ledger, state=OrderState.OPEN, model=order.model),
    "what failed": lambda ledger, _: scan(ledger, state=OrderState.FAILED),
    "what was canceled": lambda ledger, _: scan(ledger, state=OrderState.CANCELED),
    "what was saved": lambda ledger, _: scan(ledger, state=OrderState.SAVED),
    "what ended": lambda ledger, _: scan(ledger, state=OrderState.ENDED),
    "all numbers": lambda ledger, _: count(ledger),
    "numbers of a state": lambda ledger, order: count(ledger, state=OrderState.FAILED, model=order.model),
    "the images of a day": lambda ledger, order: ledger.reports.count_images_since(order.created_at),
    "the first order": lambda ledger, _: ledger.reports.find_first_order(),
    "what is free": lambda ledger, order: ledger.leases.claim(
        "host/1/a", lease=30, limit=9, longest_lease=60, eligibility=Eligibility({order.region: order.account})
    ),
    "the next end of a lease": lambda ledger, order: ledger.leases.find_next_end(
        "host/1/a", Eligibility({order.region: order.account})
    ),
    "open tasks": lambda ledger, order: ledger.leases.list_open_tasks(order.region),
    "what is unfinished": lambda ledger, _: ledger.leases.measure_backlog(),
    "a worker's leases": lambda ledger, _: ledger.leases.renew("host/1/a", lease=30),
    "a place for an order": lambda ledger, order: ledger.orders.place(
        replace(order, local_id="local-new", task_id=None), lease=30, limits=LIMITS, deduplicate=True
    ),
    "a principal's place for an order": lambda ledger, order: ledger.orders.place(
        replace(order, local_id="local-own", task_id=None, principal="ada"), lease=30, limits=LIMITS, deduplicate=True
    ),
    "the use of all": lambda ledger, _: ledger.quotas.read_use(None),
    "the use of a principal": lambda ledger, _: ledger.quotas.read_use("ada"),
    "uploads that orders wait with": lambda ledger, _: ledger.uploads.find_awaited(),
    "who has ordered": lambda ledger, _: ledger.quotas.list_principals(),
}


def scan_own(ledger, **query):
    return ledger.search.find_orders(OrderQuery(**query), limit=50, before=None, principal="ada")


def count_own(ledger, **query):
    return ledger.totals.count_own_orders(OrderQuery(**query), "ada")


OWN_QUESTIONS = {
    "a page": lambda ledger, _: ledger.search.list_orders(status=None, limit=50, before=None, principal="ada"),
    "a later page": lambda ledger, order: ledger.search.list_orders(
        status=None, limit=50, before=(order.created_at, order.local_id), principal="ada"
    ),
    "a status": lambda ledger, _: ledger.search.list_orders(
        status=TaskStatus.SUCCEEDED, limit=50, before=None, principal="ada"
    ),
    "a model": lambda ledger, order: scan_own(ledger, model=order.model),
    "a region": lambda ledger, order: scan_own(ledger, region=order.region),
    "words": lambda ledger, _: scan_own(ledger, text="flower"),
    **{
        f"what is {state.value}": lambda ledger, _, state=state: scan_own(ledger, state=state) for state in OrderState
    },
    "all numbers": lambda ledger, _: count_own(ledger),
    "numbers of a state and a model": lambda ledger, order: count_own(
        ledger, state=OrderState.FAILED, model=order.model
    ),
    "the beginning of an id": lambda ledger, order: ledger.orders.find_by_beginning(
        order.task_id[:7], limit=10, principal="ada"
    ),
    "the first order": lambda ledger, _: ledger.reports.find_first_order(principal="ada"),
    "the images of a day": lambda ledger, order: ledger.reports.count_images(
        [(None, order.created_at - DAY, order.created_at)], graded={order.model}, principal="ada"
    ),
}
