"""Whether an image is whole."""

import struct
import warnings
import zlib
from hashlib import sha256
from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wan_mcp.images.check import ImageCheck, inspect_image
from wan_mcp.images.previews import draw_preview
from wan_mcp_tools.domain.errors import NotAnImageError

MOVING = {"save_all": True, "append_images": [Image.new("RGB", (61, 47), "white")]}
FORMS = [
    ("PNG", {}),
    ("PNG", {"mode": "LA"}),
    ("PNG", {"mode": "P"}),
    ("PNG", MOVING),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"mode": "L"}),
    ("JPEG", {"mode": "CMYK"}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"mode": "RGBA"}),
    ("WEBP", MOVING),
]
ENDINGS = {"PNG": (".png", "image/png"), "JPEG": (".jpg", "image/jpeg"), "WEBP": (".webp", "image/webp")}
PAINTED = {}


@pytest.fixture(name="paint")
def _paint_once(paint):
    """Paint each picture once: many a property is tried with sixty examples of one."""

    def paint_once(*positional, **named):
        wanted = repr((positional, named))
        if wanted not in PAINTED:
            PAINTED[wanted] = paint(*positional, **named)
        return PAINTED[wanted]

    return paint_once


@pytest.mark.parametrize(("form", "options"), FORMS)
def test_a_complete_picture_is_known_by_its_bytes(paint, form, options):
    data = paint(form, (61, 47), noisy=True, **options)

    facts = inspect_image(data)

    assert (facts.extension, facts.mime_type) == ENDINGS[form]
    assert (facts.width, facts.height, facts.bytes) == (61, 47, len(data))
    assert facts.sha256 == sha256(data).hexdigest()


@pytest.mark.parametrize(("form", "options"), FORMS)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_picture_cut_anywhere_is_refused(paint, form, options, share):
    data = paint(form, (61, 47), noisy=True, **options)

    with pytest.raises(NotAnImageError):
        inspect_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(("form", "options"), [each for each in FORMS if each[0] != "WEBP"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_picture_whose_rest_is_zeros_is_refused(paint, form, options, share):
    data = paint(form, (61, 47), noisy=True, **options)
    kept = int((len(data) - 2) * share)

    with pytest.raises(NotAnImageError):
        inspect_image(data[:kept].ljust(len(data), b"\0"))


@pytest.mark.parametrize(("form", "words"), [("PNG", "cut PNG"), ("JPEG", "cut JPEG"), ("WEBP", "cut WebP")])
def test_the_refusal_names_the_cut_picture(paint, form, words):
    with pytest.raises(NotAnImageError, match=words):
        inspect_image(paint(form)[:-1])


@pytest.mark.parametrize(("form", "options"), FORMS)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_gives_facts_or_a_refusal_and_never_a_crash(paint, form, options, place, value):
    data = bytearray(paint(form, (61, 47), noisy=True, **options))
    data[int(len(data) * place)] = value

    try:
        facts = inspect_image(bytes(data))
    except NotAnImageError:
        return
    assert facts.bytes == len(data)


@given(start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"]), rest=st.binary(max_size=80))
def test_arbitrary_bytes_are_refused_and_never_crash(start, rest):
    with pytest.raises(NotAnImageError):
        inspect_image(start + rest)


@pytest.mark.parametrize("options", [{"noisy": True}, {"mode": "P"}, MOVING])
def test_a_flipped_bit_anywhere_in_a_png_is_found(paint, options):
    data = paint("PNG", (7, 5), **options)

    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(NotAnImageError):
            inspect_image(bytes(damaged))


def test_a_jpeg_whose_pixels_make_no_sense_is_refused(paint):
    data = paint("JPEG", noisy=True, progressive=True)
    middle = len(data) // 2

    with pytest.raises(NotAnImageError, match="damaged JPEG"):
        inspect_image(data[:middle] + b"\xff\xc4\0\2" + data[middle:])


@pytest.mark.parametrize(("form", "options"), FORMS)
def test_bytes_after_the_end_of_a_picture_are_no_fault(paint, form, options):
    data = paint(form, (61, 47), **options)

    for more in (b"\0padding", b"\xff\xd9", data):
        assert inspect_image(data + more).width == 61


def test_a_thumbnail_inside_a_jpeg_neither_ends_it_nor_gives_its_size(paint):
    thumbnail = paint("JPEG", (8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = paint("JPEG", (61, 47))

    assert inspect_image(whole[:2] + segment + whole[2:]).width == 61
    with pytest.raises(NotAnImageError, match="cut JPEG"):
        inspect_image(whole[:2] + segment + whole[2:-2])


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_a_header_without_a_side_is_refused(claimed_png, size):
    with pytest.raises(NotAnImageError, match="damaged PNG"):
        inspect_image(claimed_png(*size))


@pytest.mark.parametrize("size", [(20_001, 10), (10, 0x7FFFFFFF), (60_000, 60_000)])
def test_a_header_that_claims_nonsense_is_refused(claimed_png, size):
    with pytest.raises(NotAnImageError, match=f"claims {size[0]} x {size[1]} pixels; 1 to 20000"):
        inspect_image(claimed_png(*size))


def test_a_large_png_is_not_decoded_and_pillows_own_limit_does_not_count(claimed_png):
    assert 2 * Image.MAX_IMAGE_PIXELS < 15_000 * 15_000

    assert inspect_image(claimed_png(15_000, 15_000)).width == 15_000


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_that_claims_too_much_to_be_decoded_is_refused(paint, options):
    data = paint("JPEG", (61, 47), **options)
    claimed = data.replace(struct.pack(">HH", 47, 61), struct.pack(">HH", 20_000, 20_000))

    with pytest.raises(NotAnImageError, match="at most 67108864 in all"):
        inspect_image(claimed)


@pytest.mark.parametrize(
    ("options", "place", "sides"),
    [
        ({}, 26, struct.pack("<HH", 9_000, 9_000)),
        ({"lossless": True}, 21, struct.pack("<I", 8_999 | 8_999 << 14)),
        (MOVING, 24, (8_999).to_bytes(3, "little") * 2),
    ],
)
def test_a_webp_that_claims_too_much_to_be_opened_is_refused(paint, options, place, sides):
    data = paint("WEBP", (61, 47), **options)

    with pytest.raises(NotAnImageError, match="9000 x 9000 pixels; at most 67108864 in all"):
        inspect_image(data[:place] + sides + data[place + len(sides) :])


def test_what_describes_a_picture_may_be_damaged(paint):
    exif = Image.Exif()
    exif[0x010E] = "A flower shop"
    data = paint("JPEG", exif=exif)
    place = data.index(b"Exif\0\0") + 6

    with warnings.catch_warnings(action="ignore"):
        assert inspect_image(data[:place] + b"\xff" * 12 + data[place + 12 :]).width == 40


LARGE = b"x" * (3 << 20)
DECORATIONS = {
    "a large text": (b"tEXt", b"Comment\0" + LARGE),
    "a compressed text": (b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "a compressed text in Unicode": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE)),
    "a text whose compression is none": (b"zTXt", b"Comment\0\7" + LARGE),
    "a text of nothing": (b"zTXt", b""),
    "a large colour profile": (b"iCCP", b"p3\0\0" + zlib.compress(LARGE)),
    "a colour profile of an unknown kind": (b"iCCP", b"p3\0\7abc"),
    "a density that is cut off": (b"pHYs", b"\0"),
    "a moving picture that does not move": (b"acTL", b"\0\0\0\0\0\0\0\0"),
    "a chunk of somebody's own": (b"prVt", LARGE),
}


@pytest.mark.parametrize("decoration", DECORATIONS)
@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
def test_what_is_no_part_of_a_png_costs_it_neither_its_name_nor_its_preview(paint, png_chunk, decoration, place):
    data = paint("PNG", (61, 47), noisy=True)
    at = data.rindex(place) - 4 if place == b"IEND" else data.index(place) - 4
    data = data[:at] + png_chunk(*DECORATIONS[decoration]) + data[at:]

    assert inspect_image(data).width == 61
    assert draw_preview(data, "shop.png", max_side=1024, max_bytes=500_000).mime_type == "image/jpeg"


def test_a_png_in_a_hundred_thousand_pieces_is_refused_in_a_moment(paint, png_chunk):
    data = paint()
    at = data.index(b"IDAT") - 4

    with pytest.raises(NotAnImageError, match="damaged PNG"):
        inspect_image(data[:at] + png_chunk(b"prVt", b"") * 100_000 + data[at:])


def test_a_png_without_pixels_is_refused(png_chunk):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))

    with pytest.raises(NotAnImageError, match="damaged PNG"):
        inspect_image(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\n  <html lang='en'>", "an HTML page"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "an XML document"),
        (b'{"code": "Throttling"}', "a JSON document"),
        (b"GIF89a" + b"\0" * 20, "a GIF"),
        (b"\0\0\0\x1cftypavif" + b"\0" * 20, "an AVIF or HEIC picture"),
        (b"\x89PN", "the first bytes of a PNG"),
        ("花店 was here".encode(), "plain text"),
        (b"\x00\xfe\x13\x80" * 8, "unknown binary data"),
    ],
)
def test_a_refusal_says_what_the_bytes_look_like(data, words):
    with pytest.raises(NotAnImageError, match=words):
        inspect_image(data)


@pytest.mark.parametrize(("form", "options"), FORMS)
@given(cuts=st.lists(st.integers(0, 4000), max_size=12))
def test_a_picture_is_judged_alike_in_whatever_pieces_it_comes(paint, form, options, cuts):
    data = paint(form, (61, 47), noisy=True, **options) + b"more"
    places = [0, *sorted(cuts), len(data)]
    check = ImageCheck()
    for start, end in pairwise(places):
        check.add(data[start:end])

    assert check.finish(BytesIO(data)) == inspect_image(data)


@pytest.mark.parametrize(("form", "words"), [("PNG", "damaged PNG"), ("JPEG", "cut JPEG"), ("WEBP", "cut WebP")])
def test_a_picture_that_comes_byte_by_byte_is_refused_as_if_it_came_at_once(paint, form, words):
    data = bytearray(paint(form, (61, 47), noisy=True))
    if form == "PNG":
        data[60] ^= 1
    else:
        del data[-3:]
    check = ImageCheck()
    for place in range(len(data)):
        check.add(data[place : place + 1])

    with pytest.raises(NotAnImageError, match=words):
        check.finish(BytesIO(data))
    with pytest.raises(NotAnImageError, match=words):
        inspect_image(bytes(data))
