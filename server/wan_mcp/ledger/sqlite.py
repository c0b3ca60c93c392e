"""The ledger in one SQLite file, called off the event loop."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from wan_mcp.clock import Clock
from wan_mcp.ledger import albums, answers, counts, findings, leases, orders, sums, turns
from wan_mcp.ledger.connection import Connection
from wan_mcp.ledger.desk import Desk
from wan_mcp.ledger.pace import PaceBook
from wan_mcp.ledger.port import Changes, Dispatch, Fits, Limit, Slot
from wan_mcp.ledger.records import NewOrder, Order, OrderImage, Origin, Placement
from wan_mcp_tools.catalogue.prices import ImageCount
from wan_mcp_tools.domain.service import AlbumQuery, AlbumSurvey
from wan_mcp_tools.domain.tasks import TaskStatus


class SqliteLedger(Desk):
    """
    The `Ledger` port on the standard library's sqlite3.

    Nothing is opened before the first call. A write is never abandoned half-way: when a caller is cancelled, the
    statement that has begun still ends, and its outcome is on the disk. A lock of another program is waited for
    `busy_seconds` from the call on, however many calls stand in line: a call of a tool ends within two seconds of
    its time, and may need the ledger twice in them.
    """

    def __init__(self, path: Path, clock: Clock, *, busy_seconds: float = 0.8) -> None:
        super().__init__(Connection(path), clock, busy_seconds=busy_seconds)
        self._pace = PaceBook(path, clock, busy_seconds=busy_seconds)

    async def close(self) -> None:
        """Close the files."""
        await super().close()
        await self._pace.close()

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
    ) -> Order:
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

    async def get(self, any_id: str) -> Order | None:
        """Find an order by its own id or by the service's."""
        return await self._read(partial(orders.get, any_id=any_id))

    async def page(
        self, *, status: TaskStatus | None, limit: int, before: tuple[float, str] | None
    ) -> Sequence[Order]:
        """Give orders, newest first."""
        return await self._read(partial(orders.page, status=status, limit=limit, before=before))

    async def album(self, query: AlbumQuery, *, limit: int, before: tuple[float, str] | None) -> Sequence[Order]:
        """Give the orders that a query means, newest first."""
        return await self._read(partial(albums.album, query=query, limit=limit, before=before))

    async def survey(self, query: AlbumQuery) -> AlbumSurvey:
        """Count what a query finds."""
        return await self._read(partial(albums.survey, query=query))

    async def begin_sending(self, order: Order, dispatch: Dispatch) -> Order | float | None:
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
        images: Sequence[OrderImage] = (),
        held: Order | None = None,
    ) -> Order:
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
        order: Order,
        changes: Changes,
        images: Sequence[OrderImage] = (),
        *,
        free_slot: str | None = None,
    ) -> Order | None:
        """Change an order if its lease still holds."""
        return await self._write(
            partial(orders.advance, order=order, changes=changes, images=images, free_slot=free_slot)
        )

    async def identify(self, order: Order, task_id: str, changes: Changes) -> Order | None:
        """Give a lost order its task, if its lease still holds."""
        return await self._write(partial(findings.identify, order=order, task_id=task_id, changes=changes))

    async def offer(self, order: Order, changes: Changes, *, tasks: Mapping[str, str], task: Changes) -> Order | None:
        """Change a lost order and write down every task that may be its own, if its lease still holds."""
        return await self._write_now(partial(findings.offer, order=order, changes=changes, tasks=tasks, task=task))

    async def override(self, local_id: str, changes: Changes, *, stages: Collection[str]) -> Order | None:
        """Change an order whoever holds it, and end every lease on it."""
        return await self._write(partial(orders.override, local_id=local_id, changes=changes, stages=stages))

    async def claim(
        self, owner: str, *, lease: float, limit: int, longest_lease: float, fits: Fits = leases.anything
    ) -> Sequence[Order]:
        """Take unfinished orders that fit and whose lease is over."""
        free = partial(leases.free_ids, owner=owner, limit=limit, longest_lease=longest_lease, fits=fits)
        # Looked at first without the write lock, so that an idle process never writes.
        if not await self._read(partial(free, now=self._clock.now())):
            return ()
        return await self._write_now(
            partial(leases.claim, owner=owner, lease=lease, limit=limit, longest_lease=longest_lease, fits=fits)
        )

    async def seize(self, local_id: str, index: int, owner: str, *, lease: float) -> Order | None:
        """Take an order from whoever holds it, to save an image that could not be saved yet."""
        return await self._write_now(partial(leases.seize, local_id=local_id, index=index, owner=owner, lease=lease))

    async def relocate(self, local_id: str, image: OrderImage) -> None:
        """Record where a saved image lies now."""
        await self._write(partial(orders.relocate, local_id=local_id, image=image))

    async def renew(self, owner: str, *, lease: float) -> None:
        """Prolong every lease of `owner`."""
        await self._write_now(partial(leases.renew, owner=owner, lease=lease))

    async def release(self, owner: str) -> None:
        """Give every unfinished order of `owner` away."""
        await self._write(partial(leases.release, owner=owner))

    async def next_lease_end(self, owner: str, *, fits: Fits = leases.anything) -> float | None:
        """Give the time at which the first lease of somebody else on an order that fits ends."""
        return await self._read(partial(leases.next_lease_end, owner=owner, fits=fits))

    async def elsewhere(self, owner: str) -> Sequence[Order]:
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
        if limit.is_lasting:
            moment = await self._write_now(partial(turns.turn, limit=limit))
        else:
            moment = await self._pace.turn(limit)
        return max(0.0, moment - self._clock.now())

    async def hold_back(self, limit: Limit, seconds: float) -> None:
        """Let nobody have a turn for some seconds."""
        if limit.is_lasting:
            await self._write_now(partial(turns.hold_back, limit=limit, seconds=seconds))
        else:
            await self._pace.hold_back(limit, seconds)

    async def known(self, task_ids: Collection[str]) -> frozenset[str]:
        """Say which of the service's ids have a row."""
        return await self._read(partial(counts.known, task_ids=tuple(task_ids)))

    async def unanswered(self, region: str, wire_model: str) -> Sequence[Order]:
        """Give the orders that were sent and have no id, by the time of sending."""
        return await self._read(partial(counts.unanswered, region=region, wire_model=wire_model))

    async def durations(self, region: str, model: str, images: int) -> Sequence[float]:
        """Give the running times of the last tasks of this model and count."""
        return await self._read(partial(counts.durations, region=region, model=model, images=images))

    async def images_since(self, moment: float) -> int:
        """Count the images ordered since a moment."""
        return await self._read(partial(counts.images_since, moment=moment))

    async def count_images(self, since: float) -> Sequence[ImageCount]:
        """Count the images of orders placed since a moment, by local day, region and model."""
        return await self._read(partial(sums.count_images, since=since))
