"""The background: every unfinished order that this process can finish is worked on until nothing is left to do."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from wan_mcp.concurrency import wait_any, wait_first
from wan_mcp.ledger import DAY, FREE_ORDERS, Order, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import OrderContext, Timings, backoff
from wan_mcp.orders.inputs import InputSender
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.worker.download import Downloader, SaveTarget
from wan_mcp.orders.worker.eligibility import NotEligibleError, OrderEligibility
from wan_mcp.orders.worker.list_poll import ListPoller
from wan_mcp.orders.worker.poll import Poller
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.recover import Recovery
from wan_mcp.orders.worker.schedule import Schedule
from wan_mcp.orders.worker.submit import Submitter
from wan_mcp.orders.worker.writer import LeaseLostError, OrderWriter
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import AppError, LedgerError

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Orders worked on side by side in one process; the rest wait in the ledger."""


class OrderWorker:
    """
    Works on the orders whose lease this process holds, and takes those over that nobody holds.

    An idle process only asks for the ledger's version, and reads nothing. `worker_id` is its name in the ledger.
    """

    def __init__(
        self,
        context: OrderContext,
        *,
        live: LiveOrders,
        queries: Queries,
        eligibility: OrderEligibility,
        catalogue: Catalogue,
        timings: Timings,
        worker_id: str,
        folders: Sequence[Path],
    ) -> None:
        self._context = context
        self._live = live
        self._eligibility = eligibility
        self._timings = timings
        self._worker_id = worker_id
        self._folders = folders
        ledger, clock = context.ledger, context.clock
        writer = self._writer = OrderWriter(ledger, live, clock, timings, context.observers)
        self._submitter = Submitter(
            ledger,
            context.dashscope,
            clock,
            live=live,
            writer=writer,
            catalogue=catalogue,
            timings=timings,
            clock_offsets=queries.clock_offsets,
            inputs=InputSender(context, catalogue),
            observers=context.observers,
        )
        self._recovery = Recovery(ledger, clock, live=live, writer=writer, queries=queries, timings=timings)
        concurrency = {(row.name, model.id): row.concurrency for model in catalogue.models for row in model.regions}
        schedule = Schedule(clock, guess=timings.first_poll, concurrency=concurrency)
        self._list_poller = ListPoller(ledger, clock, queries=queries, schedule=schedule)
        self._poller = Poller(
            ledger,
            clock,
            live=live,
            writer=writer,
            queries=queries,
            schedule=schedule,
            eligibility=eligibility,
            timings=timings,
        )
        self._downloader = Downloader(
            context.dashscope,
            context.storage,
            clock,
            live=live,
            writer=writer,
            queries=queries,
            timings=timings,
            worker_id=worker_id,
        )
        self._working: dict[str, Order] = {}
        self._again: dict[str, Order] = {}
        self._group: TaskGroup | None = None
        self._is_ending = False
        self._is_claiming = True
        self._check_now = anyio.Event()
        self.takes_over = False
        self.has_taken_over = anyio.Event()
        """Set when what earlier processes have left has been taken over."""

    @property
    def submitter(self) -> Submitter:
        """What sends orders."""
        return self._submitter

    def orders(self) -> list[Order]:
        """Give the orders that are being worked on here, as they are now."""
        return [self._live.latest(local_id) or order for local_id, order in self._working.items()]

    async def run(self, *, take_over: bool) -> None:
        """Work until cancelled; `take_over` also takes over what other processes leave unfinished."""
        async with anyio.create_task_group() as group:
            if self._is_ending:
                return
            self._group = group
            group.start_soon(self._renew_leases)
            group.start_soon(self._list_poller.run)
            self.takes_over = take_over
            if take_over:
                group.start_soon(self._take_over_orders)
            await anyio.sleep_forever()

    def start(self, order: Order) -> bool:
        """Begin to work on an order that was placed here just now; False if nothing is begun any more."""
        return self._start(order, inherited=False)

    def check_ledger(self) -> None:
        """Look for free orders now."""
        self._check_now.set()

    def stop_claiming(self) -> None:
        """Take over nothing any more; what is worked on goes on."""
        self._is_claiming = False

    async def save_image(self, order: Order, index: int, target: SaveTarget) -> None:
        """Save an image that could not be saved yet where a caller wants it: it is tried once, now."""
        with self._downloader.targets.wanted(order.local_id, index, target):
            if order.local_id in self._working:
                self._live.get(order.local_id).wake()
            else:
                seized = await self._context.ledger.leases.seize(
                    order.local_id, index, self._worker_id, lease=self._timings.lease
                )
                if seized is None or not self._start(seized, inherited=True):
                    return
            await target.tried.wait()

    async def stop(self) -> None:
        """Let creating requests that are under way end, then let go of everything."""
        ledger, clock, timings = self._context.ledger, self._context.clock, self._timings
        self._is_ending = True
        with anyio.move_on_after(timings.stop_seconds, shield=True):
            # What is being sent, and what is a file already and not yet written down as one.
            while any(order.stage in (Stage.SENDING, Stage.CLOSED) for order in self.orders()):
                await clock.sleep(0.02)
        left = self.orders()
        if self._group is not None:
            self._group.cancel_scope.cancel()
        if not left:
            return
        with anyio.move_on_after(timings.stop_seconds, shield=True):
            try:
                for order in left:
                    if order.stage is Stage.QUEUED:
                        ended = await ledger.orders.save(order, lifecycle.not_sent(order))
                        if ended is not None:
                            self._context.observers.tell_change(order, ended)
                await ledger.leases.release(self._worker_id)
            except LedgerError as error:
                # The leases end by themselves; the next process takes over then.
                _log.warning("the ledger could not be told that this process ends: %s", error)

    # --- taking over ------------------------------------------------------------------------------------------------

    async def take_over(self, *, at_once: int = _AT_ONCE) -> float | None:
        """
        Claim what is free, for `at_once` orders in all.

        Gives the time at which to look again, or None if there is nothing to wait for.
        """
        if not self._is_claiming:
            return None
        timings, leases = self._timings, self._context.ledger.leases
        try:
            claimed = await leases.claim(
                self._worker_id,
                lease=timings.lease,
                limit=at_once - len(self._working),
                longest_lease=timings.longest_lease,
                eligibility=self._eligibility.describe(),
            )
            for order in claimed:
                self._start(order, inherited=True)
            return await self.find_next_lease_end()
        except LedgerError as error:
            _log.warning("the ledger cannot be read now: %s", error)
            return self._context.clock.now() + timings.retry_most

    async def find_next_lease_end(self) -> float | None:
        """
        Give the time at which an order that this process could finish becomes free, or None if there is none.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return await self._context.ledger.leases.find_next_end(self._worker_id, self._eligibility.describe())

    async def _take_over_orders(self) -> None:
        """Take over at the start, when a lease of somebody else ends, and when the ledger has changed."""
        # The first answers go out before; but who asks for an order of an earlier run need not wait for that.
        await wait_first(self._context.clock, self._check_now.wait, self._timings.start_delay)
        async with anyio.create_task_group() as group:
            group.start_soon(self._remove_temp_files)
            await self._watch_ledger()

    async def _watch_ledger(self) -> None:
        ledger, clock = self._context.ledger, self._context.clock
        seen: object = None
        again = False
        due: float | None = None
        while True:
            self._check_now = anyio.Event()
            freed = ledger.next_change(FREE_ORDERS)
            version = await ledger.version()
            changed = version != seen
            if version is not None and (self._eligibility.readmit() or changed or again or self._is_due(due)):
                due = await self.take_over()
            # Two writes of one clock tick leave the same version: after a change one more look follows.
            seen, again = version, changed
            self.has_taken_over.set()
            arrival = partial(wait_any, self._check_now, freed)
            await wait_first(clock, arrival, self._timings.ledger_interval)

    def _is_due(self, moment: float | None) -> bool:
        """Say whether a moment has come, or lies so far ahead that the clock must have been set back since."""
        now, timings = self._context.clock.now(), self._timings
        return moment is not None and not now < moment <= now + max(timings.longest_lease, timings.retry_most)

    async def _remove_temp_files(self) -> None:
        """Remove what processes that died long ago have left half-written."""
        for folder in self._folders:
            try:
                await self._context.storage.remove_old_temp_files(folder, older_than=self._context.clock.now() - DAY)
            except AppError as error:
                _log.info("old temporary files in %s could not be removed: %s", folder, error)

    # --- working ----------------------------------------------------------------------------------------------------

    def _start(self, order: Order, *, inherited: bool) -> bool:
        if self._group is None or self._is_ending:
            return False
        if order.local_id in self._working:
            # Its worker has lost the lease and does not know it yet; this goes on where that ends.
            self._again[order.local_id] = order
            return True
        self._working[order.local_id] = order
        self._live.follow(order)
        self._group.start_soon(self._work, order, inherited)
        return True

    async def _work(self, order: Order, inherited: bool) -> None:
        attempt = 0
        try:
            while order.stage is not Stage.CLOSED:
                if inherited and not self._eligibility.covers(order):
                    with suppress(LeaseLostError):
                        await self._writer.save(order, lifecycle.released(order))
                    return
                try:
                    order = await self._step(order, inherited=inherited)
                    attempt = 0
                except LeaseLostError:
                    return
                except NotEligibleError:
                    self._eligibility.exclude(order)
                    inherited = True
                except Exception:  # noqa: BLE001 - a fault of ours must not lose a paid picture: it is tried again
                    _log.exception("working on order %s failed", order.local_id)
                    attempt += 1
                    self._live.get(order.local_id).was_tried = True
                    await self._context.clock.sleep(backoff(attempt, 1.0, 60.0))
                    order = self._live.latest(order.local_id) or order
                inherited = inherited or order.stage is Stage.SENDING
        finally:
            self._working.pop(order.local_id, None)
            self._live.leave(order.local_id)
            self._downloader.targets.give_up(order.local_id)
            again = self._again.pop(order.local_id, None)
            if again is not None:
                self._start(again, inherited=True)
            self.check_ledger()

    async def _step(self, order: Order, *, inherited: bool) -> Order:
        """Take an order one stage further."""
        match order.stage:
            case Stage.QUEUED | Stage.SENDING if not inherited:
                return await self._submitter.submit(order)
            case Stage.QUEUED:
                # Its process died before sending. Nobody may be there any more to want it.
                return await self._writer.save(order, lifecycle.not_sent(order))
            case Stage.SENDING:
                # Whoever sent it can no longer tell what came of it.
                return await self._writer.save(order, lifecycle.lost(order, None, now=self._context.clock.now()))
            case Stage.LOST:
                return await self._recovery.recover(order)
            case Stage.OPEN if order.images:
                return await self._downloader.download(order)
            case Stage.OPEN:
                return await self._poller.poll(order)
            case Stage.CLOSED:
                return order

    async def _renew_leases(self) -> None:
        while True:
            await self._context.clock.sleep(self._timings.renew_interval)
            if not self._working:
                continue
            try:
                await self._context.ledger.leases.renew(self._worker_id, lease=self._timings.lease)
            except LedgerError as error:
                _log.warning("the leases could not be renewed: %s", error)
