"""Taking over orders that nobody works on any more."""

import logging
from collections.abc import Callable

import anyio

from wan_mcp.ledger import Order
from wan_mcp.orders.news import wait_first
from wan_mcp.orders.outcomes import DAY
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.reach import Reach
from wan_mcp_tools.domain.errors import LedgerError, StorageError

_log = logging.getLogger(__name__)


class Watcher:
    """
    Finds free orders that this process can finish and hands them to `take`.

    `room` says how many more can be worked on. An idle process only asks the file system for the ledger's time, and
    reads nothing.
    """

    def __init__(self, parts: Parts, reach: Reach, take: Callable[[Order], None], room: Callable[[], int]) -> None:
        self._parts = parts
        self._reach = reach
        self._take = take
        self._room = room
        self._look_now = anyio.Event()
        self.begun = anyio.Event()
        """Set when what earlier processes have left has been taken over."""

    def look(self) -> None:
        """Look for free orders now."""
        self._look_now.set()

    async def run(self) -> None:
        """Take over at the start, when a lease of somebody else ends, and when the ledger has changed."""
        # The first answers go out before; but who asks for an order of an earlier run need not wait for that.
        await wait_first(self._parts.clock, self._look_now.wait, self._parts.timings.start_delay)
        async with anyio.create_task_group() as group:
            group.start_soon(self._sweep)
            await self._watch()

    async def _watch(self) -> None:
        seen: object = None
        again = False
        due: float | None = None
        while True:
            self._look_now = anyio.Event()
            token = await self._parts.ledger.token()
            changed = token != seen
            if token is not None and (self._reach.come_back() or changed or again or self._is_due(due)):
                due = await self.take_over()
            # Two writes of one clock tick leave the same token: after a change one more look follows.
            seen, again = token, changed
            self.begun.set()
            await wait_first(self._parts.clock, self._look_now.wait, self._parts.timings.look)

    async def take_over(self) -> float | None:
        """Claim what is free; give the time at which to look again, or None if there is nothing to wait for."""
        timings = self._parts.timings
        try:
            claimed = await self._parts.ledger.claim(
                self._parts.owner,
                lease=timings.lease,
                limit=self._room(),
                longest_lease=timings.longest_lease,
                fits=self._reach.covers,
            )
            for order in claimed:
                self._take(order)
            return await self._next_lease_end()
        except LedgerError as error:
            _log.warning("the ledger cannot be read now: %s", error)
            return self._parts.clock.now() + timings.trouble_most

    async def is_idle(self) -> bool:
        """Say whether no order is open that this process could finish; an unreadable ledger does not say so."""
        try:
            return await self._next_lease_end() is None
        except LedgerError:
            return False

    async def _next_lease_end(self) -> float | None:
        """Give the time at which an order that this process could finish becomes free, or None if there is none."""
        return await self._parts.ledger.next_lease_end(self._parts.owner, fits=self._reach.covers)

    async def _sweep(self) -> None:
        """Remove what processes that died long ago have left half-written."""
        settings = self._parts.settings
        for folder in (settings.output_dir, *settings.allowed_dirs):
            try:
                await self._parts.storage.remove_old_temp_files(folder, older_than=self._parts.clock.now() - DAY)
            except StorageError as error:
                _log.info("%s could not be swept: %s", folder, error)

    def _is_due(self, moment: float | None) -> bool:
        """Say whether a moment has come, or lies so far ahead that the clock must have been set back since."""
        now, timings = self._parts.clock.now(), self._parts.timings
        return moment is not None and not now < moment <= now + max(timings.longest_lease, timings.trouble_most)
