"""What the images of the last days cost."""

from datetime import UTC, datetime, time, timedelta

from wan_mcp.orders.parts import Parts
from wan_mcp_tools.catalogue.prices import CostReport, make_report


async def sum_costs(parts: Parts, *, days: int) -> CostReport:
    """Give the images of today and the days before it, `days` in all by this machine's calendar, and their cost."""
    today = datetime.fromtimestamp(parts.clock.now(), UTC).astimezone().date()
    first = today - timedelta(days=days - 1)
    # A ledger that is not there is not made for a look into it.
    counts = (
        await parts.ledger.count_images(datetime.combine(first, time.min).astimezone().timestamp())
        if await parts.ledger.exists()
        else ()
    )
    return make_report(counts, parts.catalogue, since=first, until=today)
