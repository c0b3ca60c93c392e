"""
Reading the service's list through, which tells many tasks at once.

A page has up to a hundred rows (https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks documents no
largest size). How far the list lags behind is not documented either, so it is never relied on: whatever it does not
show in time is asked for by itself, and if it shows too little it is left alone for a while.

Of the processes on a ledger one reads at a time, for all of them: it looks for every open task of the ledger, and
writes down what was shown, which the others take up.
"""

import logging
from dataclasses import dataclass

import anyio

from wan_mcp.clock import Clock
from wan_mcp.dashscope import ListedTask
from wan_mcp.ledger import Ledger, SeenTask
from wan_mcp.orders.context import backoff
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.schedule import Schedule
from wan_mcp_tools.domain.errors import AppError, LedgerError

_log = logging.getLogger(__name__)

_INTERVAL = 2.0
"""Seconds between looks whether a list is worth reading."""
_SHARED_INTERVAL = 0.5
"""Seconds between looks at what other processes have read."""
_MOST_PAGES = 50
_LEAST_ON_PAGE = 5
"""Tasks of ours on a page that is followed by another: fewer are quicker asked for by themselves."""
_LEAST_ON_AVERAGE = 12
"""Tasks of ours on a page for the list to pay: small pages and those of many other programs do not."""
_ENOUGH_ENDS = 10
_REST, _LONGEST_REST = 60.0, 600.0
"""Seconds for which a list that did not pay is left alone."""


@dataclass(slots=True)
class _ListState:
    """
    What was seen of the list of one region.

    `ends` say whether it showed each end before a question found it; `shared_at` is which of the readings that the
    processes share was taken up last.
    """

    ends: list[bool]
    rests: int = 0
    rests_until: float = 0.0
    is_being_read: bool = False
    shared_at: float | None = None


class ListPoller:
    """Reads the lists of regions in which many tasks are asked for, and tells the schedule what they show."""

    def __init__(self, ledger: Ledger, clock: Clock, *, queries: Queries, schedule: Schedule) -> None:
        self._ledger = ledger
        self._clock = clock
        self._queries = queries
        self._schedule = schedule
        self._lists: dict[str, _ListState] = {}

    async def run(self) -> None:
        """Read lists as long as that pays, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._take_up_readings)
            while True:
                await self._schedule.crowded.wait()
                for region in self._schedule.list_crowded():
                    state = self._lists.setdefault(region, _ListState([]))
                    if not state.is_being_read and self._clock.monotonic() >= state.rests_until:
                        state.is_being_read = True
                        group.start_soon(self._read_list, region, state)
                await self._clock.sleep(_INTERVAL)

    async def _take_up_readings(self) -> None:
        """Look for what other processes have read, as long as there are many tasks here, until cancelled."""
        while True:
            await self._schedule.crowded.wait()
            for region in self._schedule.list_crowded():
                state = self._lists.setdefault(region, _ListState([]))
                if self._clock.monotonic() >= state.rests_until:
                    await self._take_up_reading(region, state)
            await self._clock.sleep(_SHARED_INTERVAL)

    async def _take_up_reading(self, region: str, state: _ListState) -> None:
        try:
            reading = await self._ledger.listings.find_new(region, known=state.shared_at)
        except LedgerError as error:
            _log.info("what others have read of the list of %s cannot be had: %s", region, error)
            return
        if reading is None:
            return
        state.shared_at = reading.kept_at
        shown = [
            ListedTask(task.task_id, task.status, region, created_at=task.created_at, started_at=task.started_at)
            for task in reading.tasks
        ]
        ours = set(self._schedule.tasks_of(region))
        missing = ours - {task.task_id for task in shown}
        if missing == ours:
            # It is the list of another account, or lags far behind.
            return
        self._schedule.note_listed(shown, region, age=reading.age)
        self._schedule.forget_list(region, missing)

    async def _share_reading(self, region: str, state: _ListState, shown: list[ListedTask]) -> None:
        """Write down what was read, for the other processes."""
        tasks = [SeenTask(task.task_id, task.status, task.created_at, task.started_at) for task in shown]
        try:
            state.shared_at = await self._ledger.listings.keep(region, tasks)
        except LedgerError as error:
            _log.info("what was read of the list of %s cannot be told to others: %s", region, error)

    async def _read_list(self, region: str, state: _ListState) -> None:
        """Read the list of one region through, and leave it alone for a while if that does not pay."""
        try:
            pays = await self._read(region, state)
        except AppError as error:
            _log.info("the list of %s cannot be had, its tasks are asked for one by one: %s", region, error)
            pays = False
        except Exception:  # noqa: BLE001 - a fault of ours with the list must not end the work on the orders
            _log.exception("reading the list of %s failed", region)
            pays = False
        finally:
            state.is_being_read = False
        state.ends += self._schedule.take_found(region)
        if len(state.ends) >= _ENOUGH_ENDS:
            if sum(state.ends) * 2 < len(state.ends):
                pays = False
            elif pays:
                state.rests = 0
            state.ends.clear()
        if not pays:
            state.rests += 1
            state.rests_until = self._clock.monotonic() + backoff(state.rests, _REST, _LONGEST_REST)
            state.ends.clear()
        if not pays or not self._schedule.is_crowded(region):
            # Nobody reads it again soon.
            self._schedule.forget_list(region, list(self._schedule.tasks_of(region)))

    async def _read(self, region: str, state: _ListState) -> bool:
        """Read pages, the newest tasks first, as long as they have tasks of ours; say whether that paid."""
        await self._queries.wait_for_list(region)
        started = self._clock.monotonic()
        missing = set(self._schedule.tasks_of(region)) | await self._ledger.leases.list_open_tasks(region)
        shown: list[ListedTask] = []
        pages = 0
        while pages < _MOST_PAGES:
            listing = await self._queries.list_tasks(region, page_no=pages + 1)
            pages += 1
            ours = [task for task in listing.tasks if task.task_id in missing]
            missing -= {task.task_id for task in ours}
            shown += ours
            self._schedule.note_listed(ours, region)
            if not missing or len(ours) < _LEAST_ON_PAGE or pages >= listing.total_pages:
                break
        self._schedule.forget_list(region, missing)
        self._schedule.learn_concurrency(region, started)
        # Also if it did not pay: what it does not show any more is then asked for by itself everywhere.
        await self._share_reading(region, state, shown)
        return len(shown) >= pages * _LEAST_ON_AVERAGE
