"""
HTTP/1.1 by hand, so that it can be broken by hand.

asyncio streams and not a web framework: a test needs to close, reset, cut or poison a connection at a chosen byte.
"""

import asyncio  # noqa: TID251  the fake owns its loop and thread and must reach the bare transport
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fakes.dashscope_faults import Fault

_MOST_BODY = 32 * 1024 * 1024
HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>"


class BadRequestError(Exception):
    """What arrived is not an HTTP request."""


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names in lower case, `target` byte for byte as sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    closes: bool

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The decoded query parameters, the last of each name."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass(frozen=True)
class Response:
    """One answer: status, body, further headers."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[], Awaitable[Response]]


def make_json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Answer JSON, in UTF-8 as the service writes it."""
    return Response(status, json.dumps(value, ensure_ascii=False).encode(), headers=headers or {})


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """
    Read one request with its whole body; None when the client has closed.

    Raises: BadRequestError, ConnectionError, asyncio.IncompleteReadError.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise
        return None
    except asyncio.LimitOverrunError as error:
        raise BadRequestError("the head is too long") from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise BadRequestError(first)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await _read_body(reader, headers)
    closes = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
    return Request(words[0], words[1], headers, body, closes)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        return b"".join(parts)
    length = int(headers.get("content-length") or 0)
    if length > _MOST_BODY:
        raise BadRequestError("the body is too long")
    return await reader.readexactly(length) if length else b""


class Connection:
    """One client connection, with every way to answer it badly; `now` dates it, `elsewhere` is where it redirects."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.now: Callable[[], float] = time.time
        self.elsewhere = "/"
        # With no buffer of ours, a finished drain means that the bytes are with the operating system.
        writer.transport.set_write_buffer_limits(high=0)

    async def send(self, response: Response, *, length: int | None = None) -> bool:
        """Send a whole answer; `length` announces another size than the body has. True: keep the connection."""
        await self.write(self._head(response, length) + response.body)
        return length is None

    async def begin(self, response: Response, *, length: int | None) -> None:
        """Send the head alone; no length means chunked."""
        await self.write(self._head(response, length, chunked=length is None))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def break_with(self, fault: Fault, answer: Answer) -> bool:
        """Answer wrongly in the way of `fault`; `answer` is asked only where the true answer is part of it."""
        match fault.action:
            case "drop":
                return False
            case "reset":
                return self.reset()
            case "hang":
                await self._reader.read()  # the end of the client's side
                return False
            case "garbage":
                await self.write(b"\x16\x03\x01 not http at all\r\n\r\n" + bytes(range(256)))
                return False
            case "slow":
                await asyncio.sleep(fault.seconds)
                return await self.send(await answer())
            case "half-json" | "cut-body":
                true = await answer()
                half = Response(true.status, true.body[: int(len(true.body) * fault.part)], true.kind, true.headers)
                return await self.send(half, length=None if fault.action == "half-json" else len(true.body))
            case _:
                return await self.send(self._wrong_answer(fault))

    def reset(self) -> bool:
        """Abort with RST instead of FIN."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        return False

    def _wrong_answer(self, fault: Fault) -> Response:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.action == "html":
            title = f"{fault.status} {HTTPStatus(fault.status).phrase}"
            return Response(fault.status, HTML.format(title).encode(), "text/html", headers)
        if fault.action == "redirect":
            return Response(fault.status or 307, b"", headers={"Location": fault.location or self.elsewhere})
        code, message = _WORDS.get(fault.status, _WORDS[500])
        body = {"request_id": "fault", "code": fault.code or code, "message": fault.message or message}
        return make_json(fault.status or 500, body, headers)

    def _head(self, response: Response, length: int | None, *, chunked: bool = False) -> bytes:
        phrase = HTTPStatus(response.status).phrase
        lines = [f"HTTP/1.1 {response.status} {phrase}", f"Date: {formatdate(self.now(), usegmt=True)}"]
        lines.append(f"Content-Type: {response.kind}")
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        else:
            lines.append(f"Content-Length: {len(response.body) if length is None else length}")
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# https://help.aliyun.com/zh/model-studio/error-code
_WORDS = {
    401: ("InvalidApiKey", "Invalid API-key provided."),
    403: ("AccessDenied", "Access denied."),
    404: ("ModelNotFound", "Model can not be found."),
    429: ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    500: ("InternalError", "An internal error, please try again later or contact service support."),
    502: ("InternalError", "Bad gateway."),
    503: ("ModelUnavailable", "Model is unavailable, please try again later."),
}
