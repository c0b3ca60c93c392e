"""
Pictures that are given as input: whether a model takes them, and what is sent of them.

What is sent is a picture and nothing else: how the camera was held is applied to the pixels, and then everything that
is told about it goes, its location above all; what says how its colours are meant stays. Where nothing else has to
change the pixels are sent byte for byte. What a model does not take and can be brought to take is drawn anew: one
with too long a side, too many bytes, transparency, or in a format that the model does not read.

Pillow is imported when the first picture is looked at, in the thread that does it. The limits come first, from the
header: nothing is decoded, and no room made, for a picture that claims too much.

Sources:
    https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference
    https://help.aliyun.com/zh/model-studio/qwen-image-edit-api
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from io import BytesIO
from math import inf, sqrt
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from wan_mcp.images.check import inspect_image
from wan_mcp.images.format import (
    JPEG_START,
    LONGEST_SIDE,
    MOST_PIXELS,
    PNG_START,
    describe,
    read_webp_size,
)
from wan_mcp.images.pixels import put_on_white, simplify
from wan_mcp.images.segments import check_png_pixels, find_png_chunk, leave_out_metadata, read_orientation
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import ErrorCode, InputChangedError, NotAnImageError, RequestRefusedError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import InputChange

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MOST_INPUT_BYTES = 64 * 1024 * 1024
"""Of a file that is read: three times what any model takes, because what has too many is drawn anew."""

_UPLOAD_NAME = "that was sent"
UPLOADED = InputLimits(
    least=1,
    most=1,
    max_bytes=MOST_INPUT_BYTES,
    min_side=1,
    max_side=LONGEST_SIDE,
    max_ratio=LONGEST_SIDE,
    formats=("PNG", "JPEG", "WEBP"),
)
"""What an upload is kept as: what a storage knows as an image. What a model takes is found out when it is ordered."""

_MIME_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "BMP": "image/bmp"}
"""Of the formats that are sent. TIFF and GIF are drawn anew: what they tell of a picture cannot be cut out."""
_READERS = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
}
"""Of Pillow: module and class."""
_SVG_WITHIN = 4096
_TURNS: Mapping[int, str | None] = {
    1: None,
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What brings a picture upright, by what EXIF says of how the camera was held; Pillow turns a TIFF by itself."""
_PNG_ALPHA = 4
"""The bit of the colour type that says so."""
_QUALITIES = (94, 84, 70)
_LEAST_SHRINK, _MOST_SHRINK = 0.9, 0.4
_LARGE = 4 * 1024 * 1024
"""Pixels, above which one picture at a time is decoded: it may take some hundred megabytes."""
_DECODING_LARGE = Lock()
_MOST_DRAWN = 16 * 1024 * 1024
"""Pixels of a photograph that is drawn anew: each takes eight bytes then, and models draw no more themselves."""
_LEAST_DETAIL = 8
"""A JPEG is decoded at a half, a quarter or an eighth of its sides, and no smaller."""
_TAKEN = "Give a PNG, JPEG, WebP, BMP, TIFF or GIF"


class PreparedInput(Record):
    """
    A picture as it is sent to a model: encoded bytes and their MIME type, sides in pixels.

    `sha256` is the digest of the file that it was made of, in hex. `scale` is how long its sides are in shares of the
    file's. `changes` is what was done to it beyond leaving out what is told of it.
    """

    data: bytes = field(repr=False)
    mime_type: str
    width: int
    height: int
    sha256: str
    scale: float
    changes: tuple[InputChange, ...]


@dataclass(slots=True)
class _Source:
    """
    A file: what Pillow calls its format, its bytes without what is told of the picture, and its sides as stored.

    `orientation` is how the camera was held, 1 for upright. `is_moving` says that there are more frames. The bytes,
    of which there were `count`, are let go of once they are decoded.
    """

    name: str
    format: str
    data: bytes
    width: int
    height: int
    orientation: int
    is_moving: bool
    count: int


class _Plan(NamedTuple):
    """What has to be done to a file, as far as its header tells."""

    is_moving: bool
    must_draw: bool


class _Encoded(NamedTuple):
    """An image drawn anew: format, bytes, and its sides in pixels; `is_compressed` where it has lost something."""

    format: str
    data: bytes
    width: int
    height: int
    is_compressed: bool


def looks_like_input(data: bytes) -> bool:
    """Say whether bytes begin as those of a picture do that is read as input."""
    return _recognize(data) is not None


def prepare_upload(data: bytes) -> PreparedInput:
    """
    Give what is kept of an uploaded picture: the picture and nothing that is told of it. Call it in a thread.

    Raises:
        RequestRefusedError: it is no picture, a damaged one, or one that claims too many pixels.
    """
    return prepare_image(data, _UPLOAD_NAME, UPLOADED)


def prepare_image(data: bytes, name: str, limits: InputLimits, *, expected: str | None = None) -> PreparedInput:
    """
    Give what is sent of a file as input to a model. Call it in a thread.

    `name` is what messages call the file. Where its digest is `expected` (SHA-256, in hex), it was looked at before,
    and that it can be decoded to its end is taken for granted.

    Raises:
        InputChangedError: it has another digest.
        RequestRefusedError: it is no picture, a damaged one, one that claims too many pixels, or one that the model
            does not take whatever is done to it.
    """
    digest = sha256(data).hexdigest()
    if expected is not None and digest != expected:
        raise InputChangedError(
            f"The picture {name} has been changed since it was ordered with.",
            "Order again with the picture as it is now.",
        )
    try:
        source = _read_source(data, name)
        # It may be twenty million bytes, and what is sent of it as many.
        del data
        _check_shape(source, limits)
        plan = _make_plan(source, limits)
        if expected is None:
            _check_pixels(source)
        if plan.must_draw or _is_too_large(source, limits):
            return _draw(source, plan, limits, digest)
    except RequestRefusedError:
        raise
    except NotAnImageError as problem:
        raise _refuse(name, f"cannot be used: {problem.message}", f"{_TAKEN} that is whole.") from problem
    except Exception as problem:
        # Pillow promises "suitable exceptions" and names none of them.
        raise _refuse(
            name, "is a damaged picture: it cannot be read to its end.", "Save it anew, or use another one."
        ) from problem
    changes = (InputChange.FIRST_FRAME,) if plan.is_moving else ()
    mime_type = _MIME_TYPES[source.format]
    return PreparedInput(source.data, mime_type, source.width, source.height, digest, 1.0, changes)


def _refuse(name: str, reason: str, advice: str, code: ErrorCode = ErrorCode.NOT_AN_IMAGE) -> RequestRefusedError:
    return RequestRefusedError(f"The picture {name} {reason}", advice, code=code)


# --- what a file is -----------------------------------------------------------------------------------------


def _read_source(data: bytes, name: str) -> _Source:
    """
    Read format and sides from the header.

    Raises:
        RequestRefusedError: it is no picture, or claims too many pixels.
    """
    form = _recognize(data)
    if form is None:
        is_drawing = b"<svg" in data[:_SVG_WITHIN].lower()
        what = "an SVG drawing" if is_drawing else describe(data)
        advice = "Export it as a PNG first." if is_drawing else f"{_TAKEN}."
        raise _refuse(name, f"is none that can be sent: it looks like {what}.", advice)
    orientation, is_moving = 1, form == "PNG" and find_png_chunk(data, b"acTL") is not None
    if form in ("PNG", "JPEG", "WEBP"):
        orientation, data = read_orientation(data), leave_out_metadata(data)
    elif form == "BMP":
        # It has no place for such things but behind its end.
        data = data[: int.from_bytes(data[2:6], "little") or len(data)]
    width, height = _read_sides(form, data)
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE) or width * height > MOST_PIXELS:
        raise _refuse(
            name,
            f"claims {width} x {height} pixels, too many to be read safely.",
            f"At most {MOST_PIXELS // 1_000_000} million pixels are read: make it smaller.",
        )
    return _Source(name, form, data, width, height, orientation, is_moving, len(data))


def _recognize(data: bytes) -> str | None:
    if data.startswith(PNG_START):
        return "PNG"
    if data.startswith(JPEG_START):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    # Two letters alone begin many a text.
    return "BMP" if data.startswith(b"BM") and data[6:10] == b"\0\0\0\0" else None


def _read_sides(form: str, data: bytes) -> tuple[int, int]:
    if form == "PNG":
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if form == "WEBP":
        # Opening makes room for the whole canvas.
        return read_webp_size(data)
    with _open(form, data) as image:
        return image.size


@contextmanager
def _open(form: str, data: bytes) -> Generator["ImageFile"]:
    """
    Open a file with the one reader of its format; no pixel is decoded. Our limits count, and not Pillow's.

    The reader lets go of the bytes in the end, whoever still holds it for its pixels.
    """
    reader = import_module(f"PIL.{_READERS[form][0]}")
    with BytesIO(data) as buffer:
        del data
        yield getattr(reader, _READERS[form][1])(buffer)


def _check_shape(source: _Source, limits: InputLimits) -> None:
    """
    Check what no change can mend.

    Raises:
        RequestRefusedError: the picture is too small, or too long for its width.
    """
    short, long = sorted((source.width, source.height))
    sides = f"{source.width} x {source.height} pixels"
    if short < limits.min_side:
        raise _refuse(
            source.name,
            f"has {sides}, and this model takes sides of {limits.min_side} to {limits.max_side}.",
            "Use a larger picture, or another model.",
            ErrorCode.INVALID_REQUEST,
        )
    if limits.max_ratio is not None and long > short * limits.max_ratio:
        raise _refuse(
            source.name,
            f"has {sides}, and this model takes none that is more than {limits.max_ratio:g} times as long as wide.",
            "Cut it to another shape, or use another model.",
            ErrorCode.INVALID_REQUEST,
        )
    if long > limits.max_side and short * limits.max_side < limits.min_side * long:
        raise _refuse(
            source.name,
            f"has {sides}; scaled to a side of {limits.max_side}, the other would be shorter than the "
            f"{limits.min_side} that this model needs.",
            "Cut it to another shape, or use another model.",
            ErrorCode.INVALID_REQUEST,
        )


def _make_plan(source: _Source, limits: InputLimits) -> _Plan:
    is_moving = source.is_moving
    if source.format == "PNG":
        # By hand, because Pillow reads a PNG to its end for this.
        has_alpha = bool(source.data[25] & _PNG_ALPHA) or find_png_chunk(source.data, b"tRNS") is not None
    else:
        with _open(source.format, source.data) as image:
            has_alpha = image.has_transparency_data
            is_moving = source.format in ("GIF", "WEBP") and bool(getattr(image, "is_animated", False))
    must_draw = (
        source.orientation != 1
        or source.format not in _MIME_TYPES
        or source.format not in limits.formats
        # The parts that move were cut out of a PNG with its metadata.
        or (is_moving and source.format != "PNG")
        or (has_alpha and not limits.has_alpha)
        or max(source.width, source.height) > limits.max_side
    )
    return _Plan(is_moving, must_draw)


def _check_pixels(source: _Source) -> None:
    """
    Make sure that a picture can be decoded to its end.

    Raises:
        NotAnImageError: it cannot.
        ValueError: the same.
    """
    if source.format in ("PNG", "JPEG", "WEBP"):
        inspect_image(source.data)
    if source.format == "PNG":
        check_png_pixels(source.data)
    elif source.format in ("WEBP", "BMP"):
        # The other formats are decoded when they are drawn anew.
        with _hold_back(source), _open(source.format, source.data) as image:
            image.load()


@contextmanager
def _hold_back(source: _Source) -> Generator[None]:
    """Wait, with a picture that takes much memory, until no other such is decoded."""
    if source.width * source.height <= _LARGE:
        yield
        return
    with _DECODING_LARGE:
        yield


# --- drawing it anew ----------------------------------------------------------------------------------------


def _draw(source: _Source, plan: _Plan, limits: InputLimits, digest: str) -> PreparedInput:
    """Decode a file, change what has to be changed, and encode it so that the model takes it."""
    changes = {InputChange.FIRST_FRAME} if plan.is_moving else set[InputChange]()
    if _is_too_large(source, limits) and source.format in ("PNG", "JPEG", "WEBP"):
        changes.add(InputChange.COMPRESSED)
    with _hold_back(source):
        image, profile = _decode(source, limits)
        source.data = b""
        if image.mode == "RGBA" and not limits.has_alpha:
            image, has_shown = put_on_white(image)
            if has_shown:
                changes.add(InputChange.FLATTENED)
        image = _shrink(image, limits.max_side)
        encoded = _encode_to_fit(image, source, limits, profile)
    if encoded is None:
        raise _refuse(
            source.name,
            f"cannot be made to fit into {limits.max_bytes} bytes.",
            "Use another picture, or another model.",
            ErrorCode.INVALID_REQUEST,
        )
    scale = max(encoded.width, encoded.height) / max(source.width, source.height)
    if encoded.is_compressed:
        changes.add(InputChange.COMPRESSED)
    if encoded.format != source.format:
        changes.add(InputChange.FORMAT)
    if scale < 1:
        changes.add(InputChange.SCALED)
    told = tuple(change for change in InputChange if change in changes)
    mime_type = _MIME_TYPES[encoded.format]
    return PreparedInput(encoded.data, mime_type, encoded.width, encoded.height, digest, scale, told)


def _decode(source: _Source, limits: InputLimits) -> tuple["Image", bytes | None]:
    """Give the pixels of a file, upright, and its colour profile."""
    with _open(source.format, source.data) as file:
        profile = file.info.get("icc_profile") if file.mode not in ("LAB", "HSV") else None
        file.draft(None, _choose_draft(source, limits))
        file.load()
        return _normalize(file, source.orientation), profile


def _choose_draft(source: _Source, limits: InputLimits) -> tuple[int, int]:
    """
    Choose the sides that are decoded of a JPEG: a fraction of all where the rest would be left out anyway.

    An upload is kept with all of its pixels: places may be marked in them, and it is drawn once more for a model.
    """
    part, most = 1, inf if limits is UPLOADED else _MOST_DRAWN
    while part < _LEAST_DETAIL and (
        max(source.width, source.height) >= 2 * part * limits.max_side
        or source.width * source.height > part * part * most
    ):
        part *= 2
    return source.width // part, source.height // part


def _normalize(image: "Image", orientation: int) -> "Image":
    """Turn as the camera was held; leave a mode that can be shrunk well, and nothing that is told of the picture."""
    import PIL.Image  # noqa: PLC0415 - as above

    image = simplify(image, kept=("L", "RGB", "CMYK"), grey=("1", "I", "F"))
    turn = _TURNS[orientation]
    if turn is not None:
        image = image.transpose(PIL.Image.Transpose[turn])
    # Encoders write what stands there: a comment, for one.
    image.info = {}
    return image


def _shrink(image: "Image", longest: int) -> "Image":
    """Give an image whose sides are at most `longest`, in the same shape."""
    import PIL.Image  # noqa: PLC0415 - as above

    if max(image.size) <= longest:
        return image
    factor = longest / max(image.size)
    width, height = (min(longest, max(1, round(side * factor))) for side in image.size)
    return image.resize((width, height), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)  # pyright: ignore[reportUnknownMemberType] - NumPy


def _encode_to_fit(image: "Image", source: _Source, limits: InputLimits, profile: bytes | None) -> _Encoded | None:
    """
    Encode without loss if that may help, then at falling quality, then smaller, until the model takes it.

    None if it takes none that is so small.
    """
    is_photo = source.format == "JPEG" or image.mode == "CMYK"
    # With all of its pixels it would be as large as it was.
    is_worth = (
        source.format != "PNG" or image.size != (source.width, source.height) or not _is_too_large(source, limits)
    )
    lossy = "WEBP" if image.mode == "RGBA" else "JPEG"
    ways = [(lossy, quality) for quality in _QUALITIES] if lossy in limits.formats else [("PNG", 0)]
    first = [("PNG", 0)] if "PNG" in limits.formats and not is_photo and is_worth else []
    is_compressed = False
    while min(image.size) >= max(limits.min_side, 1):
        size = 1
        for form, quality in (*first, *ways):
            data = _encode(image, form, profile, quality=quality)
            size = len(data)
            if size <= limits.max_bytes:
                return _Encoded(form, data, *image.size, is_compressed)
            is_compressed = True
            # No two attempts are held side by side.
            del data
        first = []
        # Bytes grow with the square of the sides, or nearly.
        factor = max(_MOST_SHRINK, min(_LEAST_SHRINK, sqrt(limits.max_bytes / size)))
        image = _shrink(image, int(max(image.size) * factor))
    return None


def _is_too_large(source: _Source, limits: InputLimits) -> bool:
    return source.count > limits.max_bytes


def _encode(image: "Image", form: str, profile: bytes | None, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    buffer = BytesIO()
    image.save(buffer, form, icc_profile=profile, **options)
    return buffer.getvalue()
