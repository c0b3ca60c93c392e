"""Whether a folder is on a network drive: asked of the system, in the way that each system has."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

_NETWORK = re.compile(r"nfs4?|cifs|smb[23]?|smbfs|afs|afpfs|ceph|glusterfs|lustre|beegfs|ncpfs|webdav|davfs|ftp")
_NETWORK_FUSE = re.compile(r"fuse\.(sshfs|davfs2|rclone|s3fs|gcsfuse|glusterfs|ceph|goofys|smbnetfs|curlftpfs)")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOUNT_LINE = re.compile(r"^.+? on (?P<place>/.*) \((?P<kind>[\w.+-]+)[,)]")
_MOUNT_PATIENCE = 2.0
_REMOTE_DRIVE = 4
"""Source: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-getdrivetypew"""


def find_file_system(folder: Path) -> str | None:
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
    return found[1] if is_network(found[1]) else None


def is_network(kind: str) -> bool:
    """Tell whether a kind of file system is one of the network."""
    kind = kind.lower()
    return any(pattern.fullmatch(kind) for pattern in (_NETWORK, _NETWORK_FUSE))


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
            ["/sbin/mount"], capture_output=True, text=True, timeout=_MOUNT_PATIENCE, check=False, errors="replace"
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
