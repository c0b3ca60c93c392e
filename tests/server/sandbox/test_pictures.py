"""What is painted."""

import io
import time

import pytest
from PIL import Image, ImageChops

from wan_mcp.sandbox.inputs import InputPicture, inspect_file
from wan_mcp.sandbox.pictures import Picture, paint


def open_painted(picture):
    return Image.open(io.BytesIO(paint(picture)))


def make_input(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (600, 400), colour).save(buffer, "PNG")
    return inspect_file(io.BytesIO(buffer.getvalue()), buffer.tell())


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


def test_the_inputs_are_seen_on_the_picture_in_their_order():
    red, blue = make_input((230, 20, 20)), make_input((20, 20, 230))
    image = open_painted(Picture("a blue door", 900, 600, 1, inputs=(red, blue)))
    # Where the word across the picture does not run.
    left, right = image.getpixel((170, 190)), image.getpixel((780, 270))
    assert (left[0] > 180, left[2] < 120) == (True, True)
    assert (right[2] > 180, right[0] < 120) == (True, True)


@pytest.mark.parametrize("count", [1, 3, 6, 10])
@pytest.mark.parametrize("size", [(512, 512), (1024, 256), (256, 1024)])
def test_any_number_of_inputs_can_be_shown_whether_they_were_fetched_or_not(count, size):
    inputs = tuple(
        InputPicture(f"images-{place}.example.com") if place % 2 else make_input((9, 90, 90))
        for place in range(count)
    )
    assert open_painted(Picture("a group", *size, 1, inputs=inputs)).size == size


def test_the_same_order_with_other_inputs_gives_another_picture():
    first, second = (Picture("a", 512, 512, 1, inputs=(make_input(colour),)) for colour in ((1, 2, 3), (200, 99, 1)))
    assert paint(first) != paint(second)
    assert paint(first) == paint(first)


def test_a_transparent_picture_is_clear_around_its_middle():
    image = open_painted(Picture("a logo", 600, 400, 1, transparent=True))
    assert image.mode == "RGBA"
    assert [image.getpixel(place)[3] for place in ((0, 0), (599, 399), (300, 200))] == [0, 0, 255]
    assert open_painted(Picture("a logo", 600, 400, 1)).mode == "RGB"
