"""One SQLite file: opened, brought up to date, and every foreign error turned into ours."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from wan_mcp.ledger.migrations import MIGRATIONS, NEWEST
from wan_mcp_tools.shared.errors import LedgerError

T = TypeVar("T")


class Connection:
    """
    A connection used by one thread at a time.

    The journal is a rollback journal, not WAL: several processes share the file, with whatever SQLite the user's
    Python has, and the WAL-reset race was mended only in 3.51.3 (https://sqlite.org/wal.html#walresetbug).
    """

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._database: sqlite3.Connection | None = None

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the open database."""
        with self._translating():
            return work(self._open())

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one immediate transaction that is on the disk when this returns."""
        with self._translating():
            database = self._open()
            with _transaction(database):
                return work(database)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            return self._database
        # Prompts are private: the folder and the file are the owner's alone.
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.touch(mode=0o600, exist_ok=True)
        database = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA journal_mode = TRUNCATE")
            database.execute("PRAGMA synchronous = FULL")
            _migrate(database, self.path)
        except BaseException:
            database.close()
            raise
        self._database = database
        return database

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.IntegrityError):
                # A file that was replaced or mended behind our back is met with a new connection.
                self.close()
            raise _explained(error, self.path) from error
        except OSError as error:
            raise LedgerError(
                f"The ledger {self.path} cannot be opened ({error.strerror or 'unknown reason'}).",
                "Make the folder writable, or name another one in WAN_MCP_STATE_DIR.",
                code="LedgerUnavailable",
            ) from error


@contextmanager
def _transaction(database: sqlite3.Connection) -> Generator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    if _version(database) == NEWEST:
        return
    with _transaction(database):
        # Asked again inside the transaction: another process may have been first.
        applied = _version(database)
        if applied > NEWEST:
            raise LedgerError(
                f"The ledger {path} was written by a newer release of wan-mcp.",
                "Update wan-mcp, or name another folder in WAN_MCP_STATE_DIR.",
                code="LedgerTooNew",
            )
        for number in range(applied + 1, NEWEST + 1):
            for statement in MIGRATIONS[number]:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _explained(error: sqlite3.Error, path: Path) -> LedgerError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LedgerError(
            f"The ledger {path} is locked by another program.",
            "Wait a moment; if it stays so, close the program that holds the file.",
            code="LedgerLocked",
        )
    if name.startswith("SQLITE_FULL"):
        return LedgerError(f"The disk of the ledger {path} is full.", "Free some space.", code="LedgerDiskFull")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        return LedgerError(
            f"The ledger {path} cannot be read or written.",
            "Make the folder writable, or name another one in WAN_MCP_STATE_DIR.",
            code="LedgerUnavailable",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return LedgerError(
            f"The ledger {path} is damaged.",
            "Move the file away (keep it) and start again; list_tasks with remote=true finds the tasks of the "
            "last 24 hours.",
            code="LedgerDamaged",
        )
    return LedgerError(f"The ledger {path} cannot be used ({name or 'unknown reason'}).", code="LedgerUnavailable")
