"""Real pictures."""

import random
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image


def paint(form="PNG", size=(40, 30), mode="RGB", *, noisy=False, **options):
    """Encode a picture: plain, or noise that no encoder can squeeze."""
    if noisy:
        channels = len(Image.new(mode, (1, 1)).getbands())
        image = Image.frombytes(mode, size, random.Random(1).randbytes(size[0] * size[1] * channels))
    else:
        image = Image.new(mode, size, (200, 30, 30, 128)[: len(Image.new(mode, (1, 1)).getbands())])
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(name="paint")
def _paint():
    return paint


@pytest.fixture(name="png_chunk")
def _png_chunk():
    return png_chunk


@pytest.fixture
def claimed_png():
    """A small PNG whose header claims any size."""

    def build(width, height):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
        return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")

    return build
