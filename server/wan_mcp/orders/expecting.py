"""When an order is likely to be done, by what was learned of earlier ones of its kind."""

import statistics

from wan_mcp.orders.parts import Parts
from wan_mcp_tools.domain.errors import LedgerError


async def seconds_left(parts: Parts, local_id: str) -> float | None:
    """Give the seconds until half of such orders would be done; less than nought for a late one, None if unknown."""
    try:
        order = parts.news.latest(local_id) or await parts.ledger.get(local_id)
        if order is None:
            return None
        durations = await parts.ledger.durations(order.region, order.model or "", order.images_ordered)
    except LedgerError:
        # An estimate is not worth an error.
        return None
    if not durations:
        return None
    gone = parts.clock.now() - order.accepted_at if order.accepted_at else 0.0
    return statistics.median(durations) - max(gone, 0.0)
