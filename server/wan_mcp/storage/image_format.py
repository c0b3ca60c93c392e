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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from threading import Semaphore
from zlib import crc32

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

PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_HEADER_BYTES = 25
_MOST_PNG_CHUNKS = 100_000
"""A file of 64 MiB whose pixels come in pieces of a kilobyte has fewer."""
PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""What the look of a picture depends on; the fourth may say how the camera was held."""

JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"

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
    for name, start in (("PNG", PNG_START), ("JPEG", JPEG_START), ("WebP", b"RIFF")):
        if start.startswith(data[:12]):
            return f"the first bytes of a {name}"
    return "plain text" if _is_text(data[:256]) else "unknown binary data"


def leave_out_texts(data: bytes) -> bytes:
    """
    Give a whole PNG without what is no part of the picture: texts, colour profiles, dates; another image as it is.

    Pillow unpacks these when it opens a file, and refuses all of it if one is large.
    """
    if not data.startswith(PNG_START):
        return data
    kept = [PNG_START]
    kept += [data[start:end] for kind, start, end in find_png_chunks(data) if kind in PNG_PICTURE]
    return b"".join(kept)


def _check_png(data: bytes) -> Size:
    """
    Check the sum of every chunk up to the last; no pixel is decoded, and no text unpacked.

    It is not Pillow that does this: that unpacks every text, and a picture is not damaged because one is large.
    """
    if data.rfind(_PNG_END) < 0:
        raise make_cut_error("PNG")
    size, has_pixels = (0, 0), False
    view = memoryview(data)
    for kind, start, end in find_png_chunks(data):
        if crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(f"the sum of the chunk {kind!r} is wrong")
        if start == len(PNG_START):
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
    start, kind = len(PNG_START), b""
    for _ in range(_MOST_PNG_CHUNKS):
        if kind == b"IEND":
            return
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data):
            raise make_cut_error("PNG")
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
        raise make_cut_error("JPEG")
    # An eighth of each side, in grey: every bit is read as well, and the pixels hardly take room.
    image.draft("L", (1, 1))
    with _DECODING:
        image.load()
    return size


def _check_webp(data: bytes) -> Size:
    """Have every chunk of the container found: what Pillow does when it opens one."""
    from PIL.WebPImagePlugin import WebPImageFile  # noqa: PLC0415 - as above

    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise make_cut_error("WebP")
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


def make_cut_error(name: str) -> NotAnImageError:
    """Give the error for an image whose end is missing."""
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
    if data.startswith(PNG_START):
        return _PNG
    if data.startswith(JPEG_START):
        return _JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    return None


def _is_text(head: bytes) -> bool:
    # A cut in the middle of a character must not turn text into binary data.
    return head.decode("utf-8", "ignore").isprintable() or head.isascii()
