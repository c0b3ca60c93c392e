"""
An image on its way to the disk: a temporary file, checked while it is written, then published under its name.

What is synced when: the bytes of an image before its name, while the ledger takes name and digest down, and the
folder after it, since the ledger calls the image saved from then on. Of a sidecar only the bytes: its name lasts with
the folder's next sync, and what is lost with it in a power cut is in the ledger.

A temporary file is called `.wan-mcp-ORDER-INDEX-OWNER.NONCE.part` and lies in the folder of the image that it
becomes. The nonce makes each name unique: a file that is gone was removed, it cannot have been replaced.
"""

import os
import re
import secrets
import stat
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import cache, partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp.images.check import ImageCheck
from wan_mcp.images.format import EXTENSIONS, ImageFacts
from wan_mcp.storage.base import Draft
from wan_mcp.storage.disk import (
    LONGEST_PATH,
    PRIVATE,
    Disk,
    begin_writing,
    set_mode,
    translate_errors,
    try_while_busy,
    write_all,
)
from wan_mcp.storage.names import fit_stem, keep_writable
from wan_mcp.storage.open_folder import OpenFolder, open_folder
from wan_mcp_tools.domain.errors import StorageError
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

PROBE = "probe"
"""In the place of an order's id: an empty file that was made only to see whether the folder can be written."""

_BUFFER_BYTES = 256 * 1024
_MOST_PIECES = 4
"""That wait for a thread; one more is in its hands, and one is being filled."""
_WRITERS = 2
"""Threads for all drafts of the process: more of them would wait for the same disk and the same processor."""
_BEGIN_BYTES = 4 * 1024 * 1024
"""After so many the disk begins to write, so that little is left to be waited for in the end."""
_SYNCERS = 4
"""Threads that wait for the disk and for nothing else, so that no draft's bytes stand in line behind that."""

_TEMP_NAME = re.compile(
    r"\.wan-mcp-(?P<order>[\w-]+)-(?P<index>\d+)-(?P<owner>\w+)\.(?P<nonce>[0-9a-f]{8})\.part", re.ASCII
)
_PLAIN_ORDER = re.compile(r"[\w-]{1,64}", re.ASCII)
_PLAIN_OWNER = re.compile(r"\w{1,40}", re.ASCII)


class LocalDraft(Draft):
    """
    A temporary file in the folder of the image it becomes.

    `folder` is where that is, with its links resolved. It is opened anew for each step, so that the image gets its
    name in the folder that is there then, and a link that has taken its place is an error. What is left of the file
    in the end is removed from the folder in which it was created, wherever that has been moved to.
    """

    def __init__(
        self, opened: OpenFolder, name: str, descriptor: int, *, mode: int, disk: Disk, clock: Clock
    ) -> None:
        self.folder = opened.path
        self._opened = opened
        self._name = name
        self._descriptor: int | None = descriptor
        self._mode = mode
        self._size = 0
        self._kept = self._begun = 0
        self._buffer = bytearray()
        self._pieces: deque[bytes | bytearray] = deque()
        self._pending: Future[None] | None = None
        self._syncing: Future[None] | None = None
        self._is_published = False
        self._check = ImageCheck()
        self._facts: ImageFacts | None = None
        self._disk = disk
        self._clock = clock

    @property
    def size(self) -> int:
        """How many bytes have been written, with those that are still in memory."""
        return self._size

    async def write(self, chunk: bytes) -> None:
        """
        Add bytes; they go to the disk in pieces of a quarter of a megabyte.

        A thread writes and checks pieces while the next ones are received, and a few are in memory at most, however
        large the image is. What the disk refuses is told with one of the next pieces, or by `verify`.
        """
        self._facts = None
        self._size += len(chunk)
        if self._buffer or len(chunk) < _BUFFER_BYTES // 2:
            self._buffer += chunk
            if len(self._buffer) < _BUFFER_BYTES:
                return
            piece, self._buffer = self._buffer, bytearray()
        else:
            # As it came: a copy of everything would be felt.
            piece = chunk
        is_large = len(piece) >= 2 * _BUFFER_BYTES
        self._pieces.append(piece)
        if is_large or len(self._pieces) > _MOST_PIECES:
            await self._settle()
        elif self._pending is None or self._pending.done():
            self._start_keeping()

    async def restart(self) -> None:
        """Empty the file."""
        with suppress(StorageError):
            # Of bytes that are forgotten now.
            await self._settle()
        self._facts = None
        self._size = 0
        self._buffer.clear()
        await run_sync(self._truncate)

    async def verify(self) -> ImageFacts:
        """Finish the check that the bytes went through on their way, and have a thread sync the file meanwhile."""
        return await run_sync(self._finish)

    async def content(self) -> bytes:
        """Read what was written, for a storage that keeps it elsewhere."""
        return await run_sync(self._read_back)

    async def find_target(self, stem: str, extension: str) -> Path:
        """Find the first name that is free in the folder."""
        return await run_sync(_find_free_name, self.folder, stem, extension)

    async def publish(self, target: Path) -> bool:
        """Link the file to its name, once it is verified and synced."""
        if self._facts is None:
            raise RuntimeError("verify() comes before publish()")
        if target.parent != self.folder or target.suffix != self._facts.extension:
            raise ValueError(f"{target} is no name for this picture")
        with translate_errors("write", target):
            return await try_while_busy(partial(self._publish, target.name), self._clock)

    async def close(self) -> None:
        """Remove the temporary file, if it is still there. A cancelled caller closes as well as any."""
        if self._is_published:
            return
        with anyio.CancelScope(shield=True):
            with suppress(StorageError):
                await self._settle()
            await run_sync(self._discard)

    def _start_keeping(self) -> None:
        """Have a thread keep what is there, once what it was given before is done; raise what became of that."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        if self._pieces:
            self._pending = _open_writers().submit(self._keep_pieces)

    async def _settle(self) -> None:
        """Wait until every piece is kept, and raise what became of them."""
        while self._pending is not None or self._pieces:
            if self._pending is not None and not self._pending.done():
                # A caller that is cancelled here leaves it as it is: the file is still in use.
                await run_sync(self._pending.exception)
            self._start_keeping()

    def _require_open(self) -> int:
        if self._descriptor is None:
            raise RuntimeError("the draft is closed")
        return self._descriptor

    def _finish(self) -> ImageFacts:
        """Keep what is left, have it synced, and inspect it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        self._keep_pieces()
        self._keep(self._buffer)
        self._buffer.clear()
        self._syncing = _open_syncers().submit(self._sync)
        # The disk and the processor work side by side; both take some milliseconds.
        self._facts = self._inspect()
        return self._facts

    def _keep_pieces(self) -> None:
        try:
            while self._pieces:
                self._keep(self._pieces.popleft())
        except BaseException:
            # What follows a piece that is missing is of no use, and would only be refused as well.
            self._pieces.clear()
            raise

    def _keep(self, piece: bytes | bytearray) -> None:
        with translate_errors("write in", self.folder):
            write_all(self._require_open(), piece)
            self._kept += len(piece)
            if self._kept - self._begun >= _BEGIN_BYTES:
                begin_writing(self._require_open(), self._begun, self._kept)
                self._begun = self._kept
        # Now, and not read back: it is what was written, and near at hand.
        self._check.add(piece)

    def _truncate(self) -> None:
        with translate_errors("write in", self.folder):
            os.ftruncate(self._require_open(), 0)
            os.lseek(self._require_open(), 0, os.SEEK_SET)
        self._kept = self._begun = 0
        self._check = ImageCheck()

    def _sync(self) -> None:
        with translate_errors("write in", self.folder):
            set_mode(self._require_open(), self._mode)
            self._disk.sync(self._require_open())

    def _inspect(self) -> ImageFacts:
        with translate_errors("read", self.folder):
            # Of the file that was written, whatever has its name by now.
            kept = os.fstat(self._require_open()).st_size
            with self._open_folder() as opened:
                self._check_name(opened)
            if kept != self._size:
                raise StorageError(
                    f"The disk of {self.folder} kept {kept} of {self._size} bytes.",
                    "Check the disk, then ask again.",
                )
            with os.fdopen(self._require_open(), "rb", closefd=False) as file:
                facts = self._check.finish(file)
            os.lseek(self._require_open(), 0, os.SEEK_END)
        return facts

    def _read_back(self) -> bytes:
        with translate_errors("read", self.folder), os.fdopen(self._require_open(), "rb", closefd=False) as file:
            file.seek(0)
            return file.read()

    def _publish(self, name: str) -> bool:
        if self._syncing is not None:
            self._syncing.result()
        with self._open_folder() as opened:
            self._check_name(opened)
            self._release()
            try:
                is_ours = self._disk.publish(opened, self._name, name)
            except FileNotFoundError as problem:
                raise self._removed() from problem
            if is_ours:
                self._disk.sync_folder(opened)
                self._opened.close()
                self._is_published = True
        return is_ours

    def _open_folder(self) -> OpenFolder:
        try:
            return open_folder(self.folder)
        except FileNotFoundError as problem:
            raise self._removed() from problem

    def _check_name(self, opened: OpenFolder) -> None:
        """Make sure that the temporary name still stands for a file like ours, and for no link."""
        try:
            status = opened.status(self._name)
        except FileNotFoundError as problem:
            raise self._removed() from problem
        if not stat.S_ISREG(status.st_mode) or status.st_size != self._size:
            raise self._removed()

    def _release(self) -> None:
        """Close the file: Windows renames none that is open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _discard(self) -> None:
        if self._syncing is not None:
            # It has the file in use.
            self._syncing.exception()
        # What cannot be removed now is removed later by its name and age.
        with suppress(OSError):
            self._release()
        with suppress(OSError), self._opened:
            self._opened.remove(self._name)

    def _removed(self) -> StorageError:
        return StorageError(
            f"The temporary file of the image in {self.folder} was removed before it was finished.",
            "Ask again: the image is fetched anew.",
        )


@asynccontextmanager
async def open_draft(
    find_folder: Callable[[], Path], name: str, *, mode: int, disk: Disk, clock: Clock
) -> AsyncGenerator[LocalDraft]:
    """
    Open a temporary file in a folder; remove it at the end unless it was published.

    `find_folder` is called in a thread, and gives the folder with its links resolved.

    The image gets the rights of `mode`, whatever the umask is; until then it has no more than these.

    Raises:
        StorageError: it cannot be created.
    """
    opened, descriptor = await run_sync(lambda: _create(find_folder(), name, mode, disk))
    draft = LocalDraft(opened, name, descriptor, mode=mode, disk=disk, clock=clock)
    try:
        yield draft
    finally:
        await draft.close()


def write_file(folder: Path, name: str, data: bytes, *, temp: str, mode: int, disk: Disk) -> None:
    """
    Write a file whole or not at all; one that exists is left as it is. A power cut may take it again, whole.

    Raises:
        OSError: the disk refuses, or a link stands on the way to the folder now.
    """
    with open_folder(folder) as opened:
        if opened.has(name):
            return
        try:
            descriptor = disk.create_new(opened, temp, mode & PRIVATE)
            try:
                write_all(descriptor, data)
                set_mode(descriptor, mode)
                disk.sync(descriptor)
            finally:
                os.close(descriptor)
            disk.publish(opened, temp, name)
        finally:
            with suppress(OSError):
                # What cannot be removed now is removed later by its name and age.
                opened.remove(temp)


def list_names(folder: Path, stem: str, extension: str) -> Iterator[str]:
    """
    Give the names an image may have, the plain one first, without end.

    Raises:
        StorageError: the folder's path is too long for any name.
    """
    if stem in ("", ".", "..") or Path(stem).name != stem:
        raise ValueError(f"{stem!r} is no file name")
    fitting = fit_stem(keep_writable(stem), folder, extension, LONGEST_PATH)
    if fitting is None:
        raise StorageError(f"The path of {folder} is too long for an image in it.", "Use a shorter folder.")
    for number in count(1):
        yield f"{fitting}{extension}" if number == 1 else f"{fitting}-{number}{extension}"


def is_taken(opened: OpenFolder, name: str) -> bool:
    """Whether an image of any kind, a sidecar or a link has this name."""
    stem = Path(name).stem
    return any(opened.has(f"{stem}{extension}") for extension in (*EXTENSIONS, ".json"))


class TempName(Record):
    """Whose temporary file it is: the order's id, the image's index, the owner, each as written in the name."""

    order: str
    index: int
    owner: str


def make_temp_name(*, order_id: str, index: int, owner: str) -> str:
    """Name a new file. Ids come from the service or from a host name: anything but plain characters is replaced."""
    order, writer = make_order_token(order_id), _make_token(owner, _PLAIN_OWNER)
    return f".wan-mcp-{order}-{index}-{writer}.{secrets.token_hex(4)}.part"


def make_order_token(order_id: str) -> str:
    """Give an order's id as it stands in names: as it is if its characters are plain ones."""
    return _make_token(order_id, _PLAIN_ORDER)


def read_temp_name(name: str) -> TempName | None:
    """Read whose temporary file it is; None for any other file."""
    match = _TEMP_NAME.fullmatch(name)
    return TempName(match["order"], int(match["index"]), match["owner"]) if match else None


def remove_temp_files(folder: Path, *, order_id: str, keep_owner: str | None) -> int:
    """
    Remove the temporary files of an order that other owners left, and probes, which nobody misses; count them.

    Raises:
        StorageError: the folder cannot be read.
    """
    orders = {make_order_token(order_id), PROBE}
    kept = None if keep_owner is None else _make_token(keep_owner, _PLAIN_OWNER)
    return _remove(folder, lambda _, name: name.order in orders and name.owner != kept)


def remove_old_temp_files(folder: Path, *, older_than: float) -> int:
    """
    Remove every temporary file that was last written before `older_than` (seconds since 1970), and count them.

    Raises:
        StorageError: the folder cannot be read.
    """
    return _remove(folder, lambda status, _: status.st_mtime < older_than)


def _remove(folder: Path, is_stale: Callable[[os.stat_result, TempName], bool]) -> int:
    removed = 0
    with translate_errors("look through", folder), ExitStack() as stack:
        try:
            opened = stack.enter_context(open_folder(folder))
        except (FileNotFoundError, NotADirectoryError):
            return 0
        for name in opened.names():
            found = read_temp_name(name)
            if found is None:
                continue
            try:
                status = opened.status(name)
                if stat.S_ISREG(status.st_mode) and is_stale(status, found):
                    opened.remove(name)
                    removed += 1
            except (FileNotFoundError, PermissionError):
                # Another process removed it first, or still has it open on Windows: its own affair.
                continue
    return removed


def _make_token(text: str, plain: re.Pattern[str]) -> str:
    """Keep a plain text; make any other plain and still its own by a piece of its hash."""
    if plain.fullmatch(text):
        return text
    digest = sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', text)[:24]}_{digest}"


@cache
def _open_writers() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - a start of the server writes no image

    return ThreadPoolExecutor(_WRITERS, thread_name_prefix="draft")


@cache
def _open_syncers() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as above

    return ThreadPoolExecutor(_SYNCERS, thread_name_prefix="draft-sync")


def _find_free_name(folder: Path, stem: str, extension: str) -> Path:
    with translate_errors("look at", folder), open_folder(folder) as opened:
        return folder / next(name for name in list_names(folder, stem, extension) if not is_taken(opened, name))


def _create(folder: Path, name: str, mode: int, disk: Disk) -> tuple[OpenFolder, int]:
    """Create a file; give the folder, which stays open, and the file."""
    with translate_errors("create a file in", folder):
        opened = open_folder(folder)
        try:
            return opened, disk.create_new(opened, name, mode & PRIVATE)
        except BaseException:
            opened.close()
            raise
