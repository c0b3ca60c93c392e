"""
Files of other programs: read whole, replaced at once or not at all, with a copy of what was there.

A symbolic link stays one: what it leads to is replaced, as managers of dotfiles expect.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from wan_mcp_tools.domain.errors import StorageError

_BOM = "\ufeff"
_PRIVATE = 0o600
_CREATE_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
_UNTOUCHED = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """
    A file as it was read.

    `target` is what the path leads to. `data` is None where there is no file yet. `mode` holds its permission bits.
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
        return os.name == "posix" and self.data is not None and bool(self.mode & 0o077)


def read_config(path: Path) -> ConfigFile:
    """
    Read a file; one that does not exist is read as an empty one.

    Raises:
        StorageError: it cannot be read, or it is no UTF-8 text.
    """
    try:
        target = path.resolve()
        data = target.read_bytes()
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
    file: ConfigFile, text: str, now: datetime, *, replace: Callable[[Path, Path], object] = os.replace
) -> Path | None:
    """
    Put a new text in the place of a file; give the path of the copy of the old one, if there was one.

    Whatever happens on the way, the file holds either the old text or the new one. The copy lies beside the path
    that was named, not beside what a link leads to: that may be a folder which is published.

    Raises:
        StorageError: it changed since it was read, or the folder refuses; then nothing was changed.
    """
    data = ((_BOM if file.bom else "") + text).encode("utf-8", errors="strict")
    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        backup = None if file.data is None else _back_up(file.path, file.data, now)
        temp = _write_temp(file, data)
        try:
            _check_unchanged(file)
            replace(temp, file.target)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{file.path} cannot be written: {error.strerror}.", _UNTOUCHED) from error
    _sync_folder(file.target.parent)
    return backup


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
    stamp = now.strftime("%Y%m%d-%H%M%S")
    for count in range(1, 100):
        backup = path.with_name(f"{path.name}.bak-{stamp}" + (f"-{count}" if count > 1 else ""))
        with suppress(FileExistsError):
            # The copy may hold other servers' keys.
            _write_synced(os.open(backup, _CREATE_NEW, _PRIVATE), data)
            return backup
    raise StorageError(f"There are a hundred copies of {path} already.", _UNTOUCHED)


def _write_temp(file: ConfigFile, data: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{file.target.name}.", suffix=".tmp", dir=file.target.parent)
    temp = Path(name)
    try:
        _write_synced(descriptor, data)
        if file.data is not None:
            temp.chmod(file.mode)
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
        now = file.target.read_bytes()
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
