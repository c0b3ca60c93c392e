"""What is painted."""

import io
import time

import pytest
from PIL import Image, ImageChops

from wan_mcp.sandbox.pictures import Picture, paint


def test_the_prompt_and_the_watermark_are_written_on_the_picture():
    def difference(first, second):
        pictures = [Image.open(io.BytesIO(paint(picture))) for picture in (first, second)]
        return ImageChops.difference(*pictures).getbbox()

    plain = Picture("a", 600, 600, 5)
    assert difference(plain, Picture("a", 600, 600, 5)) is None
    left, top, right, bottom = difference(plain, Picture("a", 600, 600, 5, watermark=True))
    assert left > 400
    assert top > 540
    assert max(right, bottom) <= 600


@pytest.mark.parametrize(
    "prompt", ["Ein Café am Straßenrand", "一间花店", "🏪🌸", "word " * 500, "x" * 3000, "\u200b\u0301", "\x00\x07"]
)
def test_any_prompt_can_be_painted(prompt):
    image = Image.open(io.BytesIO(paint(Picture(prompt, 512, 640, 1))))
    image.load()
    assert image.size == (512, 640)


def test_a_picture_is_painted_quickly():
    before = time.thread_time()
    paint(Picture("a prompt that nobody painted before", 1280, 1280, 99))
    # About 0.1 s of the processor.
    assert time.thread_time() - before < 2
