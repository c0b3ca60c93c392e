"""An image on its way to the disk: a temporary file, then verified, then published under its name."""

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp.storage.disk import LONGEST_PATH, Disk, try_while_busy, write_all
from wan_mcp.storage.faults import reporting
from wan_mcp.storage.names import fit_stem
from wan_mcp.storage.picture import EXTENSIONS, ImageFacts, inspect
from wan_mcp_tools.domain.errors import AppError, StorageError

_BUFFER_BYTES = 512 * 1024


class Draft:
    """
    A temporary file in the folder of the image it becomes; also what a download writes to.

    `size` counts the bytes written so far, `folder` is where the image will lie. One caller at a time.
    """

    def __init__(self, part: Path, descriptor: int, *, disk: Disk, clock: Clock) -> None:
        self.size = 0
        self.folder = part.parent
        self._part = part
        self._descriptor: int | None = descriptor
        self._buffer = bytearray()
        self._facts: ImageFacts | None = None
        self._disk = disk
        self._clock = clock

    async def write(self, chunk: bytes) -> None:
        """
        Add bytes at the end.

        Raises:
            StorageError: the disk refuses them.
        """
        self._facts = None
        self.size += len(chunk)
        self._buffer += chunk
        if len(self._buffer) >= _BUFFER_BYTES:
            await run_sync(self._flush)

    async def restart(self) -> None:
        """
        Forget everything written, to begin again.

        Raises:
            StorageError: the disk refuses.
        """
        self._facts = None
        self.size = 0
        self._buffer.clear()
        await run_sync(self._truncate)

    async def verify(self) -> ImageFacts:
        """
        Bring the bytes to the disk, read them back and check that they are one complete picture.

        Raises:
            NotAnImageError: they are not; the message says what they look like.
            StorageError: the disk refuses, or another process removed the temporary file.
        """
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
        """
        Find the first free name: `stem.ext`, `stem-2.ext`, `stem-3.ext`, and so on.

        A name is free if no picture of any kind and no sidecar has it.

        Raises:
            StorageError: the folder's path is too long for any name.
        """
        return await run_sync(first_free, self.folder, stem, extension)

    async def publish(self, target: Path) -> bool:
        """
        Give the verified bytes their name, at once and whole; False if the name is taken.

        Raises:
            StorageError: the disk refuses, or another process removed the temporary file. No name was given.
        """
        if self._facts is None:
            raise RuntimeError("verify() comes before publish()")
        if target.parent != self.folder or target.suffix != self._facts.extension:
            raise ValueError(f"{target} is no name for this picture")
        with reporting("write", target):
            return await try_while_busy(partial(self._claim, target), self._clock)

    async def close(self) -> None:
        """Remove the temporary file, if it is still there. A cancelled caller closes as well as any."""
        with anyio.CancelScope(shield=True):
            await run_sync(self._discard)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise RuntimeError("the draft is closed")
        return self._descriptor

    def _flush(self) -> None:
        with reporting("write in", self.folder):
            write_all(self._opened(), self._buffer)
        self._buffer.clear()

    def _truncate(self) -> None:
        with reporting("write in", self.folder):
            os.ftruncate(self._opened(), 0)
            os.lseek(self._opened(), 0, os.SEEK_SET)

    def _sync(self) -> None:
        with reporting("write in", self.folder):
            self._disk.sync(self._opened())

    def _inspect(self) -> None:
        with reporting("read", self.folder):
            try:
                data = self._part.read_bytes()
            except FileNotFoundError as problem:
                raise self._swept() from problem
        if len(data) != self.size:
            raise StorageError(
                f"The disk of {self.folder} kept {len(data)} of {self.size} bytes.",
                "Check the disk, then ask again.",
            )
        self._facts = inspect(data)

    def _claim(self, target: Path) -> bool:
        self._release()
        try:
            is_ours = self._disk.claim(self._part, target)
        except FileNotFoundError as problem:
            raise self._swept() from problem
        if is_ours:
            self._disk.sync_folder(self.folder)
        return is_ours

    def _release(self) -> None:
        """Close the file: Windows renames none that is open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _discard(self) -> None:
        # What cannot be removed now is swept later by its name and age.
        with suppress(OSError):
            self._release()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _swept(self) -> StorageError:
        return StorageError(
            f"The temporary file of the image in {self.folder} was removed before it was finished.",
            "Ask again: the image is fetched anew.",
        )


@asynccontextmanager
async def open_draft(part: Path, *, disk: Disk, clock: Clock) -> AsyncGenerator[Draft]:
    """
    Open a temporary file, and remove it at the end unless it was published.

    Raises:
        StorageError: it cannot be created.
    """
    draft = Draft(part, await run_sync(_create, part, disk), disk=disk, clock=clock)
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
    """Whether a picture of any kind, a sidecar or a link has this name."""
    return any(os.path.lexists(path.with_suffix(extension)) for extension in (*EXTENSIONS, ".json"))


def first_free(folder: Path, stem: str, extension: str) -> Path:
    """Find the first name that is not taken."""
    return next(path for path in list_names(folder, stem, extension) if not is_taken(path))


def _create(part: Path, disk: Disk) -> int:
    with reporting("create a file in", part.parent):
        return disk.create_new(part)
