"""What one process has read of the service's list, for the others on the ledger."""

import json
from collections.abc import Sequence
from typing import Any, cast

from wan_mcp.ledger.database import Repository, Transaction, reads, writes
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.tasks import TaskStatus

_LIFE = 20.0
"""Seconds; what was read earlier tells nothing of now."""


class SeenTask(Record):
    """A task as the list showed it; times are the service's, in seconds since 1970."""

    task_id: str
    status: TaskStatus
    created_at: float | None
    started_at: float | None


class SharedListing(Record):
    """The tasks of the ledger that the list of a region showed, when that was written down, and the seconds since."""

    kept_at: float
    age: float
    tasks: Sequence[SeenTask]


class Listings(Repository):
    """The last reading of each region's list."""

    @writes
    def keep(self, tx: Transaction, region: str, tasks: Sequence[SeenTask]) -> float:
        """Put a reading in the place of the last one; give the time at which that was."""
        rows = [(task.task_id, task.status.value, task.created_at, task.started_at) for task in tasks]
        tx.execute(
            "INSERT INTO listings (region, kept_at, tasks) VALUES ($1, $2, $3) "
            "ON CONFLICT (region) DO UPDATE SET kept_at = excluded.kept_at, tasks = excluded.tasks",
            region,
            tx.now,
            json.dumps(rows, separators=(",", ":")),
        )
        return tx.now

    @reads
    def find_new(self, tx: Transaction, region: str, *, known: float | None) -> SharedListing | None:
        """Give the last reading of a list unless it is the `known` one, is old, or cannot be read."""
        rows = tx.execute(
            "SELECT kept_at, tasks FROM listings WHERE region = $1 AND kept_at BETWEEN $2 AND $3 AND kept_at <> $4",
            region,
            tx.now - _LIFE,
            # One that was kept later was kept before the clock was set back.
            tx.now + _LIFE,
            known or 0.0,
        )
        try:
            if not rows:
                return None
            kept_at = float(rows[0]["kept_at"])
            return SharedListing(kept_at, max(0.0, tx.now - kept_at), _load(rows[0]["tasks"]))
        except (TypeError, ValueError):
            return None


def _load(text: object) -> list[SeenTask]:
    found = cast("list[tuple[str, str, Any, Any]]", json.loads(str(text)))
    return [
        SeenTask(
            str(task_id),
            TaskStatus(status),
            None if created_at is None else float(created_at),
            None if started_at is None else float(started_at),
        )
        for task_id, status, created_at, started_at in found
    ]
