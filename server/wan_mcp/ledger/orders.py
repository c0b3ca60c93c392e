"""Orders: written down before they are sent, changed by whoever holds their lease, and never lost."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from wan_mcp.ledger.database import Repository, Transaction, reads, writes
from wan_mcp.ledger.leases import free_slot, is_gone, occupy_slot, seconds_until_free
from wan_mcp.ledger.limits import seconds_until_turn, take_turn
from wan_mcp.ledger.quotas import check_quotas
from wan_mcp.ledger.records import (
    DAY,
    Dispatch,
    ImageState,
    Order,
    OrderImage,
    OrderLimits,
    Origin,
    Placement,
    Slot,
    Stage,
)
from wan_mcp.ledger.rows import (
    IS_UNCOUNTED,
    NEWEST_FIRST,
    chunks,
    find_changed_images,
    find_changes,
    insert_order,
    lock_order,
    number_parameters,
    read_existing_order,
    read_held_order,
    read_order,
    read_orders,
    restore_order,
    uncount_order,
    update_order,
    write_images,
)
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.text import well_formed

NO_LIMITS = OrderLimits()
Displace = Callable[[Order], Order]
"""Gives an order as it is without the task that turned out to be another order's."""

_ANSWERED = ("stage", "status", "accepted_at", "expires_at", "request_id", "error_code", "error_message")
"""What the service's answer says of an order."""
_LEARNED = (
    "stage",
    "status",
    "finished_at",
    "expires_at",
    "duration",
    "actual_prompt",
    "error_code",
    "error_message",
)
"""What a row knows of a task that does not come with the answer to the order."""
_FOUND = ("stage", "status", "accepted_at", "expires_at", "notes", "error_code", "error_message")
"""What is known of a lost order once its task was found."""
_ENDED = ("stage", "status", "finished_at", "error_code", "error_message")
"""How an order ended."""
_NEWEST_SEARCHED = 300
"""Orders that are looked through before an index is asked for all that begin with some letters."""
_SURROGATES = range(0xD800, 0xE000)
_LAST_SIGN = 0x10FFFF
_INHERITED = ("region", "account", "model", "wire_model", "protocol", "request", "folder", "principal")
"""What two tasks of one order have in common."""


class Orders(Repository):
    """The rows of orders. A method that changes one gives it as it is then."""

    @writes
    def place(
        self,
        tx: Transaction,
        order: Order,
        *,
        lease: float,
        limits: OrderLimits = NO_LIMITS,
        recent: Mapping[str, int] = MappingProxyType({}),
        deduplicate: bool,
        dispatch: Dispatch | None = None,
        sending: Order | None = None,
    ) -> Placement:
        """
        Write an order down, or find the identical one of the last 24 hours that nobody has received.

        `recent` has the orders of the caller itself in the last 24 hours with the images of each, for the limit. With
        `dispatch`, and if its slot and turn are free, a new order is written as `sending` in the same write.

        Raises:
            LimitError: what was ordered in the last 24 hours or 30 days, or goes on, and this exceed `limits`.
            LedgerError: the ledger is not the one that this process began with. An order that costs nothing is
                written down all the same.
        """
        found = _find_identical(tx, order.fingerprint) if deduplicate else None
        if found is not None:
            awaited = {"awaited_until": max(order.awaited_until, found.awaited_until), "awaited_by": order.awaited_by}
            update_order(tx, found.local_id, awaited)
            saved_elsewhere = (found.folder, _find_filename(found)) != (order.folder, _find_filename(order))
            return Placement(
                read_existing_order(tx, found.local_id), deduplicated=True, saved_elsewhere=saved_elsewhere
            )
        if order.region != SANDBOX.name:
            check_quotas(tx, order, limits, recent)
            tx.check_history()
        placed = replace(order, created_at=tx.now, lease_until=tx.now + lease)
        insert_order(tx, placed)
        if dispatch is not None and sending is not None:
            begun = _begin_sending(
                tx, placed, replace(sending, created_at=tx.now, lease_until=tx.now + lease), dispatch
            )
            placed = begun if isinstance(begun, Order) else placed
        return Placement(placed, deduplicated=False)

    @writes
    def adopt(self, tx: Transaction, order: Order) -> Order:
        """Write down a task that the service knows and the ledger does not; give the row that is there."""
        return _adopt(tx, order)

    @reads
    def get(self, tx: Transaction, any_id: str, *, principal: str | None = None) -> Order | None:
        """Find an order by its own id or by the service's; with `principal`, among those of a principal alone."""
        if principal is None:
            return read_order(tx, "task_id = $1 OR local_id = $1", any_id)
        return read_order(tx, "(task_id = $1 OR local_id = $1) AND COALESCE(principal, '') = $2", any_id, principal)

    @reads
    def find_by_beginning(
        self, tx: Transaction, beginning: str, *, limit: int, principal: str | None = None
    ) -> Sequence[Order]:
        """
        Find the orders whose own id or whose id at the service begins with these letters, newest first.

        They are compared as they stand: no sign among them stands for others. With `principal` they are found among
        the orders of a principal alone.
        """
        first = well_formed(beginning)
        end = _find_end(first)
        if principal is not None:
            return _find_own_by_beginning(tx, first, principal, limit)
        if not first:
            return read_orders(tx, "1 = 1", order_by=NEWEST_FIRST, limit=limit)
        if end is None:
            return ()
        # What begins so may be every order, and then the newest few have enough of them.
        begins = "SUBSTR({column}, 1, LENGTH(CAST($1 AS TEXT))) = $1"
        newest = "SELECT created_at FROM orders ORDER BY created_at DESC LIMIT 1 OFFSET $2"
        recent = read_orders(
            tx,
            f"created_at >= COALESCE(({newest}), 0) "
            f"AND ({begins.format(column='task_id')} OR {begins.format(column='local_id')})",
            first,
            _NEWEST_SEARCHED,
            order_by=NEWEST_FIRST,
            limit=limit,
        )
        if len(recent) == limit:
            return recent
        lies = "(({column} {{bytewise}}) >= $1 AND ({column} {{bytewise}}) < $2)"
        task, local = lies.format(column="task_id"), lies.format(column="local_id")
        found = f"SELECT local_id FROM orders WHERE {task} UNION SELECT local_id FROM orders WHERE {local}"  # noqa: S608
        return read_orders(tx, f"local_id IN ({found})", first, end, order_by=NEWEST_FIRST, limit=limit)

    async def begin_sending(self, order: Order, sending: Order, dispatch: Dispatch) -> Order | float | None:
        """
        Take the slot and a turn of the limit, and write the order as `sending`: all or nothing.

        Gives the order as it is then, or the seconds to wait before asking again, or None if the order is no longer
        this worker's to send. The slot belongs to the order until `leave_slot`, or until its time is over.
        """
        # Looked at first without the write lock: whoever stands in line must not hold up whoever writes an answer.
        if dispatch.slot is not None and (wait := await self._read_wait(order, dispatch.slot)) > 0:
            return wait
        return await self._begin_sending(order, sending, dispatch)

    @reads
    def _read_wait(self, tx: Transaction, order: Order, slot: Slot) -> float:
        """Give the seconds until a slot is free for an order that still waits for it, else nought."""
        rows = tx.execute("SELECT stage, version FROM orders WHERE local_id = $1", order.local_id)
        if not rows or (rows[0]["stage"], rows[0]["version"]) != (Stage.QUEUED.value, order.version):
            return 0.0
        return seconds_until_free(tx, slot, order.local_id, is_taken_then=False)

    @writes
    def _begin_sending(
        self, tx: Transaction, order: Order, sending: Order, dispatch: Dispatch
    ) -> Order | float | None:
        return _begin_sending(tx, order, sending, dispatch)

    @writes
    def save(self, tx: Transaction, before: Order, after: Order, *, slot: Slot | None = None) -> Order | None:
        """
        Write what differs between two states of an order, if the lease of `before` still holds; None if it does not.

        An order whose row is gone, because the ledger was deleted or moved away, is written down again. `slot` is
        freed in the same write.
        """
        return _save(tx, before, after, slot)

    @writes
    def accept(
        self, tx: Transaction, order: Order, accepted: Order, *, slot: Slot | None, displace: Displace
    ) -> Order:
        """
        Record the service's answer to an order, whoever holds its lease: such an answer is always good news.

        `order` is the order as the caller knows it. If it holds the lease, it keeps it; any other lease ends, because
        its holder knows nothing of the answer. If the order's row is gone with its file, it is written down again.
        What another row knows of the task moves to this order; if this order already has another task, the new one
        gets a row of its own. The synchronous protocol answers with images and no task.
        """
        if slot is not None:
            free_slot(tx, slot.name, order.local_id)
        restore_order(tx, order)
        row = read_existing_order(tx, order.local_id)
        if row.stage is Stage.CLOSED:
            uncount_order(tx, row.local_id)
        changes = {name: getattr(accepted, name) for name in _ANSWERED}
        if accepted.finished_at is not None:
            changes["finished_at"] = accepted.finished_at
        if accepted.task_id is not None and row.task_id is not None:
            if row.task_id == accepted.task_id:
                return row
            # The lookup took another task for this order's: the one that answers now is paid for as well.
            inherited = {name: getattr(row, name) for name in _INHERITED}
            second = Order(
                **inherited | changes,
                local_id=f"{row.local_id}-late",
                task_id=accepted.task_id,
                origin=Origin.RECOVERED,
                created_at=tx.now,
            )
            return _adopt(tx, second)
        if (order.worker_id, order.version) != (row.worker_id, row.version):
            # Whoever has taken the order over knows nothing of this answer: its next write must fail, and the order
            # must be free for anybody to follow.
            changes |= {"worker_id": None, "lease_until": 0.0, "version": row.version + 1}
        if accepted.task_id is not None:
            _take_over(tx, row.local_id, accepted.task_id, changes, displace)
        else:
            update_order(tx, row.local_id, changes)
        write_images(tx, row.local_id, accepted.images)
        return read_existing_order(tx, row.local_id)

    @writes
    def assign_task(self, tx: Transaction, order: Order, found: Order, *, displace: Displace) -> Order | None:
        """
        Give a lost order the task that was found for it, if the lease of `order` still holds.

        What an adopted row knows of the task moves to the order. If another order has the task by now, the order is
        given as it was: still lost. Gives None if the lease does not hold.
        """
        held = _save(tx, order, order, None)
        if held is None or found.task_id is None:
            return held
        other = read_order(tx, "task_id = $1", found.task_id)
        if other is not None and other.origin is not Origin.ADOPTED:
            return held
        _take_over(tx, order.local_id, found.task_id, {name: getattr(found, name) for name in _FOUND}, displace)
        return read_existing_order(tx, order.local_id)

    @writes
    def save_candidates(
        self, tx: Transaction, before: Order, after: Order, candidates: Sequence[Order]
    ) -> Order | None:
        """
        Change a lost order and write down every task that may be its own, all or nothing, if its lease still holds.

        Half of this, and the next search would take the only task that is left for the right one.
        """
        saved = _save(tx, before, after, None)
        if saved is not None:
            for candidate in candidates:
                _adopt(tx, replace(candidate, created_at=tx.now))
        return saved

    @writes
    def close(self, tx: Transaction, closed: Order, *, stages: Collection[Stage]) -> Order | None:
        """End an order that is in one of `stages`, whoever holds it, and end every lease on it."""
        row = lock_order(tx, "local_id = $1", closed.local_id)
        if row is None or row.stage not in stages:
            return None
        fence: dict[str, object] = {"worker_id": None, "lease_until": 0.0, "version": row.version + 1}
        update_order(tx, row.local_id, {name: getattr(closed, name) for name in _ENDED} | fence)
        return read_existing_order(tx, row.local_id)

    @writes
    def move_image(self, tx: Transaction, local_id: str, image: OrderImage) -> None:
        """Record where a saved image lies now."""
        row = lock_order(tx, "local_id = $1", local_id)
        known = row.image(image.index) if row else None
        if known is not None and known.state is ImageState.SAVED:
            write_images(tx, local_id, [image])

    @writes
    def mark_delivered(self, tx: Transaction, local_id: str) -> None:
        """Record that a call was answered with the order's images."""
        tx.execute(
            "UPDATE orders SET delivered_at = COALESCE(delivered_at, $1), wanted_until = 0 WHERE local_id = $2",
            tx.now,
            local_id,
        )

    @writes
    def stop_waiting(self, tx: Transaction, local_id: str) -> None:
        """Record that the call that waited for the order waits no more."""
        tx.execute("UPDATE orders SET wanted_until = 0 WHERE local_id = $1", local_id)

    @reads
    def find_known(self, tx: Transaction, task_ids: Sequence[str]) -> frozenset[str]:
        """Say which of the service's ids have a row."""
        return frozenset(
            row["task_id"]
            for chunk in chunks(task_ids)
            for row in tx.execute(f"SELECT task_id FROM orders WHERE task_id IN ({number_parameters(chunk)})", *chunk)  # noqa: S608
        )

    @reads
    def list_unanswered(self, tx: Transaction, region: str, wire_model: str) -> Sequence[Order]:
        """Give the orders of a region and model that were sent and have no task, by the time of sending."""
        return read_orders(
            tx,
            f"{IS_UNCOUNTED} AND region = $1 AND wire_model = $2 AND task_id IS NULL AND sent_at IS NOT NULL "
            "AND stage IN ($3, $4)",
            region,
            wire_model,
            Stage.SENDING.value,
            Stage.LOST.value,
            order_by=("sent_at",),
        )


def _find_identical(tx: Transaction, fingerprint: str | None) -> Order | None:
    candidates = read_orders(
        tx,
        "fingerprint = $1 AND delivered_at IS NULL AND created_at > $2 AND status NOT IN ($3, $4, $5)",
        fingerprint,
        tx.now - DAY,
        TaskStatus.FAILED.value,
        TaskStatus.CANCELED.value,
        TaskStatus.EXPIRED.value,
        order_by=("created_at DESC",),
    )
    for candidate in candidates:
        # Another call still waits for it: two calls side by side are two orders.
        is_awaited = candidate.awaited_until > tx.now and not is_gone(candidate.awaited_by)
        if not is_awaited:
            return candidate
    return None


def _find_own_by_beginning(tx: Transaction, beginning: str, principal: str, limit: int) -> Sequence[Order]:
    begins = "SUBSTR({column}, 1, LENGTH(CAST($2 AS TEXT))) = $2"
    return read_orders(
        tx,
        f"principal = $1 AND ({begins.format(column='task_id')} OR {begins.format(column='local_id')})",
        principal,
        beginning,
        order_by=NEWEST_FIRST,
        limit=limit,
    )


def _find_end(beginning: str) -> str | None:
    """Give the first text that comes, in the order of bytes, after all that begin so; None if nothing does."""
    rest = beginning.rstrip(chr(_LAST_SIGN))
    if not rest:
        return None
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _find_filename(order: Order) -> str | None:
    return order.request.filename if order.request else None


def _adopt(tx: Transaction, order: Order) -> Order:
    found = read_order(tx, "task_id = $1", order.task_id)
    if found is not None:
        return found
    insert_order(tx, order)
    return read_existing_order(tx, order.local_id)


def _begin_sending(tx: Transaction, order: Order, sending: Order, dispatch: Dispatch) -> Order | float | None:
    row = read_held_order(tx, order)
    if row is None or row.stage is not Stage.QUEUED:
        return None
    slot, limit = dispatch.slot, dispatch.limit
    wait = max(seconds_until_free(tx, slot, order.local_id), seconds_until_turn(tx, limit))
    if wait > 0:
        return wait
    take_turn(tx, limit)
    if slot is not None:
        occupy_slot(tx, slot, order.local_id)
    update_order(tx, order.local_id, find_changes(order, sending) | {"sent_at": tx.now})
    return read_existing_order(tx, order.local_id)


def _save(tx: Transaction, before: Order, after: Order, slot: Slot | None) -> Order | None:
    if slot is not None:
        free_slot(tx, slot.name, before.local_id)
    if read_held_order(tx, before) is None and not restore_order(tx, before):
        return None
    if before.stage is Stage.CLOSED:
        uncount_order(tx, before.local_id)
    update_order(tx, before.local_id, find_changes(before, after))
    write_images(tx, before.local_id, find_changed_images(before, after))
    return read_existing_order(tx, before.local_id)


def _take_over(tx: Transaction, local_id: str, task_id: str, changes: dict[str, object], displace: Displace) -> None:
    """Give the task to the order, with all that another row has learned of it meanwhile."""
    other = read_order(tx, "task_id = $1", task_id)
    if other is None:
        update_order(tx, local_id, {"task_id": task_id, **changes})
        return
    uncount_order(tx, other.local_id)
    tx.execute("DELETE FROM images WHERE local_id = $1", other.local_id)
    if other.origin is Origin.ORDERED:
        # The search took this task for another order's. That order is lost again, and searched for anew.
        fence = {"version": other.version + 1}
        update_order(tx, other.local_id, find_changes(other, displace(other)) | fence)
    else:
        tx.execute("DELETE FROM orders WHERE local_id = $1", other.local_id)
    learned = {name: getattr(other, name) for name in _LEARNED}
    update_order(tx, local_id, {"task_id": task_id, **changes, **learned})
    write_images(tx, local_id, other.images)
