"""
Places in an object store: how they are written in the ledger, and how they are shown.

The ledger and the port of storage know places as absolute paths. One in an object store is `/s3:/bucket/prefix/key`,
which no folder of a machine is called; people see and give it as `s3://bucket/prefix/key`.
"""

from pathlib import Path, PurePath

SCHEME = "s3://"
_ROOT = "/s3:/"


def make_place(*parts: str) -> Path:
    """Give the place of an object by its bucket and the parts of its key."""
    return Path(_ROOT, *(part for part in parts if part))


def is_object(path: PurePath) -> bool:
    """Whether a place lies in an object store, and not in a folder."""
    return path.as_posix().startswith(_ROOT)


def show_place(path: PurePath | str) -> str:
    """Give a place as people see it: a path of this machine as it is, and one in an object store as its address."""
    text = PurePath(path).as_posix() if path else ""
    return f"{SCHEME}{text.removeprefix(_ROOT)}" if text.startswith(_ROOT) else str(path)


def read_address(text: str) -> Path | None:
    """Give the place that an address `s3://bucket/key` means; None for any other text."""
    if not text.lower().startswith(SCHEME):
        return None
    return make_place(*text[len(SCHEME) :].split("/"))
