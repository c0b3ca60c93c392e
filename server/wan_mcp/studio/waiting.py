"""Waiting for an order: bounded, with progress, whoever follows it."""

import statistics
from collections.abc import Callable

from wan_mcp.ledger import OrderRecord
from wan_mcp.studio.news import wait_first
from wan_mcp.studio.parts import Parts
from wan_mcp_tools.shared.errors import LedgerError, NotFoundError
from wan_mcp_tools.shared.ports import Report
from wan_mcp_tools.shared.tasks import TaskStatus

_FOREIGN_LOOK = 0.5
"""Seconds between looks at an order that another process follows."""
_FIRST_REPORT = 0.5

_WORDS = {
    TaskStatus.PENDING: "waiting at the service",
    TaskStatus.RUNNING: "running",
    TaskStatus.SUCCEEDED: "done, saving the images",
    TaskStatus.SUBMIT_UNKNOWN: "looking for the order, its answer was lost",
}


class Waiter:
    """Waits for orders on behalf of calls."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def wait(
        self,
        order: OrderRecord,
        until: Callable[[OrderRecord], bool],
        *,
        seconds: float,
        report: Report | None,
    ) -> OrderRecord:
        """Give the order when `until` holds for it, or as it is after `seconds`."""
        clock = self._parts.clock
        started = clock.monotonic()
        order = self._parts.news.latest(order.local_id) or order
        if until(order) or seconds <= 0:
            return order
        with self._parts.news.waiting(order.local_id):
            reporter = _Reporter(self._parts, order, report) if report else None
            while True:
                bell = self._parts.news.bell(order.local_id)
                order = await self._newest(order)
                left = seconds - (clock.monotonic() - started)
                if until(order) or left <= 0:
                    return order
                due = await reporter.due(order, clock.monotonic() - started) if reporter else left
                followed_here = self._parts.news.latest(order.local_id) is not None
                pause = min(left, due) if followed_here else min(left, due, _FOREIGN_LOOK)
                await wait_first(clock, bell.wait, pause)

    async def _newest(self, order: OrderRecord) -> OrderRecord:
        latest = self._parts.news.latest(order.local_id)
        if latest is not None:
            return latest
        try:
            found = await self._parts.ledger.get(order.local_id)
        except LedgerError:
            # What is known stands; the wait ends in time all the same.
            return order
        if found is None and order.task_id is not None:
            found = await self._parts.ledger.get(order.task_id)
        if found is None:
            raise NotFoundError(f"The order {order.best_id} is no longer in the ledger.", "Use list_tasks.")
        return found


class _Reporter:
    """Tells a caller how an order is doing: at once when it changes, else every few seconds."""

    def __init__(self, parts: Parts, order: OrderRecord, report: Report) -> None:
        self._parts = parts
        self._report = report
        self._born = order.accepted_at or order.created_at
        self._next = _FIRST_REPORT
        self._told: tuple[TaskStatus, str] | None = None
        self._usual: float | None = None
        self._asked = False

    async def due(self, order: OrderRecord, waited: float) -> float:
        """Report if it is time to; give the seconds until the next report."""
        trouble = self._parts.news.trouble_of(order.local_id)
        state = (order.status, trouble.code if trouble else "")
        if waited >= self._next or (self._told is not None and state != self._told):
            await self._tell(order, waited, trouble.message if trouble else None)
            self._told = state
            self._next = waited + self._parts.timings.progress
        return max(0.05, self._next - waited)

    async def _tell(self, order: OrderRecord, waited: float, trouble: str | None) -> None:
        usual = await self._usually(order)
        elapsed = max(0.0, self._parts.clock.now() - (order.accepted_at or order.created_at))
        if order.task_id is None and order.status is TaskStatus.PENDING:
            words = "sending the order"
        else:
            words = _WORDS.get(order.status, order.status.lower())
        sentence = f"{words} for {elapsed:.0f} s"
        if usual is not None and order.status in (TaskStatus.PENDING, TaskStatus.RUNNING):
            sentence += f", usually about {usual:.0f} s"
        if trouble:
            sentence += f" ({trouble})"
        total = max(usual, waited) if usual is not None else None
        await self._report(waited, total, sentence[0].upper() + sentence[1:])

    async def _usually(self, order: OrderRecord) -> float | None:
        if not self._asked:
            self._asked = True
            try:
                durations = await self._parts.ledger.durations(order.region, order.model or "", order.images_ordered)
            except LedgerError:
                return None
            if durations:
                self._usual = statistics.median(durations)
        return self._usual
