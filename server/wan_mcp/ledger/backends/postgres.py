"""
The ledger in a PostgreSQL database, for any number of servers: one writer at a time, by the database's own clock.

psycopg is called off the event loop, as `sqlite3` is, so that the same methods run on both. A transaction that writes
holds an advisory lock of the database until it ends: methods were written to be alone, and a ledger has tens of
writes a second, not thousands. Reads never wait for it. Everything that belongs to a transaction is set in it, and no
statement is prepared, so that a pooler which hands out connections by the transaction may stand between.

Sources:
    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar, cast

import anyio
import anyio.to_thread
import psycopg
from anyio import CapacityLimiter
from psycopg import errors
from psycopg.rows import dict_row
from psycopg_pool import PoolTimeout

from wan_mcp.clock import Clock
from wan_mcp.ledger.backends.postgres_changes import ChangeListener, make_notices
from wan_mcp.ledger.backends.postgres_connections import (
    MOST_CONNECTIONS,
    RETRY_STEP,
    Connections,
    lock_key,
    read_ledger_id,
    read_row,
    roll_back,
)
from wan_mcp.ledger.backends.postgres_errors import explain
from wan_mcp.ledger.database import Row, Transaction
from wan_mcp.ledger.ledger import Ledger
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.text import well_formed

T = TypeVar("T")

_STATEMENT_SECONDS, _IDLE_SECONDS = 30.0, 10.0
"""How long a statement may take, and a transaction lie idle before the server ends it and its lock."""
_UNSURE_SECONDS = 5.0
"""Seconds for which is asked what became of a transaction whose end was not answered."""

_WRITE_LOCK, _LIMITS_LOCK = 0x77616E01, 0x77616E02
"""Any numbers that no other program on the same database has: the letters `wan` and a count."""

_TIME = "SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8 AS now"
_TIME_AND_ID = f"{_TIME}, pg_current_xact_id()::text AS transaction_id"

_REPEATABLE = (errors.SerializationFailure, errors.DeadlockDetected)


def open_postgres_ledger(
    url: str, clock: Clock, *, busy_seconds: float = 0.8, by_database_time: bool = True
) -> Ledger:
    """
    Give the ledger in a database; `url` is `postgresql://…`. Nothing is opened before the first call.

    Times are the database's own, so that every server has the same, unless `by_database_time` is False.
    """
    connections = Connections(url)
    return Ledger(
        PostgresDatabase(connections, clock, busy_seconds=busy_seconds, by_database_time=by_database_time),
        PostgresDatabase(
            connections, clock, busy_seconds=busy_seconds, by_database_time=by_database_time, is_durable=False
        ),
    )


class PostgresTransaction:
    """A transaction of a connection that somebody else begins and ends."""

    def __init__(self, connection: psycopg.Connection[Row], now: float, ledger_id: str | None) -> None:
        self._connection = connection
        self._now = now
        self._ledger_id = ledger_id
        self.topics: set[str] = set()
        """What other processes are told of when it ends."""

    @property
    def now(self) -> float:
        """The time at which the transaction has begun."""
        return self._now

    def check_history(self) -> None:
        """
        Make sure that the tables are those that this process has used from its beginning on.

        Raises:
            LedgerError: they were emptied or replaced since.
        """
        if read_ledger_id(self._connection) != self._ledger_id:
            raise LedgerError(
                "The ledger's database was emptied or replaced while this process used it, and with it went what "
                "counts for the limit and what was ordered already.",
                "End wan-mcp, restore the database, and start it again; or start it again to begin anew.",
                code=ErrorCode.LEDGER_REPLACED,
                retryable=False,
            )

    def announce(self, topic: str) -> None:
        """Tell other processes, once this is committed, that something of a topic has changed."""
        self.topics.add(topic)

    def execute(self, statement: str, *values: object) -> Sequence[Row]:
        """Run a statement; the values of `$1`, `$2`, … are bound by their numbers."""
        bound = [_storable(value) for value in values]
        cursor = psycopg.RawCursor(self._connection, row_factory=dict_row)
        cursor.execute(fill_placeholders(statement).encode(), bound)
        return cursor.fetchall() if cursor.description else []


def _storable(value: object) -> object:
    """Give a text without what no text of the database can hold: half characters and zeros."""
    return well_formed(value).replace("\0", "\ufffd") if isinstance(value, str) else value


@lru_cache(maxsize=512)
def fill_placeholders(statement: str) -> str:
    """Give a statement as PostgreSQL takes it."""
    # A transaction that writes is alone from its beginning on, so no row needs a lock of its own.
    return statement.replace("{for_update}", "").replace("{skip_locked}", "").replace("{bytewise}", 'COLLATE "C"')


class PostgresDatabase:
    """
    The tables of one database, used by a few threads at a time.

    A lock of another server is waited for `busy_seconds`. With `is_durable` a write is on the disk when it returns;
    without it nobody waits for the disk. A transaction that certainly did nothing is repeated as long as there is
    time; where the answer to its end was lost, the database is asked what became of it.
    """

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        *,
        busy_seconds: float,
        by_database_time: bool = True,
        is_durable: bool = True,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._by_database_time = by_database_time
        self._is_durable = is_durable
        self._listener: ChangeListener | None = None

    async def exists(self) -> bool:
        """Say that there is something to read: a database is named because it is there."""
        return True

    async def close(self) -> None:
        """Close the connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await anyio.to_thread.run_sync(listener.close)
        await self._run_in_thread(self._connections.close)

    async def version(self) -> object:
        """Give the database's snapshot, another one after each transaction that wrote; None if it is away."""

        def read() -> object:
            try:
                with self._connections.take(self._busy_seconds) as connection:
                    return read_row(connection, b"SELECT pg_current_snapshot()::text AS snapshot")["snapshot"]
            except (psycopg.Error, PoolTimeout, LedgerError):
                return None

        return await self._run_in_thread(read)

    def next_change(self, topic: str) -> anyio.Event:
        """Give an event that is set when another process has changed something of a topic."""
        if self._listener is None or not self._listener.is_alive:
            self._listener = ChangeListener(self._connections)
        return self._listener.next_change(topic)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on one state of the database."""
        begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{self._bounds()}{_TIME}"
        return await self._repeat(begin, work)

    async def read_apart(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` as `read` does: there are several connections."""
        return await self.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` alone, in one transaction that is on the disk when this returns."""
        begin = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED;{self._bounds()}"
            f"SET LOCAL synchronous_commit = {'on' if self._is_durable else 'off'};"
            # The clock is read once the lock is held, so that turns are taken in the order of their times.
            f"SELECT pg_advisory_xact_lock({lock_key(_WRITE_LOCK if self._is_durable else _LIMITS_LOCK)});"
            f"{_TIME_AND_ID}"
        )
        return await self._repeat(begin, work)

    def _bounds(self) -> str:
        """Bound what may last in a transaction, in milliseconds, for this transaction alone."""
        return (
            f"SET LOCAL lock_timeout = {round(self._busy_seconds * 1000)};"
            f"SET LOCAL statement_timeout = {round(_STATEMENT_SECONDS * 1000)};"
            f"SET LOCAL idle_in_transaction_session_timeout = {round(_IDLE_SECONDS * 1000)};"
        )

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        if self._connections.limiter is None:
            self._connections.limiter = CapacityLimiter(MOST_CONNECTIONS)
        return await anyio.to_thread.run_sync(work, limiter=self._connections.limiter)

    async def _repeat(self, begin: str, work: Callable[[Transaction], T]) -> T:
        """Run a transaction, and again where it certainly did nothing."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._run_in_thread(lambda: self._attempt(begin, work))
            except _NothingDoneError as ended:
                # Every connection of the pool may be dead after the database was restarted.
                if attempt > MOST_CONNECTIONS + 1:
                    raise explain(ended.reason) from ended.reason
            except _UnansweredError as unanswered:
                if await self._was_committed(unanswered):
                    return cast("T", unanswered.result)
            await self._clock.sleep(RETRY_STEP)

    def _attempt(self, begin: str, work: Callable[[Transaction], T]) -> T:
        """
        Run a transaction once.

        Raises:
            LedgerError: it did nothing, and would do nothing again.
            _NothingDoneError: it did nothing.
            _UnansweredError: nobody knows what became of it.
        """
        try:
            with self._connections.take(self._busy_seconds) as connection:
                return self._execute(connection, begin, work)
        except (psycopg.Error, PoolTimeout) as error:
            if _is_cut(error):
                # While the tables were brought up to date: what is cut off later is known by then.
                raise _NothingDoneError(error) from error
            raise explain(error) from error

    def _execute(self, connection: psycopg.Connection[Row], begin: str, work: Callable[[Transaction], T]) -> T:
        try:
            state = read_row(connection, begin.encode())
            now = float(state["now"]) if self._by_database_time else self._clock.now()
            tx = PostgresTransaction(connection, now, self._connections.ledger_id)
            result = work(tx)
        except psycopg.Error as error:
            roll_back(connection)
            if connection.broken or isinstance(error, _REPEATABLE):
                raise _NothingDoneError(error) from error
            raise
        except BaseException:
            roll_back(connection)
            raise
        try:
            # In one message: a notice costs no way to the database and back.
            connection.execute(make_notices(self._connections, tx.topics) + b"COMMIT")
        except psycopg.Error as error:
            transaction_id = state.get("transaction_id")
            if transaction_id is None or isinstance(error, _REPEATABLE):
                raise _NothingDoneError(error) from error
            raise _UnansweredError(error, str(transaction_id), result) from error
        return result

    async def _was_committed(self, unanswered: "_UnansweredError") -> bool:
        """
        Ask what became of a transaction whose end was not answered.

        Raises:
            LedgerError: that cannot be found out.
        """
        ask = f"SELECT pg_xact_status('{int(unanswered.transaction_id)}'::xid8) AS status".encode()

        def read_status() -> object:
            with self._connections.take(self._busy_seconds) as connection:
                return read_row(connection, ask)["status"]

        with anyio.CancelScope(shield=True):
            for _ in range(round(_UNSURE_SECONDS / RETRY_STEP)):
                with suppress(psycopg.Error, PoolTimeout):
                    status = await self._run_in_thread(read_status)
                    if status != "in progress":
                        return status == "committed"
                await self._clock.sleep(RETRY_STEP)
        raise explain(unanswered.reason) from unanswered.reason


def _is_cut(error: psycopg.Error) -> bool:
    """Say whether a connection was ended under a statement, and not a new one refused."""
    if isinstance(error, PoolTimeout) or not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith("57P")


class _NothingDoneError(Exception):
    """Raised for a transaction of which it is certain that it changed nothing."""

    def __init__(self, reason: psycopg.Error) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _UnansweredError(Exception):
    """Raised for a transaction whose end was not answered; `result` is its result if it was committed."""

    def __init__(self, reason: psycopg.Error, transaction_id: str, result: object) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.transaction_id = transaction_id
        self.result = result
