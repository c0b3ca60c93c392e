"""
A bucket of an object store that speaks S3: objects are put, read, measured and linked to.

This is the one place that knows the library, and where its errors become ours. Its messages hold the store's answers,
with parts of what was signed, so that of them only the status and the store's own code are told.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import obstore
from anyio.to_thread import run_sync
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from wan_mcp.settings import StorageAccess
from wan_mcp.storage.names import make_place, show_path
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError, StorageError

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential

LONGEST_LINK = 7 * 24 * 3600.0
"""Seconds. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html"""

_RETRIES, _RETRY_SECONDS = 3, 8
_CONNECT_SECONDS, _REQUEST_SECONDS = 5, 60
_STATUS = re.compile(r"status code: (?P<status>[0-9]{3})")
_CODE = re.compile(r"<Code>(?P<code>[A-Za-z0-9.]{1,60})</Code>")
_LOOK = "Check AWS_ENDPOINT_URL, and that the object store runs."
_KEYS = (
    "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and that the key may put, get and list in the "
    "bucket."
)


class ObjectStore:
    """The objects of one bucket. Nothing is connected before the first call."""

    def __init__(self, access: StorageAccess) -> None:
        self._access = access
        self._opened: S3Store | None = None

    async def put(self, key: str, data: bytes, *, mime_type: str, filename: str) -> None:
        """
        Put an object, and make sure that the store has all of it; `filename` is what a browser calls it.

        Raises:
            StorageError: the store refuses, cannot be reached, or kept something else.
        """
        store = await self._open()
        attributes = {"Content-Type": mime_type, "Content-Disposition": _make_disposition(filename)}
        with self._translate_errors("write", key, is_reading=False):
            # In one piece: a small request with a length and one signature, which every store takes.
            await obstore.put_async(store, key, data, attributes=attributes, use_multipart=False)
            kept = (await obstore.head_async(store, key))["size"]
        if kept != len(data):
            raise StorageError(
                f"The object store kept {kept} of the {len(data)} bytes of {self._show(key)}.",
                "Check the object store, then ask again.",
            )

    async def has(self, key: str) -> bool:
        """
        Whether there is such an object.

        Raises:
            StorageError: the store does not tell.
        """
        store = await self._open()
        try:
            with self._translate_errors("look at", key):
                await obstore.head_async(store, key)
        except NotFoundError:
            return False
        return True

    async def read(self, key: str, *, most_bytes: int) -> bytes:
        """
        Read an object.

        Raises:
            NotFoundError: there is none.
            RequestRefusedError: it has more than `most_bytes`.
            StorageError: it cannot be read.
        """
        store = await self._open()
        with self._translate_errors("read", key):
            found = await obstore.get_async(store, key)
            if found.meta["size"] <= most_bytes:
                return bytes(await found.bytes_async())
        raise RequestRefusedError(
            f"{self._show(key)} has more than {most_bytes} bytes, and no more are read.", "Name a smaller picture."
        )

    async def read_start(self, key: str) -> bytes:
        """
        Read the first bytes of an object: those of the first piece that arrives.

        Raises:
            NotFoundError: there is none.
            StorageError: it cannot be read.
        """
        store = await self._open()
        with self._translate_errors("read", key):
            # A part of an object cannot be asked for everywhere.
            async for piece in (await obstore.get_async(store, key)).stream(min_chunk_size=1):
                return bytes(piece)
        return b""

    async def delete(self, key: str) -> None:
        """
        Delete an object; one that is not there is no error.

        Raises:
            StorageError: the store refuses.
        """
        store = await self._open()
        with suppress(NotFoundError), self._translate_errors("delete", key):
            await obstore.delete_async(store, key)

    async def sign(self, key: str, *, seconds: float) -> str:
        """
        Make a link to an object, there or not, that holds for so many seconds.

        Raises:
            StorageError: there is no key to sign with.
        """
        store = await self._open()
        with self._translate_errors("make a link to", key):
            return await obstore.sign_async(store, "GET", key, timedelta(seconds=min(seconds, LONGEST_LINK)))

    async def _open(self) -> S3Store:
        if self._opened is None:
            self._opened = await run_sync(self._make_store)
        return self._opened

    def _make_store(self) -> S3Store:
        access = self._access
        config: S3Config = {
            "region": access.region,
            "endpoint": access.endpoint,
            # Or what the environment has under this name would win.
            "aws_endpoint_url_s3": access.endpoint,
            "virtual_hosted_style_request": access.is_virtual_hosted,
        }
        with self._translate_errors("open", ""):
            return S3Store(
                access.bucket,
                config=config,
                client_options={
                    "allow_http": access.allow_http,
                    "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                    "timeout": timedelta(seconds=_REQUEST_SECONDS),
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
                credential_provider=None if access.secret_access_key is None else self._give_credential,
            )

    def _give_credential(self) -> "S3Credential":
        """Give the key of the settings; so given, the library adds nothing that it finds in the environment."""
        key = self._access.secret_access_key
        return {
            "access_key_id": self._access.access_key_id or "",
            "secret_access_key": key.get_secret_value() if key else "",
            "token": None,
            "expires_at": None,
        }

    def _show(self, key: str) -> str:
        return show_path(make_place(self._access.bucket, *key.split("/")))

    @contextmanager
    def _translate_errors(self, doing: str, key: str, *, is_reading: bool = True) -> Generator[None]:
        """
        Turn the library's errors into ours; nothing else does.

        Raises:
            NotFoundError: where it is read, there is no such object.
            StorageError: with the place, the reason and the advice.
        """
        try:
            yield
        except (BaseError, OSError, ValueError) as problem:
            # Without the cause: a traceback would tell what was signed.
            raise self._make_error(problem, doing, self._show(key), is_reading=is_reading) from None

    def _make_error(
        self, problem: Exception, doing: str, shown: str, *, is_reading: bool
    ) -> NotFoundError | StorageError:
        text = str(problem)
        code = match["code"] if (match := _CODE.search(text)) else ""
        status = match["status"] if (match := _STATUS.search(text)) else ""
        answer = f"it answers {' '.join(part for part in (status, code) if part)}" if status else ""
        if isinstance(problem, FileNotFoundError):
            if is_reading and code != "NoSuchBucket":
                return NotFoundError(
                    f"There is no {shown}.", "It may have been moved or deleted; give the path of a saved picture."
                )
            bucket = self._access.bucket
            return StorageError(
                f"Could not {doing} {shown}: the object store has no bucket {bucket}.",
                "Make the bucket, or name another one in WAN_MCP_STORAGE_URL.",
            )
        if isinstance(problem, PermissionDeniedError | UnauthenticatedError):
            return StorageError(f"Could not {doing} {shown}: {answer or 'the object store refuses the key'}.", _KEYS)
        reason = answer or "the object store gives no answer"
        return StorageError(f"Could not {doing} {shown}: {reason}.", _LOOK)


def _make_disposition(filename: str) -> str:
    """
    Say what a browser shall call an object that it saves.

    Source: https://www.rfc-editor.org/rfc/rfc6266#section-4.3
    """
    return f"inline; filename*=UTF-8''{quote(filename, safe='')}"
