"""
Files for people who share no disk with the server: `GET /images/{id}` and `POST /uploads`.

An image is given by the signature of its link, or by a token of whoever may see it. What is wrong with a link is not
told: unknown, another's, over and forged are answered alike.
"""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from wan_mcp.mcp_server.concurrency_limits import ConcurrencyLimiter, ConcurrencyLimits
from wan_mcp.orders import OrderService
from wan_mcp.orders.files.links import IMAGES_PATH, LinkedFile, LinkSignature
from wan_mcp.orders.files.uploads import MOST_UPLOAD_BYTES, NotAPictureError
from wan_mcp_tools.domain.errors import AppError, CallLimitError, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.principals import Principal, Scope, current_principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Connection

    from wan_mcp.auth.gate import AuthGate

UPLOADS_PATH = "/uploads"
_GUARDS = {
    "Cache-Control": "private, max-age=3600",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of an image: it is nobody else's, runs nothing, and its address is passed on to nobody."""
_NEVER_STORED = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
_MOST_DIGITS, _MOST_SIGNATURE = 12, 100
_FORM_BYTES = 16_384
"""What a form needs beside its file, at most."""
_FORM = "multipart/form-data"
_RAW_TYPES = ("image/", "application/octet-stream")
_MOST_READ = 500
"""Images that are being sent in this process."""
_MOST_OPEN, _MOST_OPEN_EACH = 16, 4
"""Uploads under way in this process; each holds its picture in memory."""
_HOW = "Send one picture as the body, with its type such as image/png, or as the file of a form."
_CREATED, _NOT_MODIFIED, _TEMPORARY = 201, 304, 307
_BAD, _NOT_FOUND, _TOO_LARGE, _NO_PICTURE, _TOO_MANY, _UNAVAILABLE = 400, 404, 413, 415, 429, 503


class _UploadError(Exception):
    """Raised where an upload is refused before it is a picture: with the status and the words of the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def make_file_routes(service: OrderService, gate: "AuthGate") -> "list[BaseRoute]":
    """Make the routes, for whoever has signed in or holds a link."""
    from starlette.routing import Route  # noqa: PLC0415 - the SDK has loaded it by now

    by_link = _make_image_app(service, _read_signature)
    by_token = gate.protect(_make_image_app(service, lambda _: current_principal()), Scope.READ)

    async def choose(scope: "Connection", receive: "Receive", send: "Send") -> None:
        # With a signature nobody is asked who they are: the link is all that they have.
        fields = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        is_link = any(name == "signature" for name, _ in fields)
        await (by_link if is_link else by_token)(scope, receive, send)

    images = ConcurrencyLimiter(choose, ConcurrencyLimits(most=_MOST_READ, most_each=_MOST_READ))
    limits = ConcurrencyLimits(most=_MOST_OPEN, most_each=_MOST_OPEN_EACH)
    uploads = gate.protect(ConcurrencyLimiter(_make_upload_app(service), limits), Scope.ORDER)
    return [
        Route(f"{IMAGES_PATH}{{id}}", _Application(images), methods=["GET"]),
        Route(UPLOADS_PATH, _Application(uploads), methods=["POST"]),
    ]


class _Application:
    """An application as a route takes it: what is no function is called as it is."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Connection", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        await self._app(scope, receive, send)


# --- images -------------------------------------------------------------------------------------------------------


def _make_image_app(service: OrderService, read_by: "Callable[[Request], LinkSignature | Principal]") -> "ASGIApp":
    """Make what answers with an image, by what `read_by` finds in the request; that may raise ValueError."""
    from starlette.requests import Request  # noqa: PLC0415 - the SDK has loaded it by now
    from starlette.responses import PlainTextResponse  # noqa: PLC0415 - the same

    async def send_image(scope: "Connection", receive: "Receive", send: "Send") -> None:
        request = Request(scope, receive)
        async with AsyncExitStack() as stack:
            try:
                opened = service.open_linked_image(
                    request.path_params["id"], read_by(request), folder=request.query_params.get("owner")
                )
                answer = _answer_image(await stack.enter_async_context(opened), request)
            except (NotFoundError, ValueError):
                answer = PlainTextResponse(
                    "There is no such image, or its link is over: get_task or download_image gives a new one.\n",
                    _NOT_FOUND,
                    _NEVER_STORED,
                )
            except AppError:
                answer = PlainTextResponse("The image cannot be read now.\n", _UNAVAILABLE, _NEVER_STORED)
            await answer(scope, receive, send)

    return send_image


def _read_signature(request: "Request") -> LinkSignature:
    """
    Read what of an address says that it is one of our links.

    Raises:
        ValueError: it is not written as ours are.
    """
    query = request.query_params
    signature, expires = query.get("signature", ""), query.get("expires", "")
    names = [name for name, _ in query.multi_items()]
    is_plain = len(names) == len(set(names)) and expires.isascii() and expires.isdigit()
    if not is_plain or len(expires) > _MOST_DIGITS or len(signature) > _MOST_SIGNATURE:
        raise ValueError("no link of ours")
    return LinkSignature(int(expires), signature)


def _answer_image(found: LinkedFile, request: "Request") -> "Response":
    from starlette.responses import FileResponse, RedirectResponse, Response  # noqa: PLC0415 - loaded by now

    if found.path is None:
        return RedirectResponse(found.address or "", _TEMPORARY, _NEVER_STORED)
    etag = f'"{found.etag}"'
    headers = {**_GUARDS, "ETag": etag}
    given = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if etag in given or "*" in given:
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    # A part at a time, however large it is; it answers ranges too.
    return FileResponse(
        found.path,
        headers=headers,
        media_type=found.mime_type,
        filename=found.filename,
        content_disposition_type="inline",
    )


# --- uploads ------------------------------------------------------------------------------------------------------


def _make_upload_app(service: OrderService) -> "ASGIApp":
    from starlette.requests import Request  # noqa: PLC0415 - the SDK has loaded it by now
    from starlette.responses import JSONResponse, PlainTextResponse  # noqa: PLC0415 - the same

    async def take_upload(scope: "Connection", receive: "Receive", send: "Send") -> None:
        try:
            await service.count_call()
            data = await _read_picture(Request(scope, receive))
            upload = await service.uploads.keep(data, principal=current_principal().id)
        except _UploadError as error:
            answer = PlainTextResponse(f"{error.words}\n", error.status, _NEVER_STORED)
        except AppError as error:
            answer = _refuse(error)
        else:
            facts = {
                "upload_id": upload.id,
                "expires_at": datetime.fromtimestamp(upload.expires_at, UTC).isoformat(timespec="seconds"),
                "width": upload.width,
                "height": upload.height,
                "bytes": upload.bytes,
            }
            answer = JSONResponse(facts, _CREATED, _NEVER_STORED)
        await answer(scope, receive, send)

    return take_upload


def _refuse(error: AppError) -> "Response":
    """Answer an error in words; those of the disk and the ledger name places, and are for the log."""
    from starlette.responses import PlainTextResponse  # noqa: PLC0415 - the SDK has loaded it by now

    headers = dict(_NEVER_STORED)
    if isinstance(error, CallLimitError):
        headers["Retry-After"] = str(int(error.retry_after) + 1)
        return PlainTextResponse(f"{error}\n", _TOO_MANY, headers)
    if isinstance(error, RequestRefusedError):
        status = _NO_PICTURE if isinstance(error, NotAPictureError) else _BAD
        return PlainTextResponse(f"{error}\n", status, headers)
    import logging  # noqa: PLC0415 - for faults alone

    logging.getLogger(__name__).warning("an upload could not be kept: %s", error)
    return PlainTextResponse("The picture cannot be kept now. Try again in a moment.\n", _UNAVAILABLE, headers)


async def _read_picture(request: "Request") -> bytes:
    """
    Read the picture of a request: its body, or the one file of a form.

    Raises:
        _UploadError: it is too large, none, or sent otherwise.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind == _FORM
    if not is_form and not kind.startswith(_RAW_TYPES):
        raise _UploadError(_NO_PICTURE, f"No picture is sent as {kind[:60] or 'something without a type'!r}. {_HOW}")
    body = await _read_body(request, MOST_UPLOAD_BYTES + (_FORM_BYTES if is_form else 0))
    data = await _read_form(request, body) if is_form else body
    if not data:
        raise _UploadError(_BAD, f"There is no picture in it. {_HOW}")
    if len(data) > MOST_UPLOAD_BYTES:
        raise _too_large()
    return data


async def _read_body(request: "Request", most: int) -> bytes:
    from starlette.requests import ClientDisconnect  # noqa: PLC0415 - the SDK has loaded it by now

    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise _too_large()
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise _too_large()
    except ClientDisconnect as error:
        raise _UploadError(_BAD, "The picture did not arrive as a whole.") from error
    return bytes(body)


async def _read_form(request: "Request", body: bytes) -> bytes:
    from starlette.datastructures import UploadFile  # noqa: PLC0415 - the SDK has loaded it by now
    from starlette.exceptions import HTTPException  # noqa: PLC0415 - the same
    from starlette.formparsers import MultiPartException  # noqa: PLC0415 - the same
    from starlette.requests import Request  # noqa: PLC0415 - the same

    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> "Message":
        return parts.pop() if parts else {"type": "http.disconnect"}

    try:
        async with Request(request.scope, replay).form(max_files=1, max_fields=8) as form:
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            if len(files) != 1:
                raise _UploadError(_BAD, f"There is no file in the form. {_HOW}")
            return await files[0].read()
    except (HTTPException, MultiPartException, ValueError, KeyError) as error:
        # Its parser has errors of many kinds, among them that the line between the parts is not named.
        raise _UploadError(_BAD, f"The form cannot be read. {_HOW}") from error


def _too_large() -> _UploadError:
    return _UploadError(_TOO_LARGE, f"A picture has at most {MOST_UPLOAD_BYTES // 1_000_000} MB. Send a smaller one.")
