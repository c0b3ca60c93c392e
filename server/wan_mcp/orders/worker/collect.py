"""Finishing what is open, without a server: for a person, for cron, and in the background after one has ended."""

import logging
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread

from wan_mcp.clock import Clock
from wan_mcp.ledger import ImageState, Ledger, Order, Slot
from wan_mcp.ledger.leases import is_gone
from wan_mcp.orders.context import Timings
from wan_mcp.orders.lifecycle import is_settled
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.worker.eligibility import OrderEligibility
from wan_mcp.orders.worker.worker import OrderWorker
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import TaskStatus

_log = logging.getLogger(__name__)

_STEP = 0.1
_AT_ONCE = 10_000
"""Orders that are tried side by side: each is tried once, and what is still open keeps its place to the end."""
_UNHAPPY = (TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.SUBMIT_UNKNOWN)
_PATIENCE = 15.0
"""Seconds after which an order that a problem holds up, such as a locked ledger, is left to the next collection."""
_LONGEST = 600.0
"""Seconds that a collection without a wait takes at most: large images over a slow line may need them."""
_LASTING = frozenset({ErrorCode.LEDGER_DAMAGED, ErrorCode.LEDGER_TOO_NEW})
"""Troubles that end only if somebody does something."""
_SLOT = Slot("keeper", 30.0)
"""Held by the one process that collects in the background."""

Report = Callable[[str], Awaitable[None]]
"""Takes a sentence about an order whose state has changed."""


class CollectSummary(Record):
    """What a collection did: tasks that ended, images saved, tasks still open, and what stands in their way."""

    finished: int = 0
    saved: int = 0
    open: int = 0
    problems: tuple[str, ...] = ()


class Collector:
    """Takes over every free order and tries it once, or works on it until it ends."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        worker: OrderWorker,
        live: LiveOrders,
        eligibility: OrderEligibility,
        timings: Timings,
        worker_id: str,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._worker = worker
        self._live = live
        self._eligibility = eligibility
        self._timings = timings
        self._worker_id = worker_id

    async def collect(self, report: Report | None, *, wait: bool) -> CollectSummary:
        """
        Try every open order once: its task is asked for or searched, and images that are ready are saved.

        With `wait` go on until no order is open, here or elsewhere.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if not await self._ledger.exists():
            return CollectSummary()
        seen: dict[str, str] = {}
        if wait:
            await self._work_until_idle(seen, report)
        else:
            await self._try_once(seen, report)
        return await self._summarize(seen)

    async def _work_until_idle(self, seen: dict[str, str], report: Report | None) -> None:
        while True:
            await self._worker.take_over()
            orders = self._worker.orders()
            await _report_changes(orders, seen, report)
            try:
                if await self._worker.find_next_lease_end() is None and not orders:
                    return
            except LedgerError as error:
                if not orders and not error.retryable:
                    raise
            await self._clock.sleep(self._timings.ledger_interval)

    async def _try_once(self, seen: dict[str, str], report: Report | None) -> None:
        started = self._clock.monotonic()
        awaited = 0
        while True:
            await self._worker.take_over(at_once=_AT_ONCE)
            orders = self._worker.orders()
            await _report_changes(orders, seen, report)
            waited = self._clock.monotonic() - started
            orphans = await self._find_orphans() if waited < self._timings.longest_lease else []
            if report is not None and len(orphans) > awaited:
                await report(_tell_orphans(len(orphans), self._timings.lease))
            awaited = max(awaited, len(orphans))
            for order in orders:
                # A task that has just been taken over would be asked for when such tasks usually end.
                live = self._live.get(order.local_id)
                if live.is_paused and not live.was_tried:
                    live.wake()
            is_done = not orphans and all(self._is_tried(order, waited) for order in orders)
            if is_done or waited > _LONGEST:
                return
            await self._clock.sleep(_STEP)

    async def collect_in_background(self, token: str) -> None:
        """
        Be the one process that collects in the background until nothing is open, unless there is one already.

        An order that is placed while it is leaving finds its slot still taken; so it looks once more after it has
        left the slot.
        """
        leases = self._ledger.leases
        while await leases.take_slot(_SLOT, token):
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_slot, token)
                await self.collect(None, wait=True)
                group.cancel_scope.cancel()
            await leases.leave_slot(_SLOT, token)
            if await self._worker.find_next_lease_end() is None:
                return

    async def _keep_slot(self, token: str) -> None:
        while True:
            await self._clock.sleep(_SLOT.seconds / 3)
            try:
                await self._ledger.leases.take_slot(_SLOT, token)
            except LedgerError as error:
                # At worst a second process comes, and the two share the work.
                _log.warning("the slot of the background collector could not be kept: %s", error)

    async def _find_orphans(self) -> list[Order]:
        """Find what a process that is gone still holds: its leases end soon, and that is worth waiting for."""
        now = self._clock.now()
        others = await self._ledger.leases.list_others(self._worker_id)
        held = [order for order in others if now < order.lease_until <= now + self._timings.longest_lease]
        return [order for order in held if is_gone(order.worker_id) and self._eligibility.covers(order)]

    def _is_tried(self, order: Order, waited: float) -> bool:
        live = self._live.get(order.local_id)
        problem = live.problem
        return live.was_tried or (problem is not None and (waited > _PATIENCE or problem.code in _LASTING))

    async def _summarize(self, seen: dict[str, str]) -> CollectSummary:
        finished = saved = left = 0
        problems: list[str] = []
        for local_id in seen:
            order = self._live.latest(local_id) or await self._ledger.orders.get(local_id)
            if order is None:
                continue
            saved += sum(image.state is ImageState.SAVED for image in order.images)
            unsaved = [image for image in order.images if image.state is ImageState.UNSAVED]
            problem = self._live.problem_of(local_id)
            if is_settled(order) and not unsaved:
                finished += 1
                if order.status in _UNHAPPY:
                    problems.append(f"{order.best_id} ended {order.status}: {order.error_message or ''}".rstrip(": "))
                continue
            left += 1
            problems.extend(f"{order.best_id} image {image.index}: {image.message}" for image in unsaved)
            if problem is not None:
                problems.append(f"{order.best_id}: {problem}")
        others = await self._ledger.leases.list_others(self._worker_id)
        left += len({order.local_id for order in others} - seen.keys())
        obstacles = {
            order.best_id: self._eligibility.find_missing_key(order) for order in others if is_gone(order.worker_id)
        }
        problems.extend(f"{best_id}: {obstacle}" for best_id, obstacle in obstacles.items() if obstacle is not None)
        return CollectSummary(finished, saved, left, tuple(problems))


class BackgroundCollector:
    """
    Starts a process that collects in the background when there is none.

    Hosts end their servers whenever they like. The process is `wan-mcp collect --wait`, detached from the
    server's process group; it goes when nothing is open any more.
    """

    def __init__(self, ledger: Ledger, *, state_dir: Path, env_file: Path | None) -> None:
        self._ledger = ledger
        self._state_dir = state_dir
        self._env_file = env_file
        self._children: list[subprocess.Popen[bytes]] = []

    async def ensure(self) -> None:
        """Start one unless one lives."""
        token = secrets.token_hex(8)
        try:
            if await self._ledger.leases.take_slot(_SLOT, token):
                await anyio.to_thread.run_sync(self._start, token)
        except (LedgerError, OSError) as error:
            # The order is placed and is followed here; the next one tries again.
            _log.warning("no process could be started that collects in the background: %s", error)

    def _start(self, token: str) -> None:
        # Children that have ended are reaped here, so that none stays behind as a zombie.
        self._children = [child for child in self._children if child.poll() is None]
        command = [sys.executable, "-m", "wan_mcp", "collect", "--wait", "--keeper", token]
        if self._env_file is not None:
            command += ["--env-file", str(self._env_file)]
        child = subprocess.Popen(  # noqa: S603 - our own program with our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._state_dir,
            start_new_session=True,
        )
        self._children.append(child)


async def _report_changes(orders: list[Order], seen: dict[str, str], report: Report | None) -> None:
    for order in orders:
        if seen.get(order.local_id) != order.status:
            seen[order.local_id] = order.status
            if report is not None:
                await report(f"{order.best_id}: {order.status}")


def _tell_orphans(count: int, lease: float) -> str:
    orders = "1 order" if count == 1 else f"{count} orders"
    return f"Waiting for {orders} of a process that has ended without letting go: at most {lease:.0f} s"
