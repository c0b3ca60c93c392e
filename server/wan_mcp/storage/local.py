"""Storage in folders of this machine. Every touch of the disk is in a thread."""

import json
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.images.check import inspect_image
from wan_mcp.images.format import ImageFacts, looks_like_image
from wan_mcp.images.inputs import MOST_INPUT_BYTES, PreparedInput, prepare_image
from wan_mcp.images.pixels import return_free_memory
from wan_mcp.images.previews import draw_preview
from wan_mcp.storage import drafts, names
from wan_mcp.storage.base import ImageCopy, Storage
from wan_mcp.storage.disk import (
    PRIVATE,
    Disk,
    open_file,
    read_whole,
    shorten,
    translate_errors,
    try_while_busy,
)
from wan_mcp.storage.drafts import LocalDraft, is_taken, list_names, make_temp_name, open_draft, write_file
from wan_mcp.storage.folders import Folders
from wan_mcp.storage.open_folder import LinkFoundError, NotAFileError, open_folder
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import (
    AppError,
    ErrorCode,
    FolderNotAllowedError,
    RequestRefusedError,
    StorageError,
)
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.service import Conversion, Preview

if TYPE_CHECKING:
    from wan_mcp.images.copies import ConvertedImage

MOST_BYTES_READ = 512 * 1024 * 1024
DRAWN_AT_ONCE = 2
"""Previews and conversions, and inputs: each may hold a few hundred megabytes of pixels for a moment."""


class LocalStorage(Storage):
    """
    Writes images into the default folder or a further allowed one, and nowhere else; never over another file.

    Paths that it gives are absolute, with links resolved. Every path that it is given is confined to these folders
    before it is touched, and reached without following a link that has come since. `file_mode` is what images and
    the files beside them may be used for, and by whom. `input_files` are absolute paths, links resolved, of further
    files that may be read as input, wherever they lie.
    """

    def __init__(
        self,
        output_dir: Path,
        allowed_dirs: Sequence[Path] = (),
        *,
        input_files: Collection[Path] = (),
        file_mode: int = PRIVATE,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._folders = Folders(output_dir, tuple(allowed_dirs))
        self._input_files = frozenset(input_files)
        self._file_mode = file_mode
        # Whoever may not write to the files may not replace them either.
        self._folder_mode = 0o755 | file_mode & 0o022
        self._disk = disk or Disk()
        self._clock = clock or SystemClock()
        self._drawing = anyio.CapacityLimiter(DRAWN_AT_ONCE)
        self._preparing = anyio.CapacityLimiter(DRAWN_AT_ONCE)

    async def hold(self) -> None:
        """Resolve the links in the paths of the default folder and of the further ones."""
        await run_sync(self._folders.hold, abandon_on_cancel=True)

    async def find_folder(self, output_dir: str | None, *, owner: str = LOCAL_ID) -> Path:
        """Make the folder if it is missing, write an empty file in it, and count the room."""
        return await run_sync(self._find_ready_folder, output_dir, owner, abandon_on_cancel=True)

    async def find_known_folder(self, folder: Path) -> Path:
        """Confine the folder, and make it ready as `folder` does."""
        return await run_sync(self._make_known_folder_ready, folder, abandon_on_cancel=True)

    @asynccontextmanager
    async def open_draft(self, folder: Path, *, order_id: str, index: int, owner: str) -> AsyncGenerator[LocalDraft]:
        """Open a temporary file in the folder, so that its name can be given by a link."""
        find = partial(self._folders.confine, folder)
        temp = make_temp_name(order_id=order_id, index=index, owner=owner)
        async with open_draft(find, temp, mode=self._file_mode, disk=self._disk, clock=self._clock) as draft:
            yield draft

    async def matches(self, path: Path, sha256: str) -> bool:
        """Read the file through and compare its digest."""
        return await run_sync(self._matches, path, sha256, abandon_on_cancel=True)

    async def find_missing(self, paths: Sequence[Path]) -> list[Path]:
        """Look for each file where its links lead; outside the allowed folders, only for its name."""
        return await run_sync(lambda: [path for path in paths if self._is_missing(path)], abandon_on_cancel=True)

    async def find_moved(self, path: Path, *, sha256: str, size: int | None) -> Path | None:
        """Look for the name in the allowed folders and in some hundred below them; compare size and digest."""
        return await run_sync(self._find_moved, path, sha256, size, abandon_on_cancel=True)

    async def locate(self, path: Path) -> Path:
        """Confine the path, and look at the file's first bytes."""
        return await run_sync(self._locate, path, abandon_on_cancel=True)

    async def read_facts(self, path: Path) -> ImageFacts:
        """Read the whole file and inspect it."""
        _, facts = await run_sync(self._read_image, path, abandon_on_cancel=True)
        return facts

    async def read(self, path: Path) -> tuple[bytes, ImageFacts]:
        """Read the whole file and inspect it."""
        return await run_sync(self._read_image, path, abandon_on_cancel=True)

    async def find_readable(self, path: str) -> Path:
        """Confine the path, and look at the file's first bytes."""
        return await run_sync(lambda: self._locate(self._folders.find(path)), abandon_on_cancel=True)

    async def find_input(self, path: str) -> Path:
        """Confine the path, unless it is one of the files that were named beforehand."""
        return await run_sync(self._find_input, path, abandon_on_cancel=True)

    async def prepare_input(
        self, path: Path, limits: InputLimits, *, sha256: str | None = None, name: str | None = None
    ) -> PreparedInput:
        """Read the whole file and prepare it, two at a time."""
        prepare = partial(self._prepare_input, path, limits, sha256, name)
        return await run_sync(prepare, abandon_on_cancel=True, limiter=self._preparing)

    async def copy(
        self, source: Path, folder: Path, filename: str | None, conversion: Conversion | None = None
    ) -> ImageCopy:
        """Write a draft with the bytes of the source, or what they are converted to, and publish it."""
        wanted = names.check_filename(filename)
        folder = await run_sync(self._folders.confine, folder)
        if conversion is None:
            data, facts = await run_sync(self._read_image, source)
            return ImageCopy(await self._publish_copy(data, facts, folder, wanted or source.stem), facts)
        convert = partial(self._convert, source, conversion)
        before, converted, facts = await run_sync(convert, abandon_on_cancel=True, limiter=self._drawing)
        home = await run_sync(self._folders.confine, source)
        if facts == before and wanted is None and folder == home.parent:
            return ImageCopy(home, facts)
        stem = wanted or f"{source.stem}-{facts.width}x{facts.height}"
        return ImageCopy(await self._publish_copy(converted.data, facts, folder, stem), facts, converted.remarks)

    async def _publish_copy(self, data: bytes, facts: ImageFacts, folder: Path, stem: str) -> Path:
        found = await run_sync(_find_copy, folder, stem, facts)
        if found.exists:
            return found.path
        async with self.open_draft(folder, order_id="copy", index=0, owner=secrets.token_hex(4)) as draft:
            await draft.write(data)
            await draft.verify()
            while not found.exists and not await draft.publish(found.path):
                found = await run_sync(_find_copy, folder, stem, facts)
        return found.path

    async def draw_preview(self, path: Path, *, max_side: int = 1024, max_bytes: int = 500_000) -> Preview:
        """Draw a JPEG, two at a time."""
        draw = partial(self._draw, path, max_side=max_side, max_bytes=max_bytes)
        return await run_sync(draw, abandon_on_cancel=True, limiter=self._drawing)

    async def read_version(self, path: Path) -> str:
        """Give the path with the time of the last change and the size."""
        return await run_sync(lambda: _read_version(self._folders.confine(path)), abandon_on_cancel=True)

    @asynccontextmanager
    async def open_file(self, path: Path) -> AsyncGenerator[Path]:
        """Give the file itself."""
        yield await self.locate(path)

    async def make_link(self, path: Path, *, seconds: float, filename: str, mime_type: str) -> str | None:  # noqa: ARG002
        """Make none: nobody fetches a file from a folder."""
        return None

    async def find_upload_place(self, name: str, *, owner: str) -> Path:
        """Give a path in the folder for uploads that lies in the owner's."""
        return (await self.find_folder(None, owner=owner)) / names.UPLOAD_FOLDER / name

    async def keep_upload(self, place: Path, data: bytes, mime_type: str) -> None:  # noqa: ARG002 - a name tells it
        """Write a draft and publish it."""
        folder = await self.find_known_folder(place.parent)
        async with self.open_draft(folder, order_id="upload", index=0, owner=secrets.token_hex(4)) as draft:
            await draft.write(data)
            await draft.verify()
            if not await draft.publish(folder / place.name):
                raise StorageError(f"Could not write {shorten(place)}: something is there.", "Upload it again.")

    async def remove_upload(self, place: Path, *, older_than: float) -> None:
        """Remove the file, and old temporary files from its folder."""
        await run_sync(self._remove_upload, place, older_than)

    async def write_sidecar(self, image: Path, facts: Mapping[str, object], *, order_id: str = "sidecar") -> None:
        """Write a temporary file, sync it, and give it the name, as an image gets its own."""
        folder = await run_sync(self._folders.confine, image.parent)
        write = partial(
            write_file,
            folder,
            f"{image.stem}.json",
            encode_facts(facts),
            temp=make_temp_name(order_id=order_id, index=0, owner="sidecar"),
            mode=self._file_mode,
            disk=self._disk,
        )
        with translate_errors("write the sidecar of", image):
            await try_while_busy(write, self._clock)

    async def remove_temp_files(self, folder: Path, *, order_id: str, keep_owner: str | None) -> int:
        """Remove those whose names tell the order and another owner, and the probes of anybody."""

        def remove() -> int:
            confined = self._folders.confine(folder)
            return drafts.remove_temp_files(confined, order_id=order_id, keep_owner=keep_owner)

        return await run_sync(remove)

    async def remove_old_temp_files(self, folder: Path, *, older_than: float) -> int:
        """Remove those of any order by their age."""
        return await run_sync(
            lambda: drafts.remove_old_temp_files(self._folders.confine(folder), older_than=older_than)
        )

    def _find_ready_folder(self, output_dir: str | None, owner: str) -> Path:
        folder, own = self._folders.find(output_dir), names.make_owner_folder(owner)
        if own is not None and not (output_dir or "").strip():
            folder = self._folders.confine(folder / own)
        return self._folders.prepare(folder, self._disk, mode=self._folder_mode)

    def _make_known_folder_ready(self, folder: Path) -> Path:
        return self._folders.prepare(self._folders.confine(folder), self._disk, mode=self._folder_mode)

    def _locate(self, path: Path) -> Path:
        path = self._folders.confine(path)
        with open_file(path) as descriptor:
            head = os.read(descriptor, 12)
        if not looks_like_image(head):
            raise make_no_image_error(shorten(path))
        return path

    def _matches(self, path: Path, sha256: str) -> bool:
        return _has_digest(self._folders.confine(path), sha256)

    def _is_missing(self, path: Path) -> bool:
        try:
            found = self._folders.confine(path)
        except FolderNotAllowedError:
            if self._folders.is_foreign(path):
                return False
            # A link in the place of a file is not that file. What lies in a folder that is allowed no more is not
            # read, but it is there if a file has its name.
            return self._folders.is_inside_by_name(path) or _find_size(path) is None
        except RequestRefusedError:
            return True
        except StorageError:
            return False
        return _find_size(found) is None

    def _find_moved(self, path: Path, sha256: str, size: int | None) -> Path | None:
        for candidate in self._folders.list_candidates(path):
            with suppress(AppError):
                found = self._folders.confine(candidate)
                found_size = _find_size(found)
                if found_size is not None and size in (None, found_size) and _has_digest(found, sha256):
                    return found
        return None

    def _read_image(self, path: Path) -> tuple[bytes, ImageFacts]:
        data = read_whole(self._folders.confine(path), most_bytes=MOST_BYTES_READ)
        return data, inspect_image(data)

    def _convert(self, path: Path, conversion: Conversion) -> tuple[ImageFacts, "ConvertedImage", ImageFacts]:
        """Give the facts of a file, what it is converted to, and the facts of that."""
        from wan_mcp.images.copies import convert_image  # noqa: PLC0415 - a start of the server converts nothing

        data, facts = self._read_image(path)
        converted = convert_image(data, facts, shorten(path), conversion)
        return facts, converted, inspect_image(converted.data)

    def _find_input(self, text: str) -> Path:
        named = Path(text)
        return named if named in self._input_files else self._folders.find(text)

    def _prepare_input(self, path: Path, limits: InputLimits, digest: str | None, name: str | None) -> PreparedInput:
        if path not in self._input_files:
            path = self._folders.confine(path)
        shown = name or shorten(path)
        try:
            # Held by nobody but the callee, which lets go of it as soon as it can.
            return prepare_image(read_whole(path, most_bytes=MOST_INPUT_BYTES), shown, limits, expected=digest)
        finally:
            return_free_memory()

    def _remove_upload(self, place: Path, older_than: float) -> None:
        place = self._folders.confine(place)
        if not names.is_upload(place):
            raise ValueError(f"{place} is no upload")
        missing = suppress(FileNotFoundError, NotADirectoryError)
        with translate_errors("remove", place), missing, open_folder(place.parent) as opened:
            opened.remove(place.name)
        drafts.remove_old_temp_files(place.parent, older_than=older_than)

    def _draw(self, path: Path, *, max_side: int, max_bytes: int) -> Preview:
        data = read_whole(self._folders.confine(path), most_bytes=MOST_BYTES_READ)
        return draw_preview(data, shorten(path), max_side=max_side, max_bytes=max_bytes)


def make_no_image_error(name: str) -> RequestRefusedError:
    """Give the error for a file whose first bytes are those of no image."""
    return RequestRefusedError(
        f"{name} is no PNG, JPEG or WebP picture.", "Give the path of a saved picture.", code=ErrorCode.NOT_AN_IMAGE
    )


def _read_version(path: Path) -> str:
    with translate_errors("look at", path), open_folder(path.parent) as opened:
        status = opened.status(path.name)
    return f"{path}\0{status.st_mtime_ns}\0{status.st_size}"


class _FoundName(NamedTuple):
    path: Path
    exists: bool


def _find_copy(folder: Path, stem: str, facts: ImageFacts) -> _FoundName:
    """Find the first name that holds this very image already, or is free."""
    with translate_errors("look at", folder), open_folder(folder) as opened:
        for name in list_names(folder, stem, facts.extension):
            if _has_digest(folder / name, facts.sha256):
                return _FoundName(folder / name, exists=True)
            if not is_taken(opened, name):
                return _FoundName(folder / name, exists=False)
    raise AssertionError("names never run out")


def _has_digest(path: Path, sha256: str) -> bool:
    """Say whether a path, its links resolved, is a file with this content; a link or a pipe is none."""
    with translate_errors("read", path):
        try:
            with open_folder(path.parent) as opened:
                descriptor = opened.open(path.name)
        except (FileNotFoundError, NotADirectoryError, NotAFileError, LinkFoundError):
            return False
        with os.fdopen(descriptor, "rb") as file:
            return file_digest(file, "sha256").hexdigest() == sha256


def _find_size(path: Path) -> int | None:
    """Give the size of a file; None for nothing, a link or anything else, -1 where it cannot be looked at."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def encode_facts(facts: Mapping[str, object]) -> bytes:
    """Write the facts of an image as readable JSON."""
    text = json.dumps(dict(facts), ensure_ascii=False, indent=2, default=_to_json)
    # Half a surrogate pair has no UTF-8; its escape is the JSON for it.
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    return str(value)
