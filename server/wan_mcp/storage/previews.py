"""Small pictures of large ones, for a model or a page to look at; and the folder in which the smallest are kept."""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from wan_mcp.storage.directory import Directory, open_directory
from wan_mcp.storage.disk import PRIVATE, write_all
from wan_mcp.storage.image_check import inspect_image
from wan_mcp.storage.image_format import MOST_PIXELS, leave_out_texts
from wan_mcp.storage.pixels import put_on_white, simplify
from wan_mcp_tools.domain.errors import ErrorCode, NotAnImageError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview

if TYPE_CHECKING:
    from PIL.Image import Image

_QUALITIES = (88, 78, 66, 52, 38)
_SMALLEST_SIDE = 16

_MIME_TYPE = "image/jpeg"
_PRIVATE_FOLDER = 0o700
_MOST_CACHED_BYTES = 128 * 1024 * 1024
"""Some 5000 thumbnails."""
_CLEAN_UP_EVERY = 256
"""Thumbnails kept between two looks at the size of the folder."""


def draw_preview(data: bytes, name: str, *, max_side: int, max_bytes: int) -> Preview:
    """
    Decode an image and draw it small, as a JPEG: sides in pixels; transparent parts become white.

    Raises:
        RequestRefusedError: `name` is no complete image, has too many pixels, or cannot be made so small.
    """
    _check_size(data, name)
    image = _decode(data, name, max_side)
    for encoded in _encode_ever_smaller(image):
        if len(encoded) <= max_bytes:
            return Preview(encoded, _MIME_TYPE)
    raise RequestRefusedError(f"No preview of {name} fits into {max_bytes} bytes.", "Open the file itself.")


class ThumbnailCache:
    """
    Keeps what was drawn of a file until the file changes, and altogether at most `most_bytes`.

    It is a folder of JPEG files, each of which may be deleted at any time. A thumbnail that cannot be kept is drawn
    again the next time.
    """

    def __init__(self, folder: Path, *, most_bytes: int = _MOST_CACHED_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._kept = 0

    async def fetch(self, version: str, side: int, draw: Callable[[], Awaitable[Preview]]) -> Preview:
        """Give the thumbnail of a file, whose version the storage gave, at one size; it is drawn if need be."""
        name = f"{sha256(os.fsencode(f'{version} {side}')).hexdigest()[:40]}.jpg"
        kept = await run_sync(self._read, name, abandon_on_cancel=True)
        if kept is not None:
            return Preview(kept, _MIME_TYPE)
        drawn = await draw()
        if drawn.mime_type == _MIME_TYPE:
            await run_sync(self._keep, name, drawn.data)
        return drawn

    def _read(self, name: str) -> bytes | None:
        try:
            with self._open() as directory, os.fdopen(directory.open(name), "rb") as file:
                return file.read()
        except OSError:
            return None

    def _keep(self, name: str, data: bytes) -> None:
        try:
            with self._open(create_mode=_PRIVATE_FOLDER) as directory:
                if self._kept % _CLEAN_UP_EVERY == 0:
                    self._clean_up(directory)
                _replace(directory, name, data)
        except OSError as problem:
            logging.getLogger(__name__).debug("A thumbnail is not kept: %s", problem)
        self._kept += 1

    def _open(self, create_mode: int | None = None) -> Directory:
        # The state folder is the operator's choice and may be a link; the folder in it is ours.
        parent = Path(os.path.realpath(self._folder.parent))
        return open_directory(parent / self._folder.name, create_mode=create_mode)

    def _clean_up(self, directory: Directory) -> None:
        """Remove the oldest thumbnails until three quarters of the room are left in use."""
        found = [(status.st_mtime_ns, status.st_size, name) for name, status in _list_files(directory)]
        total = sum(size for _, size, _ in found)
        if total <= self._most_bytes:
            return
        for _, size, name in sorted(found):
            with suppress(OSError):
                directory.remove(name)
            total -= size
            if total <= self._most_bytes * 3 // 4:
                return


def _replace(directory: Directory, name: str, data: bytes) -> None:
    temp = f"{name}.{secrets.token_hex(4)}.part"
    try:
        descriptor = directory.create(temp, PRIVATE)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        directory.replace(temp, name)
    finally:
        with suppress(OSError):
            directory.remove(temp)


def _check_size(data: bytes, name: str) -> None:
    try:
        facts = inspect_image(data)
    except NotAnImageError as problem:
        raise _refuse(name, problem.message) from problem
    if facts.width * facts.height > MOST_PIXELS:
        raise _refuse(name, f"It has {facts.width} x {facts.height} pixels, too many to be drawn safely.")


def _decode(data: bytes, name: str, max_side: int) -> "Image":
    import PIL.Image  # noqa: PLC0415 - costs start-up time that only a preview should pay

    try:
        with PIL.Image.open(BytesIO(leave_out_texts(data)), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _refuse(name, f"It has {image.width} x {image.height} pixels, too many to be drawn safely.")
            # A JPEG can be decoded at a fraction of its size.
            image.draft(None, (max_side * 2, max_side * 2))
            return _flatten(image, max_side)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as problem:
        raise _refuse(name, "It cannot be decoded.") from problem


def _flatten(image: "Image", max_side: int) -> "Image":
    """Shrink to `max_side`, turn as the camera was held, and leave three plain channels."""
    import PIL.Image  # noqa: PLC0415 - as above
    import PIL.ImageOps  # noqa: PLC0415 - as above

    small = simplify(image)
    small.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = PIL.ImageOps.exif_transpose(small)
    return put_on_white(small)[0] if small.mode == "RGBA" else small.convert("RGB")


def _encode_ever_smaller(image: "Image") -> Iterator[bytes]:
    """Encode at falling quality, then at falling size, down to a few pixels."""
    while True:
        for quality in _QUALITIES:
            buffer = BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            yield buffer.getvalue()
        if max(image.size) <= _SMALLEST_SIDE:
            return
        image.thumbnail((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))


def _refuse(name: str, reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"There is no preview of {name}. {reason}",
        "Only complete PNG, JPEG and WebP pictures are shown.",
        code=ErrorCode.NOT_AN_IMAGE,
    )


def _list_files(directory: Directory) -> list[tuple[str, os.stat_result]]:
    files = list[tuple[str, os.stat_result]]()
    for name in directory.names():
        # Another process may be clearing the same folder.
        with suppress(OSError):
            files.append((name, directory.status(name)))
    return files
