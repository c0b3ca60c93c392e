"""Orders in many: pages, numbers, and what the images cost."""

import logging
import re
from datetime import date, datetime, timedelta

from wan_mcp.clock import Clock, find_begin, find_day
from wan_mcp.ledger import Ledger, Order, OrderSum
from wan_mcp.orders.files.images import OrderImages
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.lookup import OrderLookup
from wan_mcp.orders.presentation import to_task
from wan_mcp.orders.refresh import OrderRefresh
from wan_mcp.orders.worker.worker import OrderWorker
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import CostReport, ImageCount, make_report
from wan_mcp_tools.domain.errors import LedgerError, RequestRefusedError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import OrderQuery, OrderTotals, TaskPage
from wan_mcp_tools.domain.tasks import Task, TaskStatus

_log = logging.getLogger(__name__)

_MOMENT = 0.001
"""Seconds: between the last moment of a day and the first of the next."""
_YEARS = range(2000, 3000)
"""Before and after these no order was placed, and some systems know no such days."""
_LONGEST_SHOWN = 40
_SETTLING_ROUNDS = 5
"""Writes at most that one look at the numbers may take to move closed orders into the kept sums."""
_LAST_DAYS = re.compile(r"([1-9][0-9]{0,3}) days?")


class Period(Record):
    """A stretch of time in seconds since 1970; `until` is the first moment that is too late, None is open."""

    since: float | None = None
    until: float | None = None


def read_period(since: str | None, until: str | None, now: float) -> Period:
    """
    Read between which times a caller means.

    Each is an ISO day, `today` or `yesterday`, or an ISO time, by this machine's calendar unless it has a zone of its
    own; `since` is also `7 days`: today and the six before it. A day `until` is included, a time is not.

    Raises:
        RequestRefusedError: one cannot be read, or the first is not before the second.
    """
    start = None if since is None else _read_moment("since", since, now)
    end = None if until is None else _read_moment("until", until, now)
    if start is not None and end is not None and start >= end:
        raise RequestRefusedError(
            f"since={_show(since)} is not before until={_show(until)}.", "Put the earlier one into since."
        )
    return Period(start, end)


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
    period: Period,
    seconds: float,
    principal: str | None,
    adopter: str,
) -> TaskPage:
    """
    Give one page of the orders of a period, newest first; with `principal` those of a principal alone.

    With `remote` the service is asked first, for at most `seconds`, and what is adopted is the `adopter`'s.

    Raises:
        RequestRefusedError: the cursor is none of ours, or the service is not asked for this caller.
    """
    before = _read_cursor(cursor)
    if remote and principal is not None:
        raise RequestRefusedError(
            "What only the service knows is whoever's it may be, and is shown to administrators alone.",
            "Leave remote out to list your own tasks, or ask somebody with the scope wan:admin.",
        )
    notes = await _adopt(lookup, worker, limit, seconds, adopter) if remote else ()
    if not await ledger.exists():
        return TaskPage((), None, notes)
    await refresh.refresh_inherited()
    rows = await ledger.search.list_orders(
        status=status,
        since=period.since,
        until=period.until,
        limit=limit + 1,
        before=before,
        principal=principal,
    )
    shown = rows[:limit]
    # A caller may have been told of files that are being written down at this moment.
    newest = [live.latest(row.local_id) or row for row in shown]
    return TaskPage(
        tuple(to_task(order) for order in newest), _write_cursor(shown[-1]) if len(rows) > limit else None, notes
    )


async def find_by_beginning(
    ledger: Ledger, live: LiveOrders, beginning: str, *, limit: int, principal: str | None
) -> tuple[Task, ...]:
    """Give the orders one of whose ids begins with these letters, newest first; the service is not asked."""
    if not await ledger.exists():
        return ()
    rows = await ledger.orders.find_by_beginning(beginning, limit=limit, principal=principal)
    return tuple(to_task(live.latest(row.local_id) or row) for row in rows)


async def report_costs(
    ledger: Ledger,
    clock: Clock,
    catalogue: Catalogue,
    *,
    since: str | None,
    until: str | None,
    principal: str | None,
) -> CostReport:
    """
    Give the images of the orders of a period, by the days of this machine's calendar, and their cost.

    Raises:
        RequestRefusedError: `since` or `until` cannot be read, or they are in the wrong order.
    """
    now = clock.now()
    period = read_period(since, until, now)
    # A ledger that is not there is not made for a look into it.
    first = await ledger.reports.find_first_order(principal=principal) if await ledger.exists() else None
    end = period.until if period.until is not None else find_begin(find_day(now) + timedelta(days=1))
    start = period.since if period.since is not None else min(first or now, end - _MOMENT)
    counts = list[ImageCount]()
    if first is not None:
        # A calendar of ten years asks thousands of times, and before the first order there is nothing to count.
        earliest = find_day(max(start, first))
        latest = min(find_day(end - _MOMENT), find_day(now))
        days = [latest - timedelta(days=number) for number in range((latest - earliest).days + 1)]
        counts += await ledger.reports.count_images(
            [(day, max(start, find_begin(day)), min(end, find_begin(day + timedelta(days=1)))) for day in days],
            graded=frozenset(catalogue.graded_models),
            principal=principal,
        )
    return make_report(counts, catalogue, since=find_day(start), until=find_day(max(start, end - _MOMENT)))


class OrderSearch:
    """Finds orders by what a person remembers of them, and counts them."""

    def __init__(self, ledger: Ledger, *, live: LiveOrders, images: OrderImages) -> None:
        self._ledger = ledger
        self._live = live
        self._images = images
        self._counted: tuple[OrderQuery, OrderTotals] | None = None
        self._own_counted: tuple[object, str, OrderQuery, OrderTotals] | None = None
        self._version: object = None
        self._summary: tuple[OrderSum, ...] = ()

    async def find(self, query: OrderQuery, *, limit: int, cursor: str | None, principal: str | None) -> TaskPage:
        """Give the orders that a query means, newest first; with `principal` those of a principal alone."""
        before = _read_cursor(cursor)
        if not await self._ledger.exists():
            return TaskPage(())
        rows = await self._ledger.search.find_orders(query, limit=limit + 1, before=before, principal=principal)
        shown = rows[:limit]
        tasks: list[Task] = []
        for row in shown:
            order, gone = await self._images.find_files(self._live.latest(row.local_id) or row)
            tasks.append(to_task(order, live_problem=self._live.problem_of(order.local_id), gone=gone))
        return TaskPage(tuple(tasks), _write_cursor(shown[-1]) if len(rows) > limit else None)

    async def count(self, query: OrderQuery, *, principal: str | None) -> OrderTotals:
        """Count what a query finds; with `principal` among the orders of a principal alone."""
        version = await self._ledger.version()
        if version is None or not await self._ledger.exists():
            return OrderTotals()
        if principal is not None:
            return await self._count_own(query, principal, version)
        # A page asks every two seconds, and a ledger may be large: nothing is read unless something was written, and
        # orders are looked through only if what was written changes a number of theirs.
        if self._counted is None or self._version != version:
            totals = self._ledger.totals
            try:
                await totals.settle(rounds=_SETTLING_ROUNDS)
            except LedgerError as error:
                # The numbers are the same without it, and come a little later.
                _log.info("closed orders could not be moved into the sums: %s", error)
            # Taken before the rows are read: what is written meanwhile is seen at the next call.
            summary = await totals.summarize()
            if self._summary != summary:
                self._counted = None
            self._version, self._summary = version, summary
        if self._counted is None or self._counted[0] != query:
            self._counted = (query, await self._ledger.totals.count_orders(query, self._summary))
        return self._counted[1]

    async def _count_own(self, query: OrderQuery, principal: str, version: object) -> OrderTotals:
        key = (version, principal, query)
        if self._own_counted is None or self._own_counted[:3] != key:
            self._own_counted = (*key, await self._ledger.totals.count_own_orders(query, principal))
        return self._own_counted[3]


async def _adopt(
    lookup: OrderLookup, worker: OrderWorker, limit: int, seconds: float, adopter: str
) -> tuple[str, ...]:
    """Take in what only the service knows; say what was left out, and who saves it."""
    adopted, notes = await lookup.adopt_listed(limit, seconds=seconds, adopter=adopter)
    if not adopted:
        return notes
    worker.check_ledger()
    if worker.takes_over:
        return notes
    count = "1 task was" if len(adopted) == 1 else f"{len(adopted)} tasks were"
    return (*notes, f"{count} taken in; wan-mcp collect, or a running server, saves the images.")


def _read_moment(name: str, text: str, now: float) -> float:
    """Give the moment that a text means; of a day `until`, its end."""
    words = " ".join(text.lower().split())
    today = find_day(now)
    day = {"today": today, "yesterday": today - timedelta(days=1)}.get(words)
    if name == "since" and (days := _LAST_DAYS.fullmatch(words)):
        day = today - timedelta(days=int(days[1]) - 1)
    try:
        day = day or _read_day(text.strip())
        moment = datetime.fromisoformat(text.strip()) if day is None else day
    except ValueError:
        moment = None
    if moment is None or moment.year not in _YEARS:
        raise RequestRefusedError(
            f"{name}={_show(text)} is no day and no time of the years {_YEARS[0]} to {_YEARS[-1]}.",
            "Give a day such as 2026-11-27, today or yesterday, or a time such as 2026-11-27T08:00 or "
            "2026-11-27T08:00+02:00.",
        )
    if isinstance(moment, datetime):
        return moment.timestamp() if moment.tzinfo else find_begin(moment) + moment.microsecond / 1_000_000
    return find_begin(moment if name == "since" else moment + timedelta(days=1))


def _read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _show(text: str | None) -> str:
    return repr((text or "")[:_LONGEST_SHOWN])


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
