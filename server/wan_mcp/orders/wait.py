"""Waiting for an order: bounded, whoever works on it, with its progress reported meanwhile."""

import logging
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import anyio

from wan_mcp.clock import Clock
from wan_mcp.concurrency import wait_any, wait_first
from wan_mcp.ledger import Ledger, Order
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import (
    AnswerLostError,
    ErrorCode,
    LedgerError,
    NotFoundError,
    RequestRefusedError,
)
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import ProgressCallback, ProgressReport
from wan_mcp_tools.domain.tasks import TaskStatus

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FIRST_REPORT_SECONDS = 0.5
"""Seconds from the call to the first report."""
_FIRST_LOOK_SECONDS = 0.3
"""Seconds from the call to the look for what earlier tasks took; a call that is answered before needs none."""
_GUESS, _SANDBOX_GUESS = 60.0, 3.0
"""
Seconds that a task takes, as long as none was seen; the first is for a model that the catalogue does not know.

Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference, which says one to two minutes.
"""


class ProgressReporter:
    """
    The progress of one call, told as `ProgressReport`s.

    The first report comes at once, further ones when something has changed, else every few seconds. They are sent by
    a task of their own, so that neither a client that reads slowly nor a ledger that is locked holds up the work, nor
    the work a report. Nothing is sent after the work has ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        live: LiveOrders,
        catalogue: Catalogue,
        report: ProgressCallback | None,
        first: str,
        interval: float,
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._clock = clock
        self._live = live
        self._interval = interval
        self._report = report
        self._first = first
        self._order: Order | None = None
        self._shown = anyio.Event()
        self._changed = anyio.Event()
        self._started = clock.monotonic()
        self._reported_at = 0.0
        self._usual: UsualDuration | None = None

    async def report_during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work and report its progress meanwhile."""
        if self._report is None:
            return await work()
        outcomes: list[T] = []
        errors: list[Exception] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._learn)
            group.start_soon(self._report_changes, self._report)
            try:
                outcomes.append(await work())
            except Exception as error:  # noqa: BLE001 - raised again below, without the group around it
                errors.append(error)
            group.cancel_scope.cancel()
        if errors:
            raise errors[0]
        return outcomes[0]

    def update(self, order: Order) -> None:
        """Take the newest state of the order that the call is about."""
        self._order = order
        self._shown.set()
        self._changed.set()

    async def _report_changes(self, report: ProgressCallback) -> None:
        """Report until cancelled. A caller who cannot be told anything is no reason to end the work."""
        due, told = _FIRST_REPORT_SECONDS, ""
        try:
            while True:
                if told:
                    await wait_first(self._clock, self._changed.wait, due - self._elapsed())
                else:
                    # Before the first report there is nothing that a change could make wrong.
                    await self._clock.sleep(due - self._elapsed())
                self._changed = anyio.Event()
                state = self._state()
                if self._elapsed() < due and state == told:
                    continue
                await self._send(report)
                due, told = self._elapsed() + self._interval, state
        except Exception:  # noqa: BLE001 - whatever a transport raises when its client has gone
            _log.info("a caller could not be told of the progress", exc_info=True)

    async def _send(self, report: ProgressCallback) -> None:
        order, since_call = self._order, self._elapsed()
        if since_call <= self._reported_at:
            return
        self._reported_at = since_call
        if order is None:
            await report(ProgressReport(since_call, None, self._first))
            return
        now = self._clock.now()
        elapsed = max(0.0, now - (order.accepted_at or order.created_at))
        queued = seconds_in_queue(order, self._live, now)
        usual = self._usual or _guess(order, self._catalogue)
        usual = replace(usual, seconds=usual.seconds + queued)
        problem = self._live.problem_of(order.local_id)
        # What takes longer than usual still has a little before it.
        left = max(usual.seconds - elapsed, self._interval)
        await report(
            ProgressReport(
                seconds=since_call,
                expected=since_call + left,
                state=describe_state(order),
                timing=describe_timing(order, elapsed, usual),
                problem=problem.to_problem() if problem else None,
            )
        )

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._started

    def _state(self) -> str:
        if self._order is None:
            return self._first
        problem = self._live.problem_of(self._order.local_id)
        named = self._order.task_id is not None
        return f"{self._order.status} {named} {problem.code if problem else ''}"

    async def _learn(self) -> None:
        """Learn from earlier tasks of the kind. A report never waits for this: the ledger may be locked."""
        await self._clock.sleep(_FIRST_LOOK_SECONDS)
        await self._shown.wait()
        order = self._order
        if order is None:
            return
        try:
            found = await self._ledger.reports.list_durations(order.region, order.model or "", order.images_ordered)
        except LedgerError:
            return
        if found:
            self._usual = UsualDuration(statistics.median(found), is_known=True)


class UsualDuration(Record):
    """How many seconds a task of the kind takes in all; `is_known` if that was seen here and is no guess."""

    seconds: float
    is_known: bool


def describe_state(order: Order) -> str:
    """Say in a few words what is happening to an order."""
    match order.status:
        case TaskStatus.PENDING if order.task_id is None:
            return "Sending the order"
        case TaskStatus.PENDING:
            return "In the queue of the service"
        case TaskStatus.RUNNING:
            return "The service draws"
        case TaskStatus.SUCCEEDED if order.images_ordered > 1:
            return "The pictures are drawn and are being saved"
        case TaskStatus.SUCCEEDED:
            return "The picture is drawn and is being saved"
        case TaskStatus.SUBMIT_UNKNOWN:
            return "The answer to the order was lost; looking for its task"
        case TaskStatus.UNKNOWN:
            return "The service does not know the task at the moment; asking again"
        case TaskStatus.FAILED | TaskStatus.CANCELED | TaskStatus.EXPIRED:
            return "The task has ended"


def describe_timing(order: Order, elapsed: float, usual: UsualDuration) -> str:
    """Say how long that has lasted, `elapsed` seconds after the order was placed or accepted, and usually does."""
    if order.status not in (TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.SUBMIT_UNKNOWN):
        return ""
    is_sending = order.status is TaskStatus.PENDING and order.task_id is None
    timing = f"{elapsed:.0f} s {'so far' if is_sending else 'since the order'}"
    if order.status is TaskStatus.SUBMIT_UNKNOWN:
        return timing
    if elapsed <= usual.seconds:
        return f"{timing}, {'usually' if usual.is_known else 'perhaps'} about {usual.seconds:.0f} s in all"
    return f"{timing}, longer than the usual {usual.seconds:.0f} s" if usual.is_known else timing


def _guess(order: Order, catalogue: Catalogue) -> UsualDuration:
    if order.region == SANDBOX.name:
        return UsualDuration(_SANDBOX_GUESS, is_known=False)
    try:
        seconds = catalogue.find(order.model or "").usual_seconds
    except RequestRefusedError:
        # A task that was found at the service may be of a model that is not known here.
        seconds = _GUESS
    return UsualDuration(seconds, is_known=False)


async def estimate_seconds_left(ledger: Ledger, clock: Clock, live: LiveOrders, local_id: str) -> float | None:
    """Give the seconds until half of such orders would be done; less than nought for a late one, None if unknown."""
    try:
        order = live.latest(local_id) or await ledger.orders.get(local_id)
        if order is None:
            return None
        durations = await ledger.reports.list_durations(order.region, order.model or "", order.images_ordered)
    except LedgerError:
        # An estimate is not worth an error.
        return None
    if not durations:
        return None
    now = clock.now()
    elapsed = now - order.accepted_at if order.accepted_at else 0.0
    return statistics.median(durations) + seconds_in_queue(order, live, now) - max(elapsed, 0.0)


def seconds_in_queue(order: Order, live: LiveOrders, now: float) -> float:
    """Give the seconds for which the service has let an accepted order wait before it began, as far as is known."""
    entry = live.get(order.local_id)
    if order.accepted_at is None or not entry.is_followed:
        return 0.0
    begun_at = now if entry.is_queued else entry.begun_at
    return 0.0 if begun_at is None else max(0.0, begun_at - order.accepted_at)


LEDGER_INTERVAL = 0.5
"""Seconds between looks at an order that another process works on."""


async def wait(
    order: Order,
    until: Callable[[Order], bool],
    *,
    seconds: float,
    ledger: Ledger,
    live: LiveOrders,
    clock: Clock,
    progress: ProgressReporter | None = None,
    interval: float = LEDGER_INTERVAL,
    receives: bool = True,
) -> Order:
    """
    Give the order when `until` holds for it, or as it is after `seconds`.

    `receives` says that its images are then in the hands of whoever ordered them.
    While another process works on the order, the ledger is looked into every `interval`, and when it tells of
    a change.
    """
    ends = clock.monotonic() + seconds
    order = live.latest(order.local_id) or order
    if until(order) or seconds <= 0:
        return order
    with live.waiting(order.local_id, receives=receives) as entry:
        while True:
            changed, changed_elsewhere = entry.changed, ledger.next_change(order.local_id)
            ends = min(ends, live.waits_end)
            order = await read_newest(order, ledger=ledger, live=live, seconds=ends - clock.monotonic())
            left = ends - clock.monotonic()
            if until(order) or left <= 0:
                return order
            if progress is not None:
                progress.update(order)
            if entry.order is not None:
                await wait_first(clock, changed.wait, left)
            else:
                await wait_first(clock, partial(wait_any, changed, changed_elsewhere), min(left, interval))


async def read_newest(order: Order, *, ledger: Ledger, live: LiveOrders, seconds: float) -> Order:
    """
    Give an order as it is now; what is known stands where the ledger cannot be read within `seconds`.

    Raises:
        NotFoundError: it is no longer in the ledger.
    """
    latest = live.latest(order.local_id)
    if latest is not None:
        return latest
    found: Order | None = order
    with anyio.move_on_after(max(0.0, seconds)):
        try:
            found = await ledger.orders.get(order.local_id)
            if found is None and order.task_id is not None:
                found = await ledger.orders.get(order.task_id)
        except LedgerError:
            return order
    if found is None:
        raise NotFoundError(
            f"The order {order.best_id} is no longer in the ledger.", next_step=NextStep(NextAction.LIST_KNOWN_TASKS)
        )
    return found


async def answer_within(seconds: float, work: Callable[[], Awaitable[T]], check: NextAction) -> T:
    """
    Do what has no wait of its own in the time that other calls wait.

    Raises:
        AnswerLostError: there was no answer in that time; `check` is what to do next.
    """
    with anyio.move_on_after(seconds):
        return await work()
    raise AnswerLostError(
        f"There was no answer within {seconds:.0f} seconds.",
        code=ErrorCode.TIMED_OUT,
        next_step=NextStep(check),
    )
