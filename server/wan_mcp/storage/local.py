"""Storage in folders of this machine. Every touch of the disk is in a thread."""

import json
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple, cast

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.storage import drafts, names
from wan_mcp.storage.base import ImageFacts, Storage
from wan_mcp.storage.disk import Disk, read_whole, translate_errors, try_while_busy, write_all
from wan_mcp.storage.drafts import LocalDraft, is_taken, list_names, make_temp_path, open_draft
from wan_mcp.storage.folders import Folders
from wan_mcp.storage.image_format import inspect_image, looks_like_image
from wan_mcp.storage.previews import draw_preview
from wan_mcp_tools.domain.errors import ErrorCode, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview

_MOST_BYTES_READ = 512 * 1024 * 1024
_PREVIEWS_AT_ONCE = 2
"""Each may hold a few hundred megabytes of pixels for a moment."""


class LocalStorage(Storage):
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

    def with_folder(self, folder: Path) -> "LocalStorage":
        """Let relative paths start in another folder, which takes the place of the default one among the allowed."""
        return LocalStorage(folder, self._folders.further, disk=self._disk, clock=self._clock)

    async def folder(self, output_dir: str | None) -> Path:
        """Make the folder if it is missing, write an empty file in it, and count the room."""
        return await run_sync(self._find_ready_folder, output_dir, abandon_on_cancel=True)

    def check_filename(self, filename: str | None) -> str | None:
        """Take the image extension off a name that all three systems accept."""
        return names.check_filename(filename)

    def stem(
        self, *, prompt: str, created_at: datetime, order_id: str, index: int, count: int, filename: str | None
    ) -> str:
        """Make a name by the rules of `names.make_stem`."""
        return names.make_stem(
            prompt=prompt, created_at=created_at, order_id=order_id, index=index, count=count, filename=filename
        )

    @asynccontextmanager
    async def draft(self, folder: Path, *, order_id: str, index: int, owner: str) -> AsyncGenerator[LocalDraft]:
        """Open a temporary file in the folder, so that its name can be given by a link."""
        confined = await run_sync(self._folders.confine, folder)
        temp = make_temp_path(confined, order_id=order_id, index=index, owner=owner)
        async with open_draft(temp, disk=self._disk, clock=self._clock) as draft:
            yield draft

    async def matches(self, path: Path, sha256: str) -> bool:
        """Read the file through and compare its digest."""
        return await run_sync(_matches, path, sha256, abandon_on_cancel=True)

    async def missing(self, paths: Sequence[Path]) -> list[Path]:
        """Look for each name; links are not followed."""
        return await run_sync(lambda: [path for path in paths if _is_missing(path)], abandon_on_cancel=True)

    async def facts(self, path: Path) -> ImageFacts:
        """Read the whole file and inspect it."""
        _, facts = await run_sync(_read_image, path, abandon_on_cancel=True)
        return facts

    async def read(self, path: Path) -> tuple[bytes, ImageFacts]:
        """Read the whole file and inspect it."""
        return await run_sync(_read_image, path, abandon_on_cancel=True)

    async def readable(self, path: str) -> Path:
        """Confine the path, and look at the file's first bytes."""
        return await run_sync(self._find_readable, path, abandon_on_cancel=True)

    async def copy(self, source: Path, folder: Path, filename: str | None) -> tuple[Path, ImageFacts]:
        """Write a draft with the bytes of the source, and publish it."""
        stem = names.check_filename(filename) or source.stem
        folder = await run_sync(self._folders.confine, folder)
        data, facts = await run_sync(_read_image, source)
        found = await run_sync(_find_copy, folder, stem, facts)
        if found.exists:
            return found.path, facts
        async with self.draft(folder, order_id="copy", index=0, owner=secrets.token_hex(4)) as draft:
            await draft.write(data)
            await draft.verify()
            while not found.exists and not await draft.publish(found.path):
                found = await run_sync(_find_copy, folder, stem, facts)
        return found.path, facts

    async def preview(self, path: Path, *, max_side: int = 1024, max_bytes: int = 500_000) -> Preview:
        """Draw a JPEG, two at a time."""
        draw = partial(_draw, path, max_side=max_side, max_bytes=max_bytes)
        return await run_sync(draw, abandon_on_cancel=True, limiter=self._drawing)

    async def write_sidecar(self, image: Path, facts: Mapping[str, object], *, order_id: str = "sidecar") -> None:
        """Write a temporary file, sync it, and give it the name, as an image gets its own."""
        folder = await run_sync(self._folders.confine, image.parent)
        with translate_errors("write the sidecar of", image):
            write = partial(_write_sidecar, folder / image.name, facts, self._disk, order_id=order_id)
            await try_while_busy(write, self._clock)

    async def remove_temp_files(self, folder: Path, *, order_id: str, keep_owner: str | None) -> int:
        """Remove those whose names tell the order and another owner, and the probes of anybody."""
        remove = partial(drafts.remove_temp_files, folder, order_id=order_id, keep_owner=keep_owner)
        return await run_sync(remove)

    async def remove_old_temp_files(self, folder: Path, *, older_than: float) -> int:
        """Remove those of any order by their age."""
        return await run_sync(partial(drafts.remove_old_temp_files, folder, older_than=older_than))

    def _find_ready_folder(self, output_dir: str | None) -> Path:
        return self._folders.prepare(self._folders.find(output_dir), self._disk)

    def _find_readable(self, text: str) -> Path:
        path = self._folders.find(text)
        with translate_errors("read", path):
            if not path.is_file():
                raise NotFoundError(f"There is no file {path}.", "Give the path of a saved picture.")
            with path.open("rb") as file:
                head = file.read(12)
        if not looks_like_image(head):
            raise RequestRefusedError(
                f"{path} is no PNG, JPEG or WebP picture.",
                "Give the path of a saved picture.",
                code=ErrorCode.NOT_AN_IMAGE,
            )
        return path


class _FoundName(NamedTuple):
    path: Path
    exists: bool


def _find_copy(folder: Path, stem: str, facts: ImageFacts) -> _FoundName:
    """Find the first name that holds this very image already, or is free."""
    for path in list_names(folder, stem, facts.extension):
        if _matches(path, facts.sha256):
            return _FoundName(path, exists=True)
        if not is_taken(path):
            return _FoundName(path, exists=False)
    raise AssertionError("names never run out")


def _matches(path: Path, sha256: str) -> bool:
    with translate_errors("read", path):
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


def _read_image(path: Path) -> tuple[bytes, ImageFacts]:
    data = read_whole(path, most_bytes=_MOST_BYTES_READ)
    return data, inspect_image(data)


def _draw(path: Path, *, max_side: int, max_bytes: int) -> Preview:
    data = read_whole(path, most_bytes=_MOST_BYTES_READ)
    return draw_preview(data, str(path), max_side=max_side, max_bytes=max_bytes)


def _write_sidecar(image: Path, facts: Mapping[str, object], disk: Disk, *, order_id: str) -> None:
    """
    Write `name.json` beside `name.png`, whole or not at all; leave one that exists as it is.

    It is for people: the ledger is the truth.

    Raises:
        OSError: the disk refuses.
    """
    target = image.with_suffix(".json")
    if os.path.lexists(target):
        return
    temp = make_temp_path(image.parent, order_id=order_id, index=0, owner="sidecar")
    try:
        descriptor = disk.create_new(temp)
        try:
            write_all(descriptor, _encode(facts))
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        if disk.publish(temp, target):
            disk.sync_folder(target.parent)
    finally:
        with suppress(OSError):
            # What cannot be removed now is removed later by its name and age.
            temp.unlink(missing_ok=True)


def _encode(facts: Mapping[str, object]) -> bytes:
    text = json.dumps(dict(facts), ensure_ascii=False, indent=2, default=_to_json)
    # Half a surrogate pair has no UTF-8; its escape is the JSON for it.
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    return str(value)
