"""
Questions to the service, within the pace that an account is allowed.

A process has one turn reserved at a time, and whoever is most urgent when it comes has it. So the line that the
processes on a ledger share is as long as there are processes, however many questions wait in each of them. What is
less urgent takes only turns that no other process has reserved shortly before they come.
"""

import math
from bisect import insort
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import count
from typing import TypeVar

import anyio

from wan_mcp.clock import Clock
from wan_mcp.dashscope import MOST_IMAGES, DashScope, TaskAnswer, TaskListing
from wan_mcp.ledger import LONGEST_LINE, Ledger, RateLimit
from wan_mcp.orders.context import NO_OBSERVERS, Observers, Timings, backoff
from wan_mcp_tools.domain.errors import ThrottledError

T = TypeVar("T")

# 20 a second are allowed for each account, whatever program asks; one is left to others.
# https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
_MOST_PER_SECOND = 19
"""Questions that may arrive within any second, wherever it begins."""
_LATEST = 0.05
"""Seconds by which a turn may be used late; later ones lapse, whatever holds a process up."""
_TRANSIT = 0.1
"""Seconds by which one question may be longer on its way to the service than another."""
_PER_SECOND = _MOST_PER_SECOND / (1 + _LATEST + _TRANSIT)
"""
Turns come evenly at this rate. Those of which the questions can arrive within one second lie within that second and
the two times above before it, and of these there are never more than nineteen.
"""
_TRIES = 3
"""Turns that may lapse one after the other; a machine that is always late asks slowly enough."""
_PATIENCE = 2.0
"""Seconds for which what is less urgent gives way to other processes."""
_FAIR = 8
"""Every so many turns belong to whoever has waited longest, however little urgent."""
_LISTS_PER_SECOND = 0.5
_LONGEST_PAUSE = 30.0


class Urgency(IntEnum):
    """Whose question comes first when more are due than may be asked."""

    CALLED = 0
    """A caller looks at the task now, or it has ended for certain."""
    LIST = 1
    """A page of the list tells many tasks at once."""
    AWAITED = 2
    """A call waits for the task."""
    DUE = 3
    """The task may have ended."""
    SELDOM = 4
    """It hardly can have, and is asked for lest it be forgotten."""


GetUrgency = Callable[[], Urgency]
"""Says how urgent a question is at the moment: that changes while it waits for its turn."""


class TurnQueue:
    """Those of this process who wait for a turn, of whom one at a time has it reserved."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, GetUrgency, anyio.Event]] = []
        self._numbers = count()
        self._is_taken = False
        self._served = 0

    def come(self) -> int:
        """Give a place by the order of coming, which whoever stands back keeps."""
        return next(self._numbers)

    @asynccontextmanager
    async def front(self, place: int, urgent: GetUrgency) -> AsyncGenerator[bool]:
        """
        Wait until nobody who is more urgent waits, and stand in front until the end of the block.

        Gives whether this is a turn of whoever has waited longest.
        """
        is_fair = False
        if self._is_taken:
            await self._wait(place, urgent)
            is_fair = self._is_fair()
        self._is_taken = True
        try:
            yield is_fair
        finally:
            self._call_next()

    def is_overtaken(self, urgency: Urgency) -> bool:
        """Say whether somebody waits who is more urgent than that."""
        return any(urgent() < urgency for _, urgent, _ in self._waiting)

    async def _wait(self, place: int, urgent: GetUrgency) -> None:
        called = anyio.Event()
        entry = (place, urgent, called)
        insort(self._waiting, entry, key=lambda each: each[0])
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._call_next()
            else:
                self._waiting.remove(entry)
            raise

    def _is_fair(self) -> bool:
        return self._served % _FAIR == 0

    def _call_next(self) -> None:
        # Whoever is called is in front from now on, so that a newcomer does not push in.
        self._is_taken = bool(self._waiting)
        if not self._waiting:
            return
        self._served += 1
        # They stand in the order in which they came.
        number = 0 if self._is_fair() else min(range(len(self._waiting)), key=lambda each: self._waiting[each][1]())
        _, _, called = self._waiting.pop(number)
        called.set()


class ClockOffsets:
    """
    How far the service's clock is from ours, by its `Date` headers.

    The last known difference for each region, in seconds to add to our clock; good to about a second.
    """

    def __init__(self) -> None:
        self._offsets: dict[str, float] = {}

    def learn(self, region: str, served_at: float | None, now: float) -> None:
        """Take a `Date` header that was read just now."""
        if served_at is not None:
            # The header counts whole seconds: half a second is the best guess of what it cut off.
            self._offsets[region] = served_at + 0.5 - now

    def get(self, region: str) -> float | None:
        """Give the difference, or None where nothing has been learned."""
        return self._offsets.get(region)


class Queries:
    """
    Asks for tasks, lists and cancellations: none creates anything, so each may be repeated.

    Every method raises the `AppError` of the service's refusal, and `LedgerError` if no turn can be reserved.
    """

    def __init__(
        self,
        ledger: Ledger,
        dashscope: DashScope,
        clock: Clock,
        timings: Timings,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._ledger = ledger
        self._observers = observers
        self._dashscope = dashscope
        self._clock = clock
        self._timings = timings
        self._throttled: dict[str, int] = {}
        self._lines: dict[str, TurnQueue] = {}
        self.clock_offsets = ClockOffsets()

    async def get_task(
        self, region: str, task_id: str, *, images: int = 0, urgent: GetUrgency = lambda: Urgency.CALLED
    ) -> TaskAnswer:
        """Ask for one task, once; `images` are those that were ordered, 0 where that is not known."""
        answer = await self._ask(
            region, urgent, lambda: self._dashscope.query(region, task_id, most=images or MOST_IMAGES)
        )
        self._throttled.pop(region, None)
        self.clock_offsets.learn(region, answer.served_at, self._clock.now())
        return answer

    async def list_tasks(
        self,
        region: str,
        *,
        start: float | None = None,
        end: float | None = None,
        model_id: str | None = None,
        task_id: str | None = None,
        page_no: int = 1,
    ) -> TaskListing:
        """Ask for a page of the list, or for one task's line in it, once."""
        listing = await self._ask(
            region,
            lambda: Urgency.LIST,
            lambda: self._dashscope.list_tasks(
                region, start=start, end=end, model_id=model_id, task_id=task_id, page_no=page_no
            ),
        )
        self.clock_offsets.learn(region, listing.served_at, self._clock.now())
        return listing

    async def cancel_task(self, region: str, task_id: str) -> None:
        """Ask to cancel a task, once."""
        await self._wait_for_turn(region, lambda: Urgency.CALLED)
        await self._dashscope.cancel(region, task_id)

    async def wait_for_list(self, region: str) -> None:
        """
        Wait until this process may read the list through.

        Of several processes on a ledger one does at a time, about every two seconds: the pages are the account's.
        """
        limit = RateLimit(f"sweep/{region}", _LISTS_PER_SECOND, is_durable=False)
        while await self._take_turn(limit, longest=LONGEST_LINE) is None:
            pass

    async def _ask(self, region: str, urgent: GetUrgency, ask: Callable[[], Awaitable[T]]) -> T:
        await self._wait_for_turn(region, urgent)
        try:
            return await ask()
        except ThrottledError as error:
            count = self._throttled[region] = self._throttled.get(region, 0) + 1
            pause = error.retry_after or backoff(count, self._timings.throttle_step, _LONGEST_PAUSE)
            await self._ledger.limits.pause(_limit(region), pause)
            raise

    async def _wait_for_turn(self, region: str, urgent: GetUrgency) -> None:
        line = self._lines.setdefault(region, TurnQueue())
        began = self._clock.monotonic()
        place, tries, stood_at = line.come(), 0, math.inf
        while tries < _TRIES:
            async with line.front(place, urgent) as is_fair:
                stood_at = min(stood_at, self._clock.monotonic())
                while True:
                    waited = math.inf if is_fair else self._clock.monotonic() - stood_at
                    late = await self._take_turn(_limit(region), longest=_find_longest_line(urgent(), waited))
                    # As long as another process has it, somebody here may become more urgent.
                    if late is not None or line.is_overtaken(urgent()):
                        break
            if late is None:
                continue
            if late <= _LATEST:
                break
            # It came too late and has lapsed.
            tries += 1
        self._observers.tell_wait("query", self._clock.monotonic() - began)

    async def _take_turn(self, limit: RateLimit, *, longest: float) -> float | None:
        """
        Reserve a turn and wait for it; give the seconds by which it may be used late.

        None, after a pause, if the next one was more than `longest` seconds ahead.
        """
        asked = self._clock.monotonic()
        wait = await self._ledger.limits.reserve(limit, longest=longest)
        if wait > longest:
            await self._clock.sleep(wait - longest)
            return None
        if wait > 0:
            await self._clock.sleep(wait)
        # It may have been reserved as soon as it was asked for.
        return self._clock.monotonic() - asked - wait


def _find_longest_line(urgency: Urgency, waited: float) -> float:
    """
    Give how many seconds ahead a turn may be reserved, by somebody who has stood in front for so many.

    What is less urgent leaves the next turn to others until shortly before it comes, and the longer it has waited,
    the sooner it takes one that nobody wanted.
    """
    if urgency <= Urgency.LIST or waited >= _PATIENCE:
        return LONGEST_LINE
    return (0.1 + 0.4 * waited / _PATIENCE) / _PER_SECOND


def _limit(region: str) -> RateLimit:
    return RateLimit(f"query/{region}", _PER_SECOND, is_durable=False)
