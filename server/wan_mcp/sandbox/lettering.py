"""What is written on a picture: SANDBOX across it, the prompt below, a watermark if ordered."""

import math

from PIL import Image, ImageDraw, features

from wan_mcp.sandbox.fonts import Font, choose_font, make_readable, open_font
from wan_mcp.sandbox.painter import Picture
from wan_mcp.sandbox.pixels import ramp, resize

_LINES = 5
_LONGEST = 600
"""Characters; more never fit."""
_LINE_HEIGHT = 1.32
_WHITE = (255, 255, 255)


def letter(image: Image.Image, picture: Picture) -> None:
    """Write on a picture that is otherwise done; without a font engine it stays without words."""
    if not features.check("freetype2"):
        return
    _write_across(image, "SANDBOX")
    _write_prompt(image, picture.prompt)
    if picture.watermark:
        _write_watermark(image)


def _write_across(image: Image.Image, word: str) -> None:
    """Write a word from the lower left to the upper right, so faint that the picture shows through."""
    width, height = image.size
    length = 0.72 * math.hypot(width, height)
    font = open_font(None, min(length / 5.2, 0.42 * min(width, height)))
    left, top, right, bottom = font.getbbox(word, stroke_width=1)
    strip = Image.new("L", (math.ceil(right - left) + 4, math.ceil(bottom - top) + 4))
    ImageDraw.Draw(strip).text((2 - left, 2 - top), word, fill=84, font=font, stroke_width=1)
    angle = math.degrees(math.atan2(height, width))
    strip = strip.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    place = ((width - strip.width) // 2, round(height * 0.45 - strip.height / 2))
    image.paste(_WHITE, place, strip)


def _write_prompt(image: Image.Image, prompt: str) -> None:
    """Write the prompt into the lower part, over a shade that keeps it readable."""
    width, height = image.size
    margin = round(min(width, height) * 0.055)
    largest = max(min(width, height) / 19, 11)
    lines, font, step = _fit(make_readable(prompt), width - 2 * margin, largest)
    shade_height = min(round(len(lines) * step + 3.2 * margin), height)
    shade = ramp(Image.linear_gradient("L"), [round(v * 0.66) for v in range(256)])
    image.paste((8, 10, 22), (0, height - shade_height), resize(shade, (width, shade_height)))
    draw = ImageDraw.Draw(image)
    y = height - margin - len(lines) * step
    for line in lines:
        draw.text((margin, y), line, fill=(250, 250, 252), font=font)
        y += step


def _write_watermark(image: Image.Image) -> None:
    font = open_font(None, max(min(image.size) / 48, 9))
    place = (image.width - min(image.size) * 0.02, image.height - min(image.size) * 0.015)
    ImageDraw.Draw(image).text(place, "AI-generated", fill=(214, 218, 228), font=font, anchor="rs")


def _fit(text: str, width: int, largest: float) -> tuple[list[str], Font, float]:
    """
    Break a text into lines no wider than `width`; a long one is set smaller, and cut off at last.

    Returns the lines, their font and the distance from line to line.
    """
    name = choose_font(text)
    for share in (1.0, 0.8, 0.62):
        font = open_font(name, largest * share)
        lines = _wrap(text, font, width)
        if len(lines) <= _LINES:
            return lines, font, largest * share * _LINE_HEIGHT
    font = open_font(name, largest * 0.62)
    last = _wrap(text, font, width)[_LINES - 1]
    while last and font.getlength(last + "...") > width:
        last = last[:-1]
    lines = [*_wrap(text, font, width)[: _LINES - 1], last.rstrip() + "..."]
    return lines, font, largest * 0.62 * _LINE_HEIGHT


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """Break at spaces where there are any, else between characters; give at most one line too many."""
    lines: list[str] = []
    rest = text[:_LONGEST]
    while rest and len(lines) <= _LINES:
        end = _fitting(rest, font, width)
        if end < len(rest):
            space = rest.rfind(" ", 1, end + 1)
            end = space if space > 0 else end
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return lines


def _fitting(text: str, font: Font, width: int) -> int:
    """Find how many characters fit into a width; at least one."""
    low, high = 1, len(text)
    while low < high:
        half = (low + high + 1) // 2
        if font.getlength(text[:half]) <= width:
            low = half
        else:
            high = half - 1
    return low
