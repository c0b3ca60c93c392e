"""What the service asks of a ledger: small enough for another database to stand in."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wan_mcp.ledger.records import NewOrder, Order, OrderImage, Origin, Placement
from wan_mcp_tools.catalogue.prices import ImageCount
from wan_mcp_tools.domain.service import AlbumQuery, AlbumSurvey
from wan_mcp_tools.domain.tasks import TaskStatus

Changes = Mapping[str, object]
"""New values by the names of `Order`'s fields."""

Fits = Callable[[Order], bool]
"""Says whether a process can work on an order; it looks at nothing but the order and the time."""


@dataclass(frozen=True, slots=True)
class Limit:
    """
    A rate limit that every process on the ledger keeps: `per_second` requests, `burst` of them at once.

    One that is not `is_lasting` may be forgotten in a power cut, and costs no write that is waited for.
    """

    name: str
    per_second: float
    burst: float = 1.0
    is_lasting: bool = True


@dataclass(frozen=True, slots=True)
class Slot:
    """A place that one order at a time may hold, for `seconds` unless it is renewed."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What an order needs to be sent: a turn of the limit, the slot if there is one, and what the clocks say."""

    slot: Slot | None
    limit: Limit
    clock_offset: float | None


class Ledger(Protocol):
    """
    The record of orders.

    Every method raises `LedgerError` when the ledger cannot be used: locked for longer than a few seconds,
    damaged, unwritable, or written by a newer release. A write has reached the disk when its method returns.
    """

    async def exists(self) -> bool:
        """Say whether there is anything to read, without making it."""
        ...

    async def close(self) -> None:
        """Let go of the ledger."""
        ...

    async def token(self) -> object:
        """Give a value that differs after any process has written. Costs no read of the ledger."""
        ...

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
        """
        Write an order down, or find the identical one of the last 24 hours that nobody has received.

        With `dispatch`, and if its slot and turn are free, a new order is marked as being sent in the same write.

        Raises:
            DailyLimitError: the images ordered in the last 24 hours and these together exceed `daily_limit`.
        """
        ...

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
        """Write down a task that the service knows and the ledger does not; give the row that is there."""
        ...

    async def get(self, any_id: str) -> Order | None:
        """Find an order by its own id or by the service's."""
        ...

    async def page(
        self, *, status: TaskStatus | None, limit: int, before: tuple[float, str] | None
    ) -> Sequence[Order]:
        """Give orders, newest first, older than `before` (creation time and local id of the last one seen)."""
        ...

    async def album(self, query: AlbumQuery, *, limit: int, before: tuple[float, str] | None) -> Sequence[Order]:
        """Give the orders that a query means, newest first, older than `before`."""
        ...

    async def survey(self, query: AlbumQuery) -> AlbumSurvey:
        """Count the orders that a query means and their saved images; name the models and regions of all."""
        ...

    async def begin_sending(self, order: Order, dispatch: Dispatch) -> Order | float | None:
        """
        Take the slot and a turn of the limit, and mark the order as being sent: all or nothing.

        Gives the order in its new stage, or the seconds to wait before asking again, or None if the order is no
        longer ours to send. The slot belongs to the order until `leave_slot`, or until its time is over.
        """
        ...

    async def take_slot(self, slot: Slot, holder: str) -> bool:
        """Take a slot for its time, unless somebody else has it; say whether it is the holder's now."""
        ...

    async def hold_slot(self, slot: Slot, holder: str) -> None:
        """Keep a slot that `holder` has for its time from now on."""
        ...

    async def leave_slot(self, slot: Slot, holder: str) -> None:
        """Free a slot."""
        ...

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
        """
        Record the service's answer to an order, whoever holds its lease: such an answer is always good news.

        `held` is the order as the caller knows it. If it holds the lease, it keeps it; any other lease ends, because
        its holder knows nothing of the answer. If the order's row is gone with its file, it is written down again.
        What another row knows of the id moves to this order; if this order already has another id, the new id
        gets a row of its own. The synchronous protocol answers with images and no id.
        """
        ...

    async def advance(
        self,
        order: Order,
        changes: Changes,
        images: Sequence[OrderImage] = (),
        *,
        free_slot: str | None = None,
    ) -> Order | None:
        """
        Change an order and its images if the lease of `order` still holds; give None if it does not.

        An order whose row is gone, because the ledger was deleted or moved away, is written down again.
        """
        ...

    async def identify(self, order: Order, task_id: str, changes: Changes) -> Order | None:
        """
        Give a lost order the task that was found for it, if the lease of `order` still holds.

        What an adopted row knows of the task moves to the order. If another order has the task by now, the order is
        given as it was: still lost. Gives None if the lease does not hold.
        """
        ...

    async def offer(self, order: Order, changes: Changes, *, tasks: Mapping[str, str], task: Changes) -> Order | None:
        """
        Change a lost order and write down every task that may be its own, all or nothing, if its lease still holds.

        `tasks` gives each row's local id and task id, `task` what the rows have in common. Half of this, and the
        next search would take the only task that is left for the right one.
        """
        ...

    async def override(self, local_id: str, changes: Changes, *, stages: Collection[str]) -> Order | None:
        """Change an order that is in one of `stages`, whoever holds it, and end every lease on it."""
        ...

    async def claim(
        self, owner: str, *, lease: float, limit: int, longest_lease: float, fits: Fits = ...
    ) -> Sequence[Order]:
        """
        Take unfinished orders that fit and whose lease is over, those nearest to their end first; never one's own.

        A lease longer than `longest_lease` was written by a clock that has been set back: it counts as over.
        """
        ...

    async def seize(self, local_id: str, index: int, owner: str, *, lease: float) -> Order | None:
        """
        Take an order from whoever holds it, to save an image that could not be saved yet.

        None if the image is saved or given up, or is just about to be given its name by whoever holds the order.
        """
        ...

    async def relocate(self, local_id: str, image: OrderImage) -> None:
        """Record where a saved image lies now."""
        ...

    async def renew(self, owner: str, *, lease: float) -> None:
        """Prolong every lease of `owner`."""
        ...

    async def release(self, owner: str) -> None:
        """Give every unfinished order of `owner` away."""
        ...

    async def next_lease_end(self, owner: str, *, fits: Fits = ...) -> float | None:
        """Give the time at which a lease of somebody else on an order that fits ends first, or None."""
        ...

    async def elsewhere(self, owner: str) -> Sequence[Order]:
        """Give the unfinished orders that somebody else holds."""
        ...

    async def deliver(self, local_id: str) -> None:
        """Record that a call was answered with the order's images."""
        ...

    async def unwant(self, local_id: str) -> None:
        """Record that the call that waited for the order waits no more."""
        ...

    async def turn(self, limit: Limit) -> float:
        """Reserve the next turn of a limit; give the seconds until it comes."""
        ...

    async def hold_back(self, limit: Limit, seconds: float) -> None:
        """Let nobody have a turn for some seconds, because the service said that we were too fast."""
        ...

    async def known(self, task_ids: Collection[str]) -> frozenset[str]:
        """Say which of the service's ids have a row."""
        ...

    async def unanswered(self, region: str, wire_model: str) -> Sequence[Order]:
        """Give the orders of a region and model that were sent and have no id, by the time of sending."""
        ...

    async def durations(self, region: str, model: str, images: int) -> Sequence[float]:
        """Give the running times in seconds of the last tasks of this kind, newest first."""
        ...

    async def images_since(self, moment: float) -> int:
        """Count the images ordered since a moment; refused and unsent orders do not count."""
        ...

    async def count_images(self, since: float) -> Sequence[ImageCount]:
        """Count the images of orders placed since a moment, by local day, region and model, newest day first."""
        ...
