"""
What the ledger needs of a database: a transaction to run methods in, and a way to execute statements.

Statements stay within what SQLite and PostgreSQL both understand. Parameters are written `$1`, `$2`, … Where a word
must differ, the statement has a placeholder that the database fills: `{for_update}` locks the rows that are read,
`{skip_locked}` locks those that nobody else has locked, `{bytewise}` behind a column compares it by its bytes.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from anyio import Event

Row = Mapping[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

FREE_ORDERS = "free orders"
"""The topic of orders that any process may take; each order is a topic by its local id, each slot by its name."""


class Transaction(Protocol):
    """One transaction: everything that is executed in it is seen by others at once, or never."""

    @property
    def now(self) -> float:
        """The time at which it has begun, in seconds since 1970, by the clock that every worker shares."""
        ...

    def check_history(self) -> None:
        """
        Make sure that the database is the one that this process has used from its beginning on.

        Raises:
            LedgerError: it was deleted, moved away or replaced since, and what was counted in it is not known.
        """
        ...

    def announce(self, topic: str) -> None:
        """Tell other processes, once it is committed, that something of a topic has changed; a file cannot."""
        ...

    def execute(self, statement: str, *values: object) -> Sequence[Row]:
        """Run a statement with the values of `$1`, `$2`, …; give its rows, by the names of their columns."""
        ...


class Database(Protocol):
    """
    Where the ledger's rows are.

    Every method raises `LedgerError` when the database cannot be used: locked for longer than a few seconds, damaged,
    unwritable, or written by a newer release.
    """

    async def exists(self) -> bool:
        """Say whether there is anything to read, without making it."""
        ...

    async def close(self) -> None:
        """Close the database; the next call opens it again."""
        ...

    async def version(self) -> object:
        """Give a value that differs after any process has written, None if nothing is there. Reads no rows."""
        ...

    def next_change(self, topic: str) -> Event:
        """
        Give an event that is set when another process has changed something of a topic, where that is told.

        It may never be set, so that whoever waits for it also looks every now and then.
        """
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` off the event loop, on one state of the database."""
        ...

    async def read_apart(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` as `read` does, on a connection of its own: nothing waits behind it."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """
        Run `work` off the event loop, alone; what it has written is on the disk when this returns.

        A write is never abandoned half-way: when the caller is cancelled, one that has begun still ends.
        """
        ...


class Repository:
    """A set of methods on one database, each of which runs in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database


S = TypeVar("S", bound=Repository)


def reads(method: Callable[Concatenate[S, Transaction, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Let a method of a `Repository` run in a transaction that only reads."""

    @wraps(method)
    async def run(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.read(lambda tx: method(self, tx, *args, **kwargs))

    return run


def reads_apart(
    method: Callable[Concatenate[S, Transaction, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """
    Let a method that reads much run in a transaction that nothing waits behind.

    It still has to be short: in one file, others cannot write before it ends.
    """

    @wraps(method)
    async def run(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.read_apart(lambda tx: method(self, tx, *args, **kwargs))

    return run


def writes(
    method: Callable[Concatenate[S, Transaction, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Let a method of a `Repository` run in a transaction that writes: all of it, or nothing."""

    @wraps(method)
    async def run(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.write(lambda tx: method(self, tx, *args, **kwargs))

    return run
