"""
A picture as the codes that make a terminal draw it. Pure: pixels go in, text comes out.

Sources: https://sw.kovidgoyal.net/kitty/graphics-protocol/, https://iterm2.com/documentation-images.html and
https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


class Graphics(StrEnum):
    """The ways in which terminals take pictures."""

    KITTY = "kitty"
    ITERM2 = "iTerm2"
    SIXEL = "sixel"


@dataclass(frozen=True, slots=True)
class Screen:
    """How a terminal draws, and the size in pixels of one of its character cells."""

    graphics: Graphics
    cell_width: int = 10
    cell_height: int = 20


_COLUMNS, _ROWS = 40, 16
"""The most room that a picture takes, in cells."""
_CHUNK = 4096
"""Characters of base64 in one of kitty's commands."""
_COLOURS = 255
_BAND = 6
"""Rows of pixels that one line of sixels draws."""
_RUN = re.compile(r"(.)\1{3,}")


def encode_picture(data: bytes, screen: Screen) -> str:
    """Draw an encoded picture, a JPEG or PNG of our own, small enough for a few rows of the terminal."""
    import PIL.Image  # noqa: PLC0415 - only whoever looks at pictures waits for it

    with PIL.Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_COLUMNS * screen.cell_width, _ROWS * screen.cell_height))
    match screen.graphics:
        case Graphics.KITTY:
            return _encode_kitty(_encode_png(picture))
        case Graphics.ITERM2:
            return _encode_iterm2(_encode_png(picture), picture.width)
        case Graphics.SIXEL:
            return _encode_sixel(picture)


def _encode_png(picture: "Image") -> bytes:
    encoded = BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


def _encode_kitty(png: bytes) -> str:
    """Transmit and show at once; with q=2 the terminal types no answer into the shell."""
    text = b64encode(png).decode()
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    last = len(chunks) - 1
    return "".join(
        f"\x1b_G{'a=T,f=100,q=2,' if number == 0 else 'q=2,'}m={int(number < last)};{chunk}\x1b\\"
        for number, chunk in enumerate(chunks)
    )


def _encode_iterm2(png: bytes, width: int) -> str:
    arguments = f"inline=1;size={len(png)};width={width}px;preserveAspectRatio=1"
    return f"\x1b]1337;File={arguments}:{b64encode(png).decode()}\a"


def _encode_sixel(picture: "Image") -> str:
    indexed = picture.quantize(_COLOURS)
    palette = indexed.getpalette() or []
    pixels = indexed.tobytes()
    used = sorted(set(pixels))
    registers = "".join(
        f"#{colour};2;" + ";".join(str(round(part * 100 / 255)) for part in palette[3 * colour : 3 * colour + 3])
        for colour in used
    )
    bands = "-".join(_encode_bands(pixels, indexed.width, indexed.height))
    return f'\x1bP0;1q"1;1;{indexed.width};{indexed.height}{registers}{bands}\x1b\\'


def _encode_bands(pixels: bytes, width: int, height: int) -> Iterator[str]:
    """Give each six rows of pixels as a line: of every colour in them a layer, whose characters are six bits."""
    for top in range(0, height, _BAND):
        layers: dict[int, bytearray] = {}
        for row in range(min(_BAND, height - top)):
            start = (top + row) * width
            for column, colour in enumerate(pixels[start : start + width]):
                if colour not in layers:
                    layers[colour] = bytearray(width)
                layers[colour][column] |= 1 << row
        yield "$".join(f"#{colour}{_shorten_runs(layer)}" for colour, layer in layers.items())


def _shorten_runs(layer: bytearray) -> str:
    text = bytes(63 + bits for bits in layer).decode("ascii").rstrip("?")
    return _RUN.sub(lambda run: f"!{len(run[0])}{run[1]}", text)
