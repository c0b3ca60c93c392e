"""
The image host: a look-alike of the object store that holds the results for a day.

Sources: https://www.alibabacloud.com/help/en/oss/developer-reference/add-signatures-to-urls and
https://help.aliyun.com/en/oss/how-to-obtain-oss-resources-by-segmenting-http-range-requests
"""

import hashlib
import hmac
import logging
import re
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping
from email.utils import formatdate
from enum import StrEnum
from urllib.parse import quote
from xml.sax.saxutils import escape

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from wan_mcp.clock import Clock, utc
from wan_mcp.sandbox.stores import SandboxStore
from wan_mcp.sandbox.tasks import TaskRecord, TaskState, state_of

KEY_ID = "LTAISandbox0000000000000"
"""The id of the key that signs the links and the permits."""
# Guards nothing: the pictures are painted from what the caller sent. It only makes an altered link show.
_SECRET = b"sandbox"
_IMAGE_NAME = re.compile(r"/([0-9a-f-]{36})-(\d{1,2})\.png$")
_RANGE = re.compile(r"bytes=(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))(?:,.*)?")
_log = logging.getLogger(__name__)

Painter = Callable[[TaskRecord, int], bytes]
"""Paints the image of a task with an index from 1, as PNG. It may take long: it is called in a thread."""


class LinkState(StrEnum):
    """What the object store makes of a link."""

    GOOD = "good"
    UNSIGNED = "unsigned"
    EXPIRED = "expired"
    ALTERED = "altered"


class UnsatisfiableRangeError(ValueError):
    """Raised when a Range header asks for nothing that the object has."""


class ImageHost:
    """
    Answers for images. Nothing is stored: a picture is painted when it is asked for.

    `keys_seen` counts requests that brought an Authorization header, which an image host must never see.
    """

    def __init__(self, store: SandboxStore, clock: Clock, paint: Painter) -> None:
        self._store = store
        self._clock = clock
        self._paint = paint
        self.keys_seen = 0

    async def get_image(self, request: Request) -> Response:
        """Give an image, or a part of it, to whoever has a good link."""
        response = await self._answer(request)
        response.headers["x-oss-request-id"] = uuid.uuid4().hex[:24].upper()
        if "authorization" in request.headers:
            self.keys_seen += 1
            response.headers["x-sandbox-warning"] = "an Authorization header reached the image host"
            _log.warning("A request to the image host carried an Authorization header.")
        return response

    async def _answer(self, request: Request) -> Response:
        path, now = request.url.path, self._clock.now()
        link = check_link(request.method, path, request.query_params, now)
        if link is not LinkState.GOOD:
            return _refuse(request, link, now)
        match = _IMAGE_NAME.search(path)
        record = await self._store.find(match[1]) if match else None
        index = int(match[2]) if match else 0
        # The path is covered by the signature, so it is one that was given out.
        if record is None or state_of(record, now) is not TaskState.SUCCEEDED or index not in record.image_indexes:
            fields = {"Key": path.lstrip("/")}
            return xml_error(request, 404, "NoSuchKey", "The specified key does not exist.", fields)
        image = await anyio.to_thread.run_sync(self._paint, record, index)
        return _answer_with(request, image, record.ended)


def signed_url(base: str, record: TaskRecord, index: int, life: float) -> str:
    """
    Give the whole address of a task's image, good until `life` seconds after the task's end.

    The task id and the index can be read from the last part of its path.
    """
    mark = hashlib.sha256(record.task_id.encode()).hexdigest()
    day = utc(record.ended).strftime("%Y%m%d")
    path = f"/results/{mark[:2]}/{mark[2:4]}/{day}/{mark[4:12]}/{record.task_id}-{index}.png"
    expires = str(int(record.ended + life))
    signature = quote(_sign("GET", path, expires), safe="")
    return f"{base}{path}?Expires={expires}&OSSAccessKeyId={KEY_ID}&Signature={signature}"


def check_link(method: str, path: str, parameters: Mapping[str, str], now: float) -> LinkState:
    """Check a request against the link it uses."""
    expires, signature = parameters.get("Expires", ""), parameters.get("Signature", "")
    if not (expires.isascii() and expires.isdigit() and signature and parameters.get("OSSAccessKeyId")):
        return LinkState.UNSIGNED
    if len(expires) < len("9999999999") + 1 and now > int(expires):
        return LinkState.EXPIRED
    if parameters["OSSAccessKeyId"] != KEY_ID:
        return LinkState.ALTERED
    good = hmac.compare_digest(_sign(method, path, expires).encode(), signature.encode())
    return LinkState.GOOD if good else LinkState.ALTERED


def read_range(header: str | None, size: int, *, standard: bool) -> slice | None:
    """
    Find the bytes that a Range header asks for; of several ranges the first, and None for the whole object.

    A range outside the object makes the store give the whole of it. The `standard` behaviour cuts the end off
    instead, and refuses a range that starts behind the end.

    Raises:
        UnsatisfiableRangeError: in the standard behaviour, nothing of the object lies in the range.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, tail = match.groups()
    if tail is not None:
        start, stop = size - int(tail), size
    else:
        start, stop = int(first), int(last) + 1 if last else size
    if start >= stop and last:
        return None
    if 0 <= start < stop <= size:
        return slice(start, stop)
    if not standard:
        return None
    start, stop = max(start, 0), min(stop, size)
    if start >= stop:
        raise UnsatisfiableRangeError
    return slice(start, stop)


def _sign(method: str, path: str, expires: str) -> str:
    """Give the signature of a request: base64 of HMAC-SHA1 over the method, the end of life and the path."""
    text = f"{method}\n\n\n{expires}\n{path}"
    return b64encode(hmac.digest(_SECRET, text.encode(), "sha1")).decode()


def paint_image(record: TaskRecord, index: int) -> bytes:
    """Paint what the task's prompt and seed give."""
    # Pillow is loaded only when there is something to paint.
    from wan_mcp.sandbox.pictures import Picture, paint  # noqa: PLC0415

    return paint(
        Picture(
            prompt=record.prompt,
            width=record.width,
            height=record.height,
            # As documented for several images: seed, seed + 1, and so on.
            seed=record.seed + index - 1,
            watermark=record.watermark,
            inputs=record.inputs,
            transparent=record.transparent,
        )
    )


def _answer_with(request: Request, image: bytes, modified: float) -> Response:
    """Give an image that is there, by the conditions and the range of the request."""
    etag = f'"{hashlib.md5(image, usedforsecurity=False).hexdigest().upper()}"'
    headers = {
        "ETag": etag,
        "Last-Modified": formatdate(modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": "Normal",
    }
    if _names(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if not _names(request.headers.get("if-match", etag), etag):
        return xml_error(request, 412, "PreconditionFailed", "At least one of the pre-conditions failed.")
    header = request.headers.get("range") if _names(request.headers.get("if-range", etag), etag) else None
    standard = request.headers.get("x-oss-range-behavior") == "standard"
    try:
        part = read_range(header, len(image), standard=standard)
    except UnsatisfiableRangeError:
        return xml_error(request, 416, "InvalidRange", "The requested range cannot be satisfied.")
    if part is None:
        return Response(image, 200, headers, "image/png")
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(image)}"
    return Response(image[part], 206, headers, "image/png")


def _names(header: str | None, etag: str) -> bool:
    """Say whether a header of a condition names an entity tag."""
    return header is not None and (header == "*" or etag in [item.strip() for item in header.split(",")])


def _refuse(request: Request, link: LinkState, now: float) -> Response:
    if link is LinkState.EXPIRED:
        times = {"Expires": _xml_time(float(request.query_params["Expires"])), "ServerTime": _xml_time(now)}
        return xml_error(request, 403, "AccessDenied", "Request has expired.", times)
    if link is LinkState.UNSIGNED:
        reason = "You have no right to access this object because of bucket acl."
        return xml_error(request, 403, "AccessDenied", reason)
    reason = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method."
    )
    return xml_error(request, 403, "SignatureDoesNotMatch", reason)


def _xml_time(moment: float) -> str:
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def xml_error(
    request: Request, status: int, code: str, message: str, fields: dict[str, str] | None = None
) -> Response:
    """Give an error as the object store words it."""
    rows = {
        "Code": code,
        "Message": message,
        "RequestId": uuid.uuid4().hex[:24].upper(),
        "HostId": request.url.hostname or "",
        **(fields or {}),
    }
    lines = "".join(f"  <{name}>{escape(value)}</{name}>\n" for name, value in rows.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n{lines}</Error>\n'
    return Response(body, status, media_type="application/xml")
