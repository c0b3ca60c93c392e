"""The background of a picture: hills behind hills under a low sun, different for every prompt and seed."""

import hashlib
import io
import math
from collections.abc import Sequence
from random import Random

from PIL import Image, ImageDraw

from wan_mcp.sandbox.painter import Picture
from wan_mcp.sandbox.pixels import Colour, ramp, resize, stack

# From the top of the sky to the horizon, then the light of the sun, the farthest and the nearest hill.
_PALETTES: tuple[tuple[Colour, Colour, Colour, Colour, Colour, Colour], ...] = (
    ((38, 48, 92), (158, 96, 138), (250, 178, 128), (255, 226, 170), (186, 128, 150), (34, 28, 58)),
    ((70, 130, 180), (150, 196, 216), (250, 232, 200), (255, 250, 226), (140, 178, 190), (22, 58, 66)),
    ((24, 34, 68), (46, 86, 130), (128, 172, 190), (240, 246, 230), (92, 134, 160), (10, 22, 44)),
    ((92, 62, 120), (214, 120, 130), (255, 200, 140), (255, 238, 190), (204, 130, 122), (64, 30, 56)),
    ((44, 96, 104), (126, 178, 158), (238, 226, 168), (255, 248, 208), (128, 166, 140), (20, 52, 46)),
    ((52, 60, 110), (122, 128, 190), (232, 196, 214), (255, 236, 240), (146, 140, 184), (36, 34, 76)),
)
_LAYERS = 5


def draw_scenery(picture: Picture) -> Image.Image:
    """Draw the background in the size of the picture."""
    digest = hashlib.sha256(f"{picture.seed}\n{picture.prompt}".encode()).digest()
    # The same seed must give the same hills; nothing secret hangs on it.
    dice = Random(digest)  # noqa: S311
    top, middle, horizon, light, far, near = dice.choice(_PALETTES)
    size = (picture.width, picture.height)
    image = _gradient(size, [top, middle, horizon, horizon], [0.0, 0.38, 0.68, 1.0])
    _shine(image, light, dice)
    for layer in range(_LAYERS):
        depth = layer / (_LAYERS - 1)
        _raise_hills(image, _mix(far, near, depth), _mix(horizon, far, depth), depth, dice)
    return image


def encode(image: Image.Image) -> bytes:
    """Turn a picture into PNG, quickly rather than small."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


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
    return stack(pixels, width)


def _shine(image: Image.Image, light: Colour, dice: Random) -> None:
    """Put the sun into the sky, with the glow around it."""
    width, height = image.size
    side = min(width, height)
    x, y = round(width * dice.uniform(0.24, 0.76)), round(height * dice.uniform(0.26, 0.44))
    glow = ramp(Image.radial_gradient("L"), [round(150 * max(0.0, 1 - v / 180) ** 2) for v in range(256)])
    reach = round(side * 0.62)
    image.paste(light, (x - reach, y - reach), resize(glow, (2 * reach, 2 * reach)))
    radius = max(round(side * dice.uniform(0.055, 0.085)), 2)
    disc = Image.new("L", (8 * radius, 8 * radius))
    ImageDraw.Draw(disc).ellipse((radius, radius, 7 * radius, 7 * radius), fill=235)
    image.paste(_mix(light, (255, 255, 255), 0.5), (x - radius, y - radius), disc.reduce(4))


def _raise_hills(image: Image.Image, colour: Colour, mist: Colour, depth: float, dice: Random) -> None:
    """Raise one row of hills; the far ones stand high and pale, their feet in the mist."""
    width, height = image.size
    crest = height * (0.50 + 0.33 * depth)
    swing = min(height, 1.2 * width) * (0.075 + 0.035 * depth)
    waves = [
        (swing * strength, dice.uniform(*turns) * math.tau, dice.uniform(0, math.tau))
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
