"""
Width and height of a PNG, a JPEG or a WebP, and the proof that its end is there. No pixel is decoded.

Bytes after the end of the picture are no fault: every viewer ignores them.

Sources:
    https://www.w3.org/TR/png-3/
    https://www.w3.org/Graphics/JPEG/itu-t81.pdf
    https://developers.google.com/speed/webp/docs/riff_container
"""

import re
from struct import unpack_from
from zlib import crc32

from wan_mcp_tools.domain.errors import NotAnImageError

Size = tuple[int, int]
"""Width and height in pixels."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits for each sample that a PNG colour type may have."""

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
"""A marker that ends coded data: no stuffed byte, no restart, no filler."""

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_START, _JPEG_END, _JPEG_SCAN = 0xD8, 0xD9, 0xDA


def measure_png(data: bytes) -> Size:
    """
    Walk every chunk to the end, checking each check sum.

    Raises:
        NotAnImageError: the picture is cut or damaged.
    """
    view = memoryview(data)
    position, size, has_pixels = len(PNG_SIGNATURE), None, False
    while position + 12 <= len(data):
        length, kind = unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        if crc32(view[position + 4 : end - 4]) != unpack_from(">I", data, end - 4)[0]:
            raise _damaged("PNG", "a check sum is wrong")
        if size is None:
            size = _read_png_header(kind, data[position + 8 : end - 4])
        if kind == b"IDAT":
            has_pixels = True
        if kind == b"IEND":
            if not has_pixels:
                raise _damaged("PNG", "it holds no pixels")
            return size
        position = end
    raise _cut("PNG")


def measure_jpeg(data: bytes) -> Size:
    """
    Walk every segment and scan to the end marker; thumbnails inside segments are stepped over.

    Raises:
        NotAnImageError: the picture is cut or damaged.
    """
    position, size, has_pixels = 2, None, False
    while marker := _JPEG_MARKER.search(data, position):
        code, position = marker[1][0], marker.end()
        if code == _JPEG_END:
            if size is None or not has_pixels:
                raise _damaged("JPEG", "it ends before its pixels")
            return size
        if code == _JPEG_START:
            raise _damaged("JPEG", "a second picture starts inside it")
        if position + 2 > len(data):
            break
        length: int = unpack_from(">H", data, position)[0]
        if position + length > len(data):
            break
        if code in _JPEG_FRAMES:
            size = _read_jpeg_frame(data[position : position + length])
        has_pixels = has_pixels or code == _JPEG_SCAN
        position += length
    raise _cut("JPEG")


def measure_webp(data: bytes) -> Size:
    """
    Walk every chunk of the container.

    Raises:
        NotAnImageError: the picture is cut or damaged.
    """
    end = 8 + unpack_from("<I", data, 4)[0]
    if len(data) < end:
        raise _cut("WebP")
    position, size, has_pixels = 12, None, False
    while position + 8 <= end:
        kind, length = unpack_from("<4sI", data, position)
        start = position + 8
        if start + length > end:
            raise _damaged("WebP", "a chunk is longer than the picture")
        if kind in _WEBP_READERS:
            size = size or _WEBP_READERS[kind](data[start : start + length])
        has_pixels = has_pixels or kind in (b"VP8 ", b"VP8L", b"ANMF")
        position = start + length + length % 2
    if size is None or not has_pixels:
        raise _damaged("WebP", "it holds no pixels")
    return size


def _read_png_header(kind: bytes, header: bytes) -> Size:
    if kind != b"IHDR" or len(header) != 13:  # noqa: PLR2004 - the length of this chunk by the standard
        raise _damaged("PNG", "it does not start with its header")
    width, height, depth, colour, compression, filtering, interlace = unpack_from(">IIBBBBB", header)
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise _damaged("PNG", "its header is not readable")
    return width, height


def _read_jpeg_frame(segment: bytes) -> Size:
    if len(segment) < 8:  # noqa: PLR2004 - length, precision, height, width, components
        raise _damaged("JPEG", "its header is not readable")
    _, height, width = unpack_from(">BHH", segment, 2)
    return width, height


def _read_webp_lossy(chunk: bytes) -> Size:
    if len(chunk) < 10 or chunk[0] & 1 or chunk[3:6] != b"\x9d\x01\x2a":  # noqa: PLR2004 - the frame header
        raise _damaged("WebP", "its header is not readable")
    width, height = unpack_from("<HH", chunk, 6)
    return width & 0x3FFF, height & 0x3FFF


def _read_webp_lossless(chunk: bytes) -> Size:
    if len(chunk) < 5 or chunk[0] != 0x2F:  # noqa: PLR2004 - signature and one packed word
        raise _damaged("WebP", "its header is not readable")
    packed: int = unpack_from("<I", chunk, 1)[0]
    return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1


def _read_webp_canvas(chunk: bytes) -> Size:
    if len(chunk) < 10:  # noqa: PLR2004 - flags and two 24-bit words
        raise _damaged("WebP", "its header is not readable")
    return int.from_bytes(chunk[4:7], "little") + 1, int.from_bytes(chunk[7:10], "little") + 1


_WEBP_READERS = {b"VP8 ": _read_webp_lossy, b"VP8L": _read_webp_lossless, b"VP8X": _read_webp_canvas}


def _cut(name: str) -> NotAnImageError:
    return NotAnImageError(f"The picture is a cut {name}: its end is missing.", "Fetch the image again.")


def _damaged(name: str, reason: str) -> NotAnImageError:
    return NotAnImageError(f"The picture is a damaged {name}: {reason}.", "Fetch the image again.")
