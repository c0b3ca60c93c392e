"""Real pictures, real folders."""

import random
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from wan_mcp.storage import LocalStorage


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


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "pictures")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder.resolve()


@pytest.fixture
def link():
    """Make a symbolic link, where the system lets us."""

    def make(path, target):
        try:
            path.symlink_to(target, target_is_directory=target.is_dir())
        except OSError:
            pytest.skip("this system makes no symbolic links for us")

    return make


@pytest.fixture
def save(storage):
    """Write, verify and publish bytes as the server does; answers the path."""

    async def run(data, folder, stem, *, using=None, order_id="order"):
        async with (using or storage).draft(folder, order_id=order_id, index=1, owner="me") as draft:
            await draft.write(data)
            facts = await draft.verify()
            while True:
                target = await draft.target(stem, facts.extension)
                if await draft.publish(target):
                    return target

    return run
