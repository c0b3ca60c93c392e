"""Which process works on which order, and who holds a slot."""

import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import replace

from wan_mcp.ledger.database import FREE_ORDERS, Repository, Transaction, reads, writes
from wan_mcp.ledger.records import DAY, Backlog, Eligibility, ImageState, Order, Slot, Stage
from wan_mcp.ledger.rows import (
    MOST_VALUES,
    chunks,
    lock_order,
    number_parameters,
    read_existing_order,
    read_moment,
    read_orders,
)
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.tasks import TaskStatus

_HOST = socket.gethostname()
_UNFINISHED = f"stage <> '{Stage.CLOSED}'"


def new_worker_id() -> str:
    """Give this run of the program a name of its own: host, process id, chance."""
    return f"{_HOST}/{os.getpid()}/{secrets.token_hex(4)}"


def is_gone(worker_id: str | None) -> bool:
    """
    Say whether the process of a worker is certainly gone.

    Certain only for a process of this host on POSIX; everything else counts as living. Used where a wrong "gone"
    costs nothing; leases are never judged by it.
    """
    if worker_id is None:
        return True
    host, _, rest = worker_id.rpartition("/")[0].rpartition("/")
    if host != _HOST or os.name != "posix" or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class Leases(Repository):
    """
    Leases on orders, and slots.

    Only a lease that is over may be taken; the new version fences off whoever had the order before.
    """

    async def claim(
        self,
        worker_id: str,
        *,
        lease: float,
        limit: int,
        longest_lease: float,
        eligibility: Eligibility | None = None,
    ) -> Sequence[Order]:
        """
        Take unfinished orders whose lease is over, those nearest to their end first; never one's own.

        A worker goes on with its own, even if it slept through the end of its leases. A lease longer than
        `longest_lease` was written by a clock that has been set back: it counts as over.
        """
        # Looked at first without the write lock, so that an idle process never writes.
        if limit <= 0 or not await self._has_free(worker_id, longest_lease, eligibility):
            return ()
        return await self._claim(
            worker_id, lease=lease, limit=limit, longest_lease=longest_lease, eligibility=eligibility
        )

    @reads
    def _has_free(
        self, tx: Transaction, worker_id: str, longest_lease: float, eligibility: Eligibility | None
    ) -> bool:
        return bool(_read_free(tx, worker_id, 1, longest_lease, eligibility))

    @writes
    def _claim(
        self,
        tx: Transaction,
        worker_id: str,
        *,
        lease: float,
        limit: int,
        longest_lease: float,
        eligibility: Eligibility | None,
    ) -> Sequence[Order]:
        free = _read_free(tx, worker_id, limit, longest_lease, eligibility)
        for chunk in chunks([order.local_id for order in free]):
            _lease(tx, worker_id, lease, f"local_id IN ({number_parameters(chunk, 3)})", *chunk)
        return [
            replace(order, worker_id=worker_id, lease_until=tx.now + lease, version=order.version + 1)
            for order in free
        ]

    @writes
    def seize(self, tx: Transaction, local_id: str, index: int, worker_id: str, *, lease: float) -> Order | None:
        """
        Take an order from whoever holds it, to save an image that could not be saved yet.

        None if the image is saved or given up, or is just about to be given its name by whoever holds the order.
        """
        order = lock_order(tx, "local_id = $1 AND stage = $2", local_id, Stage.OPEN.value)
        image = order.image(index) if order else None
        if image is None or image.state not in (ImageState.WAITING, ImageState.UNSAVED):
            return None
        _lease(tx, worker_id, lease, "local_id = $3", local_id)
        return read_existing_order(tx, local_id)

    @writes
    def renew(self, tx: Transaction, worker_id: str, *, lease: float) -> None:
        """Let every lease of a worker last for `lease` seconds from now on."""
        tx.execute(
            f"UPDATE orders SET lease_until = $1 WHERE owner = $2 AND {_UNFINISHED}",  # noqa: S608 - ours alone
            tx.now + lease,
            worker_id,
        )

    @writes
    def release(self, tx: Transaction, worker_id: str) -> None:
        """Give every unfinished order of a worker away."""
        tx.execute(
            f"UPDATE orders SET owner = NULL, lease_until = 0 WHERE owner = $1 AND {_UNFINISHED}",  # noqa: S608 - ours
            worker_id,
        )
        tx.announce(FREE_ORDERS)

    @reads
    def find_next_end(self, tx: Transaction, worker_id: str, eligibility: Eligibility | None = None) -> float | None:
        """Give the time at which a lease of another worker on an eligible order ends first, or None."""
        where, values = _make_condition(tx, eligibility, first=2)
        # Read as orders: one that cannot be read never becomes this worker's.
        orders = read_orders(
            tx,
            f"{_UNFINISHED} AND (owner IS NULL OR owner <> $1) AND {where}",
            worker_id,
            *values,
            order_by=("lease_until",),
            limit=1,
        )
        return orders[0].lease_until if orders else None

    @reads
    def list_others(self, tx: Transaction, worker_id: str) -> Sequence[Order]:
        """Give the unfinished orders that this worker does not hold."""
        return read_orders(tx, f"{_UNFINISHED} AND (owner IS NULL OR owner <> $1)", worker_id)

    @reads
    def list_open_tasks(self, tx: Transaction, region: str) -> frozenset[str]:
        """Give the service's ids of the unfinished orders of a region, whoever holds them."""
        rows = tx.execute(
            f"SELECT task_id FROM orders WHERE {_UNFINISHED} AND region = $1 AND task_id IS NOT NULL",  # noqa: S608 - ours
            region,
        )
        return frozenset(str(row["task_id"]) for row in rows)

    @reads
    def measure_backlog(self, tx: Transaction) -> Backlog:
        """Measure what is unfinished, whoever works on it."""
        row = tx.execute(
            "SELECT COUNT(*) AS orders, "  # noqa: S608 - constants
            "CAST(COALESCE(SUM(CASE WHEN lease_until > $1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS leased, "
            f"MIN(CASE WHEN status = '{TaskStatus.SUCCEEDED}' THEN finished_at END) AS finished_at "
            f"FROM orders WHERE {_UNFINISHED}",
            tx.now,
        )[0]
        finished_at = row["finished_at"]
        age = 0.0 if finished_at is None else max(0.0, tx.now - read_moment(finished_at))
        return Backlog(orders=int(row["orders"]), leased=int(row["leased"]), oldest_unsaved_seconds=age)

    @writes
    def take_slot(self, tx: Transaction, slot: Slot, holder: str) -> bool:
        """Take a slot for its time from now on, unless somebody else has it; say whether it is the holder's now."""
        if seconds_until_free(tx, slot, holder) > 0:
            return False
        occupy_slot(tx, slot, holder)
        return True

    @writes
    def leave_slot(self, tx: Transaction, slot: Slot, holder: str) -> None:
        """Free a slot that the holder has."""
        free_slot(tx, slot.name, holder)


def seconds_until_free(tx: Transaction, slot: Slot | None, holder: str, *, is_taken_then: bool = True) -> float:
    """
    Give the seconds until a slot can be taken, nought if it can be now.

    Without `is_taken_then` nothing follows in this transaction, and nothing is locked.
    """
    if slot is None:
        return 0.0
    lock = " {for_update}" if is_taken_then else ""
    rows = tx.execute(f"SELECT owner, until FROM slots WHERE name = $1{lock}", slot.name)  # noqa: S608 - a constant
    if not rows or rows[0]["owner"] == holder:
        return 0.0
    left = read_moment(rows[0]["until"]) - tx.now
    # Nobody may hold a slot for longer than its time: such an entry was written before the clock was set back.
    return left if 0 < left <= slot.seconds else 0.0


def occupy_slot(tx: Transaction, slot: Slot, holder: str) -> None:
    """Give a slot to a holder."""
    tx.execute(
        "INSERT INTO slots (name, owner, until) VALUES ($1, $2, $3) "
        "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until",
        slot.name,
        holder,
        tx.now + slot.seconds,
    )


def free_slot(tx: Transaction, name: str, holder: str) -> None:
    """Free a slot that the holder has, and tell whoever waits for it elsewhere."""
    tx.execute("DELETE FROM slots WHERE name = $1 AND owner = $2", name, holder)
    tx.announce(name)


def _lease(tx: Transaction, worker_id: str, lease: float, where: str, *values: object) -> None:
    tx.execute(
        f"UPDATE orders SET owner = $1, lease_until = $2, version = version + 1 WHERE {where}",  # noqa: S608 - ours
        worker_id,
        tx.now + lease,
        *values,
    )


def _read_free(
    tx: Transaction, worker_id: str, limit: int, longest_lease: float, eligibility: Eligibility | None
) -> list[Order]:
    """Read the unfinished orders that nobody holds, those nearest to their end first."""
    where, values = _make_condition(tx, eligibility, first=4)
    return read_orders(
        tx,
        f"{_UNFINISHED} AND (lease_until <= $1 OR lease_until > $2) AND (owner IS NULL OR owner <> $3) AND {where}",
        tx.now,
        tx.now + longest_lease,
        worker_id,
        *values,
        order_by=("COALESCE(expires_at, created_at)",),
        limit=limit,
        lock="{skip_locked}",
    )


def _make_condition(tx: Transaction, eligibility: Eligibility | None, first: int) -> tuple[str, list[object]]:
    """
    Give what selects eligible orders, its parameters numbered from `first`.

    What comes next for an order that is not sent, that has images, or whose day is over needs no key; a key may be a
    new one of the same account, so a task of another key is asked for as well.
    """
    if eligibility is None:
        return "1 = 1", []
    values: list[object] = [Stage.QUEUED.value, Stage.SENDING.value, WireProtocol.SYNC.value, tx.now]
    ways = [
        f"stage IN (${first}, ${first + 1})",
        f"protocol = ${first + 2}",
        f"COALESCE(expires_at, created_at + {DAY}) < ${first + 3}",
        "EXISTS (SELECT 1 FROM images WHERE images.local_id = orders.local_id)",
    ]
    for region, account in eligibility.accounts.items():
        number = first + len(values)
        ways.append(f"(region = ${number} AND (stage = ${number + 1} OR account = ${number + 2}))")
        values.extend((region, Stage.OPEN.value, account))
    where = f"({' OR '.join(ways)})"
    # One that is not named is asked for once more, which costs a question.
    excluded = sorted(eligibility.excluded)[:MOST_VALUES]
    if excluded:
        where += f" AND local_id NOT IN ({number_parameters(excluded, first + len(values))})"
        values.extend(excluded)
    return where, values
