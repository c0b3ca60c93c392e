"""A database that keeps what is executed on it, to count the statements and to read them."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from wan_mcp.ledger.database import Database, Row, Transaction

T = TypeVar("T")
_SQLITE_ONLY = re.compile(
    r"\?|`|\[|\b(?:INSERT OR|REPLACE INTO|IFNULL|INSTR|GLOB|ROWID|PRAGMA|JSON_\w+|DATE|TIME|DATETIME|STRFTIME|UNIXEPOCH)\b"
    r"|\bIS (?:NOT )?\$|\bWHERE 1(?! =)",
    re.IGNORECASE,
)


class RecordingDatabase:
    """
    Implements `wan_mcp.ledger.database.Database`.

    `executed` has each statement with the number of its values, `values` those of each in the same order.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.executed: list[tuple[str, int]] = []
        self.values: list[tuple[object, ...]] = []
        self.exists = database.exists
        self.close = database.close
        self.version = database.version
        self.next_change = database.next_change

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self.database.read(lambda tx: work(_RecordingTransaction(tx, self)))

    async def read_apart(self, work: Callable[[Transaction], T]) -> T:
        return await self.database.read_apart(lambda tx: work(_RecordingTransaction(tx, self)))

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return await self.database.write(lambda tx: work(_RecordingTransaction(tx, self)))


class _RecordingTransaction:
    def __init__(self, tx: Transaction, database: RecordingDatabase) -> None:
        self._tx = tx
        self._database = database

    @property
    def now(self) -> float:
        return self._tx.now

    def check_history(self) -> None:
        self._tx.check_history()

    def announce(self, topic: str) -> None:
        self._tx.announce(topic)

    def execute(self, statement: str, *values: object) -> Sequence[Row]:
        self._database.executed.append((statement, len(values)))
        self._database.values.append(values)
        return self._tx.execute(statement, *values)


def find_unportable(statement: str, values: int) -> list[str]:
    """Find what SQLite understands in a statement with so many values and PostgreSQL does not."""
    found = _SQLITE_ONLY.findall(statement)
    # PostgreSQL refuses a value that no parameter names.
    numbers = {int(number) for number in re.findall(r"\$(\d+)", statement)}
    if numbers != set(range(1, values + 1)):
        found.append(f"{values} values for the parameters {sorted(numbers)}")
    unfilled = set(re.findall(r"\{.*?\}", statement)) - {"{for_update}", "{skip_locked}", "{bytewise}"}
    return [*found, *sorted(unfilled)]
