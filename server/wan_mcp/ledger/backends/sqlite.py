"""The ledger in one SQLite file: opened, brought up to date, called off the event loop, its errors in our words."""

import json
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter, Event

from wan_mcp.clock import Clock
from wan_mcp.ledger.backends.sqlite_errors import (
    FAULTS,
    call_damaged,
    explain,
    explain_unreachable,
    find_name,
    is_momentary,
)
from wan_mcp.ledger.database import Row, Transaction
from wan_mcp.ledger.ledger import Ledger
from wan_mcp.ledger.migrations import MIGRATIONS, VOLATILE_MIGRATIONS
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.text import well_formed

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LEAST_LOCK_SECONDS = 0.02
"""Seconds; another process holds the lock for a few milliseconds at a time."""


def open_sqlite_ledger(path: Path, clock: Clock, *, busy_seconds: float = 0.8) -> Ledger:
    """Give the ledger in a file. What may be forgotten in a power cut lies in a file of its own beside it."""
    return Ledger(
        SqliteDatabase(path, clock, busy_seconds=busy_seconds),
        SqliteDatabase(
            path.with_name("pace.sqlite3"),
            clock,
            migrations=VOLATILE_MIGRATIONS,
            busy_seconds=busy_seconds,
            is_durable=False,
        ),
    )


class SqliteTransaction:
    """A transaction of a connection that somebody else begins and ends."""

    def __init__(self, connection: sqlite3.Connection, now: float, *, replaced: Path | None = None) -> None:
        self._connection = connection
        self._now = now
        self._replaced = replaced

    @property
    def now(self) -> float:
        """The time at which the transaction has begun."""
        return self._now

    def check_history(self) -> None:
        """
        Make sure that the file is the one that this process has used from its beginning on.

        Raises:
            LedgerError: it was deleted, moved away or replaced since.
        """
        if self._replaced is not None:
            raise LedgerError(
                f"The ledger {self._replaced} was deleted, moved away or replaced while this process used it, and "
                "with it went what counts for the limit and what was ordered already.",
                "End wan-mcp, put the file back, and start it again; or start it again without that file, to begin "
                "anew with the one that is there now.",
                code=ErrorCode.LEDGER_REPLACED,
                retryable=False,
            )

    def announce(self, topic: str) -> None:
        """Tell nobody: a file has no way to."""

    def execute(self, statement: str, *values: object) -> Sequence[Row]:
        """Run a statement; the values of `$1`, `$2`, … are bound by their numbers."""
        try:
            return self._execute(statement, values)
        except UnicodeEncodeError:
            # Half a character must not keep an image from being recorded.
            return self._execute(statement, [well_formed(each) if isinstance(each, str) else each for each in values])
        except sqlite3.OperationalError as error:
            # An error of Python's own: the bytes of a text are no text. A statement that gives rows changes none.
            if find_name(error) or self._connection.text_factory is _decode:
                raise
            self._connection.text_factory = _decode
            return self._execute(statement, values)

    def _execute(self, statement: str, values: Sequence[object]) -> Sequence[Row]:
        bound = {str(number): value for number, value in enumerate(values, start=1)}
        cursor = self._connection.execute(_fill_placeholders(statement), bound)
        # `sqlite3.Row` looks through all of its names for each value, and an order with its images has over forty.
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _decode(data: bytes) -> str:
    return data.decode(errors="replace")


@lru_cache(maxsize=512)
def _fill_placeholders(statement: str) -> str:
    # A transaction that writes is alone from its beginning on, so no row needs a lock of its own.
    return statement.replace("{for_update}", "").replace("{skip_locked}", "").replace("{bytewise}", "")


class SqliteDatabase:
    """
    One file, used by one thread at a time, and by another one for what reads much (`is_apart`).

    Nothing is opened before the first call. A lock of another program is waited for `busy_seconds` from the call on,
    however many calls stand in line: a call of a tool ends within two seconds of its time, and may need the ledger
    twice in them.

    With `is_durable` a write is on the disk when it returns. Without it nobody waits for the disk: a process that is
    killed leaves the file whole, a power cut may damage it, and a damaged file is begun anew.

    The journal is a rollback journal, not WAL: several processes share the file, with whatever SQLite the user's
    Python has, and the WAL-reset race was mended only in 3.51.3 (https://sqlite.org/wal.html#walresetbug).
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        migrations: Mapping[int, Sequence[str]] = MIGRATIONS,
        busy_seconds: float = 0.8,
        is_durable: bool = True,
        is_apart: bool = False,
        is_known: bool = False,
    ) -> None:
        self.path = path
        self._is_apart = is_apart
        self._apart: SqliteDatabase | None = None
        self._clock = clock
        self._migrations = migrations
        self._busy_seconds = busy_seconds
        self._is_durable = is_durable
        self._limiter: CapacityLimiter | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._is_known = is_known
        self._is_replaced = False

    async def exists(self) -> bool:
        """Say whether the file is there, or is kept from us: then the next call says what is wrong."""
        return await anyio.to_thread.run_sync(_may_be_there, self.path)

    async def close(self) -> None:
        """Close the file."""
        if self._apart is not None:
            await self._apart.close()
        await self._run_in_thread(self._forget)

    async def version(self) -> object:
        """Give the file's time and size."""
        try:
            status = await anyio.Path(self.path).stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def next_change(self, topic: str) -> Event:  # noqa: ARG002 - no topic is told of
        """Give an event that is never set."""
        return Event()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on one state of the database."""
        return await self._run("BEGIN", work)

    async def read_apart(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` as `read` does, on a connection and in a thread of its own."""
        if self._apart is None:
            self._apart = SqliteDatabase(
                self.path,
                self._clock,
                migrations=self._migrations,
                busy_seconds=self._busy_seconds,
                is_durable=self._is_durable,
                is_apart=True,
                # What this release has open already it goes on with, even if a newer one has updated it since.
                is_known=self._is_known,
            )
        return await self._apart.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one immediate transaction that is on the disk when this returns."""
        return await self._run("BEGIN IMMEDIATE", work)

    async def _run(self, begin: str, work: Callable[[Transaction], T]) -> T:
        asked_at = self._clock.monotonic()

        def run() -> T:
            # The time for which a lock is waited for runs while the call stands in line.
            left = asked_at + self._busy_seconds - self._clock.monotonic()
            lock_seconds = max(_LEAST_LOCK_SECONDS, left)
            try:
                return self._execute(begin, work, lock_seconds)
            except LedgerError as error:
                if self._is_durable or error.code != ErrorCode.LEDGER_DAMAGED:
                    raise
                self._remove()
                return self._execute(begin, work, lock_seconds)

        return await self._run_in_thread(run)

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        # One thread at a time: a connection is not shared, and the file allows one writer anyway.
        if self._limiter is None:
            self._limiter = CapacityLimiter(1)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def _execute(self, begin: str, work: Callable[[Transaction], T], lock_seconds: float) -> T:
        try:
            connection = self._open(lock_seconds)
            with _transaction(connection, begin):
                # Read once the lock is held: turns are taken in the order of their times.
                replaced = self.path if self._is_replaced else None
                return work(SqliteTransaction(connection, self._clock.now(), replaced=replaced))
        except FAULTS as error:
            if isinstance(error, sqlite3.Error) and not is_momentary(error):
                # A file that was replaced or mended behind our back is met with a new connection.
                self._close()
            explained = explain(error, self.path)
            if explained.code == ErrorCode.LEDGER_DAMAGED:
                # Moved away as advised, it is followed by a new one.
                self._forget()
            raise explained from error

    def _forget(self) -> None:
        """Close the file, and take whatever is there at the next call for the ledger."""
        self._close()
        self._file = None

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _remove(self) -> None:
        self._forget()
        try:
            for each in (self.path, self.path.with_name(f"{self.path.name}-journal")):
                each.unlink(missing_ok=True)
        except OSError as error:
            raise explain_unreachable(error, self.path) from error

    def _open(self, lock_seconds: float) -> sqlite3.Connection:
        if self._connection is not None and self._is_the_file():
            _wait_for_locks(self._connection, lock_seconds)
            return self._connection
        # Known by its number even where an error has closed it meanwhile: that may have come of the very same thing.
        if self._file is not None and self._is_durable and not self._is_apart and not self._is_the_file():
            _log.warning(
                "the ledger %s was deleted, moved away or replaced while it was in use; what is open here is written "
                "down again, everything else is in the file that is gone, and nothing is ordered until wan-mcp is "
                "started again",
                self.path,
            )
            # For good: that a file which comes back is the same cannot be told from its number, which is given anew.
            self._is_replaced = True
        self._close()
        self._make_file()
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            _wait_for_locks(connection, lock_seconds)
            check_identity(connection, self.path)
            self._check_release(connection)
            # Of the rollback journals that are safe with full sync, this one takes the least of each transaction:
            # a tenth less than TRUNCATE, which gives blocks back and asks for them again every time, and a quarter
            # less than DELETE, which is durable only with EXTRA and then syncs the folder once more.
            connection.execute("PRAGMA journal_mode = PERSIST")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._is_durable else 'OFF'}")
            migrate(connection, self._migrations, name=str(self.path) if self._is_durable else "")
        except BaseException:
            connection.close()
            self._file = None
            raise
        self._connection = connection
        self._is_known = True
        return connection

    def _make_file(self) -> None:
        # Prompts are private, and the ledger says where files are read and written.
        _make_private_folder(self.path.parent)
        _make_private_file(self.path)
        check_is_file(self.path)
        # Read before the database is opened: if the file is replaced in between, it is merely opened once more.
        self._file = _identify(self.path)

    def _is_the_file(self) -> bool:
        """Say whether the path still leads to the open file: what is written to a deleted one is lost."""
        try:
            return _identify(self.path) == self._file
        except FileNotFoundError:
            return False

    def _check_release(self, connection: sqlite3.Connection) -> None:
        # A release that had the file open before another one updated it goes on: the steps are additive.
        if read_version(connection) > max(self._migrations) and not self._is_known:
            raise LedgerError(
                f"The ledger {self.path} was written by a newer release of wan-mcp.",
                "Update wan-mcp, or name another folder in WAN_MCP_STATE_DIR.",
                code=ErrorCode.LEDGER_TOO_NEW,
                retryable=False,
            )


def read_version(connection: sqlite3.Connection) -> int:
    """Give the number of the last migration that was applied."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_private_folder(path: Path) -> None:
    """Make a folder that is its owner's alone, whatever the umask is; one that exists is the operator's affair."""
    try:
        path.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)


def _make_private_file(path: Path) -> None:
    """Make a file that is its owner's alone, or take the rights of others away from it and from its journal."""
    with suppress(FileExistsError):
        # SQLite gives the journal the rights of the file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        path.chmod(0o600)
    for each in (path, path.with_name(f"{path.name}-journal")):
        # One that belongs to somebody else, or lies on a drive without rights, is used as it is.
        with suppress(OSError):
            mode = each.stat().st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                each.chmod(stat.S_IMODE(mode) & 0o700)


def check_identity(connection: sqlite3.Connection, path: Path) -> None:
    """
    Make sure that a database is a ledger, or empty.

    Tables without a version are another program's. A trigger may undo what was written without an error, and then an
    order would be sent that is not written down.

    Raises:
        LedgerError: it is not.
    """
    # In this order: another process may be making the tables at this moment, together with their version.
    kinds = {kind for (kind,) in connection.execute("SELECT type FROM sqlite_master")}
    version = read_version(connection)
    if (version > 0 and kinds.isdisjoint({"trigger", "view"})) or (version == 0 and not kinds):
        return
    raise call_damaged(f"The file {path} is not as wan-mcp made it: another program's, or changed by one.")


def check_is_file(path: Path) -> None:
    """
    Make sure that a path leads to a file: a pipe would be waited for without end.

    Raises:
        LedgerError: it leads to something else.
        OSError: it leads nowhere.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise LedgerError(
            f"The ledger {path} is no file.",
            "Move it away, or name another folder in WAN_MCP_STATE_DIR.",
            code=ErrorCode.LEDGER_UNAVAILABLE,
            retryable=False,
        )


def _identify(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)


def _may_be_there(path: Path) -> bool:
    """Say whether a file exists, or cannot: only a folder that is merely not made yet holds nothing for certain."""
    try:
        if path.exists():
            return True
        return not next(parent for parent in path.parents if parent.exists()).is_dir()
    except OSError:
        return True


def _wait_for_locks(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrate(connection: sqlite3.Connection, migrations: Mapping[int, Sequence[str]], *, name: str = "") -> None:
    """
    Apply the migrations that a database lacks, all or none.

    What an earlier release wrote may take half a minute, in which it is locked for others: of one with a `name` the
    log tells that.
    """
    newest = max(migrations)
    if read_version(connection) >= newest:
        return
    connection.create_function("searchable", 1, _make_searchable, deterministic=True)
    with _transaction(connection, "BEGIN IMMEDIATE"):
        # Asked again inside the transaction: another process may have been first.
        oldest = read_version(connection)
        is_told = bool(name) and 0 < oldest < newest
        if is_told:
            _log.warning(
                "the ledger %s is being brought from version %d to %d; with very many orders that takes half a "
                "minute, for which other processes wait",
                name,
                oldest,
                newest,
            )
        for number in range(oldest + 1, newest + 1):
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    if is_told:
        _log.warning("the ledger %s is up to date", name)


def _make_searchable(request: Any) -> str:  # noqa: ANN401 - whatever lies in the column
    """Give the prompt of a stored request as it is searched; a migration fills the column of older rows so."""
    try:
        return str(json.loads(request)["prompt"]).casefold()
    except (TypeError, ValueError, LookupError):
        return ""
