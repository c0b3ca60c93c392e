"""What SQLite and the file system refuse, in our words."""

import sqlite3
from pathlib import Path

from wan_mcp_tools.domain.errors import LedgerError

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_UNREACHABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")
_ELSEWHERE = "Make the folder writable, free some space there, or name another folder in WAN_MCP_STATE_DIR."

# SQLITE_ERROR: our statements fit our tables, so a file that refuses one is not the ledger that it was.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")


def is_momentary(error: sqlite3.Error) -> bool:
    """Say whether the connection itself is sound: somebody else has the lock, or a row was refused."""
    return isinstance(error, sqlite3.IntegrityError) or _name(error).startswith(_BUSY)


def explain(error: sqlite3.Error, path: Path) -> LedgerError:
    """
    Say what SQLite refused and what helps.

    Source of the names: https://sqlite.org/rescode.html
    """
    name = _name(error)
    if name.startswith(_BUSY):
        return LedgerError(
            f"The ledger {path} is locked by another program.",
            "Wait a moment; if it stays so, close the program that holds the file.",
            code="LedgerLocked",
        )
    if name.startswith("SQLITE_FULL"):
        return LedgerError(f"The disk of the ledger {path} is full.", "Free some space.", code="LedgerDiskFull")
    if name.startswith(_UNREACHABLE):
        return LedgerError(f"The ledger {path} cannot be read or written.", _ELSEWHERE, code="LedgerUnavailable")
    if name.startswith(_DAMAGED):
        damaged = LedgerError(
            f"The ledger {path} is damaged.",
            "Move the file away (keep it) and call again; list_tasks with remote=true finds the tasks of the "
            "last 24 hours.",
            code="LedgerDamaged",
        )
        damaged.retryable = False
        return damaged
    return LedgerError(f"The ledger {path} cannot be used ({name or 'unknown reason'}).", code="LedgerUnavailable")


def unreachable(error: OSError, path: Path) -> LedgerError:
    """Say why the file system refused the file."""
    in_the_way = next((parent for parent in path.parents if parent.is_file()), None)
    if isinstance(error, FileExistsError | NotADirectoryError) and in_the_way is not None:
        return LedgerError(
            f"{in_the_way} is a file, and the ledger needs a folder there.",
            "Name a folder in WAN_MCP_STATE_DIR, or move that file away.",
            code="LedgerUnavailable",
        )
    reason = error.strerror or type(error).__name__
    return LedgerError(f"The ledger {path} cannot be opened ({reason}).", _ELSEWHERE, code="LedgerUnavailable")


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or ""
