"""Tiny pictures that were drawn once and are kept: a folder of JPEG files that may be deleted at any time."""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from anyio.to_thread import run_sync

from wan_mcp.storage.faults import reporting
from wan_mcp_tools.domain.service import Preview

_MIME_TYPE = "image/jpeg"
_MOST_BYTES = 128 * 1024 * 1024
"""Some 5000 tiny pictures."""
_ROUND = 256
"""Pictures put away between two looks at the size of the folder."""


class Shelf:
    """
    Keeps what was drawn of a file until the file changes, and altogether at most `most_bytes`.

    A picture that cannot be kept is drawn again the next time.
    """

    def __init__(self, folder: Path, *, most_bytes: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._put = 0

    async def fetch(self, source: Path, side: int, draw: Callable[[], Awaitable[Preview]]) -> Preview:
        """
        Give the picture of a file at one size, drawn if it is not here.

        Raises:
            StorageError: the file cannot be looked at.
        """
        place = await run_sync(self._find_place, source, side, abandon_on_cancel=True)
        kept = await run_sync(_read, place, abandon_on_cancel=True)
        if kept is not None:
            return Preview(kept, _MIME_TYPE)
        drawn = await draw()
        if drawn.mime_type == _MIME_TYPE:
            await run_sync(self._keep, place, drawn.data)
        return drawn

    def _find_place(self, source: Path, side: int) -> Path:
        with reporting("look at", source):
            status = source.stat()
        facts = f"{source}\0{status.st_mtime_ns}\0{status.st_size}\0{side}"
        return self._folder / f"{sha256(os.fsencode(facts)).hexdigest()[:40]}.jpg"

    def _keep(self, place: Path, data: bytes) -> None:
        part = place.with_suffix(f".{secrets.token_hex(4)}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._put % _ROUND == 0:
                self._clear()
            part.write_bytes(data)
            part.replace(place)
        except OSError as problem:
            logging.getLogger(__name__).debug("A tiny picture is not kept: %s", problem)
            with suppress(OSError):
                part.unlink(missing_ok=True)
        self._put += 1

    def _clear(self) -> None:
        """Remove the oldest pictures until three quarters of the room are left in use."""
        found = [(status.st_mtime_ns, status.st_size, path) for path, status in _list_files(self._folder)]
        total = sum(size for _, size, _ in found)
        if total <= self._most_bytes:
            return
        for _, size, path in sorted(found):
            with suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size
            if total <= self._most_bytes * 3 // 4:
                return


def _read(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except OSError:
        return None


def _list_files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    files = list[tuple[Path, os.stat_result]]()
    for path in folder.iterdir():
        # Another process may be clearing the same folder.
        with suppress(OSError):
            files.append((path, path.stat()))
    return files
