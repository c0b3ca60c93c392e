"""
The few things asked of a disk that must be right: create, publish without overwriting, sync; and what it is.

Every function here asks the disk: call it in a thread.
"""

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TypeVar

from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp.storage.open_folder import FOLDER, LinkFoundError, NotAFileError, OpenFolder, open_folder
from wan_mcp_tools.domain.errors import ErrorCode, NotFoundError, RequestRefusedError, StorageError
from wan_mcp_tools.domain.record import Record

Result = TypeVar("Result")

LONGEST_PATH = 259 if os.name == "nt" else None
"""UTF-16 units, or None for no limit that matters. Source: the Windows rule in `names`."""

PRIVATE = 0o600
"""The rights of a file that is its owner's alone."""

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

WRITERS_ADVICE = (
    "Whoever may write there can change which files are read and written: take that right away (chmod go-w), unless "
    "it is meant."
)
_LONGEST_SHOWN = 300
_ELSEWHERE = "or use another folder (output_dir of the call, or the setting WAN_MCP_OUTPUT_DIR)."
_ADVICE: tuple[tuple[frozenset[int], str, str], ...] = (
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
        StorageError: with the place, the reason and the advice.
    """
    try:
        yield
    except OSError as problem:
        raise make_storage_error(problem, doing, place) from problem


def make_storage_error(problem: OSError, doing: str, place: Path) -> StorageError:
    """Say what the disk refused, why, and what helps."""
    if isinstance(problem, LinkFoundError):
        return StorageError(
            f"Could not {doing} {shorten(place)}: {shorten(Path(problem.filename))} has become a link.",
            "Put the folder itself there again, or name where the link leads in WAN_MCP_OUTPUT_DIR or "
            "WAN_MCP_ALLOWED_DIRS and start the server again.",
        )
    for codes, reason, advice in _ADVICE:
        if problem.errno in codes:
            is_lasting = problem.errno == errno.ENAMETOOLONG
            return StorageError(f"Could not {doing} {shorten(place)}: {reason}.", advice, retryable=not is_lasting)
    words = problem.strerror or type(problem).__name__
    return StorageError(f"Could not {doing} {shorten(place)}: {words}.", f"Check the disk, {_ELSEWHERE}")


def shorten(path: PurePath) -> str:
    """Give a path for a message: of a very long one its two ends, and what is no Unicode in it spelled out."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN // 2]}…{text[-_LONGEST_SHOWN // 2 :]}"


def find_writers(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """
    Find files and folders that others may write to, and say who: "everybody" or "its group".

    What cannot be looked at tells nothing, and on Windows a mode does not tell.
    """
    found: list[tuple[Path, str]] = []
    for path in paths if os.name != "nt" else ():
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & (stat.S_IWOTH | stat.S_IWGRP):
                found.append((path, "everybody" if mode & stat.S_IWOTH else "its group"))
    return found


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write everything: one system call may take less than it was given."""
    with memoryview(data) as rest:
        written = 0
        while written < len(rest):
            written += os.write(descriptor, rest[written:])


def begin_writing(descriptor: int, start: int, end: int) -> None:
    """
    Have the system begin to write a part of a file to the disk, without waiting; where it cannot, it does so later.

    Linux does that with what it is told to be needed no more.
    Source: https://man7.org/linux/man-pages/man2/posix_fadvise.2.html
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)


def set_mode(descriptor: int, mode: int) -> None:
    """
    Give a file these rights, whatever the umask is.

    A refusal is no failure: the file has no more rights than these already, and a drive of another system knows none.
    """
    if hasattr(os, "fchmod"):
        with suppress(OSError):
            os.fchmod(descriptor, mode)


def publish(opened: OpenFolder, temp: str, target: str) -> bool:
    """
    Give a temporary file its name; False if the name is taken. An existing file is never overwritten.

    Raises:
        OSError: the disk refuses; then the name was not given.
    """
    by_rename = os.name == "nt"
    return publish_by_rename(opened, temp, target) if by_rename else publish_by_link(opened, temp, target)


def publish_by_link(opened: OpenFolder, temp: str, target: str) -> bool:
    """Give the name as a second link, then drop the first: atomic, and refused if the name is taken."""
    try:
        opened.link(temp, target)
    except FileExistsError:
        # A network file system may have made the link and lost the answer.
        if not _is_same_file(opened, temp, target):
            return False
    except OSError as problem:
        if problem.errno not in _NO_HARD_LINKS:
            raise
        return publish_by_placeholder(opened, temp, target)
    with suppress(OSError):
        # The name is given; a second name that stays behind is removed later.
        opened.remove(temp)
    return True


def publish_by_placeholder(opened: OpenFolder, temp: str, target: str) -> bool:
    """Take the name with an empty file, then put the real one in its place: for disks without hard links."""
    try:
        os.close(opened.create(target, PRIVATE))
    except FileExistsError:
        return False
    try:
        opened.replace(temp, target)
    except BaseException:
        opened.remove(target)
        raise
    return True


def publish_by_rename(opened: OpenFolder, temp: str, target: str) -> bool:
    """Rename, where a rename refuses a taken name: on Windows."""
    try:
        opened.rename(temp, target)
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


def sync_folder(opened: OpenFolder) -> None:
    """
    Ask the disk to keep the folder's new name over a power cut, where the system has such a thing.

    A refusal is no failure: the bytes are safe already, and many network file systems cannot sync a folder.
    """
    with suppress(OSError):
        opened.sync()


def count_free_bytes(folder: Path) -> int | None:
    """Count what is free for this user, or None where the file system does not say."""
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


class Disk(Record):
    """The system's disk, as functions: so that a full or a strange one can stand in its place."""

    create_new: Callable[[OpenFolder, str, int], int] = OpenFolder.create
    sync: Callable[[int], None] = os.fsync
    publish: Callable[[OpenFolder, str, str], bool] = publish
    sync_folder: Callable[[OpenFolder], None] = sync_folder
    count_free_bytes: Callable[[Path], int | None] = count_free_bytes


@contextmanager
def open_file(path: Path) -> Generator[int]:
    """
    Open a file for reading by its path, whose links are resolved; a link that has come since is not followed.

    Raises:
        NotFoundError: there is no such file.
        RequestRefusedError: it is a pipe, a socket or a device, which was not read.
        StorageError: it cannot be read, or a link stands on the way now.
    """
    with translate_errors("read", path):
        descriptor = _open_file(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def read_whole(path: Path, *, most_bytes: int) -> bytes:
    """
    Read a file by its path, whose links are resolved.

    Raises:
        NotFoundError: there is no such file.
        RequestRefusedError: it has more than `most_bytes`, or is no file.
        StorageError: it cannot be read.
    """
    with open_file(path) as descriptor:
        # One byte more than it has: then the first piece is all of it, unless somebody writes to it.
        size = os.fstat(descriptor).st_size
        step = min(size, most_bytes) + 1
        pieces: list[bytes] = []
        size = size if size > most_bytes else 0
        while size <= most_bytes and (piece := os.read(descriptor, step)):
            pieces.append(piece)
            size += len(piece)
    if size > most_bytes:
        raise RequestRefusedError(
            f"{shorten(path)} has more than {most_bytes} bytes, and no more are read.", "Name a smaller picture."
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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


def _open_file(path: Path) -> int:
    missing = NotFoundError(
        f"There is no file {shorten(path)}.", "It may have been moved or deleted; give the path of a saved picture."
    )
    if not path.name:
        raise missing
    try:
        with open_folder(path.parent) as opened:
            return opened.open(path.name)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise missing from problem
    except NotAFileError as problem:
        if problem.kind == FOLDER:
            # To whoever looks for a saved picture there is none either.
            raise NotFoundError(
                f"{shorten(path)} is a folder and no file.", "Give the path of a picture in it."
            ) from problem
        raise RequestRefusedError(
            f"{shorten(path)} is {problem.kind} and no picture.",
            "Give the path of a saved picture.",
            code=ErrorCode.NOT_AN_IMAGE,
        ) from problem


def _is_same_file(opened: OpenFolder, one: str, other: str) -> bool:
    try:
        return os.path.samestat(opened.status(one), opened.status(other))
    except OSError:
        return False
