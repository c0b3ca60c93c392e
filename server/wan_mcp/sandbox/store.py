"""Where the records are kept."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox.records import TaskRecord, is_forgotten

Records = Mapping[str, TaskRecord]
"""Records by task id."""

Answer = TypeVar("Answer")
Decision = Callable[[Records], tuple[Answer, TaskRecord | None]]
"""Looks at the records and gives an answer, with the record to be written, if any."""


class Store(Protocol):
    """
    Keeps records. Both calls see everything that was written before, by whichever process.

    Raises:
        OSError: the records cannot be read or written.
    """

    async def read(self) -> Records:
        """Give all records as they are now."""
        ...

    async def change(self, decide: Decision[Answer]) -> Answer:
        """Let `decide` look and write, with no other change in between."""
        ...


class MemoryStore:
    """Keeps records as long as the process lives."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[str, TaskRecord] = {}

    async def read(self) -> Records:
        """Give all records as they are now."""
        return dict(self._records)

    async def change(self, decide: Decision[Answer]) -> Answer:
        """Let `decide` look and write; nothing is awaited in between."""
        answer, record = decide(self._records)
        if record is not None:
            forget(self._records, self._clock.now())
            self._records[record.task_id] = record
        return answer


def forget(records: dict[str, TaskRecord], now: float) -> None:
    """Drop the records whose time is over."""
    for task_id in [task_id for task_id, record in records.items() if is_forgotten(record, now)]:
        del records[task_id]
