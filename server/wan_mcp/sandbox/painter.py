"""Pictures, painted from what was ordered: the same order gives the same picture."""

import threading
from dataclasses import dataclass
from functools import lru_cache

_AT_ONCE = threading.BoundedSemaphore(2)
"""A picture of 4096 by 4096 pixels needs some 300 MB while it is painted."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is on a picture; sizes in pixels."""

    prompt: str
    width: int
    height: int
    seed: int
    watermark: bool = False


def paint(picture: Picture) -> bytes:
    """Paint a picture as PNG. It takes long: call it in a thread."""
    with _AT_ONCE:
        return _paint(picture)


@lru_cache(maxsize=8)
def _paint(picture: Picture) -> bytes:
    # Pillow is loaded only when there is something to paint.
    from wan_mcp.sandbox.lettering import letter  # noqa: PLC0415
    from wan_mcp.sandbox.scenery import draw_scenery, encode  # noqa: PLC0415

    image = draw_scenery(picture)
    letter(image, picture)
    return encode(image)
