"""An image small enough for a model or a page."""

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from wan_mcp.images.previews import draw_preview
from wan_mcp_tools.domain.errors import RequestRefusedError


def opened(drawn):
    image = Image.open(BytesIO(drawn.data))
    image.load()
    return image


def preview(data, *, max_side=1024, max_bytes=500_000):
    return draw_preview(data, "picture", max_side=max_side, max_bytes=max_bytes)


@pytest.mark.parametrize(("form", "size"), [("PNG", (1400, 1050)), ("JPEG", (3000, 1000)), ("WEBP", (700, 1400))])
def test_a_preview_of_a_large_noisy_picture_stays_within_both_bounds(paint, form, size):
    drawn = preview(paint(form, size, noisy=True))

    image = opened(drawn)
    assert drawn.mime_type == "image/jpeg"
    assert image.format == "JPEG"
    assert image.mode == "RGB"
    assert len(drawn.data) <= 500_000
    assert max(image.size) <= 1024
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.01)


def test_a_plain_picture_is_shown_at_the_longest_side(paint):
    assert opened(preview(paint(size=(2048, 1024)))).size == (1024, 512)
    assert opened(preview(paint(size=(300, 200)))).size == (300, 200)
    assert opened(preview(paint(size=(300, 200)), max_side=64)).size == (64, 43)
    assert opened(preview(paint(size=(4000, 1)))).size == (1024, 1)


def test_a_preview_shrinks_until_it_fits(paint):
    drawn = preview(paint(size=(600, 600), noisy=True), max_bytes=20_000)

    assert len(drawn.data) <= 20_000
    assert max(opened(drawn).size) < 600


def test_a_bound_that_nothing_fits_is_refused(paint):
    with pytest.raises(RequestRefusedError, match="100 bytes"):
        preview(paint(), max_bytes=100)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(mode):
    buffer = BytesIO()
    Image.new(mode, (50, 50), 0).save(buffer, "PNG")

    assert opened(preview(buffer.getvalue())).getpixel((25, 25)) == (255, 255, 255)


def test_a_transparent_colour_of_a_palette_becomes_white():
    buffer = BytesIO()
    Image.new("P", (50, 50), 0).save(buffer, "PNG", transparency=0)

    assert opened(preview(buffer.getvalue())).getpixel((25, 25)) == (255, 255, 255)


def test_sixteen_bits_of_grey_keep_their_brightness():
    buffer = BytesIO()
    Image.new("I;16", (50, 50), 0x8000).save(buffer, "PNG")

    red, green, blue = opened(preview(buffer.getvalue())).getpixel((25, 25))
    assert red == green == blue
    assert abs(red - 128) <= 2


def test_four_inks_become_three_colours(paint):
    assert opened(preview(paint("JPEG", mode="CMYK"))).mode == "RGB"


def test_a_picture_held_sideways_is_turned(paint):
    exif = Image.Exif()
    exif[0x0112] = 6

    assert opened(preview(paint("JPEG", (60, 40), exif=exif))).size == (40, 60)


def test_a_small_file_that_claims_a_huge_picture_is_refused_unopened(claimed_png):
    with pytest.raises(RequestRefusedError, match="too many"):
        preview(claimed_png(20_000, 20_000))


def test_a_file_that_is_no_complete_picture_is_refused(paint, claimed_png):
    for data in (b"", b"text", paint()[:-1], claimed_png(300, 300)):
        with pytest.raises(RequestRefusedError) as refusal:
            preview(data)
        assert refusal.value.code == "NotAnImage"
        assert not refusal.value.retryable


def test_pillow_is_not_imported_before_a_picture_is_drawn():
    program = "import sys, wan_mcp.images.previews, wan_mcp.storage; sys.exit(any(name.split('.')[0] == 'PIL' for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=45).returncode == 0
