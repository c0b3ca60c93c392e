"""
A look at the ledger from outside, which changes nothing: not its version, not a journal, not even that it exists.

Call it in a thread.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from wan_mcp.ledger.backends.sqlite import (
    SqliteTransaction,
    check_identity,
    check_is_file,
    migrate,
    read_version,
)
from wan_mcp.ledger.backends.sqlite_errors import FAULTS, explain, explain_unreachable
from wan_mcp.ledger.migrations import MIGRATIONS
from wan_mcp.ledger.quotas import count_images_since
from wan_mcp.ledger.records import DAY, Stage
from wan_mcp.ledger.rows import find_unreadable, read_orders
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError
from wan_mcp_tools.domain.record import Record

SQLITE_VERSION = sqlite3.sqlite_version
_LARGEST_COPIED = 256 * 1024 * 1024
_COMPLAINTS = 3
_MOST_READ = 10_000
"""Orders that are looked through for rows that cannot be read, beside all that are open."""


class OpenOrder(Record):
    """
    An order that is not finished.

    `ends_at` is when the service forgets it and its images, in seconds since 1970; `is_held` says that a living
    process works on it.
    """

    id: str
    region: str
    stage: Stage
    ends_at: float
    is_held: bool


class LedgerFacts(Record):
    """
    What a ledger is and holds.

    `version` is the last step applied to it and `newest` the last one that this release knows; of a newer ledger
    nothing else is told. `damage` is what SQLite complains of. `is_checked` is False where the file is too large to
    be looked through without keeping others from writing. `unreadable` says of each row that cannot be read what is
    odd in it. `images_today` counts those ordered in the last 24 hours.
    """

    version: int
    newest: int
    is_checked: bool = True
    damage: str | None = None
    orders: int = 0
    unreadable: tuple[str, ...] = ()
    open: tuple[OpenOrder, ...] = ()
    images_today: int = 0


def examine_ledger(path: Path, *, now: float, busy_seconds: float = 1.0) -> LedgerFacts | None:
    """
    Look at a ledger; None if there is no file.

    Raises:
        LedgerError: it cannot be opened or read.
    """
    try:
        if not path.exists():
            return None
        check_is_file(path)
        size = path.stat().st_size
    except OSError as error:
        raise explain_unreachable(error, path) from error
    try:
        with closing(_open(path, busy_seconds)) as file:
            check_identity(file, path)
            if size > _LARGEST_COPIED:
                return _look(file, now, is_checked=False)
            # Looked through as a copy: the file itself is locked for others only as long as copying takes.
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                file.backup(copy)
                return _look(copy, now, is_checked=True)
    except FAULTS as error:
        raise _explain(error, path) from error


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    file = sqlite3.connect(_address(path), uri=True, timeout=busy_seconds, isolation_level=None)
    try:
        # Copying would wait for another program's lock without end; taking our own first waits only so long.
        file.execute("BEGIN")
        file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        file.close()
        raise
    return file


def _address(path: Path) -> str:
    """
    Give the address that opens a file for reading only.

    Source: https://sqlite.org/uri.html
    """
    name = os.fsencode(path.absolute().as_posix())
    return f"file://{'' if name.startswith(b'/') else '/'}{quote(name, safe='/:')}?mode=ro"


def _look(database: sqlite3.Connection, now: float, *, is_checked: bool) -> LedgerFacts:
    version = read_version(database)
    newest = max(MIGRATIONS)
    damage = (_find_damage(database) if is_checked else None) or _find_odd_tables(database, version)
    if version > newest or version == 0 or damage is not None:
        return LedgerFacts(version, newest, is_checked, damage)
    tx = SqliteTransaction(database, now)
    return LedgerFacts(
        version,
        newest,
        is_checked,
        orders=int(database.execute("SELECT count(*) FROM orders").fetchone()[0]),
        unreadable=tuple(find_unreadable(tx, _MOST_READ).values()),
        open=_read_open(tx, now),
        images_today=count_images_since(tx, now - DAY),
    )


def _find_damage(database: sqlite3.Connection) -> str | None:
    rows = database.execute(f"PRAGMA integrity_check({_COMPLAINTS})").fetchall()
    said = [str(row[0]) for row in rows]
    return None if said == ["ok"] else "; ".join(" ".join(each.split()) for each in said)


def _find_odd_tables(database: sqlite3.Connection, version: int) -> str | None:
    """Compare tables, indexes and whatever else there is with what the migrations make of an empty file."""
    if version not in MIGRATIONS:
        return None
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        migrate(model, {number: MIGRATIONS[number] for number in range(1, version + 1)})
        expected = _read_schema(model)
    schema = _read_schema(database)
    odd = sorted(name for name in expected.keys() | schema.keys() if expected.get(name) != schema.get(name))
    more = ", and more" if len(odd) > _COMPLAINTS else ""
    return f"not as wan-mcp makes it: {', '.join(odd[:_COMPLAINTS])}{more}" if odd else None


def _read_schema(database: sqlite3.Connection) -> dict[str, str]:
    rows = database.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")
    return {f"{kind} {name}": " ".join(str(sql).split()) for kind, name, sql in rows}


def _read_open(tx: SqliteTransaction, now: float) -> tuple[OpenOrder, ...]:
    orders = [
        OpenOrder(
            order.best_id,
            order.region,
            order.stage,
            order.expires_at or (order.sent_at or order.created_at) + DAY,
            is_held=order.worker_id is not None and order.lease_until > now,
        )
        for order in read_orders(tx, "stage <> $1", Stage.CLOSED.value)
    ]
    return tuple(sorted(orders, key=lambda order: order.ends_at))


def _explain(error: Exception, path: Path) -> LedgerError:
    # Who may write takes a half-written change back; a look from outside changes nothing and must leave it there.
    if getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY_ROLLBACK":
        return LedgerError(
            f"A process died while it wrote into the ledger {path}.",
            "Nothing is lost: any other command, such as wan-mcp tasks, puts it in order.",
            code=ErrorCode.LEDGER_UNFINISHED_WRITE,
        )
    return explain(error, path)
