"""
What other processes have written, told by the database while it happens.

A transaction that changes orders sends a notice, and each process listens on a connection of its own, in a thread of
its own. Notices only save time: whoever waits for one looks into the ledger every now and then as well, so that one
that is lost, or that a pooler between us and the database keeps to itself, costs a moment.

Sources:
    https://www.postgresql.org/docs/current/sql-notify.html
    https://www.pgbouncer.org/features.html
"""

import logging
import selectors
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from threading import Thread
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel
import psycopg
from anyio import from_thread
from psycopg import sql
from psycopg_pool import PoolTimeout

from wan_mcp.ledger.backends.postgres_connections import Connections
from wan_mcp.ledger.database import Row
from wan_mcp_tools.domain.errors import LedgerError

_log = logging.getLogger(__name__)

_TAKE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
"""Seconds before another attempt to listen, doubling."""
_DEAF_PAUSE = 600.0
"""The same where no notice comes through: a pooler is seldom taken away."""
_PROBE_SECONDS = 3.0
_ALIVE_SECONDS = 60.0
"""Seconds of silence after which the connection is asked whether it is there."""
_END_SECONDS = 1.0
_PROBE = "?"
_LONGEST_TOPIC = 1_000
"""Characters; a notice of the database holds 8000 bytes."""


def make_notices(connections: Connections, topics: Collection[str]) -> bytes:
    """Give the statements that tell other processes of changes when the transaction ends."""
    channel = sql.Literal(_name_channel(connections))
    statements = [
        sql.SQL("SELECT pg_notify({}, {});").format(channel, sql.Literal(f"{connections.name} {topic}"))
        for topic in topics
        if len(topic) <= _LONGEST_TOPIC
    ]
    return sql.Composed(statements).as_bytes(None)


def _name_channel(connections: Connections) -> str:
    # Channels belong to the database, and ledgers in two of its schemas have nothing to tell each other.
    return f"wan_mcp_{connections.ledger_id}"


class _LostNoticeError(Exception):
    """Raised where a notice that was sent does not arrive."""


class ChangeListener:
    """Hears what other processes have written, from its making until `close`, and sets the events of who waits."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._events: WeakValueDictionary[str, anyio.Event] = WeakValueDictionary()
        self._loop = anyio.lowlevel.current_token()
        self._ours, self._theirs = socket.socketpair()
        self._is_closed = False
        self._is_listening = False
        self._thread = Thread(target=self._run, name="wan-mcp ledger changes", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still listens, or tries to."""
        return self._thread.is_alive()

    def next_change(self, topic: str) -> anyio.Event:
        """Give an event that is set at the next notice of a topic."""
        event = self._events.get(topic)
        if event is None or event.is_set():
            event = self._events[topic] = anyio.Event()
        return event

    def close(self) -> None:
        """Listen no more. A connection that is being made at this moment is left to its end."""
        self._is_closed = True
        with suppress(OSError):
            self._ours.send(b"\0")
        self._thread.join(_END_SECONDS)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._is_closed:
                pause = 0.0
                try:
                    self._listen()
                except _LostNoticeError:
                    _log.info(
                        "no notices of changes come from the ledger's database, perhaps because a pooler stands "
                        "between; changes are looked for every few moments"
                    )
                    pause = _DEAF_PAUSE
                except (psycopg.Error, PoolTimeout, LedgerError, OSError) as error:
                    _log.info("the ledger's database tells of no changes now: %s", type(error).__name__)
                    attempt = 0 if self._is_listening else attempt + 1
                    pause = min(_FIRST_PAUSE * 2 ** min(attempt, 20), _LONGEST_PAUSE)
                self._is_listening = False
                if not self._is_closed:
                    self._wait(None, pause)
        except RuntimeError:
            # The event loop has ended, and with it whoever could be told.
            _log.debug("nobody listens to the ledger's changes any more", exc_info=True)
        finally:
            self._ours.close()
            self._theirs.close()

    def _listen(self) -> None:
        """Listen until closed, or until the connection breaks."""
        connections = self._connections
        with connections.take(_TAKE_SECONDS):
            # The tables have a name now.
            channel = _name_channel(connections)
        with connections.connect() as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._probe(connection)
            self._is_listening = True
            # Whatever was written before is seen by looking.
            self._tell(None)
            while not self._is_closed:
                if not self._wait(connection, _ALIVE_SECONDS):
                    connection.execute(b"SELECT 1")
                if topics := self._read(connection):
                    self._tell(topics)

    def _probe(self, connection: psycopg.Connection[Row]) -> None:
        """
        Make sure that notices arrive.

        Raises:
            _LostNoticeError: they do not.
        """
        # On another connection: behind a pooler that is another client, as the other servers are.
        with self._connections.take(_TAKE_SECONDS) as other:
            other.execute(make_notices(self._connections, [_PROBE]))
        if self._wait(connection, _PROBE_SECONDS):
            notices = list(connection.notifies(timeout=0.0))
            if notices or self._is_closed:
                return
        # As far as it reaches: the connection behind a pooler goes to others.
        connection.execute(b"UNLISTEN *")
        raise _LostNoticeError

    def _read(self, connection: psycopg.Connection[Row]) -> set[str]:
        """Give the topics of the notices that have come from other processes."""
        notices = [notice.payload.partition(" ") for notice in connection.notifies(timeout=0.0)]
        return {topic for name, _, topic in notices if name != self._connections.name and topic != _PROBE}

    def _wait(self, connection: psycopg.Connection[Row] | None, seconds: float) -> bool:
        """Wait until something has come, at most so many seconds; say whether something has."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._theirs, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection.fileno(), selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def _tell(self, topics: Collection[str] | None) -> None:
        from_thread.run_sync(self._set_events, topics, token=self._loop)

    def _set_events(self, topics: Collection[str] | None) -> None:
        """Set the events of topics, or all of them."""
        told: Sequence[str] = list(self._events) if topics is None else list(topics)
        for topic in told:
            event = self._events.pop(topic, None)
            if event is not None:
                event.set()
