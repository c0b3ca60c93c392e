"""
Which folders images may lie in, and what a folder is good for.

Every function here asks the disk: call it in a thread.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.request import url2pathname

from wan_mcp.storage.disk import Disk, find_network_drive, make_storage_error, shorten, translate_errors
from wan_mcp.storage.drafts import PROBE, make_temp_path
from wan_mcp.storage.names import is_plain
from wan_mcp_tools.domain.errors import FolderNotAllowedError, RequestRefusedError, StorageError

LEAST_FREE_BYTES = 64 * 1024 * 1024
"""The largest image that is accepted by default: with less, a paid one may find no room."""

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://|file:/", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file:(?://(?:localhost)?)?(?P<path>/[^?#]*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?(?:[\\/]|$)|%[A-Za-z_]\w*%(?:[\\/]|$)", re.ASCII)
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")

FindNetworkDrive = Callable[[Path], str | None]
"""Takes a folder that exists; gives the kind of its network drive, or None for a disk of this machine."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The default folder, and the further ones that a call may name."""

    default: Path
    further: Sequence[Path] = ()

    def find(self, text: str | None) -> Path:
        """
        Give the folder, or the file, that a caller's path means: links resolved, inside an allowed folder.

        A relative path starts in the default folder; no path means the default folder.

        Raises:
            FolderNotAllowedError: it lies outside.
            RequestRefusedError: the text is no path on this system.
        """
        if text is None or not text.strip():
            return self._resolve(self.default)
        return self.confine(self._read(text.strip()))

    def confine(self, path: Path) -> Path:
        """
        Resolve the links of a path and make sure that it lies in an allowed folder.

        Raises:
            FolderNotAllowedError: it lies outside.
        """
        named = self._list_named()
        roots = [self._resolve(root) for root in named]
        if is_on_foreign_drive(path, [*named, *roots]):
            # Refused before it is touched: to look at a network path is to sign in at that machine.
            raise self._refuse(path)
        resolved = self._resolve(path)
        if not any(_contains(root, resolved) for root in roots):
            raise self._refuse(path)
        return resolved

    def prepare(self, folder: Path, disk: Disk) -> Path:
        """
        Make a confined folder ready: it exists, can be written, and has some room.

        Raises:
            FolderNotAllowedError: a link that appeared meanwhile leads outside.
            StorageError: the folder cannot be used.
        """
        with translate_errors("create the folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        folder = self.confine(folder)
        try_writing(folder, disk)
        with translate_errors("look at the folder", folder):
            free = disk.count_free_bytes(folder)
        if free is not None and free < LEAST_FREE_BYTES:
            raise StorageError(
                f"The disk of {folder} has only {free // 1024} KiB free; {LEAST_FREE_BYTES // 1024} KiB are needed.",
                "Free some space there, or use another folder (output_dir, or the setting WAN_MCP_OUTPUT_DIR).",
            )
        return folder

    def _list_named(self) -> list[Path]:
        return [self.default, *self.further]

    def _read(self, text: str) -> Path:
        if not all(is_plain(character) for character in text):
            raise RequestRefusedError(
                f"The path {text[:80]!r} has a control character or an invisible one.", "Give a plain path."
            )
        if os.name != "nt" and _WINDOWS_PATH.match(text):
            raise RequestRefusedError(
                f"{text[:200]!r} is a Windows path, and this server does not run on Windows.",
                "Give a path of the server's own system, or a relative one.",
            )
        text = _read_address(text)
        if _VARIABLE.match(text):
            raise RequestRefusedError(
                f"The path {text[:80]!r} begins with a variable, and variables are not replaced here.",
                "Write the folder itself, begin with ~ for the home folder, or give a relative path.",
            )
        try:
            return self.default.expanduser() / Path(text).expanduser()
        except RuntimeError as problem:
            raise RequestRefusedError(f"The path {text[:80]!r} names an unknown home folder.", "Spell it out.") from (
                problem
            )

    def _resolve(self, path: Path) -> Path:
        try:
            return path.expanduser().resolve()
        except RuntimeError as problem:
            raise StorageError(
                f"The links of {shorten(path)} lead in a circle.", "Use another folder.", retryable=False
            ) from problem
        except OSError as problem:
            raise make_storage_error(problem, "look at", path) from problem

    def _refuse(self, path: Path) -> FolderNotAllowedError:
        names = ", ".join(str(root) for root in self._list_named())
        return FolderNotAllowedError(
            f"{shorten(path)} lies outside the allowed folders.",
            f"Allowed, with everything inside: {names}. The operator can add the folder to the setting "
            "WAN_MCP_ALLOWED_DIRS.",
        )


def is_on_foreign_drive(path: PurePath, roots: Iterable[PurePath]) -> bool:
    """Whether a Windows path names a drive, or a machine of the network, that no allowed folder is on."""
    return bool(path.drive) and path.drive.lower() not in {root.drive.lower() for root in roots}


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """
    What is known of a folder.

    `exists` is False for one that would be made when it is needed; then the rest is told of the nearest folder above
    it, `base`. `problem` says why nothing can be saved there, and `obstacle` is what stands in the place of a folder,
    if that is why. `free_bytes` is None where the disk does not say.
    `network_drive` is the kind of the network drive that it is on.
    """

    exists: bool
    base: Path
    problem: str | None = None
    free_bytes: int | None = None
    network_drive: str | None = None
    obstacle: Path | None = None


def inspect_folder(
    folder: Path, disk: Disk | None = None, find_network_drive: FindNetworkDrive = find_network_drive
) -> FolderFacts:
    """Look at a folder. An empty file is made in it for a moment; a folder that is missing is not made."""
    disk = disk or Disk()
    exists, base = False, folder
    try:
        obstacle = find_obstacle(folder)
        if obstacle is not None:
            problem = f"{obstacle} is {_name_kind(obstacle)}, and a folder is needed there."
            return FolderFacts(exists, base, problem, obstacle=obstacle)
        base = _find_base(folder)
        exists = base == folder
        if exists:
            try_writing(folder, disk)
        elif not os.access(base, os.W_OK | os.X_OK):
            return FolderFacts(exists, base, f"{base}, where it would be made, cannot be written to.")
        return FolderFacts(exists, base, None, disk.count_free_bytes(base), find_network_drive(base))
    except StorageError as error:
        return FolderFacts(exists, base, error.message)
    except OSError as error:
        return FolderFacts(exists, base, make_storage_error(error, "look at", base).message)


def try_writing(folder: Path, disk: Disk) -> None:
    """
    Make an empty file in a folder and remove it.

    Raises:
        StorageError: the folder refuses.
    """
    probe = make_temp_path(folder, order_id=PROBE, index=0, owner=PROBE)
    with translate_errors("write in", folder):
        os.close(disk.create_new(probe))
    with suppress(OSError):
        # A virus scanner may hold it for a moment; then it is removed later by its name.
        probe.unlink(missing_ok=True)


def _contains(root: Path, path: Path) -> bool:
    if path.is_relative_to(root):
        return True
    # The same folder may be spelled in another case or another Unicode form, on macOS above all.
    return any(_is_same_folder(root, ancestor) for ancestor in (path, *path.parents))


def _is_same_folder(root: Path, other: Path) -> bool:
    try:
        return root.samefile(other)
    except OSError:
        return False


def _read_address(text: str) -> str:
    """
    Give the path that a `file:` address means; any other text is a path already.

    Raises:
        RequestRefusedError: it is an address of something else than a file of this machine.
    """
    if not _ADDRESS.match(text):
        return text
    match = _FILE_ADDRESS.fullmatch(text)
    if match is None:
        raise RequestRefusedError(
            f"{text[:80]!r} is an address, and a folder of this machine is needed.",
            "Give a path, or a file:/// address.",
        )
    path = url2pathname(match["path"])
    if not all(is_plain(character) for character in path):
        raise RequestRefusedError(
            f"The address {text[:80]!r} hides a control character or an invisible one.", "Give a plain path."
        )
    return path


def find_obstacle(folder: Path) -> Path | None:
    """Find what stands in the place of a folder, or of one above it, and is none; nothing is opened."""
    for each in (folder, *folder.parents):
        if os.path.lexists(each):
            return None if each.is_dir() else each
    return None


def _name_kind(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere"
    kinds = ((path.is_file, "a plain file"), (path.is_fifo, "a pipe"), (path.is_socket, "a socket"))
    return next((kind for applies, kind in kinds if applies()), "a device")


def _find_base(folder: Path) -> Path:
    """
    Find the folder itself, or the nearest one above it.

    Raises:
        StorageError: there is none.
    """
    for each in (folder, *folder.parents):
        if each.is_dir():
            return each
    raise StorageError(f"No part of {folder} exists on this machine.")
