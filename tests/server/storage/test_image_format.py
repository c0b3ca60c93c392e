"""What bytes are."""

import struct
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wan_mcp.storage.image_format import inspect_image
from wan_mcp_tools.domain.errors import NotAnImageError

FORMS = [
    ("PNG", {}),
    ("PNG", {"mode": "RGBA"}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"mode": "RGBA"}),
]
ENDINGS = {"PNG": (".png", "image/png"), "JPEG": (".jpg", "image/jpeg"), "WEBP": (".webp", "image/webp")}
reusing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@pytest.mark.parametrize(("form", "options"), FORMS)
def test_a_complete_picture_is_known_by_its_bytes(paint, form, options):
    data = paint(form, (61, 47), noisy=True, **options)

    facts = inspect_image(data)

    assert (facts.extension, facts.mime_type) == ENDINGS[form]
    assert (facts.width, facts.height, facts.bytes) == (61, 47, len(data))
    assert facts.sha256 == sha256(data).hexdigest()


@pytest.mark.parametrize(("form", "options"), FORMS)
@reusing
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_picture_cut_anywhere_is_refused(paint, form, options, share):
    data = paint(form, (61, 47), noisy=True, **options)

    with pytest.raises(NotAnImageError):
        inspect_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(("form", "words"), [("PNG", "cut PNG"), ("JPEG", "cut JPEG"), ("WEBP", "cut WebP")])
def test_the_refusal_names_the_cut_picture(paint, form, words):
    with pytest.raises(NotAnImageError, match=words):
        inspect_image(paint(form)[:-1])


@pytest.mark.parametrize(("form", "options"), FORMS)
@reusing
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_gives_facts_or_a_refusal_and_never_a_crash(paint, form, options, place, value):
    data = bytearray(paint(form, (61, 47), noisy=True, **options))
    data[int(len(data) * place)] = value

    try:
        facts = inspect_image(bytes(data))
    except NotAnImageError:
        return
    assert facts.bytes == len(data)


@reusing
@given(start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"]), rest=st.binary(max_size=80))
def test_arbitrary_bytes_are_refused_and_never_crash(start, rest):
    with pytest.raises(NotAnImageError):
        inspect_image(start + rest)


def test_a_flipped_bit_in_the_pixels_of_a_png_is_found(paint):
    data = bytearray(paint("PNG", noisy=True))
    data[len(data) // 2] ^= 1

    with pytest.raises(NotAnImageError, match="check sum"):
        inspect_image(bytes(data))


def test_bytes_after_the_end_of_a_picture_are_no_fault(paint):
    for form in ("PNG", "JPEG", "WEBP"):
        assert inspect_image(paint(form) + b"\0padding").width == 40


def test_a_thumbnail_inside_a_jpeg_neither_ends_it_nor_gives_its_size(paint):
    thumbnail = paint("JPEG", (8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = paint("JPEG", (61, 47))

    assert inspect_image(whole[:2] + segment + whole[2:]).width == 61
    with pytest.raises(NotAnImageError, match="cut JPEG"):
        inspect_image(whole[:2] + segment + whole[2:-2])


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (20_001, 10), (10, 0x7FFFFFFF)])
def test_a_header_that_claims_nonsense_is_refused(claimed_png, size):
    with pytest.raises(NotAnImageError, match="pixels"):
        inspect_image(claimed_png(*size))


def test_a_png_without_pixels_is_refused(png_chunk):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))

    with pytest.raises(NotAnImageError, match="no pixels"):
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
