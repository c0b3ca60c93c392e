"""
A ledger with many orders and real, small images, written in one go.

As a program: `python filled_ledger.py STATE_FOLDER PICTURES_FOLDER COUNT [PAINTED [SUBJECT ...]]`.
"""

import json
import math
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import anyio
from PIL import Image, ImageDraw

from wan_mcp.clock import SystemClock
from wan_mcp.ledger import DAY, ImageState, Order, OrderImage, Origin, Stage
from wan_mcp.ledger.backends.sqlite import SqliteDatabase
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import TaskStatus

SUBJECTS = (
    "A small flower shop on a rainy evening, warm light in the windows",
    "A red fox in fresh snow, low winter sun",
    "An old lighthouse above a rough sea, seen from a boat",
    "A bowl of lemons on a blue cloth, painted in oil",
    "Стая журавлей над рекой на рассвете",
    "雨后的竹林小径，晨雾",
    "A quiet station at night, the last train leaving",
    "Hot-air balloons over terraced fields",
)
MODELS = ("wan2.6-t2i", "wan2.6-t2i", "wan2.7-image", "wan2.2-t2i-flash")
SIZES = ((320, 320), (384, 216), (216, 384), (360, 270))
_AGE = 600.0
"""Seconds since the newest order."""


def paint(path: Path, number: int, size: tuple[int, int]) -> int:
    """Paint hills under a sky, unlike those of any other number; give the bytes."""
    width, height = size
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    hue = (190 + number * 23 % 140) % 360
    for y in range(height):
        draw.line((0, y, width, y), fill=_colour(hue, 42, 84 - 34 * y // height))
    sun = (width * (20 + number * 13 % 60) // 100, height * (18 + number * 7 % 22) // 100)
    draw.circle(sun, min(size) // 9, fill=_colour(hue + 40, 60, 95))
    for layer in range(3):
        top = height * (52 + layer * 15) // 100
        steps = [step / 24 for step in range(25)]
        wave = [
            math.sin(step * (4 + layer * 3) + number + layer) + math.sin(step * 11 + number * 3) / 3 for step in steps
        ]
        points = [(width * step, top + height * swing / 14) for step, swing in zip(steps, wave, strict=True)]
        draw.polygon([(0, height), *points, (width, height)], fill=_colour(hue + 20, 30, 46 - layer * 13))
    image.save(path)
    return path.stat().st_size


def fill(
    state: Path, pictures: Path, count: int, *, now: float, painted: int | None = None, subjects=SUBJECTS
) -> int:
    """
    Write orders down until there are `count` images; give the number of orders.

    Some orders have two images, some failed, some were refused, one was cancelled. Of `painted` different images the
    others are copies.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    orders, made = [], 0
    while made < count:
        number = len(orders)
        images = 0 if number % 17 == 5 else min(2 if number % 9 == 4 else 1, count - made)
        orders.append(
            _order(number, images, pictures, now - _AGE - number * 2_400.0, painted=painted, subjects=subjects)
        )
        made += images
    anyio.run(_write, state / "ledger.sqlite3", orders)
    return len(orders)


async def _write(path: Path, orders) -> None:
    database = SqliteDatabase(path, SystemClock())
    await database.write(lambda tx: [insert_order(tx, order) for order in orders])
    await database.close()


def _order(number: int, count: int, pictures: Path, moment: float, *, painted: int | None, subjects) -> Order:
    size = SIZES[number % len(SIZES)]
    region = "sandbox" if number % 5 == 3 else "singapore"
    request = ImageRequest(
        model=MODELS[number % len(MODELS)],
        region=region,
        prompt=f"{subjects[number % len(subjects)]}, number {number}",
        size=f"{size[0] * 4}*{size[1] * 4}",
        n=max(1, count),
        seed=number if number % 2 else None,
        prompt_extend=True if number % 3 else None,
        negative_prompt="text, watermark, people" if number % 6 == 0 else None,
    )
    order = Order(
        local_id=f"local-{number:06}",
        task_id=f"00000000-0000-4000-8000-{number:012}",
        origin=Origin.ORDERED,
        region=region,
        account="account",
        model=request.model,
        wire_model=request.model,
        protocol="async",
        request=request,
        fingerprint=f"request {number}",
        images_ordered=request.n,
        folder=str(pictures),
        stage=Stage.CLOSED,
        status=TaskStatus.SUCCEEDED,
        created_at=moment,
        finished_at=moment + 12,
        expires_at=moment + DAY,
        delivered_at=moment + 13,
        actual_prompt=f"{request.prompt}. Fine detail, soft light, a calm mood." if number % 3 else None,
        images=tuple(_image(number, place, size, pictures, painted) for place in range(1, count + 1)),
    )
    return order if count else replace(order, **_ENDS[number // 17 % len(_ENDS)])


_ENDS = (
    {
        "status": TaskStatus.FAILED,
        "error_code": "DataInspectionFailed",
        "error_message": "The service's inspection refused the prompt. Say it in other words.",
    },
    {
        "status": TaskStatus.FAILED,
        "error_code": "InternalError",
        "error_message": "The service failed to make the picture. Order again in a while.",
    },
    {"status": TaskStatus.CANCELED},
    {
        "status": TaskStatus.SUBMIT_UNKNOWN,
        "error_code": "AnswerLost",
        "error_message": "The order was sent, its answer was lost, and the service's list does not have it.",
    },
)


def _image(number: int, place: int, size: tuple[int, int], pictures: Path, painted: int | None) -> OrderImage:
    path = pictures / f"20261122-picture-{number:06}-{place}.png"
    original = pictures / f"20261122-picture-{number % painted:06}-1.png" if painted else path
    if original != path and original.exists():
        path.hardlink_to(original)
        with Image.open(path) as image:
            size = image.size
    else:
        paint(path, number * 4 + place, size)
    return OrderImage(
        place, ImageState.SAVED, path=str(path), width=size[0], height=size[1], bytes=path.stat().st_size
    )


def _colour(hue: int, saturation: int, light: int) -> str:
    return f"hsl({hue % 360}, {saturation}%, {light}%)"


if __name__ == "__main__":
    state, pictures, count, *rest = sys.argv[1:]
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    orders = fill(
        Path(state),
        Path(pictures),
        int(count),
        # Soon after midnight too the newest order is of this day.
        now=max(time.time(), midnight + _AGE),
        painted=int(rest[0]) if rest else None,
        subjects=rest[1:] or SUBJECTS,
    )
    print(json.dumps({"orders": orders}))
