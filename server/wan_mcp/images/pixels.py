"""
Decoded pictures, whatever is made of them: a mode that can be worked on, and no transparency.

Pillow is imported where a function is called, in the thread that has a picture decoded already.
"""

import sys
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_OPAQUE = 255


def simplify(image: "Image", *, kept: Collection[str] = ("L", "RGB"), grey: Collection[str] = ()) -> "Image":
    """
    Leave a mode that can be shrunk well: RGBA for what is transparent, else one of those that are `kept`, or RGB.

    The modes in `grey` become L.
    """
    if image.mode.startswith("I;16"):
        # Sixteen bits of grey: the upper eight are what can be seen.
        wide = image.convert("I")
        return wide.point(lambda value: value * (1 / 256)).convert("L")  # pyright: ignore[reportUnknownMemberType] - NumPy
    if image.has_transparency_data:
        # Converting what needs no conversion takes as much room again.
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in grey:
        return image.convert("L")
    return image if image.mode in kept else image.convert("RGB")


def put_on_white(image: "Image") -> tuple["Image", bool]:
    """Give an RGBA picture without its transparency, and say whether anything could be seen through."""
    import PIL.Image  # noqa: PLC0415 - costs start-up time that only a picture should pay

    alpha = image.getchannel("A")
    background = PIL.Image.new("RGB", image.size, "white")
    background.paste(image, mask=alpha)
    darkest, _ = alpha.getextrema()
    return background, darkest != _OPAQUE


def return_free_memory() -> None:
    """
    Give back to the system what a picture has used in a thread; each thread of Linux' C library keeps its own.

    Elsewhere that goes by itself.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only here is it of use

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
