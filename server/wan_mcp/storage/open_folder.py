"""
An open folder: its files are reached through its handle, and no symbolic link on the way to it or in it is followed.

A path is checked first and opened later, and in between somebody may put a link where a folder or a file was. So
whatever was found allowed is opened here component by component, each one relative to the one before it, and a link
that has appeared anywhere on the way is an error and never a door. `path` of a folder must therefore have its links
resolved already.

Systems without such handles (Windows) are served by paths: they are looked at before and after they are opened, which
leaves a moment between the two looks in which a link could be put there and taken away again.

Every function here asks the disk: call it in a thread. What goes wrong is an `OSError`.

Sources:
    https://man7.org/linux/man-pages/man2/open.2.html
    https://docs.python.org/3/library/os.html#dir-fd
"""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

HAS_HANDLES = {os.open, os.stat, os.mkdir, os.link, os.rename, os.unlink} <= os.supports_dir_fd
"""Whether files can be opened relative to the handle of a folder."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
# A handle that only leads further needs no right to read the folder: the folders above may well be closed to us.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_FOLLOW
_READABLE_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_FOLLOW
# Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
_READ = os.O_RDONLY | _NO_FOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
_NO_LINKS_AT_ALL = getattr(os, "O_NOFOLLOW_ANY", None)
"""macOS: refuses a link anywhere in a path."""

FOLDER = "a folder"
_KINDS = (
    (stat.S_ISDIR, FOLDER),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class LinkFoundError(OSError):
    """Raised for a symbolic link where a folder or a file was expected; `filename` is where it stands."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ELOOP, "a link stands there", str(path))


class NotAFileError(OSError):
    """Raised for what can be opened and is no file; `kind` says what it is: a folder, a pipe, a socket, a device."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(errno.EISDIR if kind == FOLDER else errno.EINVAL, f"it is {kind}", str(path))
        self.kind = kind


class OpenFolder:
    """
    A folder that is held open, by its handle or, without one, by its path.

    Names are those of its own files: no path, no `..`. Close it, or use it as a context.
    """

    def __init__(self, path: Path, handle: int | None) -> None:
        self.path = path
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def create(self, name: str, mode: int) -> int:
        """Create a file that did not exist, and open it for reading and writing; the umask may narrow its mode."""
        return os.open(self._at(name), _CREATE, mode, dir_fd=self._handle)

    def open(self, name: str) -> int:
        """
        Open a file for reading; never waits for it.

        Raises:
            LinkFoundError: it is a link.
            NotAFileError: it is no regular file; then it was not read.
        """
        before = self.status(name)
        self._check_file(name, before)
        try:
            descriptor = os.open(self._at(name), _READ, dir_fd=self._handle)
        except OSError as problem:
            raise self._explain(name, problem) from problem
        try:
            self._check_opened(name, before, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def status(self, name: str) -> os.stat_result:
        """Look at a file, or at the link that has this name."""
        return os.stat(self._at(name), dir_fd=self._handle, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Say whether anything has this name, be it a link that leads nowhere."""
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """Give the names of everything in it."""
        if self._handle is None:
            return [path.name for path in self.path.iterdir()]
        with self._readable() as readable, os.scandir(readable) as entries:
            return [entry.name for entry in entries]

    def link(self, name: str, second: str) -> None:
        """Give a file a second name, which must be free."""
        os.link(
            self._at(name),
            self._at(second),
            src_dir_fd=self._handle,
            dst_dir_fd=self._handle,
            follow_symlinks=os.link not in os.supports_follow_symlinks,
        )

    def rename(self, name: str, other: str) -> None:
        """Give a file another name; on Windows that must be free, elsewhere what has it is replaced."""
        os.rename(self._at(name), self._at(other), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def replace(self, name: str, other: str) -> None:
        """Give a file another name in the place of what has it."""
        os.replace(self._at(name), self._at(other), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def remove(self, name: str) -> None:
        """Remove a file, or a link and not what it leads to; one that is gone already is no error."""
        with suppress(FileNotFoundError):
            os.unlink(self._at(name), dir_fd=self._handle)

    def sync(self) -> None:
        """Ask the disk to keep the names in it over a power cut; Windows has no such thing."""
        if self._handle is not None:
            with self._readable() as readable:
                os.fsync(readable)

    @contextmanager
    def _readable(self) -> Generator[int]:
        descriptor = os.open(".", _READABLE_FOLDER, dir_fd=self._handle)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _at(self, name: str) -> str:
        if name in ("", ".", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} is no file name")
        return name if self._handle is not None else str(self.path / name)

    def _check_opened(self, name: str, before: os.stat_result, opened: os.stat_result) -> None:
        self._check_file(name, opened)
        # By a path a link may have been followed: then this is not what was looked at.
        if self._handle is None and not os.path.samestat(before, opened):
            raise LinkFoundError(self.path / name)

    def _check_file(self, name: str, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            return
        if stat.S_ISLNK(status.st_mode):
            raise LinkFoundError(self.path / name)
        kind = next((words for matches, words in _KINDS if matches(status.st_mode)), "no file")
        raise NotAFileError(self.path / name, kind)

    def _explain(self, name: str, problem: OSError) -> OSError:
        """Tell a link, or something else that is no file and came meanwhile, from other reasons."""
        if problem.errno == errno.ELOOP:
            return LinkFoundError(self.path / name)
        with suppress(OSError):
            try:
                self._check_file(name, self.status(name))
            except (LinkFoundError, NotAFileError) as found:
                return found
        return problem


def open_folder(path: Path, *, create_mode: int | None = None, by_handle: bool = HAS_HANDLES) -> OpenFolder:
    """
    Open a folder by its path, which is absolute and has its links resolved.

    Those that are missing are made if `create_mode` says with which rights; the umask may narrow them.

    Raises:
        LinkFoundError: a link stands on the way now.
    """
    if not by_handle:
        return _open_by_path(path, create_mode)
    handle = os.open(path.anchor, _FOLDER)
    reached = Path(path.anchor)
    try:
        for name in path.parts[1:]:
            reached /= name
            inner = _descend(handle, name, reached, create_mode)
            os.close(handle)
            handle = inner
    except PermissionError:
        os.close(handle)
        if _NO_LINKS_AT_ALL is None:
            raise
        # The folder may be open to us although one above it is not.
        return OpenFolder(path, os.open(path, _READABLE_FOLDER | _NO_LINKS_AT_ALL))
    except BaseException:
        os.close(handle)
        raise
    return OpenFolder(path, handle)


def _descend(handle: int, name: str, reached: Path, create_mode: int | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=handle)
    except FileNotFoundError:
        if create_mode is None:
            raise
    except OSError as problem:
        raise _explain_step(handle, name, reached, problem) from problem
    with suppress(FileExistsError):
        os.mkdir(name, create_mode, dir_fd=handle)
    try:
        return os.open(name, _FOLDER, dir_fd=handle)
    except OSError as problem:
        raise _explain_step(handle, name, reached, problem) from problem


def _explain_step(handle: int, name: str, reached: Path, problem: OSError) -> OSError:
    # Systems do not agree on how a link is refused, and it may be gone by now.
    if problem.errno == errno.ELOOP:
        return LinkFoundError(reached)
    with suppress(OSError):
        if stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
            return LinkFoundError(reached)
    return problem


def _open_by_path(path: Path, create_mode: int | None) -> OpenFolder:
    _check_path(path)
    if create_mode is not None:
        path.mkdir(create_mode, parents=True, exist_ok=True)
    if not stat.S_ISDIR(path.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _check_path(path)
    return OpenFolder(path, None)


def _check_path(path: Path) -> None:
    # Links are resolved in it, so resolving it again changes nothing unless one has come since.
    if os.path.normcase(os.path.realpath(path)) != os.path.normcase(path):
        raise LinkFoundError(path)
