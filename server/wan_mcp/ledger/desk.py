"""One ledger file behind one thread: reads and writes, off the event loop and in time."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from wan_mcp.clock import Clock
from wan_mcp.ledger.connection import Connection

T = TypeVar("T")

_LEAST_PATIENCE = 0.02
"""Seconds; another process holds the lock for a few milliseconds at a time."""


class Desk:
    """Where statements are run, one at a time; a lock is waited for `busy_seconds` from the call on."""

    def __init__(self, connection: Connection, clock: Clock, *, busy_seconds: float) -> None:
        self._path = connection.path
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._connection = connection
        self._limiter: CapacityLimiter | None = None

    async def exists(self) -> bool:
        """Say whether the file is there, or is kept from us: then the next call says what is wrong."""
        return await anyio.to_thread.run_sync(_may_be_there, self._path)

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


def _may_be_there(path: Path) -> bool:
    """Say whether a file exists, or cannot: only a folder that is merely not made yet holds nothing for certain."""
    try:
        if path.exists():
            return True
        return not next(parent for parent in path.parents if parent.exists()).is_dir()
    except OSError:
        return True
