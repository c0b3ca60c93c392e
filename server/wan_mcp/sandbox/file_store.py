"""The store that several processes share: a SQLite file."""

import base64
import json
import logging
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox.catalogue.model import DAY, Mode, UsageShape, WireProtocol
from wan_mcp.sandbox.errors import ErrorReply
from wan_mcp.sandbox.inputs import InputPicture
from wan_mcp.sandbox.requests import ListQuery
from wan_mcp.sandbox.stores import UPLOAD_LIFE, Plan, UploadRecord, exceeds, window
from wan_mcp.sandbox.tasks import TaskRecord

_BUSY_SECONDS = 5.0
"""How long another process's transaction is waited for; it takes a millisecond."""
_DAMAGES = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_PRIMARY_CODE = 0xFF
"""The part of SQLite's error codes without their details."""

T = TypeVar("T")
_log = logging.getLogger(__name__)

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
    as_set INTEGER NOT NULL, -- what earlier releases read in the place of the mode
    canceled REAL
);
CREATE TABLE IF NOT EXISTS uploads (
    key TEXT PRIMARY KEY,
    uploaded REAL NOT NULL,
    picture TEXT NOT NULL -- JSON
);
CREATE INDEX IF NOT EXISTS tasks_by_submission ON tasks (submitted);
CREATE INDEX IF NOT EXISTS tasks_by_end ON tasks (ended);
CREATE INDEX IF NOT EXISTS uploads_by_time ON uploads (uploaded);
"""
# What earlier releases did not write down; their rows, and those that they go on writing, have the default.
_ADDED = {
    "mode": "TEXT NOT NULL DEFAULT 'text'",
    "usage": "TEXT NOT NULL DEFAULT 'size'",
    "transparent": "INTEGER NOT NULL DEFAULT 0",
    "inputs": "TEXT NOT NULL DEFAULT '[]'",  # JSON: pictures
}
_COLUMNS = [field.name for field in fields(TaskRecord)]
_INSERT = f"""\
INSERT INTO tasks ({", ".join(_COLUMNS)}, as_set) VALUES ({", ".join(f":{name}" for name in _COLUMNS)}, :as_set)
"""  # noqa: S608 - put together of constants
# A later release may have more protocols: its tasks are passed over.
_PROTOCOLS = {protocol.name.lower(): str(protocol) for protocol in WireProtocol}
_FIND = "SELECT * FROM tasks WHERE task_id = :task_id AND protocol IN (:sync, :async, :legacy, :legacy_edit)"
_COUNT_RECENT = "SELECT count(*) FROM tasks WHERE submitted > :since AND submitted <= :now AND model = :model"
_FREE_FROM = """\
SELECT ended FROM tasks WHERE ended > :now AND model = :model AND canceled IS NULL
ORDER BY ended DESC LIMIT 1 OFFSET :concurrency - 1"""
_FORGET = "DELETE FROM tasks WHERE ended < :oldest"
_CANCEL = """\
UPDATE tasks SET canceled = :now
WHERE task_id = :task_id AND protocol IN (:async, :legacy, :legacy_edit) AND canceled IS NULL AND started > :now"""
# The states are those of `state_of`.
_LISTED = """\
FROM tasks
WHERE submitted BETWEEN :since AND :until
AND protocol IN (:async, :legacy, :legacy_edit)
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

_FORGET_UPLOADS = "DELETE FROM uploads WHERE uploaded <= :oldest"
_ADD_UPLOAD = "INSERT INTO uploads VALUES (:key, :uploaded, :picture) ON CONFLICT DO NOTHING"
_FIND_UPLOAD = "SELECT * FROM uploads WHERE key = :key AND uploaded > :oldest"


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
            values = {"model": model, "now": now, "since": now - window(rate), "concurrency": concurrency}
            if exceeds(rate, database.execute(_COUNT_RECENT, values).fetchone()[0]):
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

    async def add_upload(self, upload: UploadRecord) -> bool:
        """Write an upload down; False says that its key is taken."""
        row = {"key": upload.key, "uploaded": upload.uploaded, "picture": json.dumps(_pack(upload.picture))}

        def work(database: sqlite3.Connection) -> bool:
            database.execute(_FORGET_UPLOADS, {"oldest": upload.uploaded - UPLOAD_LIFE})
            return database.execute(_ADD_UPLOAD, row).rowcount == 1

        return await self._write(work)

    async def find_upload(self, key: str) -> UploadRecord | None:
        """Give an upload of the last 48 hours, if there is one."""
        values = {"key": key, "oldest": self._clock.now() - UPLOAD_LIFE}

        def work(database: sqlite3.Connection) -> UploadRecord | None:
            row = database.execute(_FIND_UPLOAD, values).fetchone()
            return row and UploadRecord(row["key"], row["uploaded"], _unpack(json.loads(row["picture"])))

        return await self._read(work, None)

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
        _add_columns(database)
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


def _to_row(record: TaskRecord) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in _COLUMNS}
    failure = None if record.failure is None else json.dumps(record.failure)
    inputs = json.dumps([_pack(picture) for picture in record.inputs])
    texts = {name: str(row[name]) for name in ("protocol", "mode", "usage")}
    flags = {"as_set": record.mode is Mode.SET}
    return row | texts | flags | {"failure": failure, "missing": json.dumps(record.missing), "inputs": inputs}


def _to_record(row: sqlite3.Row) -> TaskRecord:
    # By name: a later release may have more columns.
    values: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    values |= {name: bool(row[name]) for name in ("prompt_extend", "watermark", "transparent")}
    values["protocol"] = WireProtocol(row["protocol"])
    values["mode"], values["usage"] = Mode(row["mode"]), UsageShape(row["usage"])
    values["inputs"] = tuple(_unpack(packed) for packed in json.loads(row["inputs"]))
    values["failure"] = ErrorReply(*json.loads(row["failure"])) if row["failure"] else None
    values["missing"] = tuple(json.loads(row["missing"]))
    return TaskRecord(**values)


def _pack(picture: InputPicture) -> dict[str, Any]:
    return asdict(picture) | {"thumbnail": base64.b64encode(picture.thumbnail).decode()}


def _unpack(packed: dict[str, Any]) -> InputPicture:
    values: dict[str, Any] = packed | {"thumbnail": base64.b64decode(packed["thumbnail"])}
    return InputPicture(**values)


def _add_columns(database: sqlite3.Connection) -> None:
    """Bring the table of an earlier release up to date; another process may do the same at this moment."""
    there = {row["name"] for row in database.execute("PRAGMA table_info(tasks)")}
    if not _ADDED.keys() <= there:
        with database:
            database.execute("BEGIN IMMEDIATE")
            there = {row["name"] for row in database.execute("PRAGMA table_info(tasks)")}
            for name, kind in _ADDED.items():
                if name not in there:
                    database.execute(f"ALTER TABLE tasks ADD COLUMN {name} {kind}")
