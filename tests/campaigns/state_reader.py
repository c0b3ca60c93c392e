"""The ledger and the folder of pictures read with nothing of the program's own."""

import json
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from PIL import Image
from psycopg.rows import dict_row

from fakes import tiny_png


@dataclass(frozen=True)
class Picture:
    """
    One file: what its own text chunks and the sidecar beside it say; `is_whole` if every pixel decodes.

    The sidecar is None where it may be missing and is.
    """

    path: Path
    texts: dict[str, str]
    sidecar: dict[str, Any] | None
    is_whole: bool

    @property
    def image(self) -> tuple[str, int]:
        """Task id and index, as the service wrote them into the file."""
        return self.texts.get("task_id", ""), int(self.texts.get("index", 0))


_AWAY_SECONDS = 30.0
"""Seconds for which a database that is being restarted is waited for."""


class StateReader:
    """Reads one folder of state and pictures; the ledger is a file there, or lies at a URL."""

    def __init__(self, folder: Path, ledger_url: str | None = None) -> None:
        self._ledger = folder / "state" / "ledger.sqlite3"
        self._pictures = folder / "pictures"
        self._url = ledger_url
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def query(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """
        Read rows; none while there is no ledger, or nothing in it yet.

        What a killed process left half written is undone first, as by every program that opens a file of SQLite to
        write: a connection that may only read has no rows to give until somebody did it.
        """
        if self._url is not None:
            return self._query_database(sql.replace("?", "%s"), values)
        return self._query_file(sql, values, mode="rw")

    def peek(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Read rows, or nothing at a moment when they cannot be read; touches nothing."""
        if self._url is not None:
            return self.query(sql, *values)
        try:
            return self._query_file(sql, values, mode="ro")
        except sqlite3.OperationalError:
            return []

    def _query_file(self, sql: str, values: tuple[object, ...], *, mode: str) -> list[dict[str, Any]]:
        if not self._ledger.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._ledger}?mode={mode}", uri=True, timeout=45)) as database:
            database.row_factory = sqlite3.Row
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'orders'").fetchone():
                return []
            return [dict(row) for row in database.execute(sql, values)]

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _query_database(self, sql: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
        ends = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row)
                return self._connection.execute(sql.encode(), values).fetchall()
            except psycopg.errors.UndefinedTable:
                return []
            except psycopg.OperationalError:
                if time.monotonic() > ends:
                    raise
                threading.Event().wait(0.05)

    def orders(self) -> dict[str, dict[str, Any]]:
        """Give every order by its local id, with its images and its prompt."""
        images = defaultdict(list)
        for image in self.query('SELECT * FROM images ORDER BY local_id, "index"'):
            images[image["local_id"]].append(image)
        return {
            row["local_id"]: {
                **row,
                "images": images[row["local_id"]],
                "prompt": json.loads(row["request"] or "{}").get("prompt"),
                "notes": json.loads(row["notes"]),
            }
            for row in self.query("SELECT * FROM orders ORDER BY created_at")
        }

    def sending(self) -> list[dict[str, Any]]:
        """Give the orders whose answer is on its way at this moment."""
        return self.peek("SELECT local_id, owner, sent_at FROM orders WHERE stage = 'SENDING' AND owner IS NOT NULL")

    def longest_unanswered(self) -> float:
        """Give the seconds for which an order was sent and its task is not known; nought if there is none."""
        rows = self.peek("SELECT MIN(sent_at) AS first FROM orders WHERE stage IN ('SENDING', 'LOST')")
        return max(0.0, time.time() - rows[0]["first"]) if rows and rows[0]["first"] else 0.0

    def count_open(self) -> int:
        """Count the orders with something left to do; -1 at a moment when they cannot be counted."""
        rows = self.peek("SELECT count(*) AS open FROM orders WHERE stage <> 'CLOSED'")
        return rows[0]["open"] if rows else -1

    def is_unlocked(self) -> bool:
        """Say whether nobody has the ledger locked, not even for reading."""
        with closing(sqlite3.connect(self._ledger, timeout=0, isolation_level=None)) as database:
            try:
                database.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return False
            database.execute("ROLLBACK")
            return True

    def was_delivered(self, prompt: str) -> bool:
        """Say whether a process has begun to answer a call for this prompt with its pictures."""
        found = "json_extract(request, '$.prompt')" if self._url is None else "request::json ->> 'prompt'"
        return bool(self.query(f"SELECT 1 FROM orders WHERE {found} = ? AND delivered_at IS NOT NULL", prompt))

    def pictures(self) -> Iterator[Picture]:
        """Give every picture that lies in the folder."""
        for path in sorted(self._pictures.rglob("*.png")):
            data = path.read_bytes()
            note = path.with_suffix(".json")
            sidecar = json.loads(note.read_text()) if note.exists() else {}
            yield Picture(path, tiny_png.read_texts(data), sidecar, decodes(path))

    def leftovers(self) -> list[Path]:
        """Give the temporary files that a finished save must not leave."""
        return sorted(path for path in self._pictures.rglob("*") if path.name.endswith(".part"))


def decodes(path: Path) -> bool:
    """Say whether every pixel of an image can be read."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
