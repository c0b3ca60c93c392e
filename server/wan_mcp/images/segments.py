"""
The parts that image files are built of: which of them make the picture, and which only tell of it.

Nothing is decoded here, so that whatever stands in a file that is not the picture is never unpacked.

Sources:
    https://www.w3.org/TR/png-3/#11Chunks
    https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
    https://developers.google.com/speed/webp/docs/riff_container#extended_file_format
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Literal
from zlib import decompressobj, error

from wan_mcp.images.format import JPEG_START, PNG_PICTURE, PNG_START, find_png_chunks, make_cut_error

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: the first column and row of each, and its steps."""
_PIECE = 1024 * 1024
"""Bytes of pixels that are unpacked at a time."""
_PNG_COLOURS = frozenset({b"iCCP", b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs"})
"""What says how its colours are meant, and its pixels shaped."""
_LARGEST_PROFILE = 4 * 1024 * 1024
"""Bytes of an unpacked colour profile: the largest for printing have two million."""

_ORIENTATION = 0x0112
"""The number of what EXIF says of it."""

_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_SCAN, _JPEG_EOI, _JPEG_APP1 = 0xDA, 0xD9, 0xE1
_JPEG_APP0, _JPEG_APP2, _JPEG_APP14 = 0xE0, 0xE2, 0xEE
_JPEG_PICTURE = frozenset(range(0xC0, 0xE0)) - {0xC8, 0xD8} - _JPEG_STANDALONE
"""Frames, tables, scans and the end."""
_JPEG_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A single byte comes first, which the search leaps to; what fills up before it belongs to the scan."""
_JPEG_FILLING = re.compile(rb"\xff*(?=\xff)")
_JFIF_BYTES = 18
"""Of its header, of which only a thumbnail makes more."""

_WEBP_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF"})
_WEBP_METADATA_FLAGS = 0x0C
"""Of the header: it has EXIF, and it has XMP."""


def leave_out_metadata(data: bytes) -> bytes:
    """
    Give a whole PNG, JPEG or WebP without what is told about it, and without what follows its end.

    EXIF with its location and its thumbnail, XMP, texts, comments, dates and the data of other programs go; the
    pixels are not touched, and what says how colours are meant stays. How the camera was held is forgotten too.

    Raises:
        ValueError: the image is not built as it should be.
    """
    if data.startswith(PNG_START):
        return _keep_png_chunks(data, (PNG_PICTURE | _PNG_COLOURS) - {b"eXIf"})
    if data.startswith(JPEG_START):
        return _join(list(_keep_jpeg_segments(data)), data)
    return _keep_webp_chunks(data)


def find_png_chunk(data: bytes, wanted: bytes) -> bytes | None:
    """Give the content of the first chunk of a kind; None if a PNG has none."""
    return next((data[start + 8 : end - 4] for kind, start, end in find_png_chunks(data) if kind == wanted), None)


def check_png_pixels(data: bytes) -> None:
    """
    Unpack the pixels of a PNG whose chunks are whole, piece by piece, and count them: no room is made for them.

    Raises:
        NotAnImageError: there are fewer than the header says.
        ValueError: they cannot be unpacked.
    """
    expected = _count_png_bytes(data)
    inflate, count = decompressobj(), 0
    view = memoryview(data)
    try:
        for kind, start, end in find_png_chunks(data):
            piece: bytes | memoryview = view[start + 8 : end - 4] if kind == b"IDAT" else b""
            while len(piece) and count < expected and not inflate.eof:
                count += len(inflate.decompress(piece, _PIECE))
                piece = inflate.unconsumed_tail
    except error as problem:
        raise ValueError("the pixels cannot be unpacked") from problem
    if count < expected:
        raise make_cut_error("PNG")


def _count_png_bytes(data: bytes) -> int:
    """Count the bytes of the rows that a header announces, each with one more for its filter."""
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour, interlace = data[24], data[25], data[28]
    if colour not in _PNG_CHANNELS or interlace > 1:
        raise ValueError("no PNG has such pixels")
    bits = depth * _PNG_CHANNELS[colour]
    passes = _PNG_PASSES if interlace else ((0, 0, 1, 1),)
    sizes = [(-((left - width) // wide), -((top - height) // high)) for left, top, wide, high in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _keep_png_chunks(data: bytes, kinds: Collection[bytes]) -> bytes:
    view = memoryview(data)
    kept: list[bytes | memoryview] = [PNG_START]
    for kind, start, end in find_png_chunks(data):
        if kind in kinds and (kind != b"iCCP" or _is_sane_profile(data[start + 8 : end - 4])):
            kept.append(view[start:end])
    return _join(kept, data)


def _join(kept: Sequence[bytes | memoryview], data: bytes) -> bytes:
    """Join what was kept of an image; all of it is the image itself, and needs no room a second time."""
    return data if sum(len(part) for part in kept) == len(data) else b"".join(kept)


def _is_sane_profile(chunk: bytes) -> bool:
    """Tell whether a packed profile does not stand for far more bytes than any has."""
    _, _, packed = chunk.partition(b"\0")
    try:
        return len(decompressobj().decompress(packed[1:], _LARGEST_PROFILE + 1)) <= _LARGEST_PROFILE
    except error:
        return False


def _keep_jpeg_segments(data: bytes) -> Iterator[bytes | memoryview]:
    """Give the parts of a JPEG that make the picture, up to its end."""
    view = memoryview(data)
    yield view[:2]
    for marker, start, end in _find_jpeg_segments(data):
        content = data[start + 4 : start + _JFIF_BYTES]
        # The last says which colours the channels are.
        is_profile = marker == _JPEG_APP2 and content.startswith(b"ICC_PROFILE\0")
        is_adobe = marker == _JPEG_APP14 and content.startswith(b"Adobe")
        if marker in _JPEG_PICTURE or is_profile or is_adobe:
            yield view[start:end]
        elif marker == _JPEG_APP0 and content.startswith(b"JFIF\0") and end - start >= _JFIF_BYTES:
            # Without its thumbnail, which may show what was cut off.
            yield b"\xff\xe0" + (_JFIF_BYTES - 2).to_bytes(2) + content[: _JFIF_BYTES - 6] + b"\0\0"


def _find_jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """
    Give the marker, the start and the end of every segment; a scan's ends behind its pixels.

    Raises:
        NotAnImageError: the end is missing.
        ValueError: they are no segments.
    """
    start = 2
    while True:
        if filling := _JPEG_FILLING.match(data, start):
            start = filling.end()
        if start + 2 > len(data):
            raise make_cut_error("JPEG")
        marker = data[start + 1] if data[start] == 0xFF else 0  # noqa: PLR2004 - so begins every marker
        if marker in _JPEG_STANDALONE or marker == _JPEG_EOI:
            end = start + 2
        else:
            end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if not marker or end < start + 2 or (marker not in _JPEG_STANDALONE | {_JPEG_EOI} and end < start + 4):
            raise ValueError("a segment is no segment")
        if marker == _JPEG_SCAN:
            found = _JPEG_AFTER_SCAN.search(data, end)
            end = found.start() if found else len(data) + 1
        if end > len(data):
            raise make_cut_error("JPEG")
        yield marker, start, end
        if marker == _JPEG_EOI:
            return
        start = end


def _keep_webp_chunks(data: bytes) -> bytes:
    kept: list[bytes] = []
    for kind, start, end in _find_webp_chunks(data):
        chunk = data[start:end]
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_METADATA_FLAGS & 0xFF]) + chunk[9:]
        if kind in _WEBP_PICTURE:
            kept.append(chunk + b"\0" * (len(chunk) % 2))
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _find_webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """
    Give the kind, the start and the end of every chunk, without what fills it up.

    Raises:
        NotAnImageError: the end is missing.
    """
    start, last = 12, 8 + int.from_bytes(data[4:8], "little")
    while start + 8 <= last:
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        if end > len(data):
            raise make_cut_error("WebP")
        yield data[start : start + 4], start, end
        start = end + end % 2


def read_orientation(data: bytes) -> int:
    """
    Read from a whole PNG, JPEG or WebP how the camera was held: 1 is upright, and so is what cannot be read.

    Source: https://www.cipa.jp/std/documents/e/DC-008-Translation-2023-E.pdf
    """
    exif = (_find_exif(data) or b"").removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    start = int.from_bytes(exif[4:8], order)
    for number in range(int.from_bytes(exif[start : start + 2], order)):
        entry = exif[start + 2 + 12 * number : start + 14 + 12 * number]
        if int.from_bytes(entry[:2], order) == _ORIENTATION:
            value = int.from_bytes(entry[8:10], order)
            return value if value in range(1, 9) else 1
    return 1


def _find_exif(data: bytes) -> bytes | None:
    if data.startswith(PNG_START):
        return find_png_chunk(data, b"eXIf")
    if data.startswith(JPEG_START):
        blocks = (data[start + 4 : end] for marker, start, end in _find_jpeg_segments(data) if marker == _JPEG_APP1)
        return next((block for block in blocks if block.startswith(b"Exif\0\0")), None)
    return next((data[start + 8 : end] for kind, start, end in _find_webp_chunks(data) if kind == b"EXIF"), None)
