"""
What bytes are: which kind of image, how large, complete or not.

Pillow reads JPEG and WebP; it is imported when the first such image is inspected, in the thread that inspects it. The
limits come first, from the header: nothing is decoded, and no room made, for an image that claims too much. Pillow's
own limit, `Image.MAX_IMAGE_PIXELS`, belongs to `Image.open` and is one value for the whole process, so the reader of
each kind is used directly, and no limit but ours counts.

Bytes after the end of an image are no fault: every viewer ignores them.

Sources:
    https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.verify
    https://www.w3.org/TR/png-3/
    https://www.w3.org/Graphics/JPEG/itu-t81.pdf
    https://developers.google.com/speed/webp/docs/riff_container
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from threading import Semaphore
from typing import Literal
from zlib import crc32, decompressobj, error

from wan_mcp.storage.base import ImageFacts
from wan_mcp_tools.domain.errors import NotAnImageError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
"""Every ending under which an image of a kind we write may exist."""

LONGEST_SIDE = 20_000
"""Pixels. The service paints up to 4096; a header that claims far more is wrong, or meant to do harm."""

MOST_PIXELS = 64 * 1024 * 1024
"""Of an image that is decoded: four times the largest of the service. A small file may claim far more."""

Size = tuple[int, int]
"""Width and height in pixels."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_HEADER_BYTES = 25
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: the first column and row of each, and its steps."""
_PIECE = 1024 * 1024
"""Bytes of pixels that are unpacked at a time."""
_MOST_PNG_CHUNKS = 100_000
"""A file of 64 MiB whose pixels come in pieces of a kilobyte has fewer."""
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""What the look of a picture depends on; the fourth may say how the camera was held."""

_PNG_COLOURS = frozenset({b"iCCP", b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs"})
"""What says how its colours are meant, and its pixels shaped."""
_LARGEST_PROFILE = 4 * 1024 * 1024
"""Bytes of an unpacked colour profile: the largest for printing have two million."""

_ORIENTATION = 0x0112
"""The number of what EXIF says of it."""

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_SCAN, _JPEG_EOI, _JPEG_APP1 = 0xDA, 0xD9, 0xE1
_JPEG_APP0, _JPEG_APP2, _JPEG_APP14 = 0xE0, 0xE2, 0xEE
_JPEG_PICTURE = frozenset(range(0xC0, 0xE0)) - {0xC8, 0xD8} - _JPEG_STANDALONE
"""Frames, tables, scans and the end."""
_JPEG_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_JFIF_BYTES = 18
"""Of its header, of which only a thumbnail makes more."""

_WEBP_PICTURE = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF"})
_WEBP_METADATA_FLAGS = 0x0C
"""Of the header: it has EXIF, and it has XMP."""

_DECODING = Semaphore(2)
"""At once: a progressive JPEG takes up to six bytes for each pixel while it is decoded, which may be 400 MB."""

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<", "an XML document"),
    (b"{", "a JSON document"),
    (b"[", "a JSON document"),
    (b"gif8", "a GIF"),
    (b"bm", "a BMP"),
    (b"ii*\0", "a TIFF"),
    (b"mm\0*", "a TIFF"),
    (b"%pdf", "a PDF"),
    (b"pk\3\4", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
)
"""What else a download may be, by its first bytes in lower case."""


def inspect_image(data: bytes) -> ImageFacts:
    """
    Check a whole image: signature, header, sides, end. Call it in a thread.

    Raises:
        NotAnImageError: the bytes are no complete PNG, JPEG or WebP of a sane size; the message says what
            they look like.
    """
    kind = _recognize(data)
    if kind is None:
        raise NotAnImageError(
            f"The file is no picture: it looks like {describe(data)}.",
            "Only PNG, JPEG and WebP are accepted; fetch the image again.",
        )
    try:
        width, height = kind.check(data)
    except NotAnImageError:
        raise
    except Exception as problem:
        # Pillow promises "suitable exceptions" and names none of them.
        raise NotAnImageError(
            f"The picture is a damaged {kind.name}: it cannot be read to its end.", "Fetch the image again."
        ) from problem
    return ImageFacts(kind.extension, kind.mime_type, width, height, len(data), sha256(data).hexdigest())


def looks_like_image(head: bytes) -> bool:
    """Whether the first 12 bytes of a file are those of a PNG, a JPEG or a WebP."""
    return _recognize(head) is not None


def describe(data: bytes) -> str:
    """Say in a few words what bytes look like that are no image."""
    if not data:
        return "an empty file"
    if data[4:12] in (b"ftypavif", b"ftypavis", b"ftypheic", b"ftypmif1"):
        return "an AVIF or HEIC picture"
    head = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, words in _OTHERS:
        if head.startswith(start):
            return words
    for name, start in (("PNG", _PNG_START), ("JPEG", _JPEG_START), ("WebP", b"RIFF")):
        if start.startswith(data[:12]):
            return f"the first bytes of a {name}"
    return "plain text" if _is_text(data[:256]) else "unknown binary data"


def leave_out_texts(data: bytes, *, keep_profile: bool = False) -> bytes:
    """
    Give a whole PNG without what is no part of the picture: texts, colour profiles, dates; another image as it is.

    Pillow unpacks these when it opens a file, and refuses all of it if one is large. With `keep_profile` a colour
    profile of a sane size stays.
    """
    if not data.startswith(_PNG_START):
        return data
    return _keep_png_chunks(data, _PNG_PICTURE | {b"iCCP"} if keep_profile else _PNG_PICTURE)


def leave_out_metadata(data: bytes) -> bytes:
    """
    Give a whole PNG, JPEG or WebP without what is told about it, and without what follows its end.

    EXIF with its location and its thumbnail, XMP, texts, comments, dates and the data of other programs go; the
    pixels are not touched, and what says how colours are meant stays. How the camera was held is forgotten too.

    Raises:
        ValueError: the image is not built as it should be.

    Sources:
        https://www.w3.org/TR/png-3/#11Chunks
        https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
        https://developers.google.com/speed/webp/docs/riff_container#extended_file_format
    """
    if data.startswith(_PNG_START):
        return _keep_png_chunks(data, (_PNG_PICTURE | _PNG_COLOURS) - {b"eXIf"})
    if data.startswith(_JPEG_START):
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
        raise _cut("PNG")


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
    kept: list[bytes | memoryview] = [_PNG_START]
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
        while data[start : start + 2] == b"\xff\xff":
            start += 1
        if start + 2 > len(data):
            raise _cut("JPEG")
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
            raise _cut("JPEG")
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
            raise _cut("WebP")
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
    if data.startswith(_PNG_START):
        return find_png_chunk(data, b"eXIf")
    if data.startswith(_JPEG_START):
        blocks = (data[start + 4 : end] for marker, start, end in _find_jpeg_segments(data) if marker == _JPEG_APP1)
        return next((block for block in blocks if block.startswith(b"Exif\0\0")), None)
    return next((data[start + 8 : end] for kind, start, end in _find_webp_chunks(data) if kind == b"EXIF"), None)


def _check_png(data: bytes) -> Size:
    """
    Check the sum of every chunk up to the last; no pixel is decoded, and no text unpacked.

    It is not Pillow that does this: that unpacks every text, and a picture is not damaged because one is large.
    """
    if data.rfind(_PNG_END) < 0:
        raise _cut("PNG")
    size, has_pixels = (0, 0), False
    view = memoryview(data)
    for kind, start, end in find_png_chunks(data):
        if crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(f"the sum of the chunk {kind!r} is wrong")
        if start == len(_PNG_START):
            if kind != b"IHDR" or end - start != _PNG_HEADER_BYTES:
                raise ValueError("a PNG begins with its header")
            size = int.from_bytes(data[start + 8 : start + 12]), int.from_bytes(data[start + 12 : start + 16])
            if 0 in size:
                raise ValueError("a picture has two sides")
            _check_limits("PNG", size, LONGEST_SIDE**2)
        has_pixels = has_pixels or kind == b"IDAT"
    if not has_pixels:
        raise ValueError("a picture has pixels")
    return size


def find_png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """
    Give the kind, the start and the end of every chunk up to the last.

    Raises:
        NotAnImageError: the end is missing.
    """
    start, kind = len(_PNG_START), b""
    for _ in range(_MOST_PNG_CHUNKS):
        if kind == b"IEND":
            return
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data):
            raise _cut("PNG")
        yield kind, start, end
        start = end
    raise ValueError("a picture is not cut into so many pieces")


def _check_jpeg(data: bytes) -> Size:
    """Decode every scan: a JPEG has no check sums."""
    from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - as above

    stream = BytesIO(data)
    image = JpegImageFile(stream)
    size = image.size
    _check_limits("JPEG", size, MOST_PIXELS)
    # The reader has stopped where the pixels start. An end mark before that belongs to a thumbnail, and pixels never
    # look like one. Zeros in the place of the end would be decoded without a complaint.
    if data.rfind(_JPEG_END) < stream.tell():
        raise _cut("JPEG")
    # An eighth of each side, in grey: every bit is read as well, and the pixels hardly take room.
    image.draft("L", (1, 1))
    with _DECODING:
        image.load()
    return size


def _check_webp(data: bytes) -> Size:
    """Have every chunk of the container found: what Pillow does when it opens one."""
    from PIL.WebPImagePlugin import WebPImageFile  # noqa: PLC0415 - as above

    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise _cut("WebP")
    # Opening makes room for the whole canvas.
    _check_limits("WebP", read_webp_size(data), MOST_PIXELS)
    return WebPImageFile(BytesIO(data)).size


def read_webp_size(data: bytes) -> Size:
    """Read the size from the first chunk: a canvas, a lossless image or a lossy one."""
    first, header = data[12:16], data[20:30]
    if first == b"VP8X":
        return int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1
    if first == b"VP8L":
        sides = int.from_bytes(header[1:5], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    return int.from_bytes(header[6:8], "little") & 0x3FFF, int.from_bytes(header[8:10], "little") & 0x3FFF


def _check_limits(name: str, size: Size, most_pixels: int) -> None:
    width, height = size
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        reason = f"1 to {LONGEST_SIDE} for each side are accepted"
    elif width * height > most_pixels:
        reason = f"at most {most_pixels} in all are accepted"
    else:
        return
    raise NotAnImageError(f"The {name} claims {width} x {height} pixels; {reason}.", "Fetch the image again.")


def _cut(name: str) -> NotAnImageError:
    return NotAnImageError(f"The picture is a cut {name}: its end is missing.", "Fetch the image again.")


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    extension: str
    mime_type: str
    check: Callable[[bytes], Size]


_PNG = _Kind("PNG", ".png", "image/png", _check_png)
_JPEG = _Kind("JPEG", ".jpg", "image/jpeg", _check_jpeg)
_WEBP = _Kind("WebP", ".webp", "image/webp", _check_webp)


def _recognize(data: bytes) -> _Kind | None:
    if data.startswith(_PNG_START):
        return _PNG
    if data.startswith(_JPEG_START):
        return _JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    return None


def _is_text(head: bytes) -> bool:
    # A cut in the middle of a character must not turn text into binary data.
    return head.decode("utf-8", "ignore").isprintable() or head.isascii()
