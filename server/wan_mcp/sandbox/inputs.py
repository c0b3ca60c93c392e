"""
Pictures that an order brings along: where they come from, what they are, and whether a model takes them.

What was looked at once is kept as a few facts and a small copy; the bytes themselves are not. An address of the web
is never fetched: the sandbox has no network, and shows the host's name on a grey tile.

Sources: https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference,
https://help.aliyun.com/zh/model-studio/get-temporary-file-url and
https://help.aliyun.com/zh/model-studio/error-code
"""

import base64
import io
import re
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from wan_mcp.sandbox.catalogue.model import InputRule
from wan_mcp.sandbox.errors import INVALID_URL, NOT_DOWNLOADED, RefusalError, invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

_DATA = re.compile(r"data:(image/[a-z0-9.+-]{1,40})?(?:;[a-z0-9=-]{1,40})?;base64,", re.IGNORECASE)
_LONGEST_ADDRESS = 8192
_THUMBNAIL_SIDE = 320
"""Pixels: as large as an input is ever shown."""
_MOST_PIXELS = 16_000_000
"""Larger pictures are not decoded, unless their kind can be decoded smaller; they are shown as a grey tile."""
_LEAST_SIDE = 11
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_AT_ONCE = threading.BoundedSemaphore(1)
"""A picture of the largest size needs some 150 MB while it is looked at."""


@dataclass(frozen=True, slots=True)
class InputPicture:
    """
    What is known of a picture that came with an order.

    `label` is what stands on its tile where there is no `thumbnail`, a JPEG. Sides in pixels as the picture is looked
    at, and `size` in bytes, are 0 for one that was not fetched. `format` is Pillow's name, `declared` the media type
    that its sender gave.
    """

    label: str
    thumbnail: bytes = b""
    width: int = 0
    height: int = 0
    size: int = 0
    format: str = ""
    declared: str = ""
    has_alpha: bool = False
    has_exif: bool = False

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height, as far as they are known."""
        return (self.width, self.height) if self.width and self.height else None


def read_data_uri(address: str, rule: InputRule) -> InputPicture:
    """
    Look at a picture that stands in the body itself. It takes long: call it in a thread.

    Raises:
        RefusalError: it is no base64, larger than the rule allows, or no picture.
    """
    head = _DATA.match(address)
    if head is None:
        raise RefusalError(INVALID_URL)
    # Before anything is decoded: four characters are three bytes.
    if (len(address) - head.end()) * 3 // 4 > rule.most_bytes + 2:
        raise _too_large(rule)
    with _AT_ONCE:
        try:
            data = base64.b64decode(address[head.end() :], validate=True)
        except ValueError:
            raise RefusalError(INVALID_URL) from None
        return _inspect_any(io.BytesIO(data), len(data), (head[1] or "").lower())


def read_web_address(address: str) -> InputPicture:
    """
    Take the address of a picture in the web, which the service would fetch.

    Raises:
        RefusalError: it is no address, or leads nowhere that the service could reach.
    """
    try:
        parts = urlsplit(address) if len(address) <= _LONGEST_ADDRESS else None
        host = parts.hostname if parts and parts.scheme in ("http", "https") else None
    except ValueError:
        host = None
    if not host:
        raise RefusalError(INVALID_URL)
    if not _is_public(host):
        raise RefusalError(NOT_DOWNLOADED)
    return InputPicture(label=host[:60])


def inspect_file(file: BinaryIO, size: int, *, declared: str = "") -> InputPicture:
    """
    Look at a file of `size` bytes. It takes long: call it in a thread.

    Raises:
        RefusalError: it is no picture of a kind that the service reads, or a damaged one.
    """
    with _AT_ONCE:
        return _inspect_any(file, size, declared)


def check_picture(picture: InputPicture, rule: InputRule, *, strict: bool) -> None:
    """
    Check one picture against what a model takes; of one that was not fetched nothing is known.

    `strict` also refuses what a careful client never sends: longer sides than the documentation advises, a media
    type that is not that of the file, and EXIF.

    Raises:
        RefusalError: the model does not take it.
    """
    if picture.sides is None:
        return
    if picture.format not in rule.formats:
        raise _refuse(
            f"The image format {picture.format} is not supported, expected {', '.join(sorted(rule.formats))}."
        )
    if picture.size > rule.most_bytes:
        raise _too_large(rule)
    least, most = rule.sides
    if strict and rule.advised_sides:
        most = rule.advised_sides[1]
    if not all(least <= side <= most for side in picture.sides):
        raise _refuse(
            "The image length and width do not meet the model restrictions. "
            f"[height:{picture.height} or width:{picture.width} must be in {least}-{most}]"
        )
    if rule.ratio and max(picture.sides) > rule.ratio * min(picture.sides):
        raise _refuse(f"The aspect ratio of the image should be in [1:{rule.ratio:g}, {rule.ratio:g}:1].")
    if picture.has_alpha and not rule.allows_alpha:
        raise _refuse("The image must not have an alpha channel.")
    if strict and picture.has_exif:
        raise _refuse("sandbox: the image carries EXIF.")
    if strict and picture.declared not in ("", f"image/{picture.format.lower()}"):
        raise _refuse(f"sandbox: the image is a {picture.format}, and not {picture.declared} as it says.")


def _refuse(message: str) -> RefusalError:
    return RefusalError(invalid_parameter(message))


def _too_large(rule: InputRule) -> RefusalError:
    return _refuse(f"The image size exceeds the limit of {rule.most_bytes // 1024**2}MB.")


def _is_public(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith((".invalid", ".local", ".localhost", ".internal")):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host


def _inspect_any(file: BinaryIO, size: int, declared: str) -> InputPicture:
    try:
        return _inspect(file, size, declared)
    except RefusalError:
        raise
    except Exception:  # noqa: BLE001 - Pillow promises no kind of error for damaged files
        raise RefusalError(invalid_parameter("The image format is illegal and cannot be opened.")) from None


def _inspect(file: BinaryIO, size: int, declared: str) -> InputPicture:
    image, name = _open(file)
    width, height = image.size
    label = f"{name} {width}x{height}"
    can_shrink = name == "JPEG"
    if min(width, height) < _LEAST_SIDE or (width * height > _MOST_PIXELS and not can_shrink):
        # Its facts are enough to refuse it, or to show a tile.
        thumbnail, exif = b"", "exif" in image.info
    else:
        exif = bool(image.info.get("exif"))
        if exif and image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        thumbnail = _shrink(image)
        exif = exif or bool(image.info.get("exif"))
    return InputPicture(
        label=label,
        thumbnail=thumbnail,
        width=width,
        height=height,
        size=size,
        format=name,
        declared="image/jpeg" if declared == "image/jpg" else declared,
        has_alpha=image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
        has_exif=exif,
    )


def _open(file: BinaryIO) -> "tuple[Image.Image, str]":
    """
    Open a picture by its first bytes, without decoding it.

    The reader of each kind is used directly: the limit of `Image.open` is one value for the whole process.
    """
    head = file.read(16)
    file.seek(0)
    for name, (start, reader) in _readers().items():
        if head.startswith(start) and (name != "WEBP" or head[8:12] == b"WEBP"):
            return reader(file), "TIFF" if name.startswith("TIFF") else name
    raise _refuse("The image format is illegal and cannot be opened.")


def _readers() -> "Mapping[str, tuple[bytes, Callable[[BinaryIO], Image.Image]]]":
    # Pillow is loaded only when there is something to look at.
    from PIL import (  # noqa: PLC0415
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    return {
        "PNG": (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
        "JPEG": (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
        "WEBP": (b"RIFF", WebPImagePlugin.WebPImageFile),
        "BMP": (b"BM", BmpImagePlugin.BmpImageFile),
        "GIF": (b"GIF8", GifImagePlugin.GifImageFile),
        "TIFF": (b"II*\0", TiffImagePlugin.TiffImageFile),
        "TIFF, big-endian": (b"MM\0*", TiffImagePlugin.TiffImageFile),
    }


def _shrink(image: "Image.Image") -> bytes:
    """Give a small JPEG, the right way up, what is transparent on a chequered ground."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - as above

    image.draft("RGB", (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    # Sixteen bits a pixel become eight first, and colours by number become colours.
    loose: Any = image.convert("L") if image.mode.startswith(("I", "F")) else image
    loose = loose if loose.mode in ("L", "RGB", "RGBA") else loose.convert("RGBA")
    side = max(image.size)
    if side > 4 * _THUMBNAIL_SIDE:
        loose = loose.reduce(side // (2 * _THUMBNAIL_SIDE))
    small: Image.Image = loose.convert("RGBA")
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    small = ImageOps.exif_transpose(small)
    ground = _draw_chequers(small.size)
    ground.paste(small, (0, 0), small)
    buffer = io.BytesIO()
    ground.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def _draw_chequers(size: tuple[int, int]) -> "Image.Image":
    from PIL import Image, ImageDraw  # noqa: PLC0415 - as above

    ground = Image.new("RGB", size, (236, 236, 240))
    draw = ImageDraw.Draw(ground)
    step = 10
    for y in range(0, size[1], step):
        for x in range((y // step % 2) * step, size[0], 2 * step):
            draw.rectangle((x, y, x + step - 1, y + step - 1), fill=(206, 206, 214))
    return ground
