"""
Records in a file that several processes share.

The file `sandbox-tasks.jsonl` is only ever appended to: a line is a whole record, and the last line of a task id
wins. A line that a dying process left torn is passed over. Writers take turns by a lock file beside it; readers take
none, they read what was added since their last look.
"""

import os
import threading
from pathlib import Path
from typing import BinaryIO

import anyio
from pydantic import TypeAdapter, ValidationError

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox.locks import held
from wan_mcp.sandbox.records import TaskRecord
from wan_mcp.sandbox.store import Answer, Decision, Records, forget

_LINE = TypeAdapter(TaskRecord)
_LOCK_PATIENCE = 5.0
_LOCK_PAUSE = 0.01
_BINARY: int = getattr(os, "O_BINARY", 0)


class JournalStore:
    """
    Keeps records in `folder`, which is made when it is first written to.

    A file of more than `compact_above` bytes is rewritten without the forgotten records and the superseded lines,
    once in the life of a store, before its first change.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, *, compact_above: int = 1_000_000) -> None:
        self._path = folder / "sandbox-tasks.jsonl"
        self._lock_path = folder / "sandbox-tasks.lock"
        self._clock = clock or SystemClock()
        self._compact_above = compact_above
        self._compacted = False
        self._guard = threading.Lock()
        self._records: dict[str, TaskRecord] = {}
        self._file_id: tuple[int, int] | None = None
        self._offset = 0

    async def read(self) -> Records:
        """Give all records as they are in the file now."""
        return await anyio.to_thread.run_sync(self._read)

    async def change(self, decide: Decision[Answer]) -> Answer:
        """
        Let `decide` look and write while no other process does.

        Raises:
            TimeoutError: another process holds the lock for more than five seconds.
        """
        # The holder of the lock is another process and lives by real time, whatever clock the sandbox has.
        with anyio.fail_after(_LOCK_PATIENCE):
            while True:
                try:
                    return await anyio.to_thread.run_sync(self._change, decide)
                except BlockingIOError:
                    await anyio.sleep(_LOCK_PAUSE)

    def _read(self) -> Records:
        with self._guard:
            self._refresh()
            return dict(self._records)

    def _change(self, decide: Decision[Answer]) -> Answer:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._guard, held(self._lock_path):
            self._refresh()
            if not self._compacted:
                self._compact()
                self._compacted = True
            answer, record = decide(dict(self._records))
            if record is not None:
                forget(self._records, self._clock.now())
                self._append(_LINE.dump_json(record) + b"\n")
            return answer

    def _refresh(self) -> None:
        """Take in what was added to the file since the last look."""
        try:
            with self._path.open("rb") as file:
                self._take_in(file)
        except FileNotFoundError:
            self._start_over(None)

    def _take_in(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        file_id = (status.st_dev, status.st_ino)
        if file_id != self._file_id or status.st_size < self._offset:
            self._start_over(file_id)
        file.seek(self._offset)
        # What follows the last line break is still being written, or torn.
        lines, found, _ = file.read().rpartition(b"\n")
        self._offset += len(lines) + len(found)
        for line in lines.splitlines():
            record = _parse(line)
            if record is not None:
                self._records[record.task_id] = record

    def _start_over(self, file_id: tuple[int, int] | None) -> None:
        self._records.clear()
        self._file_id = file_id
        self._offset = 0

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size:
                os.lseek(descriptor, size - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":
                    line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError("The record could not be written whole.")
        finally:
            os.close(descriptor)

    def _compact(self) -> None:
        if not self._path.exists() or self._path.stat().st_size <= self._compact_above:
            return
        kept = dict(self._records)
        forget(kept, self._clock.now())
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.writelines(_LINE.dump_json(record) + b"\n" for record in kept.values())
            file.flush()
            os.fsync(file.fileno())
        try:
            fresh.replace(self._path)
        except PermissionError:
            # Windows refuses while another process reads the file; it stays as it is until the next start.
            fresh.unlink()
        self._refresh()


def _parse(line: bytes) -> TaskRecord | None:
    try:
        return _LINE.validate_json(line)
    except ValidationError:
        return None
