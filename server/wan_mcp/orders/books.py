"""Writing progress down: fenced, announced, and repeated until the ledger takes it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from wan_mcp.ledger import Order, OrderImage, Slot
from wan_mcp.ledger.port import Changes
from wan_mcp.orders.pacing import backoff
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.domain.errors import AppError, LedgerError, StorageError
from wan_mcp_tools.domain.tasks import Problem

T = TypeVar("T")

TRIED_AGAIN = "This is tried again by itself."


class LeaseLostError(Exception):
    """Raised when another process has taken an order over: this one stops working on it."""


def problem_of(error: AppError) -> Problem:
    """Give an error as the reason that an order keeps."""
    return Problem(error.code, str(error))


def hindrance(error: AppError) -> Problem:
    """Give an error as what holds an order up: advice to try again is ours to follow, not the caller's."""
    advice = error.advice if isinstance(error, LedgerError | StorageError) or not error.retryable else ""
    return Problem(error.code, f"{error.message} {TRIED_AGAIN} {advice}".strip())


class Books:
    """The follower's pen. A write that the ledger refuses now is kept and tried again: it must not be lost."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._deferred: dict[str, Changes] = {}

    def announce(self, order: Order, changes: Mapping[str, Any], images: Sequence[OrderImage]) -> Order:
        """
        Tell of a change before it is written, and give the order as it will be.

        For what is true already, whatever becomes of the ledger: the images are files, or the service has said so
        and says so again to whoever asks.
        """
        told = replace(order, **changes, images=tuple(images))
        self._parts.news.publish(told)
        return told

    def defer(self, order: Order, changes: Mapping[str, Any], images: Sequence[OrderImage]) -> Order:
        """Tell of a change now and write it with the next one. If that never comes, the service is asked again."""
        self._deferred[order.local_id] = changes
        return self.announce(order, changes, images)

    async def advance(
        self,
        order: Order,
        changes: Changes,
        images: Sequence[OrderImage] = (),
        *,
        free_slot: str | None = None,
    ) -> Order:
        """
        Change an order that is ours and tell of it.

        Raises:
            LeaseLostError: it is ours no more.
        """
        deferred = self._deferred.get(order.local_id, {})

        async def write() -> Order | None:
            return await self._parts.ledger.advance(order, {**deferred, **changes}, images, free_slot=free_slot)

        try:
            written = await self.keep(order, write)
        except LeaseLostError:
            self._deferred.pop(order.local_id, None)
            raise
        # Only now: what a fault of ours kept from being written must go with the next write.
        if self._deferred.get(order.local_id) is deferred:
            del self._deferred[order.local_id]
        return written

    async def keep(self, order: Order, write: Callable[[], Awaitable[Order | None]]) -> Order:
        """
        Write an order that is ours, until the ledger takes it, and tell of it.

        Raises:
            LeaseLostError: it is ours no more.
        """
        written = await self.insist(order.local_id, write)
        if written is None:
            raise LeaseLostError
        self._parts.news.publish(written)
        return written

    async def accept(
        self,
        order: Order,
        task_id: str | None,
        *,
        slot: Slot | None,
        changes: Changes,
        images: Sequence[OrderImage] = (),
    ) -> Order:
        """
        Record the service's answer, whoever holds the order now.

        Raises:
            LeaseLostError: the order is recorded, and somebody else follows it.
        """

        async def write() -> Order:
            return await self._parts.ledger.accept(
                order.local_id, task_id, slot=slot, changes=changes, images=images, held=order
            )

        written = await self.insist(order.local_id, write)
        if (written.local_id, written.owner, written.version) != (order.local_id, order.owner, order.version):
            raise LeaseLostError
        self._parts.news.publish(written)
        return written

    async def insist(self, local_id: str, write: Callable[[], Awaitable[T]]) -> T:
        """Write until the ledger takes it; meanwhile callers are told what is wrong."""
        attempt = 0
        while True:
            try:
                written = await write()
            except LedgerError as error:
                if error.code == "LedgerRowGone":
                    raise LeaseLostError from error
                attempt += 1
                self._parts.news.trouble(local_id, hindrance(error))
                timings = self._parts.timings
                await self._parts.clock.sleep(backoff(attempt, timings.trouble_step, timings.trouble_most))
            else:
                if attempt:
                    self._parts.news.trouble(local_id, None)
                return written
