"""
The few things asked of a disk that must be right: create, publish without overwriting, sync; and what it is.

Every function here asks the disk: call it in a thread.
"""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError, StorageError

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

_LONGEST_SHOWN = 300
_ELSEWHERE = "or use another folder (output_dir of the call, or the setting WAN_MCP_OUTPUT_DIR)."
_REMEDIES: tuple[tuple[frozenset[int], str, str], ...] = (
    (
        frozenset({errno.ENOSPC, errno.EDQUOT}),
        "the disk is full",
        f"Free some space there, {_ELSEWHERE}",
    ),
    (
        frozenset({errno.EROFS}),
        "it is read-only",
        f"Make it writable, {_ELSEWHERE}",
    ),
    (
        frozenset({errno.EACCES, errno.EPERM}),
        "the system does not permit it",
        f"Give this program the right to it (macOS and Windows may protect the pictures folder), {_ELSEWHERE}",
    ),
    (
        frozenset({errno.ENOTDIR, errno.EEXIST}),
        "a part of the path is a file, not a folder",
        "Use another folder (output_dir of the call, or the setting WAN_MCP_OUTPUT_DIR).",
    ),
    (
        frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO}),
        "it is not there",
        f"Connect the drive or create the folder, {_ELSEWHERE}",
    ),
    (
        frozenset({errno.ENAMETOOLONG}),
        "the path is too long",
        "Use a shorter filename or a folder with a shorter path.",
    ),
)
"""What a system's error means for a person, and what helps."""

_NETWORK = re.compile(r"nfs4?|cifs|smb[23]?|smbfs|afs|afpfs|ceph|glusterfs|lustre|beegfs|ncpfs|webdav|davfs|ftp")
_NETWORK_FUSE = re.compile(r"fuse\.(sshfs|davfs2|rclone|s3fs|gcsfuse|glusterfs|ceph|goofys|smbnetfs|curlftpfs)")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOUNT_LINE = re.compile(r"^.+? on (?P<place>/.*) \((?P<kind>[\w.+-]+)[,)]")
_MOUNT_SECONDS = 2.0
_REMOTE_DRIVE = 4
"""Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getdrivetypew"""


@contextmanager
def translate_errors(doing: str, place: Path) -> Generator[None]:
    """
    Turn the system's errors into ours; nothing else does.

    Raises:
        StorageError: with the place, the reason and the remedy.
    """
    try:
        yield
    except OSError as problem:
        raise make_storage_error(problem, doing, place) from problem


def make_storage_error(problem: OSError, doing: str, place: Path) -> StorageError:
    """Say what the disk refused, why, and what helps."""
    for codes, reason, remedy in _REMEDIES:
        if problem.errno in codes:
            is_lasting = problem.errno == errno.ENAMETOOLONG
            return StorageError(f"Could not {doing} {shorten(place)}: {reason}.", remedy, retryable=not is_lasting)
    words = problem.strerror or type(problem).__name__
    return StorageError(f"Could not {doing} {shorten(place)}: {words}.", f"Check the disk, {_ELSEWHERE}")


def shorten(path: Path) -> str:
    """Give a path for a message; of a very long one its two ends."""
    text = str(path)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN // 2]}…{text[-_LONGEST_SHOWN // 2 :]}"


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


def publish(temp: Path, target: Path) -> bool:
    """
    Give a temporary file its name; False if the name is taken. An existing file is never overwritten.

    Raises:
        OSError: the disk refuses; then the name was not given.
    """
    return publish_by_rename(temp, target) if os.name == "nt" else publish_by_link(temp, target)


def publish_by_link(temp: Path, target: Path) -> bool:
    """Give the name as a second link, then drop the first: atomic, and refused if the name is taken."""
    try:
        target.hardlink_to(temp)
    except FileExistsError:
        # A network file system may have made the link and lost the answer.
        if not _is_same_file(temp, target):
            return False
    except OSError as problem:
        if problem.errno not in _NO_HARD_LINKS:
            raise
        return publish_by_placeholder(temp, target)
    with suppress(OSError):
        # The name is given; a second name that stays behind is removed later.
        temp.unlink()
    return True


def publish_by_placeholder(temp: Path, target: Path) -> bool:
    """Take the name with an empty file, then put the real one in its place: for disks without hard links."""
    try:
        os.close(create_new(target))
    except FileExistsError:
        return False
    try:
        temp.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return True


def publish_by_rename(temp: Path, target: Path) -> bool:
    """Rename, where a rename refuses a taken name: on Windows."""
    try:
        temp.rename(target)
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
    publish: Callable[[Path, Path], bool] = publish
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
    with translate_errors("read", path):
        if not path.is_file():
            raise NotFoundError(f"There is no file {path}.", "It may have been moved or deleted; check the path.")
        size = path.stat().st_size
        if size > most_bytes:
            raise RequestRefusedError(
                f"{path} has {size} bytes; at most {most_bytes} are read.", "Name a smaller picture."
            )
        return path.read_bytes()


def find_network_drive(folder: Path) -> str | None:
    """Give the kind of the network drive that a folder is on; None for a disk of this machine, or if unknown."""
    if sys.platform == "win32":
        return _ask_windows(folder)
    path = PurePosixPath(folder.resolve())
    if sys.platform == "darwin":
        return choose_mount(path, read_mount_command(_run_mount()))
    table = Path("/proc/self/mountinfo")
    return choose_mount(path, read_mountinfo(table.read_text("utf-8", "replace"))) if table.exists() else None


def choose_mount(path: PurePosixPath, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Give the kind of the mount that holds a path, if it is one of the network; of two at one place, the later."""
    found: tuple[int, str] = (-1, "")
    for place, kind in mounts:
        if path.is_relative_to(place) and len(place) >= found[0]:
            found = (len(place), kind)
    kind = found[1].lower()
    return found[1] if _NETWORK.fullmatch(kind) or _NETWORK_FUSE.fullmatch(kind) else None


def read_mountinfo(text: str) -> list[tuple[str, str]]:
    """
    Read place and kind of every mount from Linux's table.

    Source: https://docs.kernel.org/filesystems/proc.html
    """
    mounts: list[tuple[str, str]] = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) > 4 and kinds[0]:  # noqa: PLR2004 - the fifth field is the place
            mounts.append((_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4]), kinds[0]))
    return mounts


def read_mount_command(text: str) -> list[tuple[str, str]]:
    """Read place and kind of every mount from what the command `mount` of macOS prints."""
    matches = (_MOUNT_LINE.match(line) for line in text.splitlines())
    return [(match["place"], match["kind"]) for match in matches if match]


def is_share(folder: PureWindowsPath) -> bool:
    r"""Tell whether a Windows path names a machine of the network: `\\server\share`."""
    return folder.drive.startswith(("\\\\", "//")) and not folder.drive.startswith(("\\\\?\\", "\\\\.\\"))


def _run_mount() -> str:
    try:
        done = subprocess.run(
            ["/sbin/mount"], capture_output=True, text=True, timeout=_MOUNT_SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _ask_windows(folder: Path) -> str | None:
    if is_share(PureWindowsPath(folder)):
        return "share"
    import ctypes  # noqa: PLC0415 - only here is it of use

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - the name exists on Windows only
    kind = kernel.GetDriveTypeW(f"{os.path.splitdrive(folder)[0]}\\")
    return "network drive" if kind == _REMOTE_DRIVE else None


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
