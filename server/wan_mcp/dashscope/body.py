"""
The bodies of answers: as they came, or unpacked once, and never beyond a bound.

A few hundred bytes can stand for gigabytes, and what a header says of their coding is often wrong. So the bytes
themselves say whether they are packed, and they are unpacked in small pieces. What cannot be unpacked is given as it
is, and whoever reads it judges. A coding inside a coding is not unpacked.

Sources: https://www.rfc-editor.org/rfc/rfc9110#section-8.4 and https://www.rfc-editor.org/rfc/rfc1950#section-2.2
"""

import zlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing

import anyio.lowlevel
import httpx

_PIECE = 65_536
_HEAD = 4
"""Bytes that tell what the rest is."""
_GZIP = b"\x1f\x8b"
_GZIP_FORMAT, _ZLIB_FORMAT, _BARE_FORMAT = 31, 15, -15
_ZLIB_METHOD, _ZLIB_CHECK = 8, 31
_PLAIN = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"{", b"[", b"<")
"""How images, JSON and pages begin: a header that calls them packed is wrong."""


class ResponseBody:
    """
    The body of one answer, to be read once.

    `received` counts the bytes that came over the wire. `is_packed` says whether they stand for others; it is known
    with the first piece. What does not begin with the first byte of a file is read `as_is`.
    """

    def __init__(self, response: httpx.Response, *, as_is: bool = False) -> None:
        self._response = response
        self._unpacker = _Unpacker(response.headers.get("content-encoding", ""), is_plain=as_is)
        self.received = 0

    @property
    def is_packed(self) -> bool:
        """Whether the bytes that came stand for others."""
        return not self._unpacker.is_plain

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Give the body piece by piece; a piece that was unpacked has at most 64 KiB."""
        async with aclosing(_receive(self._response)) as chunks:
            async for chunk in chunks:
                self.received += len(chunk)
                for piece in self._unpacker.unpack(chunk):
                    yield piece
                    if self.is_packed:
                        # One chunk can stand for a thousand pieces, and others want to go on meanwhile.
                        await anyio.lowlevel.checkpoint()
        for piece in self._unpacker.finish():
            yield piece


async def read_body(
    response: httpx.Response, most: int, *, extend: Callable[[bytearray], int] | None = None
) -> bytes | None:
    """
    Read the whole body of an answer; None if it has more than `most` bytes, on the wire or unpacked.

    `extend` is asked once, when there are more: it looks at what has come and gives another bound.
    """
    content = bytearray()
    body = ResponseBody(response)
    async with aclosing(body.pieces()) as pieces:
        async for piece in pieces:
            content += piece
            if max(len(content), body.received) <= most:
                continue
            if extend is not None:
                most, extend = extend(content), None
            if max(len(content), body.received) > most:
                return None
    return bytes(content)


async def read_start(response: httpx.Response, most: int) -> bytes:
    """Read the body of an answer, but not more than its first `most` bytes."""
    content = bytearray()
    body = ResponseBody(response)
    async with aclosing(body.pieces()) as pieces:
        async for piece in pieces:
            content += piece
            if max(len(content), body.received) >= most:
                break
    return bytes(content[:most])


async def _receive(response: httpx.Response) -> AsyncGenerator[bytes]:
    if response.is_stream_consumed:
        # A transport that is no network may give an answer that it has read already, and unpacked.
        yield response.content
        return
    async for chunk in response.aiter_raw():
        yield chunk


class _Unpacker:
    """Unpacks one layer of gzip, zlib or deflate; what is none of them goes through unchanged."""

    def __init__(self, coding: str, *, is_plain: bool) -> None:
        self._is_deflate = "deflate" in coding.lower()
        self.is_plain = is_plain
        self._format: int | None = None
        self._engine = zlib.decompressobj(_GZIP_FORMAT)
        self._held: bytes = b""
        """What came while nothing could be given for it: that goes out as it is if nothing ever can."""
        self._is_over = False

    def unpack(self, chunk: bytes) -> Generator[bytes]:
        """Give what a chunk stands for."""
        if self.is_plain:
            yield chunk
            return
        if self._format is None:
            chunk = self._held + chunk
            if len(chunk) < _HEAD:
                self._held = chunk
                return
            self._begin(chunk)
            self._held = b"" if self.is_plain else chunk
            if self.is_plain:
                yield chunk
                return
        elif self._held:
            self._held += chunk
        try:
            yield from self._inflate(chunk)
        except zlib.error:
            self._is_over = True
        if self._held and (self._is_over or len(self._held) > _PIECE):
            self.is_plain = True
            yield from self.finish()

    def finish(self) -> Generator[bytes]:
        """Give what is left when nothing more comes."""
        held, self._held = self._held, b""
        if held:
            yield held

    def _begin(self, head: bytes) -> None:
        """Choose by the first bytes: gzip is known by them alone, the others must be named by the header as well."""
        if head.startswith(_GZIP):
            self._format = _GZIP_FORMAT
        elif self._is_deflate and not head.lstrip().startswith(_PLAIN):
            is_zlib = head[0] & 15 == _ZLIB_METHOD and int.from_bytes(head[:2]) % _ZLIB_CHECK == 0
            self._format = _ZLIB_FORMAT if is_zlib else _BARE_FORMAT
        else:
            self.is_plain = True
            return
        self._engine = zlib.decompressobj(self._format)

    def _inflate(self, data: bytes) -> Generator[bytes]:
        while not self._is_over:
            piece = self._engine.decompress(data, _PIECE)
            if piece:
                self._held = b""
                yield piece
            if self._engine.eof:
                # Several gzip files in a row are one; what else follows the end belongs to nobody.
                data = self._engine.unused_data
                self._is_over = self._format != _GZIP_FORMAT
                self._engine = zlib.decompressobj(self._format or _GZIP_FORMAT)
            else:
                data = self._engine.unconsumed_tail
            if not data and len(piece) < _PIECE:
                return
