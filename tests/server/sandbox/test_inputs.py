"""Pictures that come with an order: where they come from, and those that mean harm."""

import base64
import io
import struct
import time
import tracemalloc
import zlib

import pytest
from PIL import Image

from wan_mcp.sandbox.catalogue.families import MODELS
from wan_mcp.sandbox.errors import RefusalError
from wan_mcp.sandbox.inputs import inspect_file, read_data_uri, read_web_address

API = "/api/v1"
SYNC = f"{API}/services/aigc/multimodal-generation/generation"
RULE = MODELS["qwen-image-3.0"].inputs


def uri(data, kind="image/png"):
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def png(width, height, rows=b"", depth=8, colours=2):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    )


def picture(kind, mode="RGB", size=(800, 600), **extra):
    buffer = io.BytesIO()
    Image.new(mode, size, **extra).save(buffer, kind)
    return buffer.getvalue()


def inspect(data):
    return inspect_file(io.BytesIO(data), len(data))


KINDS = [(kind, mode) for kind in ("PNG", "WEBP", "BMP", "TIFF", "GIF") for mode in ("RGB", "L", "P")]


@pytest.mark.parametrize(("kind", "mode"), [*KINDS, ("JPEG", "RGB"), ("JPEG", "L")])
def test_every_kind_is_looked_at_and_kept_as_a_small_copy(kind, mode):
    found = inspect(picture(kind, mode))
    assert (found.format, found.sides, found.has_alpha, found.has_exif) == (kind, (800, 600), False, False)
    small = Image.open(io.BytesIO(found.thumbnail))
    assert small.size == (320, 240)
    assert len(found.thumbnail) < 60_000


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA")])
def test_transparency_is_seen(kind, mode):
    assert inspect(picture(kind, mode)).has_alpha


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "I;16"), ("PNG", "1"), ("TIFF", "CMYK"), ("TIFF", "F"), ("JPEG", "CMYK")]
)
def test_rare_modes_are_looked_at_too(kind, mode):
    assert inspect(picture(kind, mode)).thumbnail


def test_a_picture_that_was_held_upright_counts_as_it_is_looked_at():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (800, 600)).save(buffer, "JPEG", exif=exif)
    found = inspect(buffer.getvalue())
    assert (found.sides, found.has_exif) == ((600, 800), True)
    assert Image.open(io.BytesIO(found.thumbnail)).size == (240, 320)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>" * 100,
        b"\x89PNG\r\n\x1a\n",
        picture("PNG")[:200],
        picture("JPEG")[:100],
        b"RIFF\x10\0\0\0WEBPVP8L" + b"\xff" * 30,
        b"GIF89a" + b"\0" * 10,
        b"II*\0" + b"\xff" * 40,
        b"BM" + b"\xff" * 60,
        b"\xff\xd8\xff" + b"\0" * 100,
    ],
    ids=lambda data: repr(data[:6]),
)
def test_what_is_no_picture_is_refused_in_the_services_words(data):
    with pytest.raises(RefusalError) as raised:
        inspect(data)
    assert raised.value.error.code == "InvalidParameter"


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(60_000, 60_000),
        # Eight thousand pixels a side in a few kilobytes.
        lambda: png(8_000, 8_000, bytes(1 + 3 * 8_000) * 8_000),
        lambda: picture("GIF", "P", (5_000, 5_000)),
    ],
    ids=["claims too much", "unpacks to much", "large"],
)
def test_a_small_file_that_claims_much_is_neither_decoded_nor_slow(make):
    data = make()
    inspect(picture("PNG"))
    tracemalloc.start()
    before = time.perf_counter()
    found = inspect(data)
    assert time.perf_counter() - before < 30
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()
    assert found.thumbnail == b""
    assert found.label.startswith(found.format)


@pytest.mark.parametrize(
    "address",
    [
        "data:text/html;base64,PGh0bWw+",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,abc",
        "data:image/png,abc",
        "data:",
        "data:image/svg+xml;base64,PHN2Zy8+",
    ],
)
def test_data_that_is_no_picture_is_refused(address):
    with pytest.raises(RefusalError):
        read_data_uri(address, RULE)


def test_data_beyond_the_models_limit_is_refused_before_it_is_decoded():
    address = "data:image/png;base64," + "A" * 14_000_000
    with pytest.raises(RefusalError, match="exceeds the limit of 10MB"):
        read_data_uri(address, RULE)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("room.png", "InvalidURL"),
        ("/etc/passwd", "InvalidURL"),
        ("file:///etc/passwd", "InvalidURL"),
        ("ftp://example.com/a.png", "InvalidURL"),
        ("https://", "InvalidURL"),
        ("https://[::1/a.png", "InvalidURL"),
        ("https://example.com/" + "a" * 9000, "InvalidURL"),
        ("http://127.0.0.1/a.png", "InvalidParameter.DataInspection"),
        ("http://169.254.169.254/latest/meta-data/", "InvalidParameter.DataInspection"),
        ("https://[::1]/a.png", "InvalidParameter.DataInspection"),
        ("https://localhost/a.png", "InvalidParameter.DataInspection"),
        ("https://intranet/a.png", "InvalidParameter.DataInspection"),
        ("https://nobody.invalid/a.png", "InvalidParameter.DataInspection"),
    ],
)
def test_an_address_that_the_service_could_not_fetch_is_refused(address, code):
    with pytest.raises(RefusalError) as raised:
        read_web_address(address)
    assert raised.value.error.code == code


def test_an_address_of_the_web_is_a_tile_with_its_host():
    found = read_web_address("https://images.example.com/a/b.png?secret=1")
    assert (found.label, found.thumbnail, found.sides) == ("images.example.com", b"", None)


async def test_bodies_of_many_small_values_are_refused_unread(sandbox):
    content = b'{"model": "wan2.7-image", "input": [' + b"[],[]," * 200_000 + b"[]]}"
    answer = await sandbox.client.post(SYNC, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


async def test_pictures_beyond_the_models_number_are_not_looked_at(sandbox):
    # None of them could be read.
    parts = [{"image": "data:image/png;base64,AAAA"}] * 10 + [{"text": "a door"}]
    content = {"model": "wan2.7-image", "input": {"messages": [{"role": "user", "content": parts}]}}
    answer = await sandbox.client.post(SYNC, json=content)
    assert answer.json()["message"] == "Image request limit violated, expected 1-9."


async def test_an_order_of_three_large_pictures_is_taken(sandbox):
    large = uri(picture("PNG", size=(3900, 3900)))
    parts = [{"image": large}] * 3 + [{"text": "a door"}]
    content = {"model": "wan2.7-image", "input": {"messages": [{"role": "user", "content": parts}]}}
    answer = await sandbox.client.post(SYNC, json=content | {"parameters": {"n": 1, "size": "1K"}})
    assert answer.status_code == 200
