"""
Whether an image is whole: checked while its bytes arrive, and read again only where its kind has no sums.

Pillow reads JPEG and WebP; it is imported when the first such image is checked, in the thread that checks it. The
limits come first, from the header: nothing is decoded, and no room made, for an image that claims too much. Pillow's
own limit, `Image.MAX_IMAGE_PIXELS`, belongs to `Image.open` and is one value for the whole process, so the reader of
each kind is used directly, and no limit but ours counts.

Bytes after the end of an image are no fault: every viewer ignores them.

Source: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.verify
"""

from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from threading import Semaphore
from typing import BinaryIO, Protocol
from zlib import crc32

from wan_mcp.images.format import (
    JPEG_END,
    LONGEST_SIDE,
    MOST_PIXELS,
    MOST_PNG_CHUNKS,
    PNG_END,
    PNG_START,
    ImageFacts,
    Size,
    check_limits,
    describe,
    make_cut_error,
    read_webp_size,
    recognize,
)
from wan_mcp_tools.domain.errors import NotAnImageError

_HEAD_BYTES = 256
"""What is kept of the beginning: it tells the kind, and what the bytes look like that are of none."""

_PNG_HEAD_BYTES, _PNG_HEADER_BYTES, _PNG_SUM_BYTES = 8, 13, 4
"""Before a chunk: its length and kind. The content of the first one. After a chunk: its sum."""

_DECODING = Semaphore(2)
"""At once: a progressive JPEG takes up to six bytes for each pixel while it is decoded, which may be 400 MB."""


class ImageCheck:
    """
    Checks an image while its bytes arrive, in pieces of any size: digest, signature, sides, sums, end.

    Of a PNG nothing is read again; the other kinds have no sums, so that their file is read once, in the end. It
    keeps nothing of what it is given but the beginning. Call it in a thread.
    """

    def __init__(self) -> None:
        self._digest = sha256()
        self._head = b""
        self._bytes = 0
        self._check: _KindCheck | None = None

    def add(self, piece: bytes | bytearray) -> None:
        """Take the next bytes; what is wrong with them is told in the end."""
        self._digest.update(piece)
        self._bytes += len(piece)
        if len(self._head) < _HEAD_BYTES:
            start, self._head = self._head, bytes((self._head + piece[:_HEAD_BYTES])[:_HEAD_BYTES])
            if len(self._head) < _HEAD_BYTES:
                return
            self._check = _make_check(self._head)
            piece = start + piece if start else piece
        if self._check is not None:
            self._check.add(piece)

    def finish(self, file: BinaryIO) -> ImageFacts:
        """
        Say what the bytes are. `file` has all of them, and is read from its beginning if the kind asks for it.

        Raises:
            NotAnImageError: the bytes are no complete PNG, JPEG or WebP of a sane size; the message says what they
                look like.
        """
        check = self._check
        if len(self._head) < _HEAD_BYTES and (check := _make_check(self._head)) is not None:
            check.add(self._head)
        if check is None:
            raise NotAnImageError(
                f"The file is no picture: it looks like {describe(self._head)}.",
                "Only PNG, JPEG and WebP are accepted; fetch the image again.",
            )
        try:
            width, height = check.finish(file, self._bytes)
        except NotAnImageError:
            raise
        except Exception as problem:
            # Pillow promises "suitable exceptions" and names none of them.
            raise NotAnImageError(
                f"The picture is a damaged {check.name}: it cannot be read to its end.", "Fetch the image again."
            ) from problem
        return ImageFacts(check.extension, check.mime_type, width, height, self._bytes, self._digest.hexdigest())


def inspect_image(data: bytes) -> ImageFacts:
    """
    Check a whole image: signature, header, sides, end. Call it in a thread.

    Raises:
        NotAnImageError: the bytes are no complete PNG, JPEG or WebP of a sane size; the message says what
            they look like.
    """
    check = ImageCheck()
    check.add(data)
    return check.finish(BytesIO(data))


class _KindCheck(Protocol):
    name: str
    extension: str
    mime_type: str

    def add(self, piece: bytes | bytearray) -> None:
        """Take the next bytes."""
        ...

    def finish(self, file: BinaryIO, count: int) -> Size:
        """Give the size in pixels of an image of so many bytes, or raise whatever tells that it is damaged."""
        ...


class _MarkSearch:
    """Where a mark begins that was seen last in bytes that come in pieces; -1 if there was none."""

    def __init__(self, mark: bytes) -> None:
        self.place = -1
        self._mark = mark
        self._seen = 0
        self._before = b""

    def add(self, piece: bytes | bytearray) -> None:
        reach = len(self._mark) - 1
        # A mark may lie across the border of two pieces.
        border = self._before + piece[:reach]
        for part, start in ((border, self._seen - len(self._before)), (piece, self._seen)):
            found = part.rfind(self._mark)
            if found >= 0:
                self.place = start + found
        self._seen += len(piece)
        self._before = bytes((self._before + piece[-reach:])[-reach:])


class _PngCheck:
    """
    Checks the sum of every chunk up to the last; no pixel is decoded, and no text unpacked.

    It is not Pillow that does this: that unpacks every text, and a picture is not damaged because one is large.
    """

    name, extension, mime_type = "PNG", ".png", "image/png"

    def __init__(self) -> None:
        self._end = _MarkSearch(PNG_END)
        self._problem: Exception | None = None
        self._is_over = False
        self._size: Size = (0, 0)
        self._has_pixels = False
        self._chunks = 0
        self._kind = b""
        self._sum = 0
        # Of a chunk's content: the bytes that are still to come, and those of the header, which is the first.
        self._left = 0
        self._header = b""
        # Around it are fields of a few bytes, which may come in pieces as well.
        self._field = b""
        self._field_bytes = len(PNG_START)
        self._end_field: Callable[[bytes], None] = self._end_signature

    def add(self, piece: bytes | bytearray) -> None:
        if self._problem is not None:
            self._end.add(piece)
            return
        place = 0
        with memoryview(piece) as view:
            while place < len(view) and not self._is_over:
                with view[place:] as rest:
                    try:
                        place += self._read_content(rest) if self._left else self._read_field(rest)
                    except (NotAnImageError, ValueError) as problem:
                        self._problem, self._is_over = problem, True
        if self._problem is not None:
            # Whether the end is there tells a damaged picture from one that was cut and filled up.
            self._end.add(piece)

    def finish(self, file: BinaryIO, count: int) -> Size:  # noqa: ARG002 - every byte has been looked at
        if not self._is_over or (self._problem is not None and self._end.place < 0):
            raise make_cut_error("PNG")
        if self._problem is not None:
            raise self._problem
        if not self._has_pixels:
            raise ValueError("a picture has pixels")
        return self._size

    def _read_content(self, rest: memoryview) -> int:
        with rest[: self._left] as content:
            self._sum = crc32(content, self._sum)
            if self._chunks == 1 and len(self._header) < _PNG_HEADER_BYTES:
                self._header += bytes(content[:_PNG_HEADER_BYTES])
            self._left -= len(content)
            return len(content)

    def _read_field(self, rest: memoryview) -> int:
        part = bytes(rest[: self._field_bytes - len(self._field)])
        self._field += part
        if len(self._field) == self._field_bytes:
            field, self._field = self._field, b""
            self._end_field(field)
        return len(part)

    def _end_signature(self, signature: bytes) -> None:  # noqa: ARG002 - by it the kind was known
        self._field_bytes, self._end_field = _PNG_HEAD_BYTES, self._end_head

    def _end_head(self, head: bytes) -> None:
        self._chunks += 1
        if self._chunks >= MOST_PNG_CHUNKS:
            raise ValueError("a picture is not cut into so many pieces")
        self._left, self._kind = int.from_bytes(head[:4]), head[4:]
        if self._chunks == 1 and (self._kind, self._left) != (b"IHDR", _PNG_HEADER_BYTES):
            raise ValueError("a PNG begins with its header")
        self._sum = crc32(self._kind)
        self._field_bytes, self._end_field = _PNG_SUM_BYTES, self._end_sum

    def _end_sum(self, field: bytes) -> None:
        if int.from_bytes(field) != self._sum:
            raise ValueError(f"the sum of the chunk {self._kind!r} is wrong")
        if self._chunks == 1:
            self._size = int.from_bytes(self._header[:4]), int.from_bytes(self._header[4:8])
            if 0 in self._size:
                raise ValueError("a picture has two sides")
            check_limits("PNG", self._size, LONGEST_SIDE**2)
        self._has_pixels = self._has_pixels or self._kind == b"IDAT"
        self._is_over = self._kind == b"IEND"
        self._field_bytes, self._end_field = _PNG_HEAD_BYTES, self._end_head


class _JpegCheck:
    """Decodes every scan from the file: a JPEG has no check sums."""

    name, extension, mime_type = "JPEG", ".jpg", "image/jpeg"

    def __init__(self) -> None:
        self._end = _MarkSearch(JPEG_END)

    def add(self, piece: bytes | bytearray) -> None:
        self._end.add(piece)

    def finish(self, file: BinaryIO, count: int) -> Size:  # noqa: ARG002 - the end has a mark
        from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - as above

        file.seek(0)
        image = JpegImageFile(file)
        size = image.size
        check_limits("JPEG", size, MOST_PIXELS)
        # The reader has stopped where the pixels start. An end mark before that belongs to a thumbnail, and pixels
        # never look like one. Zeros in the place of the end would be decoded without a complaint.
        if self._end.place < file.tell():
            raise make_cut_error("JPEG")
        # An eighth of each side, in grey: every bit is read as well, and the pixels hardly take room.
        image.draft("L", (1, 1))
        with _DECODING:
            image.load()
        return size


class _WebpCheck:
    """
    Has every chunk of the container found: what Pillow does when it opens one.

    Pillow reads the file whole and makes room for the canvas, so that two are checked at once at most.
    """

    name, extension, mime_type = "WebP", ".webp", "image/webp"

    def __init__(self) -> None:
        self._head = b""

    def add(self, piece: bytes | bytearray) -> None:
        # The first piece has all that is asked for here.
        self._head = self._head or bytes(piece[:_HEAD_BYTES])

    def finish(self, file: BinaryIO, count: int) -> Size:
        from PIL.WebPImagePlugin import WebPImageFile  # noqa: PLC0415 - as above

        if count < 8 + int.from_bytes(self._head[4:8], "little"):
            raise make_cut_error("WebP")
        check_limits("WebP", read_webp_size(self._head), MOST_PIXELS)
        file.seek(0)
        with _DECODING:
            return WebPImageFile(file).size


def _make_check(head: bytes) -> _KindCheck | None:
    kind = _KINDS.get(recognize(head) or "")
    return None if kind is None else kind()


_KINDS: dict[str, Callable[[], _KindCheck]] = {"PNG": _PngCheck, "JPEG": _JpegCheck, "WebP": _WebpCheck}
