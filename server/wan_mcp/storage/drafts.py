"""
An image on its way to the disk: a temporary file, then verified, then published under its name.

A temporary file is called `.wan-mcp-ORDER-INDEX-OWNER.NONCE.part` and lies in the folder of the image that it
becomes. The nonce makes each name unique: a file that is gone was removed, it cannot have been replaced.
"""

import os
import re
import secrets
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp.storage.base import Draft, ImageFacts
from wan_mcp.storage.disk import LONGEST_PATH, Disk, translate_errors, try_while_busy, write_all
from wan_mcp.storage.image_format import EXTENSIONS, inspect_image
from wan_mcp.storage.names import fit_stem
from wan_mcp_tools.domain.errors import AppError, StorageError

PROBE = "probe"
"""In the place of an order's id: an empty file that was made only to see whether the folder can be written."""

_BUFFER_BYTES = 512 * 1024

_TEMP_NAME = re.compile(
    r"\.wan-mcp-(?P<order>[\w-]+)-(?P<index>\d+)-(?P<owner>\w+)\.(?P<nonce>[0-9a-f]{8})\.part", re.ASCII
)
_PLAIN_ORDER = re.compile(r"[\w-]{1,64}", re.ASCII)
_PLAIN_OWNER = re.compile(r"\w{1,40}", re.ASCII)


class LocalDraft(Draft):
    """A temporary file in the folder of the image it becomes; `folder` is where that is."""

    def __init__(self, temp: Path, descriptor: int, *, disk: Disk, clock: Clock) -> None:
        self.folder = temp.parent
        self._temp = temp
        self._descriptor: int | None = descriptor
        self._size = 0
        self._buffer = bytearray()
        self._facts: ImageFacts | None = None
        self._disk = disk
        self._clock = clock

    @property
    def size(self) -> int:
        """How many bytes have been written, with those that are still in memory."""
        return self._size

    async def write(self, chunk: bytes) -> None:
        """Add bytes; they go to the disk in pieces of half a megabyte."""
        self._facts = None
        self._size += len(chunk)
        self._buffer += chunk
        if len(self._buffer) >= _BUFFER_BYTES:
            await run_sync(self._flush)

    async def restart(self) -> None:
        """Empty the file."""
        self._facts = None
        self._size = 0
        self._buffer.clear()
        await run_sync(self._truncate)

    async def verify(self) -> ImageFacts:
        """Sync the file, read it back and inspect it."""
        await run_sync(self._flush)
        problems: list[AppError] = []

        async def attempt(step: Callable[[], None]) -> None:
            try:
                await run_sync(step)
            except AppError as problem:
                problems.append(problem)

        # The disk and the processor work side by side; both take some milliseconds.
        async with anyio.create_task_group() as group:
            group.start_soon(attempt, self._sync)
            group.start_soon(attempt, self._inspect)
        if problems:
            raise problems[0]
        if self._facts is None:
            raise RuntimeError("inspecting gave neither facts nor a problem")
        return self._facts

    async def target(self, stem: str, extension: str) -> Path:
        """Find the first name that is free in the folder."""
        return await run_sync(_find_free_name, self.folder, stem, extension)

    async def publish(self, target: Path) -> bool:
        """Link the file to its name, once it is verified."""
        if self._facts is None:
            raise RuntimeError("verify() comes before publish()")
        if target.parent != self.folder or target.suffix != self._facts.extension:
            raise ValueError(f"{target} is no name for this picture")
        with translate_errors("write", target):
            return await try_while_busy(partial(self._publish, target), self._clock)

    async def close(self) -> None:
        """Remove the temporary file, if it is still there. A cancelled caller closes as well as any."""
        with anyio.CancelScope(shield=True):
            await run_sync(self._discard)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise RuntimeError("the draft is closed")
        return self._descriptor

    def _flush(self) -> None:
        with translate_errors("write in", self.folder):
            write_all(self._opened(), self._buffer)
        self._buffer.clear()

    def _truncate(self) -> None:
        with translate_errors("write in", self.folder):
            os.ftruncate(self._opened(), 0)
            os.lseek(self._opened(), 0, os.SEEK_SET)

    def _sync(self) -> None:
        with translate_errors("write in", self.folder):
            self._disk.sync(self._opened())

    def _inspect(self) -> None:
        with translate_errors("read", self.folder):
            try:
                data = self._temp.read_bytes()
            except FileNotFoundError as problem:
                raise self._removed() from problem
        if len(data) != self._size:
            raise StorageError(
                f"The disk of {self.folder} kept {len(data)} of {self._size} bytes.",
                "Check the disk, then ask again.",
            )
        self._facts = inspect_image(data)

    def _publish(self, target: Path) -> bool:
        self._release()
        try:
            is_ours = self._disk.publish(self._temp, target)
        except FileNotFoundError as problem:
            raise self._removed() from problem
        if is_ours:
            self._disk.sync_folder(self.folder)
        return is_ours

    def _release(self) -> None:
        """Close the file: Windows renames none that is open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _discard(self) -> None:
        # What cannot be removed now is removed later by its name and age.
        with suppress(OSError):
            self._release()
        with suppress(OSError):
            self._temp.unlink(missing_ok=True)

    def _removed(self) -> StorageError:
        return StorageError(
            f"The temporary file of the image in {self.folder} was removed before it was finished.",
            "Ask again: the image is fetched anew.",
        )


@asynccontextmanager
async def open_draft(temp: Path, *, disk: Disk, clock: Clock) -> AsyncGenerator[LocalDraft]:
    """
    Open a temporary file, and remove it at the end unless it was published.

    Raises:
        StorageError: it cannot be created.
    """
    draft = LocalDraft(temp, await run_sync(_create, temp, disk), disk=disk, clock=clock)
    try:
        yield draft
    finally:
        await draft.close()


def list_names(folder: Path, stem: str, extension: str) -> Iterator[Path]:
    """
    Give the names an image may have, the plain one first, without end.

    Raises:
        StorageError: the folder's path is too long for any name.
    """
    if stem in ("", ".", "..") or Path(stem).name != stem:
        raise ValueError(f"{stem!r} is no file name")
    fitting = fit_stem(stem, folder, extension, LONGEST_PATH)
    if fitting is None:
        raise StorageError(f"The path of {folder} is too long for an image in it.", "Use a shorter folder.")
    for number in count(1):
        yield folder / (f"{fitting}{extension}" if number == 1 else f"{fitting}-{number}{extension}")


def is_taken(path: Path) -> bool:
    """Whether an image of any kind, a sidecar or a link has this name."""
    return any(os.path.lexists(path.with_suffix(extension)) for extension in (*EXTENSIONS, ".json"))


@dataclass(frozen=True, slots=True)
class TempName:
    """Whose temporary file it is: the order's id, the image's index, the owner, each as written in the name."""

    order: str
    index: int
    owner: str


def make_temp_path(folder: Path, *, order_id: str, index: int, owner: str) -> Path:
    """Name a new file. Ids come from the service or from a host name: anything but plain characters is replaced."""
    order, writer = _make_token(order_id, _PLAIN_ORDER), _make_token(owner, _PLAIN_OWNER)
    return folder / f".wan-mcp-{order}-{index}-{writer}.{secrets.token_hex(4)}.part"


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
    orders = {_make_token(order_id, _PLAIN_ORDER), PROBE}
    kept = None if keep_owner is None else _make_token(keep_owner, _PLAIN_OWNER)
    return _remove(folder, lambda _, name: name.order in orders and name.owner != kept)


def remove_old_temp_files(folder: Path, *, older_than: float) -> int:
    """
    Remove every temporary file that was last written before `older_than` (seconds since 1970), and count them.

    Raises:
        StorageError: the folder cannot be read.
    """
    return _remove(folder, lambda path, _: path.lstat().st_mtime < older_than)


def _remove(folder: Path, is_stale: Callable[[Path, TempName], bool]) -> int:
    removed = 0
    with translate_errors("look through", folder):
        if not folder.is_dir():
            return 0
        for path in folder.iterdir():
            name = read_temp_name(path.name)
            if name is None:
                continue
            try:
                if stat.S_ISREG(path.lstat().st_mode) and is_stale(path, name):
                    path.unlink()
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


def _find_free_name(folder: Path, stem: str, extension: str) -> Path:
    return next(path for path in list_names(folder, stem, extension) if not is_taken(path))


def _create(temp: Path, disk: Disk) -> int:
    with translate_errors("create a file in", temp.parent):
        return disk.create_new(temp)
