"""The image host: a look-alike of the object store that holds the results for a day."""

import hashlib
import logging
import re
import uuid
from email.utils import formatdate
from xml.sax.saxutils import escape

import anyio
from starlette.requests import Request
from starlette.responses import Response

from wan_mcp.clock import Clock, utc
from wan_mcp.sandbox.links import Verdict, judge
from wan_mcp.sandbox.painter import Picture, paint
from wan_mcp.sandbox.ranges import Extent, read_range
from wan_mcp.sandbox.records import State, TaskRecord, state_of
from wan_mcp.sandbox.store import Store

_NAME = re.compile(r"/([0-9a-f-]{36})-(\d{1,2})\.png$")
_log = logging.getLogger(__name__)


class Bucket:
    """
    Answers for images. Nothing is stored: a picture is painted when it is asked for.

    `keys_seen` counts requests that brought an Authorization header, which an image host must never see.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.keys_seen = 0

    async def give(self, request: Request) -> Response:
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
        verdict = judge(request.method, path, request.query_params, now)
        if verdict is not Verdict.GOOD:
            return _refuse(request, verdict, now)
        match = _NAME.search(path)
        record = (await self._store.read()).get(match[1]) if match else None
        place = int(match[2]) if match else 0
        # The path is covered by the signature, so it is one that was given out.
        if record is None or state_of(record, now) is not State.SUCCEEDED or place not in record.made:
            fields = {"Key": path.lstrip("/")}
            return _xml(request, 404, "NoSuchKey", "The specified key does not exist.", fields)
        image = await anyio.to_thread.run_sync(paint, _picture(record, place))
        return _deliver(request, image, record.ended)


def _picture(record: TaskRecord, place: int) -> Picture:
    return Picture(
        prompt=record.prompt,
        width=record.width,
        height=record.height,
        # As documented for several images: seed, seed + 1, and so on.
        seed=record.seed + place - 1,
        watermark=record.watermark,
    )


def _deliver(request: Request, image: bytes, modified: float) -> Response:
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
        return _xml(request, 412, "PreconditionFailed", "At least one of the pre-conditions failed.")
    standard = request.headers.get("x-oss-range-behavior") == "standard"
    part = read_range(request.headers.get("range"), len(image), standard=standard)
    if not _names(request.headers.get("if-range", etag), etag):
        part = Extent.WHOLE
    if part is Extent.UNSATISFIABLE:
        return _xml(request, 416, "InvalidRange", "The requested range cannot be satisfied.")
    if isinstance(part, slice):
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(image)}"
        return Response(image[part], 206, headers, "image/png")
    return Response(image, 200, headers, "image/png")


def _names(header: str | None, etag: str) -> bool:
    return header is not None and (header == "*" or etag in [item.strip() for item in header.split(",")])


def _refuse(request: Request, verdict: Verdict, now: float) -> Response:
    if verdict is Verdict.EXPIRED:
        times = {"Expires": _xml_time(float(request.query_params["Expires"])), "ServerTime": _xml_time(now)}
        return _xml(request, 403, "AccessDenied", "Request has expired.", times)
    if verdict is Verdict.UNSIGNED:
        reason = "You have no right to access this object because of bucket acl."
        return _xml(request, 403, "AccessDenied", reason)
    reason = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method."
    )
    return _xml(request, 403, "SignatureDoesNotMatch", reason)


def _xml_time(moment: float) -> str:
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _xml(request: Request, status: int, code: str, message: str, fields: dict[str, str] | None = None) -> Response:
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
