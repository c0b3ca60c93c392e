"""One SQLite file: opened, brought up to date, and every foreign error turned into ours."""

import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from wan_mcp.ledger.faults import explain, is_momentary, unreachable
from wan_mcp.ledger.migrations import MIGRATIONS
from wan_mcp_tools.domain.errors import LedgerError

T = TypeVar("T")


class Connection:
    """
    A connection used by one thread at a time; with `is_lasting` a write is on the disk when it returns.

    The journal is a rollback journal, not WAL: several processes share the file, with whatever SQLite the user's
    Python has, and the WAL-reset race was mended only in 3.51.3 (https://sqlite.org/wal.html#walresetbug).
    """

    def __init__(
        self, path: Path, migrations: Mapping[int, Sequence[str]] = MIGRATIONS, *, is_lasting: bool = True
    ) -> None:
        self.path = path
        self._synchronous = "FULL" if is_lasting else "OFF"
        self._migrations = migrations
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._is_known = False

    def read(self, work: Callable[[sqlite3.Connection], T], *, patience: float) -> T:
        """Run `work` on one state of the database; another program's lock is waited for `patience` seconds."""
        return self._run("BEGIN", work, patience)

    def write(self, work: Callable[[sqlite3.Connection], T], *, patience: float) -> T:
        """Run `work` in one immediate transaction that is on the disk when this returns."""
        return self._run("BEGIN IMMEDIATE", work, patience)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _run(self, begin: str, work: Callable[[sqlite3.Connection], T], patience: float) -> T:
        try:
            database = self._open(patience)
            with _transaction(database, begin):
                return work(database)
        except sqlite3.Error as error:
            if not is_momentary(error):
                # A file that was replaced or mended behind our back is met with a new connection.
                self.close()
            raise explain(error, self.path) from error
        except OSError as error:
            raise unreachable(error, self.path) from error

    def _open(self, patience: float) -> sqlite3.Connection:
        if self._database is not None and self._is_the_file():
            _wait_for_locks(self._database, patience)
            return self._database
        self.close()
        self._make_file()
        database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            database.row_factory = sqlite3.Row
            _wait_for_locks(database, patience)
            self._check_age(database)
            # Of the rollback journals that are safe with full sync, this one takes the least of each transaction:
            # a tenth less than TRUNCATE, which gives blocks back and asks for them again every time, and a quarter
            # less than DELETE, which is durable only with EXTRA and then syncs the folder once more.
            database.execute("PRAGMA journal_mode = PERSIST")
            database.execute(f"PRAGMA synchronous = {self._synchronous}")
            _migrate(database, self._migrations)
        except BaseException:
            database.close()
            raise
        self._database = database
        self._is_known = True
        return database

    def _make_file(self) -> None:
        # Prompts are private: the folder and the file are the owner's alone.
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.path.exists():
            self.path.touch(mode=0o600)
        # Read before the database is opened: if the file is replaced in between, it is merely opened once more.
        self._file = _identity(self.path)

    def _is_the_file(self) -> bool:
        """Say whether the path still leads to the open file: what is written to a deleted one is lost."""
        try:
            return _identity(self.path) == self._file
        except FileNotFoundError:
            return False

    def _check_age(self, database: sqlite3.Connection) -> None:
        # A release that had the file open before another one updated it goes on: the steps are additive.
        if _version(database) > max(self._migrations) and not self._is_known:
            newer = LedgerError(
                f"The ledger {self.path} was written by a newer release of wan-mcp.",
                "Update wan-mcp, or name another folder in WAN_MCP_STATE_DIR.",
                code="LedgerTooNew",
            )
            newer.retryable = False
            raise newer


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)


def _wait_for_locks(database: sqlite3.Connection, seconds: float) -> None:
    database.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


@contextmanager
def _transaction(database: sqlite3.Connection, begin: str) -> Generator[None]:
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _migrate(database: sqlite3.Connection, migrations: Mapping[int, Sequence[str]]) -> None:
    newest = max(migrations)
    if _version(database) >= newest:
        return
    with _transaction(database, "BEGIN IMMEDIATE"):
        # Asked again inside the transaction: another process may have been first.
        for number in range(_version(database) + 1, newest + 1):
            for statement in migrations[number]:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])
