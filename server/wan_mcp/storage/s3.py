"""
Storage in an object store, of which any number of servers use one.

An object's key is made of what it is: `ORDER-INDEX-DIGEST.png`, in the folder of the principal whose order it is. So
a second write is the same object, and nothing that exists is ever replaced by anything else. A copy that a caller has
named is `DIGEST/NAME.png` there. Bytes are checked in a temporary file of this machine while they arrive, as they are
in a folder, and put when they are whole.

What lies in the folders of this machine can be read as well: pictures that a person gives as input, and those that
were saved before there was an object store.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256 as make_sha256
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.images.check import inspect_image
from wan_mcp.images.format import ImageFacts, looks_like_image
from wan_mcp.images.inputs import MOST_INPUT_BYTES, PreparedInput, prepare_image
from wan_mcp.images.previews import draw_preview
from wan_mcp.settings import StorageAccess
from wan_mcp.storage import drafts, names
from wan_mcp.storage.base import Draft, ImageCopy, Storage
from wan_mcp.storage.disk import PRIVATE, Disk, translate_errors
from wan_mcp.storage.drafts import LocalDraft, make_order_token, make_temp_name, open_draft
from wan_mcp.storage.local import DRAWN_AT_ONCE, MOST_BYTES_READ, encode_facts, make_no_image_error
from wan_mcp.storage.names import is_object, make_place, read_address, show_path
from wan_mcp.storage.objects import ObjectStore
from wan_mcp.storage.open_folder import open_folder
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import FolderNotAllowedError, NotFoundError, RequestRefusedError, StorageError
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.service import Conversion, Preview

if TYPE_CHECKING:
    from wan_mcp.images.copies import ConvertedImage

_PROBE = ".wan-mcp-probe"
"""An object that is written to see whether that can be done. It stays: only uploads need the right to delete."""
_DIGITS = 32
"""Of the digest, in a key."""
_LOOK_SECONDS = 5.0
"""For a look whether objects are there, which the answer to a call waits for."""
_SPOOL_MODE = 0o700

Put = Callable[[Path, bytes, str, str], Awaitable[None]]
"""Puts bytes at a place, with their MIME type and the name that a browser saves them under."""


class S3Storage(Storage):
    """
    Keeps images as objects under the prefix of the settings, and nowhere else.

    `files` is what is read of the folders of this machine, `spool` a folder of ours for bytes that still arrive.
    """

    def __init__(self, access: StorageAccess, files: Storage, *, spool: Path, clock: Clock | None = None) -> None:
        self._root = make_place(access.bucket, *access.prefix.split("/"))
        self._bucket = make_place(access.bucket)
        self._objects = ObjectStore(access)
        self._files = files
        self._spool = spool
        # What is in it is worth nothing after a power cut.
        self._disk = Disk(sync=lambda _: None)
        self._clock = clock or SystemClock()
        self._is_writable = False
        self._drawing = anyio.CapacityLimiter(DRAWN_AT_ONCE)
        self._preparing = anyio.CapacityLimiter(DRAWN_AT_ONCE)
        self._reading = anyio.CapacityLimiter(DRAWN_AT_ONCE)

    async def hold(self) -> None:
        """Hold to where the folders lead that are read."""
        await self._files.hold()

    async def find_folder(self, output_dir: str | None, *, owner: str = LOCAL_ID) -> Path:
        """
        Give the folder of the owner; make sure that objects can be written, until that was so once.

        A store that fails later holds up no order: the image waits until it is back.
        """
        if (output_dir or "").strip():
            raise RequestRefusedError(
                "Pictures are kept in an object store here, and no folder of it can be chosen.",
                "Order without output_dir; the answer says where the picture is.",
            )
        if not self._is_writable:
            key = self._find_key(self._root / _PROBE)
            await self._objects.put(key, b"wan-mcp\n", mime_type="text/plain", filename=_PROBE)
            self._is_writable = True
        own = names.make_owner_folder(owner)
        return self._root if own is None else self._root / own

    async def find_known_folder(self, folder: Path) -> Path:
        """Confine the folder; there is nothing to make ready."""
        if not is_object(folder):
            raise FolderNotAllowedError(
                f"{folder} is a folder, and pictures are kept in an object store here.", "Leave the folder out."
            )
        self._find_key(folder)
        return folder

    @asynccontextmanager
    async def open_draft(self, folder: Path, *, order_id: str, index: int, owner: str) -> AsyncGenerator["S3Draft"]:
        """Open a temporary file in the spool."""
        await self.find_known_folder(folder)
        temp = make_temp_name(order_id=order_id, index=index, owner=owner)
        async with open_draft(self._open_spool, temp, mode=PRIVATE, disk=self._disk, clock=self._clock) as draft:
            yield S3Draft(draft, self._put, folder=folder, start=f"{make_order_token(order_id)}-{index}")

    async def matches(self, path: Path, sha256: str) -> bool:
        """Read the object and compare its digest."""
        if not is_object(path):
            return await self._files.matches(path, sha256)
        try:
            data = await self._read_object(path)
        except NotFoundError:
            return False
        return await run_sync(_has_digest, data, sha256)

    async def find_missing(self, paths: Sequence[Path]) -> list[Path]:
        """Look for each object, all at once, and for a few seconds: what is not found out by then counts as there."""
        gone = set(await self._files.find_missing([path for path in paths if not is_object(path)]))

        async def look(path: Path) -> None:
            try:
                if not await self._objects.has(self._find_key(path)):
                    gone.add(path)
            except (FolderNotAllowedError, StorageError):
                return

        with anyio.move_on_after(_LOOK_SECONDS):
            async with anyio.create_task_group() as group:
                for path in filter(is_object, paths):
                    group.start_soon(look, path)
        return [path for path in paths if path in gone]

    async def find_moved(self, path: Path, *, sha256: str, size: int | None) -> Path | None:
        """Look for a file of this machine; nobody moves an object."""
        return None if is_object(path) else await self._files.find_moved(path, sha256=sha256, size=size)

    async def locate(self, path: Path) -> Path:
        """Confine the place, and look at the object's first bytes."""
        if not is_object(path):
            return await self._files.locate(path)
        if not looks_like_image(await self._objects.read_start(self._find_key(path))):
            raise make_no_image_error(show_path(path))
        return path

    async def read_facts(self, path: Path) -> ImageFacts:
        """Read the whole object and inspect it."""
        return (await self.read(path))[1]

    async def read(self, path: Path) -> tuple[bytes, ImageFacts]:
        """Read the whole object and inspect it."""
        if not is_object(path):
            return await self._files.read(path)
        data = await self._read_object(path)
        return data, await run_sync(inspect_image, data, abandon_on_cancel=True)

    async def find_readable(self, path: str) -> Path:
        """Find an object by its address, or a file by its path."""
        address = read_address(path.strip())
        return await self._files.find_readable(path) if address is None else await self.locate(address)

    async def find_input(self, path: str) -> Path:
        """Find an object by its address, or a file by its path."""
        address = read_address(path.strip())
        if address is None:
            return await self._files.find_input(path)
        self._find_key(address)
        return address

    async def prepare_input(
        self, path: Path, limits: InputLimits, *, sha256: str | None = None, name: str | None = None
    ) -> PreparedInput:
        """Read the whole object and prepare it, two at a time."""
        if not is_object(path):
            return await self._files.prepare_input(path, limits, sha256=sha256, name=name)
        data = await self._objects.read(self._find_key(path), most_bytes=MOST_INPUT_BYTES)
        prepare = partial(prepare_image, data, name or show_path(path), limits, expected=sha256)
        return await run_sync(prepare, abandon_on_cancel=True, limiter=self._preparing)

    async def copy(
        self, source: Path, folder: Path, filename: str | None, conversion: Conversion | None = None
    ) -> ImageCopy:
        """Put the bytes of the source, or what they are converted to, under a key of the digest and the name."""
        wanted = names.check_filename(filename)
        folder = await self.find_known_folder(folder)
        data, facts = await self.read(source)
        if conversion is None:
            path = await self._put_copy(data, facts, folder, wanted or source.stem)
            return ImageCopy(path, facts)
        convert = partial(_convert, data, facts, show_path(source), conversion)
        converted, after = await run_sync(convert, abandon_on_cancel=True, limiter=self._drawing)
        if after == facts and wanted is None and folder == source.parent:
            return ImageCopy(source, facts)
        stem = wanted or f"{source.stem}-{after.width}x{after.height}"
        path = await self._put_copy(converted.data, after, folder, stem)
        return ImageCopy(path, after, converted.remarks)

    async def draw_preview(self, path: Path, *, max_side: int = 1024, max_bytes: int = 500_000) -> Preview:
        """Draw a JPEG, two at a time."""
        if not is_object(path):
            return await self._files.draw_preview(path, max_side=max_side, max_bytes=max_bytes)
        data = await self._read_object(path)
        draw = partial(draw_preview, data, show_path(path), max_side=max_side, max_bytes=max_bytes)
        return await run_sync(draw, abandon_on_cancel=True, limiter=self._drawing)

    async def read_version(self, path: Path) -> str:
        """Give the place: what has this key has always the same bytes."""
        if not is_object(path):
            return await self._files.read_version(path)
        self._find_key(path)
        return show_path(path)

    @asynccontextmanager
    async def open_file(self, path: Path) -> AsyncGenerator[Path]:
        """Write the object to a file of this machine; only a few at a time are held in memory."""
        if not is_object(path):
            async with self._files.open_file(path) as file:
                yield file
            return
        async with self._reading:
            data = await self._read_object(path)
            file = await run_sync(self._write_copy, data)
            del data
        try:
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(partial(file.unlink, missing_ok=True))

    async def make_link(self, path: Path, *, seconds: float, filename: str, mime_type: str) -> str | None:
        """
        Have a link signed. Name and type in it are those that the object was put with.

        The library signs no further parameters, so that `filename` and `mime_type` cannot change them.
        """
        if not is_object(path):
            return await self._files.make_link(path, seconds=seconds, filename=filename, mime_type=mime_type)
        return await self._objects.sign(self._find_key(path), seconds=seconds)

    async def find_upload_place(self, name: str, *, owner: str) -> Path:
        """Give a key in the folder for uploads that lies in the owner's."""
        return (await self.find_folder(None, owner=owner)) / names.UPLOAD_FOLDER / name

    async def keep_upload(self, place: Path, data: bytes, mime_type: str) -> None:
        """Put the object: the store has all of it, or nothing."""
        await self._put(place, data, mime_type, place.name)

    async def remove_upload(self, place: Path, *, older_than: float) -> None:
        """Delete the object. Nothing else is ever left of it."""
        if not is_object(place):
            await self._files.remove_upload(place, older_than=older_than)
            return
        if not names.is_upload(place):
            raise ValueError(f"{place} is no upload")
        await self._objects.delete(self._find_key(place))

    async def write_sidecar(self, image: Path, facts: Mapping[str, object], *, order_id: str = "sidecar") -> None:
        """Put an object beside the image, unless there is one."""
        if not is_object(image):
            await self._files.write_sidecar(image, facts, order_id=order_id)
            return
        place = image.with_suffix(".json")
        key = self._find_key(place)
        if not await self._objects.has(key):
            data = encode_facts(facts)
            await self._objects.put(key, data, mime_type="application/json", filename=place.name)

    async def remove_temp_files(self, folder: Path, *, order_id: str, keep_owner: str | None) -> int:
        """Remove those of the order that other processes of this machine left in the spool."""
        await self.find_known_folder(folder)
        return await run_sync(
            lambda: drafts.remove_temp_files(_resolve(self._spool), order_id=order_id, keep_owner=keep_owner)
        )

    async def remove_old_temp_files(self, folder: Path, *, older_than: float) -> int:
        """Remove those of any order from the spool, and from the folder if it is one of this machine."""
        removed = await run_sync(lambda: drafts.remove_old_temp_files(_resolve(self._spool), older_than=older_than))
        if is_object(folder):
            self._find_key(folder)
            return removed
        return removed + await self._files.remove_old_temp_files(folder, older_than=older_than)

    def _find_key(self, path: Path) -> str:
        """
        Give the key of a place.

        Raises:
            FolderNotAllowedError: it lies in another bucket, or not under the prefix.
        """
        if ".." in path.parts or not path.is_relative_to(self._root):
            raise FolderNotAllowedError(
                f"{show_path(path)} lies outside the object store of this server.",
                f"Everything is kept below {show_path(self._root)}.",
            )
        return path.relative_to(self._bucket).as_posix()

    def _open_spool(self) -> Path:
        spool = _resolve(self._spool)
        with translate_errors("create the folder", spool), open_folder(spool, create_mode=_SPOOL_MODE):
            return spool

    def _write_copy(self, data: bytes) -> Path:
        """Write a temporary file; what a killed process leaves of it goes as every other one of these does."""
        name = make_temp_name(order_id="copy", index=1, owner="link")
        with translate_errors("be written to", self._spool):
            file = self._open_spool() / name
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as copy:
                copy.write(data)
        return file

    async def _read_object(self, path: Path) -> bytes:
        return await self._objects.read(self._find_key(path), most_bytes=MOST_BYTES_READ)

    async def _put_copy(self, data: bytes, facts: ImageFacts, folder: Path, stem: str) -> Path:
        path = folder / facts.sha256[:_DIGITS] / f"{stem}{facts.extension}"
        await self._put(path, data, facts.mime_type, path.name)
        return path

    async def _put(self, path: Path, data: bytes, mime_type: str, filename: str) -> None:
        await self._objects.put(self._find_key(path), data, mime_type=mime_type, filename=filename)


class S3Draft(Draft):
    """A temporary file of this machine, and the key that it gets: `start` is the first part of its name."""

    def __init__(self, draft: LocalDraft, put: Put, *, folder: Path, start: str) -> None:
        self._draft = draft
        self._put = put
        self._folder = folder
        self._start = start
        self._facts: ImageFacts | None = None
        self._filename: str | None = None

    @property
    def size(self) -> int:
        """How many bytes have been written."""
        return self._draft.size

    async def write(self, chunk: bytes) -> None:
        """Add bytes to the temporary file."""
        self._facts = None
        await self._draft.write(chunk)

    async def restart(self) -> None:
        """Empty the temporary file."""
        self._facts = None
        await self._draft.restart()

    async def verify(self) -> ImageFacts:
        """Finish the check that the bytes went through on their way."""
        self._facts = await self._draft.verify()
        return self._facts

    async def find_target(self, stem: str, extension: str) -> Path:
        """Give the name that order, index and digest make; `stem` is what a browser saves the picture as."""
        self._filename = f"{stem}{extension}"
        return self._folder / f"{self._start}-{self._verified().sha256[:_DIGITS]}{extension}"

    async def publish(self, target: Path) -> bool:
        """Put the object and have its size confirmed; False if the name is that of other bytes."""
        facts = self._verified()
        if target.parent != self._folder or target.suffix != facts.extension:
            raise ValueError(f"{target} is no name for this picture")
        if not target.stem.endswith(f"-{facts.sha256[:_DIGITS]}"):
            return False
        await self._put(target, await self._draft.content(), facts.mime_type, self._filename or target.name)
        return True

    def _verified(self) -> ImageFacts:
        if self._facts is None:
            raise RuntimeError("verify() comes before target() and publish()")
        return self._facts


def _resolve(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _has_digest(data: bytes, sha256: str) -> bool:
    return make_sha256(data).hexdigest() == sha256


def _convert(
    data: bytes, facts: ImageFacts, name: str, conversion: Conversion
) -> tuple["ConvertedImage", ImageFacts]:
    """Give what an image is converted to, and the facts of that."""
    from wan_mcp.images.copies import convert_image  # noqa: PLC0415 - a start of the server converts nothing

    converted = convert_image(data, facts, name, conversion)
    return converted, inspect_image(converted.data)
