"""
Temporary files, and the sweeping of those that a dead process left.

A part is called `.wan-mcp-ORDER-INDEX-OWNER.NONCE.part` and lies in the folder of the image that it becomes.
The nonce makes each name unique: a part that is gone was swept, it cannot have been replaced.
"""

import re
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from wan_mcp.storage.faults import reporting

_PART = re.compile(
    r"\.wan-mcp-(?P<order>[\w-]+)-(?P<index>\d+)-(?P<owner>\w+)\.(?P<nonce>[0-9a-f]{8})\.part", re.ASCII
)
PROBE = "probe"
"""In the place of an order's id: an empty part that was made only to see whether the folder can be written."""

_PLAIN_ORDER = re.compile(r"[\w-]{1,64}", re.ASCII)
_PLAIN_OWNER = re.compile(r"\w{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PartName:
    """Whose part it is: the order's id, the image's index, the owner, each as written in the name."""

    order: str
    index: int
    owner: str


def make_part_path(folder: Path, *, order_id: str, index: int, owner: str) -> Path:
    """Name a new part. Ids come from the service or from a host name: anything but plain characters is replaced."""
    nonce = secrets.token_hex(4)
    return folder / (
        f".wan-mcp-{_make_token(order_id, _PLAIN_ORDER)}-{index}-{_make_token(owner, _PLAIN_OWNER)}.{nonce}.part"
    )


def read_part_name(name: str) -> PartName | None:
    """Read whose part it is; None for any other file."""
    match = _PART.fullmatch(name)
    return PartName(match["order"], int(match["index"]), match["owner"]) if match else None


def sweep_order(folder: Path, *, order_id: str, keep_owner: str | None) -> int:
    """
    Remove the parts of an order that other owners left, and probes, which nobody misses; count them.

    Raises:
        StorageError: the folder cannot be read.
    """
    orders = {_make_token(order_id, _PLAIN_ORDER), PROBE}
    kept = None if keep_owner is None else _make_token(keep_owner, _PLAIN_OWNER)
    return _sweep(folder, lambda _, name: name.order in orders and name.owner != kept)


def sweep_older(folder: Path, *, older_than: float) -> int:
    """
    Remove every part that was last written before `older_than` (seconds since 1970), and count them.

    Raises:
        StorageError: the folder cannot be read.
    """
    return _sweep(folder, lambda path, _: path.lstat().st_mtime < older_than)


def _sweep(folder: Path, is_stale: Callable[[Path, PartName], bool]) -> int:
    removed = 0
    with reporting("look through", folder):
        for path, name in _list_parts(folder):
            try:
                if stat.S_ISREG(path.lstat().st_mode) and is_stale(path, name):
                    path.unlink()
                    removed += 1
            except (FileNotFoundError, PermissionError):
                # Another process swept it first, or still has it open on Windows: its own affair.
                continue
    return removed


def _list_parts(folder: Path) -> Iterator[tuple[Path, PartName]]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        name = read_part_name(path.name)
        if name is not None:
            yield path, name


def _make_token(text: str, plain: re.Pattern[str]) -> str:
    """Keep a plain text; make any other plain and still its own by a piece of its hash."""
    if plain.fullmatch(text):
        return text
    digest = sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', text)[:24]}_{digest}"
