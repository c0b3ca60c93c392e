"""
The few calls of Pillow whose types only a checker with numpy at hand can follow.

Sizes are width and height in pixels.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image

Colour = tuple[int, int, int]


def resize(image: Image.Image, size: tuple[int, int], *, smooth: bool = True) -> Image.Image:
    """Give an image in another size."""
    loose: Any = image
    return loose.resize(size, Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST)


def ramp(image: Image.Image, levels: Sequence[int]) -> Image.Image:
    """Replace each of the 256 levels of a grey image by another."""
    loose: Any = image
    return loose.point(list(levels))


def stack(colours: Sequence[Colour], width: int) -> Image.Image:
    """Make an image of rows that have one colour each."""
    column: Any = Image.new("RGB", (1, len(colours)))
    column.putdata(list(colours))
    return resize(column, (width, len(colours)), smooth=False)
