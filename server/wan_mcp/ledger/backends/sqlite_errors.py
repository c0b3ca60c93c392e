"""What SQLite and the disk refuse, in our words: what is wrong with the file of the ledger, and what helps."""

import logging
import os
import sqlite3
from pathlib import Path

from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.next_step import NextAction, NextStep

_log = logging.getLogger(__name__)

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_UNREACHABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")
_ELSEWHERE = "Make the folder writable, free some space there, or name another folder in WAN_MCP_STATE_DIR."
# SQLITE_ERROR: our statements fit our tables, so a file that refuses one is not the ledger that it was.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")


FAULTS = (
    sqlite3.Error,
    OSError,
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError),
)
"""What comes of a file that is not as it was: no column is believed to hold what it should."""


def explain(error: Exception, path: Path) -> LedgerError:
    """Say what is wrong with a ledger on which work ended with one of `FAULTS`, and what helps."""
    match error:
        case sqlite3.Error():
            return _explain_refusal(error, path)
        case OSError():
            return explain_unreachable(error, path)
        case UnicodeDecodeError():
            # SQLite's own words about damage, which hold the damage.
            return call_damaged(f"The ledger {path} is damaged.")
        case _:
            _log.error("the ledger %s holds what cannot be read", path, exc_info=error)
            return call_damaged(f"The ledger {path} holds what cannot be read.")


def call_damaged(message: str) -> LedgerError:
    """Say that a file is damaged, and how a new one takes its place."""
    return LedgerError(
        message, code=ErrorCode.LEDGER_DAMAGED, next_step=NextStep(NextAction.REPLACE_LEDGER), retryable=False
    )


def _explain_refusal(error: sqlite3.Error, path: Path) -> LedgerError:
    """
    Say what SQLite refused and what helps.

    Source of the names: https://sqlite.org/rescode.html
    """
    name = find_name(error)
    if name.startswith(_BUSY):
        return LedgerError(
            f"The ledger {path} is locked by another program.",
            "Wait a moment: a newer release of wan-mcp may be bringing it up to date. If it stays so, close the "
            "program that holds the file.",
            code=ErrorCode.LEDGER_LOCKED,
        )
    if name.startswith("SQLITE_FULL"):
        return LedgerError(
            f"The disk of the ledger {path} is full.", "Free some space.", code=ErrorCode.LEDGER_DISK_FULL
        )
    if name.startswith(_UNREACHABLE):
        return LedgerError(
            f"The ledger {path} cannot be read or written.", _ELSEWHERE, code=ErrorCode.LEDGER_UNAVAILABLE
        )
    if name.startswith(_DAMAGED):
        return call_damaged(f"The ledger {path} is damaged.")
    return LedgerError(
        f"The ledger {path} cannot be used ({name or 'unknown reason'}).", code=ErrorCode.LEDGER_UNAVAILABLE
    )


def explain_unreachable(error: OSError, path: Path) -> LedgerError:
    """Say why the file system refused the file."""
    if path.is_relative_to(os.devnull):
        return LedgerError(
            "There is no folder for the ledger, because this user has no home folder.",
            "Set WAN_MCP_STATE_DIR, and WAN_MCP_OUTPUT_DIR for the pictures, to full paths.",
            code=ErrorCode.LEDGER_UNAVAILABLE,
            retryable=False,
        )
    in_the_way = next((parent for parent in path.parents if parent.is_file()), None)
    if isinstance(error, FileExistsError | NotADirectoryError) and in_the_way is not None:
        return LedgerError(
            f"{in_the_way} is a file, and the ledger needs a folder there.",
            "Name a folder in WAN_MCP_STATE_DIR, or move that file away.",
            code=ErrorCode.LEDGER_UNAVAILABLE,
        )
    reason = error.strerror or type(error).__name__
    return LedgerError(
        f"The ledger {path} cannot be opened ({reason}).", _ELSEWHERE, code=ErrorCode.LEDGER_UNAVAILABLE
    )


def is_momentary(error: sqlite3.Error) -> bool:
    """Say whether the connection itself is sound: somebody else has the lock, or a row was refused."""
    return isinstance(error, sqlite3.IntegrityError) or find_name(error).startswith(_BUSY)


def find_name(error: sqlite3.Error) -> str:
    """Give SQLite's own name of an error, empty where it has none."""
    return getattr(error, "sqlite_errorname", "") or ""
