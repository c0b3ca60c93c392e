"""
Which folders images may lie in, and what a folder is good for.

Every function here asks the disk: call it in a thread.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePath
from urllib.request import url2pathname

from wan_mcp.storage.disk import (
    PRIVATE,
    Disk,
    find_network_drive,
    make_storage_error,
    shorten,
    translate_errors,
)
from wan_mcp.storage.drafts import PROBE, make_temp_name
from wan_mcp.storage.names import is_plain
from wan_mcp.storage.open_folder import OpenFolder, open_folder
from wan_mcp_tools.domain.errors import FolderNotAllowedError, RequestRefusedError, StorageError
from wan_mcp_tools.domain.record import Record

LEAST_FREE_BYTES = 64 * 1024 * 1024
"""The largest image that is accepted by default: with less, a paid one may find no room."""

_MOST_KEPT_PARTS = 4
"""Folders above a file, and the file, that may have been moved together."""
_MOST_SEARCHED = 300
"""Folders that are looked into for a file that was moved."""
_LOOKS = 20
_SEARCHED_LEVELS = 3
_MOST_ENTRIES = 20_000
"""Of a folder that is looked through for others."""

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://|file:/", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"file:(?://(?:localhost)?)?(?P<path>/[^?#]*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?(?:[\\/]|$)|%[A-Za-z_]\w*%(?:[\\/]|$)", re.ASCII)
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")

FindNetworkDrive = Callable[[Path], str | None]
"""Takes a folder that exists; gives the kind of its network drive, or None for a disk of this machine."""


class Folders:
    """
    The default folder, and the further ones that a call may name.

    Each may be a link: it is the operator's choice where that leads. What it leads to is held to once it exists, so
    that a folder which is replaced by a link while the server runs leads nowhere.
    """

    def __init__(self, default: Path, further: Sequence[Path] = ()) -> None:
        self.default = default
        self.further = tuple(further)
        self._resolved: dict[Path, Path] = {}

    def find(self, text: str | None) -> Path:
        """
        Give the folder, or the file, that a caller's path means: links resolved, inside an allowed folder.

        A relative path starts in the default folder; no path means the default folder.

        Raises:
            FolderNotAllowedError: it lies outside.
            RequestRefusedError: the text is no path on this system.
        """
        if text is None or not text.strip():
            return self._resolve_root(self.default)
        return self.confine(self._read(text.strip()))

    def confine(self, path: Path) -> Path:
        """
        Resolve the links of a path and make sure that it lies in an allowed folder.

        Raises:
            FolderNotAllowedError: it lies outside.
            RequestRefusedError: it is no path on this system.
        """
        check_path(path)
        if self.is_foreign(path):
            raise self._refuse(path)
        resolved = _resolve(path)
        check_path(resolved)
        if not any(_contains(root, resolved) for root in self.roots()):
            raise self._refuse(path)
        return resolved

    def hold(self) -> None:
        """Find out where the folders lead, and hold to it from now on."""
        self.roots()

    def is_foreign(self, path: Path) -> bool:
        """
        Say whether a path lies on a drive, or at a machine, that no allowed folder is on.

        Such a path is not even touched: to look at a network path is to sign in at that machine.
        """
        return is_on_foreign_drive(path, [*self._list_named(), *self.roots()])

    def roots(self) -> list[Path]:
        """Give the folders themselves, links resolved, without those that cannot be looked at now."""
        roots: list[Path] = []
        for named in self._list_named():
            with suppress(StorageError):
                roots.append(self._resolve_root(named))
        return list(dict.fromkeys(roots))

    def is_inside_by_name(self, path: Path) -> bool:
        """Say whether a path, as it is written, lies in an allowed folder, wherever its links lead."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links
        return any(absolute.is_relative_to(folder) for folder in (*self._list_named(), *self.roots()))

    def list_candidates(self, path: Path) -> Iterator[Path]:
        """
        Give the paths where a file may lie that was moved: its name, at first with the folders that it lay in.

        Each is inside an allowed folder by its name; at most `_MOST_SEARCHED` folders are looked through.
        """
        parts = path.parts[1:]
        for root in self.roots():
            for count in range(1, min(len(parts), _MOST_KEPT_PARTS) + 1):
                yield root.joinpath(*parts[-count:])
        for folder in islice(_walk(self.roots()), _MOST_SEARCHED):
            yield folder / path.name

    def prepare(self, folder: Path, disk: Disk, *, mode: int) -> Path:
        """
        Make a confined folder ready: it exists, can be written, and has some room.

        Raises:
            StorageError: the folder cannot be used, or a link stands there now.
        """
        with translate_errors("create the folder", folder), suppress(FileNotFoundError, NotADirectoryError):
            # By handles, folders can be made that no path leads to; these names are there for the length alone.
            (folder / ("x" * 110) / ("x" * 110)).lstat()
        with (
            translate_errors("create the folder", folder),
            open_folder(folder, create_mode=mode) as opened,
        ):
            try_writing(opened, disk)
        self.hold()
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

    def _resolve_root(self, folder: Path) -> Path:
        """
        Give where a folder of the settings leads, by the first look at it that found it there.

        Raises:
            StorageError: its links lead in a circle, it cannot be looked at, or its name is none.
        """
        known = self._resolved.get(folder)
        if known is not None:
            return known
        try:
            check_path(folder)
            resolved = _resolve(folder.expanduser())
            check_path(resolved)
        except RequestRefusedError as problem:
            raise StorageError(problem.message, "Name another folder in WAN_MCP_OUTPUT_DIR.") from problem
        if resolved.is_dir():
            self._resolved[folder] = resolved
        return resolved

    def _read(self, text: str) -> Path:
        check_path(PurePath(text))
        if not all(is_plain(character) for character in text):
            raise RequestRefusedError(
                f"The path {text[:80]!r} has a control character or an invisible one.", "Give a plain path."
            )
        if os.name != "nt" and _WINDOWS_PATH.match(text):
            raise RequestRefusedError(
                f"{text[:200]!r} is a Windows path, and this server does not run on Windows.",
                "Give a path of the server's own system, or a relative one.",
            )
        text = read_file_address(text)
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

    def _refuse(self, path: Path) -> FolderNotAllowedError:
        names = ", ".join(shorten(root) for root in self._list_named())
        where = "leads, by a link, outside" if self.is_inside_by_name(path) else "lies outside"
        return FolderNotAllowedError(
            f"{shorten(path)} {where} the allowed folders.",
            f"Allowed, with everything inside: {names}. The operator can add the folder to the setting "
            "WAN_MCP_ALLOWED_DIRS.",
        )


def check_path(path: PurePath) -> None:
    """
    Make sure that a path can be written down, and can be handed to this system.

    Raises:
        RequestRefusedError: it is not UTF-8, or has a letter that the system's encoding lacks, or a null character.
    """
    text = str(path)
    try:
        text.encode()
        os.fsencode(text)
    except UnicodeEncodeError as problem:
        is_utf8 = "surrogates" not in problem.reason
        why = (
            f"a letter that this system's encoding, {problem.encoding}, lacks"
            if is_utf8
            else "bytes that are not UTF-8"
        )
        raise RequestRefusedError(
            f"The path {shorten(path)} has {why}.", "Rename the folder or the file, or use another one."
        ) from problem
    if "\0" in text:
        raise RequestRefusedError(f"The path {text[:80]!r} has a null character.", "Give a plain path.")


def is_on_foreign_drive(path: PurePath, roots: Iterable[PurePath]) -> bool:
    """Whether a Windows path names a drive, or a machine of the network, that no allowed folder is on."""
    return bool(path.drive) and path.drive.lower() not in {root.drive.lower() for root in roots}


class FolderFacts(Record):
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
        check_path(folder)
        obstacle = find_obstacle(folder)
        if obstacle is not None:
            problem = f"{obstacle} is {_name_kind(obstacle)}, and a folder is needed there."
            return FolderFacts(exists, base, problem, obstacle=obstacle)
        base = _find_base(folder)
        exists = base == folder
        if exists:
            with open_folder(_resolve(folder)) as opened:
                try_writing(opened, disk)
        elif not os.access(base, os.W_OK | os.X_OK):
            return FolderFacts(exists, base, f"{base}, where it would be made, cannot be written to.")
        return FolderFacts(exists, base, None, disk.count_free_bytes(base), find_network_drive(base))
    except (StorageError, RequestRefusedError) as error:
        return FolderFacts(exists, base, error.message)
    except OSError as error:
        return FolderFacts(exists, base, make_storage_error(error, "look at", base).message)


def try_writing(opened: OpenFolder, disk: Disk) -> None:
    """
    Make an empty file in a folder and remove it.

    Raises:
        StorageError: the folder refuses.
    """
    probe = make_temp_name(order_id=PROBE, index=0, owner=PROBE)
    with translate_errors("write in", opened.path):
        os.close(disk.create_new(opened, probe, PRIVATE))
    with suppress(OSError):
        # A virus scanner may hold it for a moment; then it is removed later by its name.
        opened.remove(probe)


def _resolve(path: Path) -> Path:
    """
    Resolve the links of a path; what does not exist, or cannot be looked at, stays as it is written.

    Raises:
        StorageError: the links lead in a circle, or do not hold still.
    """
    try:
        return Path(os.path.realpath(path, strict=True))
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise StorageError(
                f"The links of {shorten(path)} lead in a circle.", "Use another folder.", retryable=False
            ) from problem
    for _ in range(_LOOKS):
        # A link that goes, or becomes a file, between being seen and being read is an error even here: look again.
        with suppress(OSError):
            return Path(os.path.realpath(path))
    raise StorageError(
        f"The links of {shorten(path)} are being changed by another program.", "Try again.", retryable=True
    )


def _walk(roots: Iterable[Path]) -> Iterator[Path]:
    """Give the folders below others, the nearest first; no links, nothing hidden, and not for ever."""
    level = list(roots)
    for _ in range(_SEARCHED_LEVELS):
        below: list[Path] = []
        for folder in level:
            for name in _list_folders(folder):
                below.append(folder / name)
                yield folder / name
        level = below


def _list_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            found = islice(entries, _MOST_ENTRIES)
            return [
                each.name for each in found if not each.name.startswith(".") and each.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def _contains(root: Path, path: Path) -> bool:
    if path.is_relative_to(root):
        return True
    # The same folder may be spelled in another case or another Unicode form, on macOS above all.
    return any(_is_same_folder(root, ancestor) for ancestor in (path, *path.parents))


def _is_same_folder(root: Path, other: Path) -> bool:
    try:
        # Without following a link: a folder that was replaced by one is not where it leads.
        return os.path.samestat(root.lstat(), other.lstat())
    except OSError:
        return False


def read_file_address(text: str) -> str:
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
