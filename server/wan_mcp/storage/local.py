"""The folder of images, as the rest of the server sees it. Every touch of the disk is in a thread."""

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.storage import names, parts, sidecar
from wan_mcp.storage.disk import Disk, read_whole, try_while_busy
from wan_mcp.storage.draft import Draft, is_taken, list_names, open_draft
from wan_mcp.storage.faults import reporting
from wan_mcp.storage.folders import Folders
from wan_mcp.storage.picture import ImageFacts, inspect, looks_like_picture
from wan_mcp.storage.preview import draw_preview
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview

_MOST_BYTES_READ = 512 * 1024 * 1024
_PREVIEWS_AT_ONCE = 2
"""Each may hold a few hundred megabytes of pixels for a moment."""


class LocalStorage:
    """
    Writes images into the default folder or a further allowed one, and nowhere else; never over another file.

    Paths that it gives are absolute, with links resolved.
    """

    def __init__(
        self,
        output_dir: Path,
        allowed_dirs: Sequence[Path] = (),
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._folders = Folders(output_dir, tuple(allowed_dirs))
        self._disk = disk or Disk()
        self._clock = clock or SystemClock()
        self._drawing = anyio.CapacityLimiter(_PREVIEWS_AT_ONCE)

    async def folder(self, output_dir: str | None) -> Path:
        """
        Give the folder that a call means, ready to be written in; None means the default folder.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders.
            RequestRefusedError: it is no path on this system.
            StorageError: it cannot be created or written, or has hardly any room.
        """
        return await run_sync(self._find_ready_folder, output_dir, abandon_on_cancel=True)

    def check_filename(self, filename: str | None) -> str | None:
        """
        Give the name that a caller wants for a file, without an image extension.

        Raises:
            RequestRefusedError: it is no plain name that Windows, macOS and Linux all accept.
        """
        return names.check_filename(filename)

    def stem(
        self, *, prompt: str, created_at: datetime, order_id: str, index: int, count: int, filename: str | None
    ) -> str:
        """
        Name an image, without its extension: `20261122-a-flower-shop-0385dc79-1`, or as `filename` says.

        Raises:
            RequestRefusedError: `filename` is not legal.
        """
        return names.make_stem(
            prompt=prompt, created_at=created_at, order_id=order_id, index=index, count=count, filename=filename
        )

    @asynccontextmanager
    async def draft(self, folder: Path, *, order_id: str, index: int, owner: str) -> AsyncGenerator[Draft]:
        """
        Open a temporary file in a folder; at the end it is removed unless it was published.

        Raises:
            FolderNotAllowedError: the folder lies outside the allowed ones.
            StorageError: the file cannot be created.
        """
        confined = await run_sync(self._folders.confine, folder)
        part = parts.make_part_path(confined, order_id=order_id, index=index, owner=owner)
        async with open_draft(part, disk=self._disk, clock=self._clock) as draft:
            yield draft

    async def matches(self, path: Path, sha256: str) -> bool:
        """
        Whether the file exists and has exactly this content (`sha256` in hex).

        Raises:
            StorageError: it exists and cannot be read.
        """
        return await run_sync(_matches, path, sha256, abandon_on_cancel=True)

    async def missing(self, paths: Sequence[Path]) -> list[Path]:
        """Give those paths under which nothing lies any more; what cannot be looked at counts as there."""
        return await run_sync(lambda: [path for path in paths if _is_missing(path)], abandon_on_cancel=True)

    async def facts(self, path: Path) -> ImageFacts:
        """
        Check an existing file as a download is checked.

        Raises:
            NotFoundError: there is no such file.
            NotAnImageError: it is no complete picture.
            StorageError: it cannot be read.
        """
        _, facts = await run_sync(_read_picture, path, abandon_on_cancel=True)
        return facts

    async def read(self, path: Path) -> tuple[bytes, ImageFacts]:
        """
        Read an existing file, checked as a download is checked.

        Raises:
            NotFoundError: there is no such file.
            NotAnImageError: it is no complete picture.
            StorageError: it cannot be read.
        """
        return await run_sync(_read_picture, path, abandon_on_cancel=True)

    async def write_sidecar(self, image: Path, facts: Mapping[str, object], *, order_id: str = "sidecar") -> None:
        """
        Write the facts of an image beside it, as `name.json`; one that exists is left as it is.

        What a killed process leaves of it is swept with the parts of `order_id`.

        Raises:
            FolderNotAllowedError: the image lies outside the allowed folders.
            StorageError: the disk refuses.
        """
        folder = await run_sync(self._folders.confine, image.parent)
        with reporting("write the sidecar of", image):
            write = partial(sidecar.write, folder / image.name, facts, self._disk, order_id=order_id)
            await try_while_busy(write, self._clock)

    async def sweep(self, folder: Path, *, order_id: str, keep_owner: str | None) -> int:
        """
        Remove the temporary files of an order that other owners left, and count them.

        Raises:
            StorageError: the folder cannot be read.
        """
        return await run_sync(partial(parts.sweep_order, folder, order_id=order_id, keep_owner=keep_owner))

    async def sweep_older(self, folder: Path, *, older_than: float) -> int:
        """
        Remove every temporary file last written before `older_than` (seconds since 1970), and count them.

        Raises:
            StorageError: the folder cannot be read.
        """
        return await run_sync(partial(parts.sweep_older, folder, older_than=older_than))

    async def copy(self, source: Path, folder: Path, filename: str | None) -> tuple[Path, ImageFacts]:
        """
        Put a verified copy of an image into a folder, under `filename` or its own name, with a counter if taken.

        A copy that is already there under one of these names is given instead of a second one.

        Raises:
            RequestRefusedError: `filename` is not legal, or the folder is not allowed.
            NotFoundError: the source is gone.
            NotAnImageError: the source is no complete picture.
            StorageError: the disk refuses.
        """
        stem = names.check_filename(filename) or source.stem
        folder = await run_sync(self._folders.confine, folder)
        data, facts = await run_sync(_read_picture, source)
        found = await run_sync(_find_place, folder, stem, facts)
        if found.holds_it:
            return found.path, facts
        async with self.draft(folder, order_id="copy", index=0, owner=secrets.token_hex(4)) as draft:
            await draft.write(data)
            await draft.verify()
            while not found.holds_it and not await draft.publish(found.path):
                found = await run_sync(_find_place, folder, stem, facts)
        return found.path, facts

    async def readable(self, path: str) -> Path:
        """
        Find a picture that a caller names by its path: relative to the default folder, or absolute.

        Raises:
            FolderNotAllowedError: it lies outside the allowed folders, whether it exists or not.
            NotFoundError: there is no such file.
            RequestRefusedError: it is no picture, or its path is none on this system.
        """
        return await run_sync(self._find_readable, path, abandon_on_cancel=True)

    async def preview(self, path: Path, *, max_side: int = 1024, max_bytes: int = 500_000) -> Preview:
        """
        Draw a small picture of a file: longest side in pixels, size in bytes.

        Raises:
            NotFoundError: there is no such file.
            RequestRefusedError: it is no complete picture, or has too many pixels to be drawn safely.
            StorageError: it cannot be read.
        """
        draw = partial(_draw, path, max_side=max_side, max_bytes=max_bytes)
        return await run_sync(draw, abandon_on_cancel=True, limiter=self._drawing)

    def _find_ready_folder(self, output_dir: str | None) -> Path:
        return self._folders.prepare(self._folders.find(output_dir), self._disk)

    def _find_readable(self, text: str) -> Path:
        path = self._folders.find(text)
        with reporting("read", path):
            if not path.is_file():
                raise NotFoundError(f"There is no file {path}.", "Give the path of a saved picture.")
            with path.open("rb") as file:
                head = file.read(12)
        if not looks_like_picture(head):
            raise RequestRefusedError(
                f"{path} is no PNG, JPEG or WebP picture.", "Give the path of a saved picture.", code="NotAnImage"
            )
        return path


class _Place(NamedTuple):
    path: Path
    holds_it: bool


def _find_place(folder: Path, stem: str, facts: ImageFacts) -> _Place:
    """Find the first name that holds this very picture already, or is free."""
    for path in list_names(folder, stem, facts.extension):
        if _matches(path, facts.sha256):
            return _Place(path, holds_it=True)
        if not is_taken(path):
            return _Place(path, holds_it=False)
    raise AssertionError("names never run out")


def _matches(path: Path, sha256: str) -> bool:
    with reporting("read", path):
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest() == sha256


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _read_picture(path: Path) -> tuple[bytes, ImageFacts]:
    data = read_whole(path, most_bytes=_MOST_BYTES_READ)
    return data, inspect(data)


def _draw(path: Path, *, max_side: int, max_bytes: int) -> Preview:
    data = read_whole(path, most_bytes=_MOST_BYTES_READ)
    return draw_preview(data, str(path), max_side=max_side, max_bytes=max_bytes)
