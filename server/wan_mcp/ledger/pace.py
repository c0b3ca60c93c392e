"""
The limits that forget nothing worth keeping: how fast questions may be asked.

They lie in a file of their own beside the ledger, and nobody waits for the disk to have them. A process that is
killed leaves them whole; a power cut may damage the file, which is then begun anew.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio.to_thread

from wan_mcp.clock import Clock
from wan_mcp.ledger import turns
from wan_mcp.ledger.connection import Connection
from wan_mcp.ledger.desk import Desk
from wan_mcp.ledger.migrations import LIMITS
from wan_mcp.ledger.port import Limit
from wan_mcp_tools.domain.errors import LedgerError

_STEPS: Mapping[int, Sequence[str]] = {1: (LIMITS,)}


class PaceBook(Desk):
    """Turns of limits, shared by every process on the ledger that it lies beside."""

    def __init__(self, ledger: Path, clock: Clock, *, busy_seconds: float) -> None:
        path = ledger.with_name("pace.sqlite3")
        super().__init__(Connection(path, _STEPS, is_lasting=False), clock, busy_seconds=busy_seconds)

    async def turn(self, limit: Limit) -> float:
        """Reserve the next turn of a limit; give its moment."""
        try:
            return await self._write_now(partial(turns.turn, limit=limit))
        except LedgerError as error:
            await self._begin_anew(error)
            return await self._write_now(partial(turns.turn, limit=limit))

    async def hold_back(self, limit: Limit, seconds: float) -> None:
        """Let nobody have a turn for some seconds."""
        try:
            await self._write_now(partial(turns.hold_back, limit=limit, seconds=seconds))
        except LedgerError as error:
            await self._begin_anew(error)
            await self._write_now(partial(turns.hold_back, limit=limit, seconds=seconds))

    async def _begin_anew(self, error: LedgerError) -> None:
        """
        Remove a damaged file.

        Raises:
            LedgerError: it is not damage that is in the way.
        """
        if error.code != "LedgerDamaged":
            raise error
        await anyio.to_thread.run_sync(_remove, self._path)


def _remove(path: Path) -> None:
    for each in (path, path.with_name(f"{path.name}-journal")):
        each.unlink(missing_ok=True)
