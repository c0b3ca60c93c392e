"""
The connections of one process to the ledger's database, and its tables brought up to date.

Sources:
    https://www.psycopg.org/psycopg3/docs/advanced/pool.html
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

import logging
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from wan_mcp.ledger.database import Row
from wan_mcp.ledger.migrations import POSTGRES_MIGRATIONS

if TYPE_CHECKING:
    from anyio import CapacityLimiter

_log = logging.getLogger(__name__)

MOST_CONNECTIONS = 5
RETRY_STEP = 0.05
_CONNECT_SECONDS = 3
_MIGRATION_SECONDS = 60.0
_MIGRATION_LOCK = 0x77616E03
_TYPES = {" REAL": " DOUBLE PRECISION", " INTEGER": " BIGINT", " TEXT": ' TEXT COLLATE "C"'}
"""
What a column's type in the migrations is here.

Every text is compared by its bytes, as SQLite does; an index serves only what is compared as it was made for.
"""


def lock_key(number: int) -> str:
    """
    Give the words for a lock of the ledger: by a number and its schema, so that two in one database share none.

    Source: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS
    """
    return f"{number}, hashtext(COALESCE(current_schema(), ''))"


class Connections:
    """
    The connections of one process, opened when they are needed; the tables are brought up to date first.

    `options` are what every connection to `url` is opened with: nothing that a pooler would refuse. `name` tells what
    this process writes from what others do.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = secrets.token_hex(8)
        self.options: Mapping[str, Any] = {
            "autocommit": True,
            "prepare_threshold": None,
            "row_factory": dict_row,
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "wan-mcp",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        }
        self._opening = Lock()
        self._pool: ConnectionPool[psycopg.Connection[Row]] | None = None
        self.ledger_id: str | None = None
        """What the tables were called when this process met them first; None before they are up to date."""
        self.limiter: CapacityLimiter | None = None

    @contextmanager
    def take(self, seconds: float) -> Generator[psycopg.Connection[Row]]:
        """Lend a connection whose tables are up to date; wait for one at most `seconds`."""
        pool = self._open()
        with pool.connection(timeout=max(seconds, RETRY_STEP)) as connection:
            if self.ledger_id is None:
                migrate(connection, POSTGRES_MIGRATIONS)
                self.ledger_id = read_ledger_id(connection)
            yield connection

    def connect(self) -> "psycopg.Connection[Row]":
        """Give a connection of one's own, to be closed by oneself."""
        return cast("psycopg.Connection[Row]", psycopg.connect(self.url, **self.options))

    def close(self) -> None:
        """Close every connection."""
        with self._opening:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _open(self) -> "ConnectionPool[psycopg.Connection[Row]]":
        with self._opening:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self.url,
                    kwargs=dict(self.options),
                    min_size=0,
                    max_size=MOST_CONNECTIONS,
                    max_idle=60.0,
                    # A call that waits is told by its own time; the pool goes on trying only while somebody waits.
                    reconnect_timeout=_CONNECT_SECONDS,
                    open=True,
                    name="wan-mcp ledger",
                )
            return self._pool


def read_row(connection: psycopg.Connection[Row], statements: bytes) -> Row:
    """Run statements in one message and give the only row of the last one."""
    cursor = connection.execute(statements)
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    if row is None:
        raise psycopg.DataError("the database gave no row")
    return row


def roll_back(connection: psycopg.Connection[Row]) -> None:
    """End a transaction; a connection that is broken is thrown away by the pool, and its transaction with it."""
    with suppress(psycopg.Error):
        connection.execute(b"ROLLBACK")


def migrate(connection: psycopg.Connection[Row], migrations: Mapping[int, Sequence[str]]) -> None:
    """
    Apply the migrations that the database lacks, all or none, one server at a time.

    A server of an older release goes on beside a newer one: the steps are additive.
    """
    newest = max(migrations)
    try:
        read_row(
            connection,
            (
                f"BEGIN; SET LOCAL lock_timeout = {round(_MIGRATION_SECONDS * 1000)};"
                f"SELECT pg_advisory_xact_lock({lock_key(_MIGRATION_LOCK)}) AS locked"
            ).encode(),
        )
        connection.execute(b"CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY, ledger_id TEXT)")
        row = read_row(connection, b"SELECT COALESCE(MAX(number), 0) AS number FROM migrations")
        oldest = int(row["number"])
        if 0 < oldest < newest:
            _log.warning(
                "the ledger's database is being brought from version %d to %d; other servers wait for it",
                oldest,
                newest,
            )
        for number in range(oldest + 1, newest + 1):
            for statement in migrations[number]:
                connection.execute(translate(statement).encode())
            psycopg.RawCursor(connection).execute(
                b"INSERT INTO migrations (number, ledger_id) VALUES ($1, $2)", [number, secrets.token_hex(16)]
            )
        connection.execute(b"COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def read_ledger_id(connection: psycopg.Connection[Row]) -> str:
    """Give the name that the tables got when they were made."""
    return str(read_row(connection, b"SELECT ledger_id FROM migrations WHERE number = 1")["ledger_id"])


def translate(statement: str) -> str:
    """Give a step of the migrations with PostgreSQL's types."""
    for words, ours in _TYPES.items():
        statement = statement.replace(words, ours)
    return statement.replace("WITHOUT ROWID", "")
