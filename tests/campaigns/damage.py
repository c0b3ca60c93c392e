"""
Ways in which a ledger's file can be other than this release wrote it, by the dozen.

Each takes the dice and the file, does one thing to it, and says what: the same dice do the same.
"""

import os
import random
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

Damage = Callable[[random.Random, Path], str]

ODD_VALUES: tuple[Any, ...] = (
    None,
    0,
    -1,
    5,
    2**31,
    2**63 - 1,
    -(2**63),
    0.5,
    -1e18,
    1e300,
    float("inf"),
    float("-inf"),
    "",
    " ",
    "0",
    "yesterday",
    "FRAMED",
    "PAUSED",
    "null",
    "[]",
    "[1, null]",
    "{}",
    '{"prompt": "a flower shop"}',
    '{"prompt": 5, "model": null, "region": [], "size": {}}',
    '{"model": "wan2.6-t2i", "region": "sandbox", "prompt": "x", "size": "1280*1280", "n": "two", "seed": 1e999}',
    '{"model": "wan2.6-t2i", "region": "sandbox", "prompt": "x", "size": "1280*1280", "output_dir": ["/"]}',
    '{"n": ' + "9" * 5_000 + "}",
    "[" * 3_000,
    '"\\ud83d"',
    "half \ud83d an emoji".encode("utf-8", "surrogatepass"),
    b"\xff\xfe\x00 no text",
    b"",
    b"\x00" * 100,
    "a\x00b",
    "/pictures/a\x00b.png",
    "../../etc/passwd",
    "/etc/passwd",
    "\x1b[2J\u202e\u200b\n\r\t",
    "x" * 1_000_000,
    "file:///etc/passwd",
    "http://127.0.0.1:1/a.png",
    "https://dashscope-result-wlcb.oss-cn-wulanchabu.aliyuncs.com/x.png?Expires=99999999999999999999",
    "mars",
    "singapore",
    "sandbox",
    "sync",
    "wan9.9-t2i",
    "local-1",
    "CLOSED",
    "OPEN",
    "SENDING",
    "LOST",
    "SUCCEEDED",
    "SUBMIT_UNKNOWN",
    "STAGED",
    "WAITING",
)
"""What a column may hold beside what was meant for it."""
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "orders": (
        *("local_id", "task_id", "origin", "region", "account", "model", "wire_model", "protocol", "request"),
        *("fingerprint", "images_ordered", "folder", "stage", "status", "created_at", "sent_at", "clock_offset"),
        *("lost_at", "accepted_at", "finished_at", "expires_at", "duration", "owner", "lease_until", "version"),
        *("request_id", "actual_prompt", "error_code", "error_message", "notes", "wanted_until", "wanted_by"),
        *("delivered_at", "search_text", "counted", "counted_images", "counted_version"),
    ),
    "images": (
        *("local_id", '"index"', "state", "url", "path", "width", "height", "bytes", "sha256", "code", "message"),
    ),
    "limits": ("name", "next_at", "not_before"),
    "slots": ("name", "owner", "until"),
    "totals": ("region", "model", "status", "orders", "images"),
}
_VERSIONS = (-5, -1, 0, 1, 3, 99, 2**31 - 1, -(2**31))
_STRUCTURES = (
    "DROP TABLE {table}",
    "ALTER TABLE {table} RENAME TO other",
    "ALTER TABLE {table} RENAME COLUMN {column} TO other",
    "CREATE TABLE copy AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE copy RENAME TO {table}",
    "CREATE TABLE copy AS SELECT * FROM {table}; DROP TABLE {table}; CREATE VIEW {table} AS SELECT * FROM copy",
    "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE TRIGGER refuse BEFORE UPDATE ON {table} BEGIN SELECT RAISE(FAIL, 'no'); END",
    "CREATE TRIGGER ignore BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TRIGGER ignore BEFORE UPDATE ON {table} BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TRIGGER undo AFTER INSERT ON {table} BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    "CREATE TRIGGER empty AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
    "CREATE TRIGGER empty AFTER UPDATE ON {table} BEGIN DELETE FROM {table}; END",
    "CREATE UNIQUE INDEX one_only ON {table} ({column})",
    "DROP INDEX IF EXISTS orders_open; DROP INDEX IF EXISTS orders_recent",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE {table} (x)' WHERE name = '{table}'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 999 WHERE name = '{table}'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'nonsense' WHERE name = '{table}'",
)
_OTHER_FILES: Mapping[str, bytes] = {
    "no bytes": b"",
    "one byte": b"S",
    "a text": b"This is no database.\n" * 500,
    "a picture": b"\x89PNG\r\n\x1a\n" + b"\x00" * 5_000,
    "the head of a database alone": b"SQLite format 3\x00",
    "zeros": b"\x00" * 8_192,
}


def change_a_value(dice: random.Random, path: Path) -> str:
    """Write an odd value into one column, of one row or of all."""
    table = dice.choices(("orders", "images", "limits", "slots"), (12, 6, 1, 1))[0]
    column, value = dice.choice(_COLUMNS[table]), dice.choice(ODD_VALUES)
    of_one = ""
    if dice.random() < 0.7:
        row = f"SELECT {column} FROM {table} LIMIT 1 OFFSET abs({dice.getrandbits(16)} % max(1, (SELECT count(*) FROM {table})))"
        of_one = f" WHERE {column} IS ({row})"
    as_text = isinstance(value, bytes) and dice.random() < 0.5
    assignment = f"{column} = {'CAST(?1 AS TEXT)' if as_text else '?1'}"
    loose = dice.random() < 0.3
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        try:
            if loose:
                _drop_constraints(file, table)
            # A value that is to be unique gets into one row only.
            file.execute(f"UPDATE OR IGNORE {table} SET {assignment}{of_one}", (value,))
        except sqlite3.Error as error:
            return f"{table}.{column} = {str(value)[:30]!r}: refused, {error}"
    return f"{table}.{column} = {str(value)[:30]!r}{' as text' if as_text else ''}{of_one and ' in one row'}"


def change_some_values(dice: random.Random, path: Path) -> str:
    """Write several odd values."""
    return ", ".join(change_a_value(dice, path) for _ in range(dice.randint(2, 6)))


def change_the_version(dice: random.Random, path: Path) -> str:
    """Write another number of the last migration."""
    version = dice.choice(_VERSIONS)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(f"PRAGMA user_version = {version}")
    return f"user_version {version}"


def change_the_structure(dice: random.Random, path: Path) -> str:
    """Take tables, columns or indexes away, or add triggers."""
    table = dice.choices(("orders", "images", "limits", "slots"), (6, 3, 2, 2))[0]
    script = dice.choice(_STRUCTURES).format(table=table, column=dice.choice(_COLUMNS[table]))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        try:
            file.executescript(script)
        except sqlite3.Error as error:
            return f"{script}: refused, {error}"
    return script


def put_another_file(dice: random.Random, path: Path) -> str:
    """Put a file in its place that is no ledger."""
    name = dice.choice(("another database", "a folder", "a link to itself", "a pipe", "a device", *_OTHER_FILES))
    for each in (path, path.with_name(f"{path.name}-journal")):
        each.unlink(missing_ok=True)
    match name:
        case "another database":
            with closing(sqlite3.connect(path, isolation_level=None)) as file:
                file.executescript(
                    f"CREATE TABLE {dice.choice(('bookmarks', 'orders', 'images'))} (id INTEGER PRIMARY KEY, name);"
                    f"PRAGMA user_version = {dice.choice((0, 0, 1, 2, 40))}"
                )
        case "a folder":
            path.mkdir()
        case "a link to itself":
            path.symlink_to(path)
        case "a pipe":
            os.mkfifo(path)
        case "a device":
            path.symlink_to("/dev/zero")
        case _:
            path.write_bytes(_OTHER_FILES[name])
    return f"{name} in its place"


def cut_the_file(dice: random.Random, path: Path) -> str:
    """Leave only a part of the file."""
    size = path.stat().st_size
    left = dice.choice((0, 1, 100, dice.randrange(size), size // 4096 // 2 * 4096))
    os.truncate(path, left)
    return f"cut to {left} of {size} bytes"


def flip_bytes(dice: random.Random, path: Path) -> str:
    """Change some bytes at random, of the head or of the whole."""
    data = bytearray(path.read_bytes())
    end = dice.choice((100, 4_096, len(data), len(data)))
    count = dice.choice((1, 3, 10, 100))
    for _ in range(count):
        data[dice.randrange(min(end, len(data)))] = dice.randrange(256)
    path.write_bytes(data)
    return f"{count} bytes of the first {end} changed"


def exchange_pages(dice: random.Random, path: Path) -> str:
    """Let a page be another one, or empty."""
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    one, other = dice.randrange(pages), dice.randrange(pages)
    content = data[other * 4096 : (other + 1) * 4096] if dice.random() < 0.6 else bytes(4096)
    data[one * 4096 : (one + 1) * 4096] = content
    path.write_bytes(data)
    return f"page {one} of {pages} is page {other}, or empty"


def leave_a_journal(dice: random.Random, path: Path) -> str:
    """Leave what looks like the journal of a write that was cut off."""
    journal = path.with_name(f"{path.name}-journal")
    head = bytes.fromhex("d9d505f920a163d7") + dice.randbytes(20)
    journal.write_bytes(head + dice.randbytes(dice.choice((0, 500, 9_000))))
    return "a journal of nonsense beside it"


DAMAGES: tuple[tuple[Damage, float], ...] = (
    (change_a_value, 8),
    (change_some_values, 4),
    (change_the_version, 1),
    (change_the_structure, 4),
    (put_another_file, 2),
    (cut_the_file, 1),
    (flip_bytes, 4),
    (exchange_pages, 2),
    (leave_a_journal, 1),
)
"""Every kind, and how often it comes."""


def _drop_constraints(file: sqlite3.Connection, table: str) -> None:
    file.executescript(
        f"CREATE TABLE copy AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE copy RENAME TO {table}"
    )
