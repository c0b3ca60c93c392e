"""
Pictures that people upload to order with, because they share no disk with the server.

Each is kept once, for a day, in the folder of its principal, and without what a camera has told of it. Its row is
written before its bytes and removed after them, so that nothing that was stored is ever forgotten, whenever a process
is killed.
"""

import logging
import secrets
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from wan_mcp.clock import Clock
from wan_mcp.images.format import MIME_TYPES
from wan_mcp.images.inputs import looks_like_input, prepare_upload
from wan_mcp.ledger import DAY, Ledger, Upload
from wan_mcp.storage import Storage
from wan_mcp_tools.domain.errors import (
    AppError,
    ErrorCode,
    FolderNotAllowedError,
    LedgerError,
    NotFoundError,
    RequestRefusedError,
)

MOST_UPLOAD_BYTES = 20_000_000
MOST_UPLOADS, MOST_UPLOADED_BYTES = 200, 1_000_000_000
"""Of each principal in 24 hours."""
_PREPARED_AT_ONCE = 2
"""Each may hold a few hundred megabytes of pixels for a moment."""
_GRACE = 3600.0
"""Seconds after its end for which an upload is kept still: an order with it may be about to be written down."""
_TIDY_SECONDS = 3600.0
_REMOVED_AT_ONCE = 1000
_EXTENSIONS = {mime_type: extension for extension, mime_type in MIME_TYPES.items()}

_log = logging.getLogger(__name__)


class NotAPictureError(RequestRefusedError):
    """Raised when what was uploaded is nothing that begins as a picture does."""

    default_code = ErrorCode.NOT_AN_IMAGE


class UploadStore:
    """
    Takes uploads, finds them for their principals, and removes those that are over.

    Of these `at_once` are read together.
    """

    def __init__(self, ledger: Ledger, storage: Storage, clock: Clock, *, at_once: int = _REMOVED_AT_ONCE) -> None:
        self._ledger = ledger
        self._storage = storage
        self._clock = clock
        self._at_once = at_once
        self._preparing = anyio.CapacityLimiter(_PREPARED_AT_ONCE)

    async def keep(self, data: bytes, *, principal: str) -> Upload:
        """
        Check a picture as one is checked before it is sent, and keep it for a day.

        Raises:
            NotAPictureError: it is none.
            RequestRefusedError: it is a damaged one, or claims too many pixels.
            CallLimitError: the principal has uploaded too much today.
            StorageError: it cannot be stored now.
            LedgerError: it cannot be written down now.
        """
        if not looks_like_input(data):
            # The check says what it is.
            try:
                prepare_upload(data)
            except RequestRefusedError as error:
                raise NotAPictureError(error.message, error.advice) from error
        prepared = await run_sync(prepare_upload, data, abandon_on_cancel=True, limiter=self._preparing)
        upload_id = f"upload-{secrets.token_hex(16)}"
        place = await self._storage.find_upload_place(
            f"{upload_id}{_EXTENSIONS[prepared.mime_type]}", owner=principal
        )
        upload = await self._ledger.uploads.reserve(
            Upload(
                upload_id,
                principal,
                str(place),
                width=prepared.width,
                height=prepared.height,
                bytes=len(prepared.data),
            ),
            lifetime=DAY,
            most=MOST_UPLOADS,
            most_bytes=MOST_UPLOADED_BYTES,
        )
        # What goes wrong from here on leaves a row that nobody is told of, and that is removed when it is over.
        await self._storage.keep_upload(place, prepared.data, prepared.mime_type)
        await self._ledger.uploads.confirm(upload_id)
        return upload

    async def find(self, upload_id: str, *, principal: str) -> Path:
        """
        Give where an upload of a principal lies.

        Raises:
            NotFoundError: there is none, it is another's, or it is over.
        """
        # A ledger that is not there is not made for a look into it.
        upload = None
        if await self._ledger.exists():
            upload = await self._ledger.uploads.find(upload_id, principal=principal)
        if upload is None:
            raise NotFoundError(
                f"There is no upload {upload_id}, or its 24 hours are over.", "Upload the picture again."
            )
        return Path(upload.path)

    async def run(self) -> None:
        """Remove every hour what is over."""
        while True:
            try:
                await self.remove_over()
            except LedgerError as error:
                _log.warning("uploads that are over could not be removed: %s", error)
            await self._clock.sleep(_TIDY_SECONDS)

    async def remove_over(self) -> int:
        """
        Remove uploads that are over, also what was never stored as a whole, and count them.

        One that an order has still to be sent with is kept, however long that order waits.
        What cannot be removed now holds up nothing else, and is tried again by the next call.

        Raises:
            LedgerError: the ledger refuses.
        """
        removed = 0
        if not await self._ledger.exists():
            return removed
        kept = 0
        awaited = await self._ledger.uploads.find_awaited()
        while True:
            page = await self._ledger.uploads.list_over(since=_GRACE, limit=self._at_once, skipped=kept)
            for upload in page:
                if upload.id not in awaited and await self._remove(upload):
                    await self._ledger.uploads.remove(upload.id)
                    removed += 1
                else:
                    kept += 1
            if len(page) < self._at_once:
                return removed

    async def _remove(self, upload: Upload) -> bool:
        """Remove what is stored of an upload; say whether nothing of it is ours any more."""
        try:
            await self._storage.remove_upload(Path(upload.path), older_than=self._clock.now() - DAY)
        except FolderNotAllowedError as error:
            # The storage is another one since, and what lies in the old one is the operator's.
            _log.warning("the upload %s is left where it is: %s", upload.id, error)
        except (AppError, ValueError) as error:
            _log.warning("the upload %s could not be removed: %s", upload.id, error)
            return False
        return True
