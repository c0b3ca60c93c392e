"""An image small enough for a model, and thumbnails that are kept."""

import os
import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from wan_mcp.storage.previews import ThumbnailCache
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview


def opened(preview):
    image = Image.open(BytesIO(preview.data))
    image.load()
    return image


@pytest.fixture
def put(pictures):
    def write(data, name="picture"):
        path = pictures / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize(("form", "size"), [("PNG", (2048, 1536)), ("JPEG", (3000, 1000)), ("WEBP", (700, 1400))])
async def test_a_preview_of_a_large_noisy_picture_stays_within_both_bounds(storage, put, paint, form, size):
    preview = await storage.preview(put(paint(form, size, noisy=True)))

    image = opened(preview)
    assert preview.mime_type == "image/jpeg"
    assert image.format == "JPEG"
    assert image.mode == "RGB"
    assert len(preview.data) <= 500_000
    assert max(image.size) <= 1024
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.01)


async def test_a_plain_picture_is_shown_at_the_longest_side(storage, put, paint):
    assert opened(await storage.preview(put(paint(size=(2048, 1024))))).size == (1024, 512)
    assert opened(await storage.preview(put(paint(size=(300, 200))))).size == (300, 200)
    assert opened(await storage.preview(put(paint(size=(300, 200))), max_side=64)).size == (64, 43)
    assert opened(await storage.preview(put(paint(size=(4000, 1))))).size == (1024, 1)


async def test_a_preview_shrinks_until_it_fits(storage, put, paint):
    preview = await storage.preview(put(paint(size=(1024, 1024), noisy=True)), max_bytes=20_000)

    assert len(preview.data) <= 20_000
    assert max(opened(preview).size) < 1024


async def test_a_bound_that_nothing_fits_is_refused(storage, put, paint):
    with pytest.raises(RequestRefusedError, match="100 bytes"):
        await storage.preview(put(paint()), max_bytes=100)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
async def test_transparent_parts_become_white(storage, put, mode):
    buffer = BytesIO()
    Image.new(mode, (50, 50), 0).save(buffer, "PNG")

    assert opened(await storage.preview(put(buffer.getvalue()))).getpixel((25, 25)) == (255, 255, 255)


async def test_a_transparent_colour_of_a_palette_becomes_white(storage, put):
    buffer = BytesIO()
    Image.new("P", (50, 50), 0).save(buffer, "PNG", transparency=0)

    assert opened(await storage.preview(put(buffer.getvalue()))).getpixel((25, 25)) == (255, 255, 255)


async def test_sixteen_bits_of_grey_keep_their_brightness(storage, put):
    buffer = BytesIO()
    Image.new("I;16", (50, 50), 0x8000).save(buffer, "PNG")

    red, green, blue = opened(await storage.preview(put(buffer.getvalue()))).getpixel((25, 25))
    assert red == green == blue
    assert abs(red - 128) <= 2


async def test_four_inks_become_three_colours(storage, put, paint):
    assert opened(await storage.preview(put(paint("JPEG", mode="CMYK")))).mode == "RGB"


async def test_a_picture_held_sideways_is_turned(storage, put, paint):
    exif = Image.Exif()
    exif[0x0112] = 6

    assert opened(await storage.preview(put(paint("JPEG", (60, 40), exif=exif)))).size == (40, 60)


async def test_a_small_file_that_claims_a_huge_picture_is_refused_unopened(storage, put, claimed_png):
    with pytest.raises(RequestRefusedError, match="too many"):
        await storage.preview(put(claimed_png(20_000, 20_000)))


async def test_a_file_that_is_no_complete_picture_is_refused(storage, put, paint, claimed_png):
    for data in (b"", b"text", paint()[:-1], claimed_png(300, 300)):
        with pytest.raises(RequestRefusedError) as refusal:
            await storage.preview(put(data))
        assert refusal.value.code == "NotAnImage"
        assert not refusal.value.retryable


async def test_a_missing_file_is_not_found(storage, pictures):
    with pytest.raises(NotFoundError):
        await storage.preview(pictures / "nothing.png")


def test_pillow_is_not_imported_before_a_picture_is_drawn():
    program = "import sys, wan_mcp.storage; sys.exit(any(name.split('.')[0] == 'PIL' for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=45).returncode == 0


class Painter:
    """Draws a different picture every time, of `size` bytes."""

    def __init__(self, size=10):
        self.drawn = 0
        self.size = size

    async def __call__(self):
        self.drawn += 1
        return Preview(bytes([self.drawn]) * self.size, "image/jpeg")


VERSION = "picture.png 1"


async def test_a_file_is_drawn_once_for_each_size_also_for_the_next_process(tmp_path):
    draw = Painter()
    first = await ThumbnailCache(tmp_path / "thumbnails").fetch(VERSION, 100, draw)
    again = await ThumbnailCache(tmp_path / "thumbnails").fetch(VERSION, 100, draw)
    larger = await ThumbnailCache(tmp_path / "thumbnails").fetch(VERSION, 200, draw)

    assert first == again != larger
    assert draw.drawn == 2


async def test_a_file_that_has_changed_is_drawn_anew(tmp_path):
    draw, cache = Painter(), ThumbnailCache(tmp_path / "thumbnails")
    await cache.fetch(VERSION, 100, draw)
    await cache.fetch("picture.png 2", 100, draw)

    assert draw.drawn == 2


async def test_the_oldest_go_when_there_is_no_room(tmp_path):
    folder = tmp_path / "thumbnails"
    folder.mkdir()
    for age in range(10):
        old = folder / f"{age}.jpg"
        old.write_bytes(b"x" * 100)
        os.utime(old, (1_000 - age, 1_000 - age))
    await ThumbnailCache(folder, most_bytes=500).fetch(VERSION, 100, Painter())

    left = {path.name for path in folder.iterdir()}
    assert {"0.jpg", "1.jpg", "2.jpg"} <= left
    assert len(left) == 4


async def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    (tmp_path / "thumbnails").write_text("a file in the way")
    draw, cache = Painter(), ThumbnailCache(tmp_path / "thumbnails")
    first = await cache.fetch(VERSION, 100, draw)
    second = await cache.fetch(VERSION, 100, draw)

    assert (first.data[0], second.data[0], draw.drawn) == (1, 2, 2)
