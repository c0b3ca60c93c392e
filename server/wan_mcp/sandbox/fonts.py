"""Fonts for the prompt, whatever its script, as far as this machine has them."""

import unicodedata
from functools import lru_cache
from typing import Any

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

# The font that comes with Pillow draws little more than ASCII. For other scripts the system may have one of these.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
    "malgun.ttf",
    "segoeui.ttf",
)
_PROBE_SIZE = 16.0
_NO_CHARACTER = "\uffff"


@lru_cache(maxsize=64)
def open_font(name: str | None, size: float) -> Font:
    """
    Open a font of the system, or with None the one that comes with Pillow.

    Raises:
        OSError: the system has no such font.
    """
    font = ImageFont.load_default(size) if name is None else ImageFont.truetype(name, size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("Pillow was built without a font engine.")
    return font


@lru_cache(maxsize=64)
def choose_font(text: str) -> str | None:
    """Find the font that draws most of a text; the one of Pillow if it draws all."""
    wanted = frozenset(text) - {" "}
    best, drawn = None, len(_drawable(None, wanted))
    for name in _SYSTEM_FONTS:
        if drawn == len(wanted):
            break
        count = len(_drawable(name, wanted))
        if count > drawn:
            best, drawn = name, count
    return best


def make_readable(text: str) -> str:
    """
    Give a text as far as a font of this machine can draw it, in one line.

    Accents go where only the plain letter can be drawn. Other characters that cannot be drawn are left out; if those
    are most of the text, a sentence says so in its place.
    """
    flat = " ".join(text.split())
    name = choose_font(flat)
    drawable = _drawable(name, frozenset(flat)) | {" "}
    shown = "".join(char if char in drawable else _plain(char, name) for char in flat)
    if 2 * len(shown.strip()) < len(flat):
        return f"(a prompt of {len(flat)} characters, in a script that no font on this machine draws)"
    return " ".join(shown.split())


def _plain(char: str, name: str | None) -> str:
    base = unicodedata.normalize("NFKD", char)[0]
    return base if base in _drawable(name, frozenset(base)) else ""


def _drawable(name: str | None, characters: frozenset[str]) -> frozenset[str]:
    """Find the characters that a font has; a font that the system lacks has none."""
    try:
        font = open_font(name, _PROBE_SIZE)
    except OSError:
        return frozenset()
    missing = _shape(font, _NO_CHARACTER)
    return frozenset(char for char in characters if _shape(font, char) not in (b"", missing))


def _shape(font: Font, char: str) -> bytes:
    mask: Any = font.getmask(char)
    return bytes(mask)
