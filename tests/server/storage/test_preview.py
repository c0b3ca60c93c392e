"""A picture small enough for a model."""

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError


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
async def test_a_preview_of_a_large_noisy_picture_stays_within_both_bounds(gallery, put, paint, form, size):
    preview = await gallery.preview(put(paint(form, size, noisy=True)))

    image = opened(preview)
    assert preview.mime_type == "image/jpeg"
    assert image.format == "JPEG"
    assert image.mode == "RGB"
    assert len(preview.data) <= 500_000
    assert max(image.size) <= 1024
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.01)


async def test_a_plain_picture_is_shown_at_the_longest_side(gallery, put, paint):
    assert opened(await gallery.preview(put(paint(size=(2048, 1024))))).size == (1024, 512)
    assert opened(await gallery.preview(put(paint(size=(300, 200))))).size == (300, 200)
    assert opened(await gallery.preview(put(paint(size=(300, 200))), max_side=64)).size == (64, 43)
    assert opened(await gallery.preview(put(paint(size=(4000, 1))))).size == (1024, 1)


async def test_a_preview_shrinks_until_it_fits(gallery, put, paint):
    preview = await gallery.preview(put(paint(size=(1024, 1024), noisy=True)), max_bytes=20_000)

    assert len(preview.data) <= 20_000
    assert max(opened(preview).size) < 1024


async def test_a_bound_that_nothing_fits_is_refused(gallery, put, paint):
    with pytest.raises(RequestRefusedError, match="100 bytes"):
        await gallery.preview(put(paint()), max_bytes=100)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
async def test_transparent_parts_become_white(gallery, put, mode):
    buffer = BytesIO()
    Image.new(mode, (50, 50), 0).save(buffer, "PNG")

    assert opened(await gallery.preview(put(buffer.getvalue()))).getpixel((25, 25)) == (255, 255, 255)


async def test_a_transparent_colour_of_a_palette_becomes_white(gallery, put):
    buffer = BytesIO()
    Image.new("P", (50, 50), 0).save(buffer, "PNG", transparency=0)

    assert opened(await gallery.preview(put(buffer.getvalue()))).getpixel((25, 25)) == (255, 255, 255)


async def test_sixteen_bits_of_grey_keep_their_brightness(gallery, put):
    buffer = BytesIO()
    Image.new("I;16", (50, 50), 0x8000).save(buffer, "PNG")

    red, green, blue = opened(await gallery.preview(put(buffer.getvalue()))).getpixel((25, 25))
    assert red == green == blue
    assert abs(red - 128) <= 2


async def test_four_inks_become_three_colours(gallery, put, paint):
    assert opened(await gallery.preview(put(paint("JPEG", mode="CMYK")))).mode == "RGB"


async def test_a_picture_held_sideways_is_turned(gallery, put, paint):
    exif = Image.Exif()
    exif[0x0112] = 6

    assert opened(await gallery.preview(put(paint("JPEG", (60, 40), exif=exif)))).size == (40, 60)


async def test_a_small_file_that_claims_a_huge_picture_is_refused_unopened(gallery, put, claimed_png):
    with pytest.raises(RequestRefusedError, match="too many"):
        await gallery.preview(put(claimed_png(20_000, 20_000)))


async def test_a_file_that_is_no_complete_picture_is_refused(gallery, put, paint, claimed_png):
    for data in (b"", b"text", paint()[:-1], claimed_png(300, 300)):
        with pytest.raises(RequestRefusedError) as refusal:
            await gallery.preview(put(data))
        assert refusal.value.code == "NotAnImage"
        assert not refusal.value.retryable


async def test_a_missing_file_is_not_found(gallery, pictures):
    with pytest.raises(NotFoundError):
        await gallery.preview(pictures / "nothing.png")


def test_pillow_is_not_imported_before_a_picture_is_drawn():
    program = "import sys, wan_mcp.storage; sys.exit(any(name.split('.')[0] == 'PIL' for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0
