"""Where the tasks are kept: in a file that several processes share, or in memory."""

import json
import logging
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio.to_thread

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox.errors import ServiceError
from wan_mcp.sandbox.models import DAY, WireProtocol
from wan_mcp.sandbox.requests import ListQuery
from wan_mcp.sandbox.tasks import TaskRecord, TaskState, is_forgotten, state_of

_BUSY_SECONDS = 5.0
"""How long another process's transaction is waited for; it takes a millisecond."""
_DAMAGES = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_PRIMARY_CODE = 0xFF
"""The part of SQLite's error codes without their details."""

Plan = Callable[[float, float], TaskRecord]
"""Makes the record of the time of its submission and of the time from which its model has a free place."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


class TaskStore(Protocol):
    """
    Keeps task records for 24 hours after their end. Each call sees what any process wrote before.

    Raises:
        OSError: the records cannot be read or written.
    """

    async def create(self, model: str, plan: Plan, *, rate: float, concurrency: int) -> TaskRecord | None:
        """
        Write the record that `plan` makes, with no other change between its times and the writing.

        None says that it would be more than `rate` submissions of the model a second, and that nothing was written.
        `concurrency` is the number of places: orders start in the order of their submission, so the next one is free
        when all but `concurrency - 1` of the earlier tasks have ended.
        """
        ...

    async def find(self, task_id: str) -> TaskRecord | None:
        """Give a record, if there is one."""
        ...

    async def list_page(self, query: ListQuery, now: float) -> tuple[int, Sequence[TaskRecord]]:
        """
        Give the number of tasks that fit a query, and the records of its page, the newest submissions first.

        Synchronous orders and tasks that are over for a day are not among them. The region and the key of the query
        are no matter of the store.
        """
        ...

    async def cancel(self, task_id: str) -> bool:
        """Cancel a task that is PENDING and say whether there was one."""
        ...


class MemoryStore:
    """Keeps records as long as the process lives. Nothing is awaited inside a call, so nothing comes between."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: dict[str, TaskRecord] = {}

    async def create(self, model: str, plan: Plan, *, rate: float, concurrency: int) -> TaskRecord | None:
        """Write the record that `plan` makes, unless it comes too soon."""
        now = self._clock.now()
        others = [record for record in self._records.values() if record.model == model]
        if _exceeds(rate, sum(now - _window(rate) < record.submitted <= now for record in others)):
            return None
        self._records = {id_: record for id_, record in self._records.items() if not is_forgotten(record, now)}
        ends = sorted(record.ended for record in others if record.canceled is None and record.ended > now)
        record = plan(now, now if len(ends) < concurrency else ends[-concurrency])
        self._records[record.task_id] = record
        return record

    async def find(self, task_id: str) -> TaskRecord | None:
        """Give a record, if there is one."""
        return self._records.get(task_id)

    async def list_page(self, query: ListQuery, now: float) -> tuple[int, Sequence[TaskRecord]]:
        """Give the number of tasks that fit, and those of the page."""
        found = [
            record
            for record in sorted(self._records.values(), key=lambda record: record.submitted, reverse=True)
            if record.protocol is not WireProtocol.SYNC
            and not is_forgotten(record, now)
            and query.since <= record.submitted <= query.until
            and query.task_id in (None, record.task_id)
            and query.model in (None, record.model)
            and query.status in (None, state_of(record, now))
        ]
        first = (query.page - 1) * query.page_size
        return len(found), found[first : first + query.page_size]

    async def cancel(self, task_id: str) -> bool:
        """Cancel a task that is PENDING and say whether there was one."""
        record, now = self._records.get(task_id), self._clock.now()
        if record is None or record.protocol is WireProtocol.SYNC or state_of(record, now) is not TaskState.PENDING:
            return False
        self._records[task_id] = replace(record, canceled=now)
        return True


_SCHEMA = """\
CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,
    protocol TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    count INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    prompt_extend INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    submitted REAL NOT NULL,
    started REAL NOT NULL,
    ended REAL NOT NULL,
    failure TEXT,          -- JSON: status, code, message
    missing TEXT NOT NULL, -- JSON: indexes
    as_set INTEGER NOT NULL,
    canceled REAL
);
CREATE INDEX IF NOT EXISTS tasks_by_submission ON tasks (submitted);
CREATE INDEX IF NOT EXISTS tasks_by_end ON tasks (ended);
"""
_COLUMNS = [field.name for field in fields(TaskRecord)]
_INSERT = f"""\
INSERT INTO tasks ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
"""  # noqa: S608 - put together of constants
# A later release may have more protocols: its tasks are passed over.
_PROTOCOLS = {protocol.name.lower(): str(protocol) for protocol in WireProtocol}
_FIND = "SELECT * FROM tasks WHERE task_id = :task_id AND protocol IN (:sync, :async, :legacy)"
_COUNT_RECENT = "SELECT count(*) FROM tasks WHERE submitted > :since AND submitted <= :now AND model = :model"
_FREE_FROM = """\
SELECT ended FROM tasks WHERE ended > :now AND model = :model AND canceled IS NULL
ORDER BY ended DESC LIMIT 1 OFFSET :concurrency - 1"""
_FORGET = "DELETE FROM tasks WHERE ended < :oldest"
_CANCEL = """\
UPDATE tasks SET canceled = :now
WHERE task_id = :task_id AND protocol IN (:async, :legacy) AND canceled IS NULL AND started > :now"""
# The states are those of `state_of`.
_LISTED = """\
FROM tasks
WHERE submitted BETWEEN :since AND :until
AND protocol IN (:async, :legacy)
AND coalesce(canceled, ended) >= :oldest
AND (:task_id IS NULL OR task_id = :task_id)
AND (:model IS NULL OR model = :model)
AND (:status IS NULL OR :status = CASE
    WHEN canceled IS NOT NULL THEN 'CANCELED'
    WHEN started > :now THEN 'PENDING'
    WHEN ended > :now THEN 'RUNNING'
    WHEN failure IS NULL THEN 'SUCCEEDED'
    ELSE 'FAILED' END)"""
_COUNT_LISTED = f"SELECT count(*) {_LISTED}"
_LIST_PAGE = f"SELECT * {_LISTED} ORDER BY submitted DESC, rowid LIMIT :limit OFFSET :offset"


class FileStore:
    """
    Keeps records in the file `sandbox.sqlite3` of a folder, which is made when it is first written to.

    A file that was removed meanwhile is begun anew. A damaged one is put aside, and another one begun.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._path = folder / "sandbox.sqlite3"
        self._clock = clock or SystemClock()
        self._in_use = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None

    async def create(self, model: str, plan: Plan, *, rate: float, concurrency: int) -> TaskRecord | None:
        """Write the record that `plan` makes, unless it comes too soon."""

        def work(database: sqlite3.Connection) -> TaskRecord | None:
            # Read inside the transaction: the times of submissions are in the order of the writings.
            now = self._clock.now()
            values = {"model": model, "now": now, "since": now - _window(rate), "concurrency": concurrency}
            if _exceeds(rate, database.execute(_COUNT_RECENT, values).fetchone()[0]):
                return None
            database.execute(_FORGET, {"oldest": now - DAY})
            row = database.execute(_FREE_FROM, values).fetchone()
            record = plan(now, now if row is None else row["ended"])
            database.execute(_INSERT, _to_row(record))
            return record

        return await self._write(work)

    async def find(self, task_id: str) -> TaskRecord | None:
        """Give a record, if there is one."""

        def work(database: sqlite3.Connection) -> TaskRecord | None:
            row = database.execute(_FIND, _PROTOCOLS | {"task_id": task_id}).fetchone()
            return None if row is None else _to_record(row)

        return await self._read(work, None)

    async def list_page(self, query: ListQuery, now: float) -> tuple[int, Sequence[TaskRecord]]:
        """Give the number of tasks that fit, and those of the page."""
        values = _PROTOCOLS | {
            "since": query.since,
            "until": query.until,
            "now": now,
            "oldest": now - DAY,
            "task_id": query.task_id,
            "model": query.model,
            "status": query.status,
            "limit": query.page_size,
            "offset": (query.page - 1) * query.page_size,
        }

        def work(database: sqlite3.Connection) -> tuple[int, Sequence[TaskRecord]]:
            total = database.execute(_COUNT_LISTED, values).fetchone()[0]
            return total, [_to_record(row) for row in database.execute(_LIST_PAGE, values)]

        return await self._read(work, (0, ()))

    async def cancel(self, task_id: str) -> bool:
        """Cancel a task that is PENDING and say whether there was one."""

        def work(database: sqlite3.Connection) -> bool:
            values = _PROTOCOLS | {"task_id": task_id, "now": self._clock.now()}
            return database.execute(_CANCEL, values).rowcount == 1

        return await self._write(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Run `work` on one state of the file; without a file its answer is `nothing`."""

        def run() -> T:
            return self._run("BEGIN", work) if self._path.exists() else nothing

        return await anyio.to_thread.run_sync(run)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction with no other one in between."""
        return await anyio.to_thread.run_sync(self._run, "BEGIN IMMEDIATE", work)

    def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._in_use:
            try:
                try:
                    return self._transact(begin, work)
                except sqlite3.DatabaseError as error:
                    if not _is_damage(error):
                        raise
                    self._put_aside()
                    return self._transact(begin, work)
            except sqlite3.Error as error:
                # What was mended or replaced behind our back is met with a new connection.
                self._close()
                raise OSError(f"The sandbox's tasks in {self._path} cannot be used: {error}") from error

    def _transact(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        # The block commits or rolls back.
        with self._open() as database:
            database.execute(begin)
            return work(database)

    def _open(self) -> sqlite3.Connection:
        if self._database is not None and self._file_id == _identify(self._path):
            return self._database
        self._close()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._path.exists():
            # Prompts are private: the file is the owner's alone.
            self._path.touch(mode=0o600)
        self._file_id = _identify(self._path)
        database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._database = database
        # Nobody tells the sandbox that it ends.
        weakref.finalize(self, database.close)
        database.row_factory = sqlite3.Row
        # A rollback journal, as several processes share the file, that is kept, as that is quicker. Without a sync
        # what a killed process had written is there all the same; only a power cut can damage the file.
        database.execute("PRAGMA journal_mode = PERSIST")
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(_SCHEMA)
        return database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _put_aside(self) -> None:
        self._close()
        # Another process may have been quicker: its new file stays.
        if self._file_id == _identify(self._path):
            aside = self._path.with_suffix(".damaged")
            # First, so that it is never the journal of a new file.
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
            self._path.replace(aside)
            _log.warning("The sandbox's tasks were damaged and are begun anew; the old file is %s.", aside)


def _identify(path: Path) -> tuple[int, int] | None:
    """Tell a file from another one at the same path."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _is_damage(error: sqlite3.Error) -> bool:
    # An error of the module itself has no code.
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGES


def _window(rate: float) -> float:
    """Give the seconds over which submissions are counted: below one a second, those in which one is allowed."""
    return max(1.0, 1 / rate)


def _exceeds(rate: float, recent: int) -> bool:
    """Say whether one more submission exceeds a rate, with so many in the window before it."""
    return recent + 1 > max(rate, 1.0)


def _to_row(record: TaskRecord) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in _COLUMNS}
    failure = None if record.failure is None else json.dumps(record.failure)
    return row | {"protocol": str(record.protocol), "failure": failure, "missing": json.dumps(record.missing)}


def _to_record(row: sqlite3.Row) -> TaskRecord:
    # By name: a later release may have more columns.
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    values |= {name: bool(row[name]) for name in ("prompt_extend", "watermark", "as_set")}
    values["protocol"] = WireProtocol(row["protocol"])
    values["failure"] = ServiceError(*json.loads(row["failure"])) if row["failure"] else None
    values["missing"] = tuple(json.loads(row["missing"]))
    return TaskRecord(**values)
