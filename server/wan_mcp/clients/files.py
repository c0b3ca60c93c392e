"""
Files of other programs: read whole, replaced at once or not at all, with a copy of what was there.

A symbolic link stays one: what it leads to is replaced, as managers of dotfiles expect. No byte order mark is
written: some of these programs refuse a file that begins with one, and none needs it.
"""

import os
import re
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from wan_mcp.settings.files import read_plain_file
from wan_mcp_tools.domain.errors import StorageError
from wan_mcp_tools.domain.record import Record

_BOM = "\ufeff"
_PRIVATE = 0o600
_OF_OTHERS = 0o077
_MOST_BYTES = 32 << 20
_MOST_BACKUPS = 3
_STAMP = r"\.bak-\d{8}-\d{6}(?:-(\d+))?"
_CREATE_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
_UNTOUCHED = "Nothing was changed."


class ConfigFile(Record):
    """
    A file as it was read.

    `target` is what the path leads to. `data` is None where there is no file yet. `text` is without the byte order
    mark that `bom` tells of. `mode` holds its permission bits.
    """

    path: Path
    target: Path
    data: bytes | None
    text: str
    bom: bool
    mode: int

    @property
    def open_to_others(self) -> bool:
        """Tell whether other people of this machine may read it."""
        return os.name == "posix" and self.data is not None and bool(self.mode & _OF_OTHERS)


def read_config(path: Path) -> ConfigFile:
    """
    Read a file; one that does not exist is read as an empty one.

    Raises:
        StorageError: it cannot be read, is no plain file, is huge, or is no UTF-8 text.
    """
    try:
        target = path.resolve()
        data = read_plain_file(target, _MOST_BYTES)
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return ConfigFile(path, path.resolve(), None, "", bom=False, mode=_PRIVATE)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its link leads in a circle"
        raise StorageError(f"{path} cannot be read: {reason}.", _UNTOUCHED) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{path} is no UTF-8 text.", f"{_UNTOUCHED} Save it as UTF-8.") from error
    bom = text.startswith(_BOM)
    return ConfigFile(path, target, data, text.removeprefix(_BOM), bom, mode)


def replace_config(
    file: ConfigFile,
    text: str,
    now: datetime,
    *,
    private: bool = False,
    replace: Callable[[Path, Path], object] = os.replace,
) -> Path | None:
    """
    Put a new text in the place of a file; give the path of the copy of the old one, if there was one.

    Whatever happens on the way, the file holds either the old text or the new one. It keeps its mode; with `private`
    it becomes its owner's alone. The copy lies beside the path that was named, not beside what a link leads to: that
    may be a folder which is published. Of the copies, the three newest stay.

    Raises:
        StorageError: it changed since it was read, or the folder refuses; then nothing was changed.
    """
    data = text.encode("utf-8", errors="strict")
    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        backup = None if file.data is None else _back_up(file.path, file.data, now)
        temp = _write_temp(file, data, file.mode & ~_OF_OTHERS if private else file.mode)
        try:
            _check_unchanged(file)
            replace(temp, file.target)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{file.path} cannot be written: {error.strerror}.", _UNTOUCHED) from error
    _sync_folder(file.target.parent)
    for old in find_backups(file.path)[_MOST_BACKUPS:]:
        with suppress(OSError):
            # A copy that somebody else holds on to goes the next time.
            old.unlink()
    return backup


def make_private(file: ConfigFile) -> None:
    """
    Keep a file from the eyes of others; it stays as it is.

    Raises:
        StorageError: the system refuses.
    """
    try:
        file.target.chmod(file.mode & ~_OF_OTHERS)
    except OSError as error:
        raise StorageError(f"{file.path} cannot be made private: {error.strerror}.", _UNTOUCHED) from error


def find_backups(path: Path) -> list[Path]:
    """Find the copies that were made of a file, the newest first; those of other programs are not ours."""
    try:
        found = [each for each in path.parent.iterdir() if _count_of(path, each)]
    except OSError:
        return []
    # The time is in the name; of several in one second the number counts.
    stamp = len(path.name) + len(".bak-20260101-000000")
    return sorted(found, key=lambda each: (each.name[:stamp], _count_of(path, each)), reverse=True)


def delete_backups(paths: Sequence[Path]) -> None:
    """
    Delete copies.

    Raises:
        StorageError: the system refuses.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path} cannot be deleted: {error.strerror}.", "Delete it by hand.") from error


def write_secret(path: Path, secret: str) -> None:
    """
    Write a new file that only its owner may read; an existing one is never overwritten.

    Raises:
        StorageError: it exists, or the folder refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_synced(os.open(path, _CREATE_NEW, _PRIVATE), f"{secret}\n".encode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", _UNTOUCHED) from error


def _back_up(path: Path, data: bytes, now: datetime) -> Path:
    stamped = f"{path.name}.bak-{now:%Y%m%d-%H%M%S}"
    # Never a number that was used before: the highest is the newest.
    used = [_count_of(path, each) for each in find_backups(path) if each.name.startswith(stamped)]
    for count in range(max(used, default=0) + 1, 100):
        backup = path.with_name(stamped + (f"-{count}" if count > 1 else ""))
        with suppress(FileExistsError):
            # The copy may hold other servers' keys.
            _write_synced(os.open(backup, _CREATE_NEW, _PRIVATE), data)
            return backup
    raise StorageError(f"There are a hundred copies of {path} already.", _UNTOUCHED)


def _count_of(path: Path, backup: Path) -> int:
    """Give the number of a copy among those of its second."""
    match = re.fullmatch(re.escape(path.name) + _STAMP, backup.name)
    return int(match[1] or 1) if match else 0


def _write_temp(file: ConfigFile, data: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{file.target.name}.", suffix=".tmp", dir=file.target.parent)
    temp = Path(name)
    try:
        _write_synced(descriptor, data)
        if file.data is not None:
            temp.chmod(mode)
            _keep_owner(temp, file.target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    return temp


def _keep_owner(temp: Path, target: Path) -> None:
    if os.name != "posix":
        return
    old, new = target.stat(), temp.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with suppress(PermissionError):
            # Only root may give files away; anybody else keeps what is theirs.
            os.chown(temp, old.st_uid, old.st_gid)


def _write_synced(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _check_unchanged(file: ConfigFile) -> None:
    try:
        now = read_plain_file(file.target, _MOST_BYTES)
    except FileNotFoundError:
        now = None
    if now != file.data:
        raise StorageError(f"{file.path} was changed by another program meanwhile.", f"{_UNTOUCHED} Run this again.")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    with suppress(OSError):
        # Many network file systems cannot do this; the bytes are safe already.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
