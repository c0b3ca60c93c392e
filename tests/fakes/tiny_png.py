"""
A PNG written with zlib alone, cheap at any size: of one flat colour, labelled with text chunks, or of noise.

Format: https://www.w3.org/TR/png-3/
"""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(
    width: int, height: int, *, colour: tuple[int, int, int], texts: Mapping[str, str], padding: int = 0
) -> bytes:
    """
    Answer a valid PNG of `width` x `height` pixels, one bit a pixel, all of them `colour`.

    `padding` bytes go into a private chunk that decoders skip, for tests that want a big file.
    """
    head = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    parts = [SIGNATURE, _chunk(b"IHDR", head), _chunk(b"PLTE", bytes(colour))]
    parts += [_text(key, value) for key, value in texts.items()]
    if padding:
        parts.append(_chunk(b"fiLl", b"\x55" * padding))
    parts += [_chunk(b"IDAT", _pixels(width, height)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def encode_noise(side: int) -> bytes:
    """Answer a valid PNG of `side` x `side` pixels of chance, of three bytes each as none of them can be compressed."""
    row = 1 + 3 * side
    rows = bytearray(os.urandom(row * side))
    rows[::row] = bytes(side)  # the pixels of no row are told by those of another one
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = _chunk(b"IDAT", zlib.compress(rows, 0))
    return b"".join([SIGNATURE, _chunk(b"IHDR", head), pixels, _chunk(b"IEND", b"")])


def read_size(data: bytes) -> tuple[int, int]:
    """Answer width and height in pixels, from the header."""
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def read_texts(data: bytes) -> dict[str, str]:
    """Answer the text chunks of a PNG, both kinds."""
    texts: dict[str, str] = {}
    for kind, body in _chunks(data):
        if kind == b"tEXt":
            key, _, value = body.partition(b"\0")
            texts[key.decode("latin-1")] = value.decode("latin-1")
        elif kind == b"iTXt":
            key, _, rest = body.partition(b"\0")
            texts[key.decode("latin-1")] = rest[2:].split(b"\0", 2)[2].decode("utf-8")
    return texts


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _text(key: str, value: str) -> bytes:
    """Write tEXt where Latin-1 holds the value, iTXt (the same in UTF-8) where it does not."""
    value = value.replace("\0", " ")
    name = key.encode("latin-1")
    try:
        return _chunk(b"tEXt", name + b"\0" + value.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8", "replace"))


@lru_cache(maxsize=64)
def _pixels(width: int, height: int) -> bytes:
    return zlib.compress(bytes((1 + (width + 7) // 8) * height), 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length
