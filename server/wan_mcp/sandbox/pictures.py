"""
Pictures, painted from what was ordered: the same order gives the same picture.

A landscape that differs for every prompt and seed, SANDBOX across it, the prompt below, a watermark if ordered. What
came as input lies on it, framed and counted, over a soft copy of the last one; a transparent picture is cut out.
Pillow is loaded with this module: import it only when there is something to paint.
"""

import hashlib
import io
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFilter, features

from wan_mcp.sandbox.fonts import Font, choose_font, make_readable, open_font
from wan_mcp.sandbox.inputs import InputPicture

Colour = tuple[int, int, int]

_AT_ONCE = threading.BoundedSemaphore(2)
"""A picture of 4096 by 4096 pixels needs some 300 MB while it is painted."""
# From the top of the sky to the horizon, then the light of the sun, the farthest and the nearest hill.
_PALETTES: tuple[tuple[Colour, Colour, Colour, Colour, Colour, Colour], ...] = (
    ((38, 48, 92), (158, 96, 138), (250, 178, 128), (255, 226, 170), (186, 128, 150), (34, 28, 58)),
    ((70, 130, 180), (150, 196, 216), (250, 232, 200), (255, 250, 226), (140, 178, 190), (22, 58, 66)),
    ((24, 34, 68), (46, 86, 130), (128, 172, 190), (240, 246, 230), (92, 134, 160), (10, 22, 44)),
    ((92, 62, 120), (214, 120, 130), (255, 200, 140), (255, 238, 190), (204, 130, 122), (64, 30, 56)),
    ((44, 96, 104), (126, 178, 158), (238, 226, 168), (255, 248, 208), (128, 166, 140), (20, 52, 46)),
    ((52, 60, 110), (122, 128, 190), (232, 196, 214), (255, 236, 240), (146, 140, 184), (36, 34, 76)),
)
_HILL_ROWS = 5
_WHITE = (255, 255, 255)
_LINES = 5
_LONGEST = 600
"""Characters of the prompt; more never fit."""
_LINE_HEIGHT = 1.32
_TILE = (120, 124, 134)
_MOST_COLUMNS = 5
_LEAST_NUMBER = 9
"""Pixels: smaller numbers cannot be read."""
_STRIP = (0.07, 0.70)
"""From where to where the inputs lie, in heights of the picture."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is on a picture; sizes in pixels. `inputs` are the pictures that it was made from."""

    prompt: str
    width: int
    height: int
    seed: int
    watermark: bool = False
    inputs: tuple[InputPicture, ...] = ()
    transparent: bool = False


def paint(picture: Picture) -> bytes:
    """Paint a picture as PNG. It takes long: call it in a thread."""
    with _AT_ONCE:
        return _paint(picture)


@lru_cache(maxsize=8)
def _paint(picture: Picture) -> bytes:
    image = _draw_landscape(picture)
    if picture.inputs:
        _lay_inputs(image, picture.inputs)
    # Without a font engine the picture stays without words.
    if features.check("freetype2"):
        _write_across(image, "SANDBOX")
        # What is cut out has round corners, and the words stay inside of them.
        _write_prompt(image, picture.prompt, margin_share=0.115 if picture.transparent else 0.055)
        if picture.watermark:
            _write_watermark(image)
    if picture.transparent:
        image.putalpha(_cut_out(image.size))
    buffer = io.BytesIO()
    # Quickly rather than small.
    image.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def _draw_landscape(picture: Picture) -> Image.Image:
    """Draw hills behind hills under a low sun, in the size of the picture."""
    digest = hashlib.sha256(f"{picture.seed}\n{picture.prompt}".encode()).digest()
    # The same seed must give the same hills; nothing secret hangs on it.
    rng = Random(digest)  # noqa: S311
    top, middle, horizon, light, far, near = rng.choice(_PALETTES)
    size = (picture.width, picture.height)
    image = _gradient(size, [top, middle, horizon, horizon], [0.0, 0.38, 0.68, 1.0])
    _draw_sun(image, light, rng)
    for row in range(_HILL_ROWS):
        depth = row / (_HILL_ROWS - 1)
        _draw_hills(image, _mix(far, near, depth), _mix(horizon, far, depth), depth, rng)
    return image


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _gradient(size: tuple[int, int], colours: Sequence[Colour], stops: Sequence[float]) -> Image.Image:
    """Fill a size from top to bottom with colours at their stops, the first at 0 and the last at 1."""
    width, height = size
    pixels: list[Colour] = []
    for row in range(height):
        place = row / max(height - 1, 1)
        index = max(k for k in range(len(stops) - 1) if stops[k] <= place)
        share = (place - stops[index]) / (stops[index + 1] - stops[index])
        pixels.append(_mix(colours[index], colours[index + 1], share))
    return _stack(pixels, width)


def _draw_sun(image: Image.Image, light: Colour, rng: Random) -> None:
    """Put the sun into the sky, with the glow around it."""
    width, height = image.size
    side = min(width, height)
    x, y = round(width * rng.uniform(0.24, 0.76)), round(height * rng.uniform(0.26, 0.44))
    glow = _map_levels(Image.radial_gradient("L"), [round(150 * max(0.0, 1 - v / 180) ** 2) for v in range(256)])
    reach = round(side * 0.62)
    image.paste(light, (x - reach, y - reach), _resize(glow, (2 * reach, 2 * reach)))
    radius = max(round(side * rng.uniform(0.055, 0.085)), 2)
    disc = Image.new("L", (8 * radius, 8 * radius))
    ImageDraw.Draw(disc).ellipse((radius, radius, 7 * radius, 7 * radius), fill=235)
    image.paste(_mix(light, (255, 255, 255), 0.5), (x - radius, y - radius), disc.reduce(4))


def _draw_hills(image: Image.Image, colour: Colour, mist: Colour, depth: float, rng: Random) -> None:
    """Draw one row of hills; the far ones stand high and pale, their feet in the mist."""
    width, height = image.size
    crest = height * (0.50 + 0.33 * depth)
    swing = min(height, 1.2 * width) * (0.075 + 0.035 * depth)
    waves = [
        (swing * strength, rng.uniform(*turns) * math.tau, rng.uniform(0, math.tau))
        for strength, turns in ((0.55, (0.5, 1.2)), (0.3, (1.6, 3.2)), (0.13, (4.5, 8.0)), (0.05, (14.0, 26.0)))
    ]
    top = max(math.floor(crest - 1.1 * swing), 0)
    # Twice the size, reduced again: smooth edges.
    mask = Image.new("L", (2 * width, 2 * (height - top)))
    line = [
        (2 * x, 2 * (crest + sum(a * math.sin(turn * x / width + shift) for a, turn, shift in waves) - top))
        for x in range(0, width + 4, 4)
    ]
    ImageDraw.Draw(mask).polygon([*line, (2 * width + 8, mask.height), (0, mask.height)], fill=255)
    body = _gradient((width, height - top), [colour, _mix(colour, mist, 0.45 * (1 - depth))], [0.0, 1.0])
    image.paste(body, (0, top), mask.reduce(2))


def _lay_inputs(image: Image.Image, inputs: Sequence[InputPicture]) -> None:
    """Lay the inputs side by side onto a picture that takes its mood from the last of them."""
    width, height = image.size
    thumbnails = [_open_thumbnail(each) for each in inputs]
    if inputs[-1].thumbnail:
        soft = _resize(thumbnails[-1], (64, 64)).filter(ImageFilter.GaussianBlur(3))
        # Half of it: the seed still gives every picture colours of its own.
        image.paste(_resize(soft, image.size), (0, 0), Image.new("L", image.size, 150))
    columns = min(len(inputs), _MOST_COLUMNS)
    rows = -(-len(inputs) // columns)
    top, bottom = (round(share * height) for share in _STRIP)
    cell_width, cell_height = width * 0.88 / columns, (bottom - top) / rows
    for place, thumbnail in enumerate(thumbnails):
        row, column = divmod(place, columns)
        in_row = min(columns, len(inputs) - row * columns)
        x = width / 2 + (column - (in_row - 1) / 2) * cell_width
        y = top + (row + 0.5) * cell_height
        room = (round(cell_width * 0.86), round(cell_height * 0.86))
        _lay_framed(image, thumbnail, (round(x), round(y)), room, str(place + 1))


def _open_thumbnail(picture: InputPicture) -> Image.Image:
    """Give the small copy of an input, or a grey tile that says where it is."""
    if picture.thumbnail:
        with Image.open(io.BytesIO(picture.thumbnail), formats=["JPEG"]) as image:
            return image.convert("RGB")
    tile = Image.new("RGB", (320, 240), _TILE)
    if features.check("freetype2"):
        lines, font, step = _fit(make_readable(picture.label), 280, 30)
        for row, line in enumerate(lines):
            y = 120 + (row - len(lines) / 2 + 0.5) * step
            ImageDraw.Draw(tile).text((160, y), line, fill=(244, 244, 246), font=font, anchor="mm")
    return tile


def _lay_framed(
    image: Image.Image, thumbnail: Image.Image, centre: tuple[int, int], room: tuple[int, int], number: str
) -> None:
    """Lay one input with a white frame into a room of pixels, its number in the corner."""
    scale = min(room[0] / thumbnail.width, room[1] / thumbnail.height)
    size = (max(round(thumbnail.width * scale), 1), max(round(thumbnail.height * scale), 1))
    frame = max(round(min(size) * 0.03), 1)
    left, top = centre[0] - size[0] // 2, centre[1] - size[1] // 2
    draw = ImageDraw.Draw(image)
    draw.rectangle((left - frame, top - frame, left + size[0] + frame - 1, top + size[1] + frame - 1), fill=_WHITE)
    image.paste(_resize(thumbnail, size), (left, top))
    side = round(min(size) * 0.17)
    if features.check("freetype2") and side >= _LEAST_NUMBER:
        draw.rectangle((left, top, left + side, top + side), fill=_WHITE)
        font = open_font(None, side * 0.8)
        draw.text((left + side / 2, top + side / 2), number, fill=(30, 32, 44), font=font, anchor="mm")


def _cut_out(size: tuple[int, int]) -> Image.Image:
    """Give the alpha channel of a picture without its ground: a sheet with round corners."""
    width, height = size
    inset = round(min(size) * 0.05)
    # Twice the size, reduced again: smooth edges.
    mask = Image.new("L", (2 * width, 2 * height))
    box = (2 * inset, 2 * inset, 2 * (width - inset), 2 * (height - inset))
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=round(min(size) * 0.18), fill=255)
    return mask.reduce(2)


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


def _write_prompt(image: Image.Image, prompt: str, *, margin_share: float) -> None:
    """Write the prompt into the lower part, over a shade that keeps it readable."""
    width, height = image.size
    margin = round(min(width, height) * margin_share)
    largest = max(min(width, height) / 19, 11)
    lines, font, step = _fit(make_readable(prompt), width - 2 * margin, largest)
    shade_height = min(round(len(lines) * step + 3.2 * margin), height)
    shade = _map_levels(Image.linear_gradient("L"), [round(v * 0.66) for v in range(256)])
    image.paste((8, 10, 22), (0, height - shade_height), _resize(shade, (width, shade_height)))
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
        end = _count_fitting(rest, font, width)
        if end < len(rest):
            space = rest.rfind(" ", 1, end + 1)
            end = space if space > 0 else end
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return lines


def _count_fitting(text: str, font: Font, width: int) -> int:
    """Find how many characters fit into a width; at least one."""
    low, high = 1, len(text)
    while low < high:
        half = (low + high + 1) // 2
        if font.getlength(text[:half]) <= width:
            low = half
        else:
            high = half - 1
    return low


# The next three are the calls of Pillow whose types only a checker with numpy at hand can follow.


def _resize(image: Image.Image, size: tuple[int, int], *, smooth: bool = True) -> Image.Image:
    """Give an image in another size: width and height in pixels."""
    loose: Any = image
    return loose.resize(size, Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST)


def _map_levels(image: Image.Image, levels: Sequence[int]) -> Image.Image:
    """Replace each of the 256 levels of a grey image by another."""
    loose: Any = image
    return loose.point(list(levels))


def _stack(colours: Sequence[Colour], width: int) -> Image.Image:
    """Make an image of rows that have one colour each."""
    column: Any = Image.new("RGB", (1, len(colours)))
    column.putdata(list(colours))
    return _resize(column, (width, len(colours)), smooth=False)
