"""
A line of the log for each order: who has ordered what, and what it costs.

Each is one object of JSON, so that programs can read it. No prompt, no key and no address is in it.
"""

import json
import logging
import sys
from collections.abc import Callable

from opentelemetry.trace import format_trace_id, get_current_span

from wan_mcp.ledger import Order, Stage
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.model import format_amount
from wan_mcp_tools.catalogue.prices import estimate
from wan_mcp_tools.domain.principals import current_principal

LOGGER = "wan_mcp.audit"
_log = logging.getLogger(LOGGER)


def show_audit() -> None:
    """Write the lines to stderr, whatever the level of the rest of the log is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False


def make_audit(catalogue: Catalogue, *, find_tool: Callable[[], str | None]) -> Callable[[Order | None, Order], None]:
    """
    Make the observer that writes a line when an order is written down, and one when its task is known.

    The first one comes before anything is sent, so that nothing is ordered without it. `find_tool` names the tool
    that runs now.
    """

    def observe(before: Order | None, after: Order) -> None:
        if before is None:
            _write("order", after, _describe(after, catalogue, find_tool()))
        elif before.task_id is None and after.task_id is not None and after.stage is Stage.OPEN:
            _write("task", after, {"task_id": after.task_id})

    return observe


def _write(event: str, order: Order, facts: dict[str, object]) -> None:
    known = {name: value for name, value in facts.items() if value is not None}
    line: dict[str, object] = {"event": event, "order_id": order.local_id, **known}
    _log.info("%s", json.dumps(line, ensure_ascii=False))


def _describe(order: Order, catalogue: Catalogue, tool: str | None) -> dict[str, object]:
    span = get_current_span().get_span_context()
    cost = estimate([order.request], catalogue).amounts if order.request else ()
    return {
        "at": round(order.created_at, 3),
        "principal": current_principal().id,
        "tool": tool,
        "model": order.model,
        "region": order.region,
        "n": order.images_ordered,
        "cost": {money.currency: format_amount(money.amount) for money in cost},
        "trace_id": format_trace_id(span.trace_id) if span.is_valid else None,
    }
