"""The ledger in one SQLite file, called off the event loop."""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from wan_mcp.clock import Clock
from wan_mcp.ledger import answers, counts, findings, leases, orders, turns
from wan_mcp.ledger.connection import Connection
from wan_mcp.ledger.port import Changes, Dispatch, Limit, Slot
from wan_mcp.ledger.records import ImageRecord, NewOrder, OrderRecord, Origin, Placement
from wan_mcp_tools.shared.tasks import TaskStatus

T = TypeVar("T")

_LEAST_PATIENCE = 0.02
"""Seconds; another process holds the lock for a few milliseconds at a time."""


class SqliteLedger:
    """
    The `Ledger` port on the standard library's sqlite3.

    Nothing is opened before the first call. A write is never abandoned half-way: when a caller is cancelled, the
    statement that has begun still ends, and its outcome is on the disk. A lock of another program is waited for
    `busy_seconds` from the call on, however many calls stand in line: a call of a tool ends within two seconds of
    its time, and may need the ledger twice in them.
    """

    def __init__(self, path: Path, clock: Clock, *, busy_seconds: float = 0.8) -> None:
        self._path = path
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._connection = Connection(path)
        self._limiter: CapacityLimiter | None = None

    async def exists(self) -> bool:
        """Say whether the file is there, or is kept from us: then the next call says what is wrong."""
        try:
            return await anyio.Path(self._path).exists()
        except OSError:
            return True

    async def close(self) -> None:
        """Close the file."""
        await self._in_thread(self._connection.close)

    async def token(self) -> object:
        """Give the file's time and size."""
        try:
            status = await anyio.Path(self._path).stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    async def place(
        self,
        order: NewOrder,
        *,
        owner: str,
        lease: float,
        wanted_until: float,
        daily_limit: int,
        join: bool,
        dispatch: Dispatch | None = None,
    ) -> Placement:
        """Write an order down, or find the identical one that nobody has received."""
        return await self._write_now(
            partial(
                orders.place,
                order=order,
                owner=owner,
                lease=lease,
                wanted_until=wanted_until,
                daily_limit=daily_limit,
                join=join,
                dispatch=dispatch,
            )
        )

    async def adopt(
        self,
        *,
        local_id: str,
        task_id: str,
        origin: Origin,
        region: str,
        account: str,
        changes: Changes,
    ) -> OrderRecord:
        """Write down a task that the service knows and the ledger does not."""
        values = {
            "local_id": local_id,
            "task_id": task_id,
            "origin": origin,
            "region": region,
            "account": account,
            "images_ordered": 0,
            "created_at": self._clock.now(),
            **changes,
        }
        return await self._write(partial(orders.adopt, values=values))

    async def get(self, any_id: str) -> OrderRecord | None:
        """Find an order by its own id or by the service's."""
        return await self._read(partial(orders.get, any_id=any_id))

    async def page(
        self, *, status: TaskStatus | None, limit: int, before: tuple[float, str] | None
    ) -> Sequence[OrderRecord]:
        """Give orders, newest first."""
        return await self._read(partial(orders.page, status=status, limit=limit, before=before))

    async def begin_sending(self, order: OrderRecord, dispatch: Dispatch) -> OrderRecord | float | None:
        """Take the slot and a turn, and mark the order as being sent."""
        return await self._write_now(partial(turns.begin_sending, order=order, dispatch=dispatch))

    async def take_slot(self, slot: Slot, holder: str) -> bool:
        """Take a slot for its time, unless somebody else has it."""
        return await self._write_now(partial(turns.take_slot, slot=slot, holder=holder))

    async def hold_slot(self, slot: Slot, holder: str) -> None:
        """Keep a slot for its time from now on, unless somebody else has it by now."""
        await self._write_now(partial(turns.take_slot, slot=slot, holder=holder))

    async def leave_slot(self, slot: Slot, holder: str) -> None:
        """Free a slot."""
        await self._write(partial(turns.leave_slot, name=slot.name, holder=holder))

    async def accept(
        self,
        local_id: str,
        task_id: str | None,
        *,
        slot: Slot | None,
        changes: Changes,
        images: Sequence[ImageRecord] = (),
        held: OrderRecord | None = None,
    ) -> OrderRecord:
        """Record the service's answer to an order, whoever holds its lease."""
        return await self._write_now(
            partial(
                answers.accept,
                local_id=local_id,
                task_id=task_id,
                slot=slot,
                changes=changes,
                images=images,
                held=held,
            )
        )

    async def advance(
        self,
        order: OrderRecord,
        changes: Changes,
        images: Sequence[ImageRecord] = (),
        *,
        free_slot: str | None = None,
    ) -> OrderRecord | None:
        """Change an order if its lease still holds."""
        return await self._write(
            partial(orders.advance, order=order, changes=changes, images=images, free_slot=free_slot)
        )

    async def identify(self, order: OrderRecord, task_id: str, changes: Changes) -> OrderRecord | None:
        """Give a lost order its task, if its lease still holds."""
        return await self._write(partial(findings.identify, order=order, task_id=task_id, changes=changes))

    async def offer(
        self, order: OrderRecord, changes: Changes, *, tasks: Mapping[str, str], task: Changes
    ) -> OrderRecord | None:
        """Change a lost order and write down every task that may be its own, if its lease still holds."""
        return await self._write_now(partial(findings.offer, order=order, changes=changes, tasks=tasks, task=task))

    async def override(self, local_id: str, changes: Changes, *, stages: Collection[str]) -> OrderRecord | None:
        """Change an order whoever holds it, and end every lease on it."""
        return await self._write(partial(orders.override, local_id=local_id, changes=changes, stages=stages))

    async def claim(self, owner: str, *, lease: float, limit: int, longest_lease: float) -> Sequence[OrderRecord]:
        """Take unfinished orders whose lease is over."""
        free = partial(leases.free_ids, owner=owner, now=self._clock.now(), limit=limit, longest_lease=longest_lease)
        # Looked at first without the write lock, so that an idle process never writes.
        if not await self._read(free):
            return ()
        return await self._write_now(
            partial(leases.claim, owner=owner, lease=lease, limit=limit, longest_lease=longest_lease)
        )

    async def renew(self, owner: str, *, lease: float) -> None:
        """Prolong every lease of `owner`."""
        await self._write_now(partial(leases.renew, owner=owner, lease=lease))

    async def release(self, owner: str) -> None:
        """Give every unfinished order of `owner` away."""
        await self._write(partial(leases.release, owner=owner))

    async def next_lease_end(self, owner: str) -> float | None:
        """Give the time at which the first lease of somebody else ends."""
        return await self._read(partial(leases.next_lease_end, owner=owner))

    async def elsewhere(self, owner: str) -> Sequence[OrderRecord]:
        """Give the unfinished orders that somebody else holds."""
        return await self._read(partial(leases.elsewhere, owner=owner))

    async def deliver(self, local_id: str) -> None:
        """Record that a call was answered with the order's images."""
        await self._write_now(partial(orders.deliver, local_id=local_id))

    async def unwant(self, local_id: str) -> None:
        """Record that the call that waited for the order waits no more."""
        await self._write(partial(orders.unwant, local_id=local_id))

    async def turn(self, limit: Limit) -> float:
        """Reserve the next turn of a limit; give the seconds until it comes."""
        moment = await self._write_now(partial(turns.turn, limit=limit))
        return max(0.0, moment - self._clock.now())

    async def hold_back(self, limit: Limit, seconds: float) -> None:
        """Let nobody have a turn for some seconds."""
        await self._write_now(partial(turns.hold_back, limit=limit, seconds=seconds))

    async def known(self, task_ids: Collection[str]) -> frozenset[str]:
        """Say which of the service's ids have a row."""
        return await self._read(partial(counts.known, task_ids=tuple(task_ids)))

    async def unanswered(self, region: str, wire_model: str) -> Sequence[OrderRecord]:
        """Give the orders that were sent and have no id, by the time of sending."""
        return await self._read(partial(counts.unanswered, region=region, wire_model=wire_model))

    async def durations(self, region: str, model: str, images: int) -> Sequence[float]:
        """Give the running times of the last tasks of this model and count."""
        return await self._read(partial(counts.durations, region=region, model=model, images=images))

    async def images_since(self, moment: float) -> int:
        """Count the images ordered since a moment."""
        return await self._read(partial(counts.images_since, moment=moment))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        patience = self._patience()
        return await self._in_thread(lambda: self._connection.read(work, patience=patience()))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        patience = self._patience()
        return await self._in_thread(lambda: self._connection.write(work, patience=patience()))

    async def _write_now(self, work: Callable[..., T]) -> T:
        """Write with the time at which the transaction has begun: turns are taken in the order of their times."""
        return await self._write(lambda database: work(database, now=self._clock.now()))

    def _patience(self) -> Callable[[], float]:
        """Start to count the seconds for which a lock is waited for; they run while the call stands in line."""
        asked_at = self._clock.monotonic()
        return lambda: max(_LEAST_PATIENCE, asked_at + self._busy_seconds - self._clock.monotonic())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # One thread at a time: a connection is not shared, and the file allows one writer anyway.
        if self._limiter is None:
            self._limiter = CapacityLimiter(1)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)
