"""What bytes are: which kind of picture, how large, complete or not."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from wan_mcp.storage.base import ImageFacts
from wan_mcp.storage.formats import (
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    Size,
    measure_jpeg,
    measure_png,
    measure_webp,
)
from wan_mcp_tools.domain.errors import NotAnImageError

LONGEST_SIDE = 20_000
"""Pixels. The service paints up to 4096; far beyond that a header is nonsense or a trap."""

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
"""Every ending under which a picture of a kind we write may be lying about."""


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    extension: str
    mime_type: str
    measure: Callable[[bytes], Size]


_PNG = _Kind("PNG", ".png", "image/png", measure_png)
_JPEG = _Kind("JPEG", ".jpg", "image/jpeg", measure_jpeg)
_WEBP = _Kind("WebP", ".webp", "image/webp", measure_webp)

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
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
    Check a whole picture: signature, header, sides, end.

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
    width, height = kind.measure(data)
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        raise NotAnImageError(
            f"The {kind.name} claims {width} x {height} pixels; 1 to {LONGEST_SIDE} for each side are accepted.",
            "Fetch the image again.",
        )
    return ImageFacts(kind.extension, kind.mime_type, width, height, len(data), sha256(data).hexdigest())


def looks_like_image(head: bytes) -> bool:
    """Whether the first 12 bytes of a file are those of a PNG, a JPEG or a WebP."""
    return _recognize(head) is not None


def describe(data: bytes) -> str:
    """Say in a few words what bytes look like that are no picture."""
    if not data:
        return "an empty file"
    if data[4:12] in (b"ftypavif", b"ftypavis", b"ftypheic", b"ftypmif1"):
        return "an AVIF or HEIC picture"
    head = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, words in _OTHERS:
        if head.startswith(start):
            return words
    for kind, signature in ((_PNG, PNG_SIGNATURE), (_JPEG, JPEG_SIGNATURE), (_WEBP, b"RIFF")):
        if signature.startswith(data[:12]):
            return f"the first bytes of a {kind.name}"
    return "plain text" if _is_text(data[:256]) else "unknown binary data"


def _recognize(data: bytes) -> _Kind | None:
    if data.startswith(PNG_SIGNATURE):
        return _PNG
    if data.startswith(JPEG_SIGNATURE):
        return _JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    return None


def _is_text(head: bytes) -> bool:
    # A cut in the middle of a character must not turn text into binary data.
    return head.decode("utf-8", "ignore").isprintable() or head.isascii()
