"""A small picture of a large one, for a model to look at. Pillow is imported only here, and only when it draws."""

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from wan_mcp.storage.picture import inspect
from wan_mcp_tools.domain.errors import NotAnImageError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 64 * 1024 * 1024
"""Four times the largest picture of the service. A small file may claim far more, to fill the memory."""

_QUALITIES = (88, 78, 66, 52, 38)
_SMALLEST_SIDE = 16


def draw_preview(data: bytes, name: str, *, max_side: int, max_bytes: int) -> Preview:
    """
    Decode a picture and draw it small, as a JPEG: sides in pixels; transparent parts become white.

    Raises:
        RequestRefusedError: `name` is no complete picture, has too many pixels, or cannot be made so small.
    """
    _check_size(data, name)
    image = _decode(data, name, max_side)
    for encoded in _encode_ever_smaller(image):
        if len(encoded) <= max_bytes:
            return Preview(encoded, "image/jpeg")
    raise RequestRefusedError(f"No preview of {name} fits into {max_bytes} bytes.", "Open the file itself.")


def _check_size(data: bytes, name: str) -> None:
    try:
        facts = inspect(data)
    except NotAnImageError as problem:
        raise _refuse(name, problem.message) from problem
    if facts.width * facts.height > MOST_PIXELS:
        raise _refuse(name, f"It has {facts.width} x {facts.height} pixels, too many to be drawn safely.")


def _decode(data: bytes, name: str, max_side: int) -> "Image":
    import PIL.Image  # noqa: PLC0415 - costs start-up time that only a preview should pay

    try:
        with PIL.Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
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

    small = _simplify(image)
    small.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = PIL.ImageOps.exif_transpose(small)
    if small.mode != "RGBA":
        return small.convert("RGB")
    ground = PIL.Image.new("RGB", small.size, "white")
    ground.paste(small, mask=small.getchannel("A"))
    return ground


def _simplify(image: "Image") -> "Image":
    """Leave a mode that can be shrunk well."""
    if image.mode.startswith("I;16"):
        # Sixteen bits of grey: the upper eight are what can be seen.
        wide = image.convert("I")
        return wide.point(lambda value: value * (1 / 256)).convert("L")  # pyright: ignore[reportUnknownMemberType] - NumPy
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


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
        code="NotAnImage",
    )
