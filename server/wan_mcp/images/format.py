"""
What bytes are: which kind of image, how large, and of which parts.

Sources:
    https://www.w3.org/TR/png-3/
    https://www.w3.org/Graphics/JPEG/itu-t81.pdf
    https://developers.google.com/speed/webp/docs/riff_container
"""

from collections.abc import Iterator

from wan_mcp_tools.domain.errors import NotAnImageError
from wan_mcp_tools.domain.record import Record

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
"""Every ending under which an image of a kind we write may exist."""

MIME_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
"""Of what we write, by the ending that we give it."""

LONGEST_SIDE = 20_000
"""Pixels. The service paints up to 4096; a header that claims far more is wrong, or meant to do harm."""

MOST_PIXELS = 64 * 1024 * 1024
"""Of an image that is decoded: four times the largest of the service. A small file may claim far more."""

Size = tuple[int, int]
"""Width and height in pixels."""

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
MOST_PNG_CHUNKS = 100_000
"""A file of 64 MiB whose pixels come in pieces of a kilobyte has fewer."""
PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""What the look of a picture depends on; the fourth may say how the camera was held."""

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"

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


class ImageFacts(Record):
    """
    What is certain about a complete image.

    `extension` is `.png`, `.jpg` or `.webp` and follows the bytes; sides are in pixels; `sha256` is in hex.
    """

    extension: str
    mime_type: str
    width: int
    height: int
    bytes: int
    sha256: str


def looks_like_image(head: bytes) -> bool:
    """Whether the first 12 bytes of a file are those of a PNG, a JPEG or a WebP."""
    return recognize(head) is not None


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


def find_png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """
    Give the kind, the start and the end of every chunk up to the last.

    Raises:
        NotAnImageError: the end is missing.
    """
    start, kind = len(PNG_START), b""
    for _ in range(MOST_PNG_CHUNKS):
        if kind == b"IEND":
            return
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data):
            raise make_cut_error("PNG")
        yield kind, start, end
        start = end
    raise ValueError("a picture is not cut into so many pieces")


def read_webp_size(data: bytes) -> Size:
    """Read the size from the first chunk: a canvas, a lossless image or a lossy one."""
    first, header = data[12:16], data[20:30]
    if first == b"VP8X":
        return int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1
    if first == b"VP8L":
        sides = int.from_bytes(header[1:5], "little")
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    return int.from_bytes(header[6:8], "little") & 0x3FFF, int.from_bytes(header[8:10], "little") & 0x3FFF


def check_limits(name: str, size: Size, most_pixels: int) -> None:
    """
    Make sure that a size is sane.

    Raises:
        NotAnImageError: a side is none or too long, or there are more pixels than that.
    """
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


def recognize(head: bytes) -> str | None:
    """Give the name of a kind, "PNG", "JPEG" or "WebP", by the first 12 bytes; None for any other."""
    if head.startswith(PNG_START):
        return "PNG"
    if head.startswith(JPEG_START):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return None


def _is_text(head: bytes) -> bool:
    # A cut in the middle of a character must not turn text into binary data.
    return head.decode("utf-8", "ignore").isprintable() or head.isascii()
