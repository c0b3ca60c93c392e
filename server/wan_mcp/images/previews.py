"""Small pictures of large ones, for a model or a page to look at."""

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from wan_mcp.images.check import inspect_image
from wan_mcp.images.format import MOST_PIXELS, leave_out_texts
from wan_mcp.images.pixels import put_on_white, simplify
from wan_mcp_tools.domain.errors import ErrorCode, NotAnImageError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview

if TYPE_CHECKING:
    from PIL.Image import Image

_QUALITIES = (88, 78, 66, 52, 38)
_SMALLEST_SIDE = 16

PREVIEW_MIME_TYPE = "image/jpeg"


def draw_preview(data: bytes, name: str, *, max_side: int, max_bytes: int) -> Preview:
    """
    Decode an image and draw it small, as a JPEG: sides in pixels; transparent parts become white.

    Raises:
        RequestRefusedError: `name` is no complete image, has too many pixels, or cannot be made so small.
    """
    _check_size(data, name)
    image = _decode(data, name, max_side)
    for encoded in _encode_ever_smaller(image):
        if len(encoded) <= max_bytes:
            return Preview(encoded, PREVIEW_MIME_TYPE)
    raise RequestRefusedError(f"No preview of {name} fits into {max_bytes} bytes.", "Open the file itself.")


def _check_size(data: bytes, name: str) -> None:
    try:
        facts = inspect_image(data)
    except NotAnImageError as problem:
        raise _refuse(name, problem.message) from problem
    if facts.width * facts.height > MOST_PIXELS:
        raise _refuse(name, f"It has {facts.width} x {facts.height} pixels, too many to be drawn safely.")


def _decode(data: bytes, name: str, max_side: int) -> "Image":
    import PIL.Image  # noqa: PLC0415 - costs start-up time that only a preview should pay

    try:
        with PIL.Image.open(BytesIO(leave_out_texts(data)), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _refuse(name, f"It has {image.width} x {image.height} pixels, too many to be drawn safely.")
            # A JPEG can be decoded at a fraction of its size.
            image.draft(None, (max_side * 2, max_side * 2))
            return _flatten(image, max_side)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as problem:
        raise _refuse(name, "It cannot be decoded.") from problem


def _flatten(image: "Image", max_side: int) -> "Image":
    """Shrink to `max_side`, turn as the camera was held, and leave three plain channels."""
    import PIL.Image  # noqa: PLC0415 - as above
    import PIL.ImageOps  # noqa: PLC0415 - as above

    small = simplify(image)
    small.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = PIL.ImageOps.exif_transpose(small)
    return put_on_white(small)[0] if small.mode == "RGBA" else small.convert("RGB")


def _encode_ever_smaller(image: "Image") -> Iterator[bytes]:
    """Encode at falling quality, then at falling size, down to a few pixels."""
    while True:
        for quality in _QUALITIES:
            buffer = BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            yield buffer.getvalue()
        if max(image.size) <= _SMALLEST_SIDE:
            return
        image.thumbnail((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))


def _refuse(name: str, reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"There is no preview of {name}. {reason}",
        "Only complete PNG, JPEG and WebP pictures are shown.",
        code=ErrorCode.NOT_AN_IMAGE,
    )
