"""The few things asked of a disk that must be right: create, give a name without overwriting, sync."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp.storage.faults import reporting
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError

Result = TypeVar("Result")

LONGEST_PATH = 259 if os.name == "nt" else None
"""UTF-16 units, or None for no limit that matters. Source: the Windows rule in `names`."""

_BUSY_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts while a virus scanner or an indexer has the file open on Windows."""

_NO_HARD_LINKS = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EMLINK,
        errno.ENOSYS,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.EXDEV,
        errno.EINVAL,
    }
)
"""How file systems without hard links, or without the right to make them, refuse one."""


def create_new(path: Path) -> int:
    """
    Create a file that did not exist, and open it for writing; links are not followed.

    Raises:
        OSError: it exists, or the folder refuses.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags, 0o666)


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write everything: one system call may take less than it was given."""
    with memoryview(data) as rest:
        written = 0
        while written < len(rest):
            written += os.write(descriptor, rest[written:])


def claim(part: Path, target: Path) -> bool:
    """
    Give a file its name; False if the name is taken. An existing file is never overwritten.

    Raises:
        OSError: the disk refuses; then the name was not given.
    """
    return claim_by_rename(part, target) if os.name == "nt" else claim_by_link(part, target)


def claim_by_link(part: Path, target: Path) -> bool:
    """Give the name as a second link, then drop the first: atomic, and refused if the name is taken."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        # A network file system may have made the link and lost the answer.
        if not _is_same_file(part, target):
            return False
    except OSError as problem:
        if problem.errno not in _NO_HARD_LINKS:
            raise
        return claim_by_placeholder(part, target)
    with suppress(OSError):
        # The name is given; a second name that stays behind is swept later.
        part.unlink()
    return True


def claim_by_placeholder(part: Path, target: Path) -> bool:
    """Take the name with an empty file, then put the real one in its place: for disks without hard links."""
    try:
        os.close(create_new(target))
    except FileExistsError:
        return False
    try:
        part.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return True


def claim_by_rename(part: Path, target: Path) -> bool:
    """Rename, where a rename refuses a taken name: on Windows."""
    try:
        part.rename(target)
    except FileExistsError:
        return False
    return True


async def try_while_busy(attempt: Callable[[], Result], clock: Clock) -> Result:
    """Run in a thread; where the system does not permit it, again after a pause, for a second and a half in all."""
    for pause in _BUSY_PAUSES:
        try:
            return await run_sync(attempt)
        except PermissionError:
            await clock.sleep(pause)
    return await run_sync(attempt)


def sync_folder(folder: Path) -> None:
    """
    Ask the disk to keep the folder's new name over a power cut, where the system has such a thing.

    A refusal is no failure: the bytes are safe already, and many network file systems cannot sync a folder.
    """
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def count_free_bytes(folder: Path) -> int | None:
    """Count what is free for this user, or None where the file system does not say."""
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


@dataclass(frozen=True, slots=True)
class Disk:
    """The system's disk, as functions: so that a full or a strange one can stand in its place."""

    create_new: Callable[[Path], int] = create_new
    sync: Callable[[int], None] = os.fsync
    claim: Callable[[Path, Path], bool] = claim
    sync_folder: Callable[[Path], None] = sync_folder
    count_free_bytes: Callable[[Path], int | None] = count_free_bytes


def read_whole(path: Path, *, most_bytes: int) -> bytes:
    """
    Read a file.

    Raises:
        NotFoundError: there is no such file.
        RequestRefusedError: it has more than `most_bytes`.
        StorageError: it cannot be read.
    """
    with reporting("read", path):
        if not path.is_file():
            raise NotFoundError(f"There is no file {path}.", "It may have been moved or deleted; check the path.")
        size = path.stat().st_size
        if size > most_bytes:
            raise RequestRefusedError(
                f"{path} has {size} bytes; at most {most_bytes} are read.", "Name a smaller picture."
            )
        return path.read_bytes()


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
