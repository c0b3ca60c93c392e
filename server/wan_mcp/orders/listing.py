"""Orders in many: pages, numbers, and what the images cost."""

import time
from datetime import date, timedelta

from wan_mcp.clock import Clock
from wan_mcp.ledger import Ledger, Order
from wan_mcp.orders.images import OrderImages
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.lookup import OrderLookup
from wan_mcp.orders.refresh import OrderRefresh
from wan_mcp.orders.view import to_task
from wan_mcp.orders.worker.worker import OrderWorker
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import CostReport, make_report
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import OrderQuery, OrderTotals, TaskPage
from wan_mcp_tools.domain.tasks import Task, TaskStatus


async def list_orders(
    ledger: Ledger,
    *,
    live: LiveOrders,
    lookup: OrderLookup,
    refresh: OrderRefresh,
    worker: OrderWorker,
    status: TaskStatus | None,
    limit: int,
    cursor: str | None,
    remote: bool,
    seconds: float,
) -> TaskPage:
    """
    Give one page of orders, newest first; with `remote` the service is asked first, for at most `seconds`.

    Raises:
        RequestRefusedError: the cursor is none of ours.
    """
    before = _read_cursor(cursor)
    notes = await _adopt(lookup, worker, limit, seconds) if remote else ()
    if not await ledger.exists():
        return TaskPage((), None, notes)
    await refresh.refresh_inherited()
    rows = await ledger.reports.list_orders(status=status, limit=limit + 1, before=before)
    shown = rows[:limit]
    # A caller may have been told of files that are being written down at this moment.
    newest = [live.latest(row.local_id) or row for row in shown]
    return TaskPage(
        tuple(to_task(order) for order in newest), _write_cursor(shown[-1]) if len(rows) > limit else None, notes
    )


async def find_by_beginning(ledger: Ledger, live: LiveOrders, beginning: str, *, limit: int) -> tuple[Task, ...]:
    """Give the orders one of whose ids begins with these letters, newest first; the service is not asked."""
    if not await ledger.exists():
        return ()
    rows = await ledger.orders.find_by_beginning(beginning, limit=limit)
    return tuple(to_task(live.latest(row.local_id) or row) for row in rows)


async def report_costs(ledger: Ledger, clock: Clock, catalogue: Catalogue, *, days: int) -> CostReport:
    """Give the images of today and the days before it, `days` in all by this machine's calendar, and their cost."""
    # Not by aware times: Python takes no zone of more than 24 hours, and TZ=UTC+25 is one.
    local = time.localtime(clock.now())
    today = date(local.tm_year, local.tm_mon, local.tm_mday)
    dates = [today - timedelta(days=number) for number in range(days)]

    def begins(day: int) -> float:
        return time.mktime((*(today + timedelta(days=day)).timetuple()[:3], 0, 0, 0, 0, 0, -1))

    bounds = [(day, begins(-number), begins(1 - number)) for number, day in enumerate(dates)]
    # A ledger that is not there is not made for a look into it.
    graded = frozenset(catalogue.graded_models)
    counts = await ledger.reports.count_images(bounds, graded=graded) if await ledger.exists() else ()
    return make_report(counts, catalogue, since=dates[-1], until=today)


class OrderSearch:
    """Finds orders by what a person remembers of them, and counts them."""

    def __init__(self, ledger: Ledger, *, live: LiveOrders, images: OrderImages) -> None:
        self._ledger = ledger
        self._live = live
        self._images = images
        self._counted: tuple[object, OrderQuery, OrderTotals] | None = None

    async def find(self, query: OrderQuery, *, limit: int, cursor: str | None) -> TaskPage:
        """Give the orders that a query means, newest first."""
        before = _read_cursor(cursor)
        if not await self._ledger.exists():
            return TaskPage(())
        rows = await self._ledger.reports.find_orders(query, limit=limit + 1, before=before)
        shown = rows[:limit]
        tasks: list[Task] = []
        for row in shown:
            order, gone = await self._images.find_files(self._live.latest(row.local_id) or row)
            tasks.append(to_task(order, trouble=self._live.trouble_of(order.local_id), gone=gone))
        return TaskPage(tuple(tasks), _write_cursor(shown[-1]) if len(rows) > limit else None)

    async def count(self, query: OrderQuery) -> OrderTotals:
        """Count what a query finds."""
        version = await self._ledger.version()
        if version is None or not await self._ledger.exists():
            return OrderTotals()
        # A page asks every two seconds, and a ledger may be large.
        if self._counted is None or self._counted[:2] != (version, query):
            self._counted = (version, query, await self._ledger.reports.count_orders(query))
        return self._counted[2]


async def _adopt(lookup: OrderLookup, worker: OrderWorker, limit: int, seconds: float) -> tuple[str, ...]:
    """Take in what only the service knows; say what was left out, and who saves it."""
    adopted, notes = await lookup.adopt_listed(limit, seconds=seconds)
    if not adopted:
        return notes
    worker.check_ledger()
    if worker.is_watching:
        return notes
    count = "1 task was" if len(adopted) == 1 else f"{len(adopted)} tasks were"
    return (*notes, f"{count} taken in; wan-mcp collect, or a running server, saves the images.")


def _write_cursor(last: Order) -> str:
    """Give the cursor that goes on behind an order."""
    return f"{last.created_at!r}/{last.local_id}"


def _read_cursor(cursor: str | None) -> tuple[float, str] | None:
    """
    Give the time and the id that a cursor means, None for the first page.

    Raises:
        RequestRefusedError: it is none of ours.
    """
    if not cursor:
        return None
    moment, _, local_id = cursor.partition("/")
    try:
        return float(moment), local_id
    except ValueError as error:
        raise RequestRefusedError(
            "The cursor is not one that list_tasks gave.", "Leave it out for the first page."
        ) from error
