"""The folder in which small pictures of large ones are kept, so that they are drawn once."""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from anyio.to_thread import run_sync

from wan_mcp.images.previews import PREVIEW_MIME_TYPE
from wan_mcp.storage.disk import PRIVATE, write_all
from wan_mcp.storage.open_folder import OpenFolder, open_folder
from wan_mcp_tools.domain.service import Preview

_PRIVATE_FOLDER = 0o700
_MOST_BYTES = 128 * 1024 * 1024
"""Some 5000 thumbnails."""
_CLEAN_UP_EVERY = 256
"""Thumbnails kept between two looks at the size of the folder."""


class ThumbnailCache:
    """
    Keeps what was drawn of a file until the file changes, and altogether at most `most_bytes`.

    It is a folder of JPEG files, each of which may be deleted at any time. A thumbnail that cannot be kept is drawn
    again the next time.
    """

    def __init__(self, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._kept = 0

    async def fetch(self, version: str, side: int, draw: Callable[[], Awaitable[Preview]]) -> Preview:
        """Give the thumbnail of a file, whose version the storage gave, at one size; it is drawn if need be."""
        name = f"{sha256(os.fsencode(f'{version} {side}')).hexdigest()[:40]}.jpg"
        kept = await run_sync(self._read, name, abandon_on_cancel=True)
        if kept is not None:
            return Preview(kept, PREVIEW_MIME_TYPE)
        drawn = await draw()
        if drawn.mime_type == PREVIEW_MIME_TYPE:
            await run_sync(self._keep, name, drawn.data)
        return drawn

    def _read(self, name: str) -> bytes | None:
        try:
            with self._open() as opened, os.fdopen(opened.open(name), "rb") as file:
                return file.read()
        except OSError:
            return None

    def _keep(self, name: str, data: bytes) -> None:
        try:
            with self._open(create_mode=_PRIVATE_FOLDER) as opened:
                if self._kept % _CLEAN_UP_EVERY == 0:
                    self._clean_up(opened)
                _replace(opened, name, data)
        except OSError as problem:
            logging.getLogger(__name__).debug("A thumbnail is not kept: %s", problem)
        self._kept += 1

    def _open(self, create_mode: int | None = None) -> OpenFolder:
        # The state folder is the operator's choice and may be a link; the folder in it is ours.
        parent = Path(os.path.realpath(self._folder.parent))
        return open_folder(parent / self._folder.name, create_mode=create_mode)

    def _clean_up(self, opened: OpenFolder) -> None:
        """Remove the oldest thumbnails until three quarters of the room are left in use."""
        found = [(status.st_mtime_ns, status.st_size, name) for name, status in _list_files(opened)]
        total = sum(size for _, size, _ in found)
        if total <= self._most_bytes:
            return
        for _, size, name in sorted(found):
            with suppress(OSError):
                opened.remove(name)
            total -= size
            if total <= self._most_bytes * 3 // 4:
                return


def _replace(opened: OpenFolder, name: str, data: bytes) -> None:
    temp = f"{name}.{secrets.token_hex(4)}.part"
    try:
        descriptor = opened.create(temp, PRIVATE)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        opened.replace(temp, name)
    finally:
        with suppress(OSError):
            opened.remove(temp)


def _list_files(opened: OpenFolder) -> list[tuple[str, os.stat_result]]:
    files = list[tuple[str, os.stat_result]]()
    for name in opened.names():
        # Another process may be clearing the same folder.
        with suppress(OSError):
            files.append((name, opened.status(name)))
    return files
