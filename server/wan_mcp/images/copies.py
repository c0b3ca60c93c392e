"""
Copies of pictures in another format or smaller, with all that the originals say of themselves.

The same picture and the same wish give the same bytes, so that a copy is known again by its digest: nothing of the
time or of chance is in it. Pillow's next release may encode otherwise; then a copy made anew is another file.
"""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from wan_mcp.images.format import MOST_PIXELS, ImageFacts, leave_out_texts
from wan_mcp.images.metadata import (
    MOST_JPEG_SEGMENT_BYTES,
    copy_png_texts,
    make_packet,
    most_packet_bytes,
    read_labels,
    read_png_profile,
    write_packet,
)
from wan_mcp.images.pixels import put_on_white, simplify
from wan_mcp_tools.domain.errors import ErrorCode, RequestRefusedError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import Conversion, ImageFormat
from wan_mcp_tools.domain.tasks import CopyRemark

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_WEBP_SIDE = 16_383
_ENCODERS: dict[ImageFormat, tuple[str, dict[str, Any]]] = {
    ImageFormat.PNG: ("PNG", {}),
    # Colours at full resolution: drawn edges and letters stay clean.
    ImageFormat.JPEG: ("JPEG", {"quality": 90, "subsampling": 0}),
    ImageFormat.WEBP: ("WEBP", {"quality": 90, "method": 4}),
}
_SPACES = {b"GRAY": ("L",), b"RGB ": ("RGB", "RGBA")}
"""The modes that a colour profile is for, by the four letters in it. Source: https://www.color.org/icc_specs2.xalter"""
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112


class ConvertedImage(Record):
    """An encoded copy, and what it lacks of the original."""

    data: bytes
    remarks: tuple[CopyRemark, ...] = ()


def convert_image(data: bytes, facts: ImageFacts, name: str, conversion: Conversion) -> ConvertedImage:
    """
    Convert a whole picture: `data` is the file, `facts` are of it, and `name` is what errors call it.

    Pixels are resampled with Lanczos' filter at full precision, and never enlarged. What needs no other pixels keeps
    those that it has. Colour profile, EXIF, XMP and texts are kept; a picture that was held askew is turned. The
    digital source type "made by a trained model" is added if there is none. Call it in a thread.

    Raises:
        RequestRefusedError: it cannot be decoded, has too many pixels to be decoded safely, or is too large for the
            format.
    """
    source = _find_format(facts)
    target = conversion.format or source
    size = _fit(facts, conversion.max_side)
    if target is ImageFormat.WEBP and max(size) > _LONGEST_WEBP_SIDE:
        raise RequestRefusedError(
            f"A WebP has at most {_LONGEST_WEBP_SIDE} pixels a side, and {name} has {facts.width} x {facts.height}.",
            "Pass max_side as well, or another format.",
        )
    try:
        labels = read_labels(data)
        encoded, remarks = data, list[CopyRemark]()
        if target is not source or size != (facts.width, facts.height):
            encoded, remarks = _encode(_decode(data, facts, name, size), name, target)
            if source is target is ImageFormat.PNG:
                encoded = copy_png_texts(data, encoded)
        packet, is_complete = make_packet(
            labels, with_texts=target is not source, most_bytes=most_packet_bytes(f"image/{target}")
        )
        if encoded is not data or packet != labels.packet:
            encoded = write_packet(encoded, packet)
    except ValueError as problem:
        raise _refuse(name, "Its parts cannot be read.") from problem
    if not is_complete and CopyRemark.TEXTS_LEFT_OUT not in remarks:
        remarks.append(CopyRemark.TEXTS_LEFT_OUT)
    return ConvertedImage(encoded, tuple(remarks))


def _find_format(facts: ImageFacts) -> ImageFormat:
    return ImageFormat(facts.mime_type.removeprefix("image/"))


def _fit(facts: ImageFacts, max_side: int | None) -> tuple[int, int]:
    longest = max(facts.width, facts.height)
    if max_side is None or longest <= max_side:
        return facts.width, facts.height
    return max(1, round(facts.width * max_side / longest)), max(1, round(facts.height * max_side / longest))


class _Picture(Record):
    """Decoded pixels of the size that is wanted, and what belongs to them."""

    image: "Image"
    exif: bytes | None
    profile: bytes | None
    comment: bytes | None


def _decode(data: bytes, facts: ImageFacts, name: str, size: tuple[int, int]) -> _Picture:
    import PIL.Image  # noqa: PLC0415 - costs start-up time that only a conversion should pay
    import PIL.ImageOps  # noqa: PLC0415 - as above

    if facts.width * facts.height > MOST_PIXELS:
        raise _refuse(name, f"It has {facts.width} x {facts.height} pixels, too many to be decoded safely.")
    try:
        with PIL.Image.open(BytesIO(leave_out_texts(data)), formats=("PNG", "JPEG", "WEBP")) as opened:
            opened.load()
            info = dict[Any, Any](opened.info)
            image, exif = simplify(opened), info.get("exif")
            if image.size != size:
                image = image.resize(size, PIL.Image.Resampling.LANCZOS)  # pyright: ignore[reportUnknownMemberType] - NumPy
            if opened.getexif().get(_ORIENTATION, 1) != 1:
                image.info = {"exif": exif}
                image = PIL.ImageOps.exif_transpose(image)
                exif = image.info.get("exif")
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as problem:
        raise _refuse(name, "It cannot be decoded.") from problem
    if exif and not exif.startswith(_EXIF):
        exif = _EXIF + exif
    profile = read_png_profile(data) if facts.mime_type == "image/png" else info.get("icc_profile")
    return _Picture(image, exif, profile, info.get("comment"))


def _encode(picture: _Picture, name: str, target: ImageFormat) -> tuple[bytes, list[CopyRemark]]:
    image, remarks = picture.image, list[CopyRemark]()
    kept: dict[str, Any] = {}
    if target is ImageFormat.JPEG and image.mode == "RGBA":
        image, has_shown = put_on_white(image)
        remarks += [CopyRemark.WHITE_BACKGROUND] if has_shown else []
    if target is ImageFormat.JPEG and picture.exif and len(picture.exif) > MOST_JPEG_SEGMENT_BYTES:
        remarks.append(CopyRemark.TEXTS_LEFT_OUT)
    elif picture.exif:
        kept["exif"] = picture.exif
    if picture.profile and image.mode in _SPACES.get(picture.profile[16:20], ()):
        kept["icc_profile"] = picture.profile
    if picture.comment and target is ImageFormat.JPEG:
        kept["comment"] = picture.comment
    # What is kept is named; Pillow would take more of it from the picture by itself.
    image.info = {}
    buffer = BytesIO()
    name_of_encoder, options = _ENCODERS[target]
    try:
        image.save(buffer, name_of_encoder, **options, **kept)
    except (OSError, ValueError) as problem:
        # Some parts of a WebP have a size of their own that a large picture full of noise can pass.
        raise RequestRefusedError(
            f"{name} has too much in it for a {name_of_encoder}.", "Pass a smaller max_side, or another format."
        ) from problem
    return buffer.getvalue(), remarks


def _refuse(name: str, reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"{name} cannot be converted. {reason}",
        "Leave format and max_side out for the file as it is.",
        code=ErrorCode.NOT_AN_IMAGE,
    )
