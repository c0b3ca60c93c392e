"""Thumbnails that are kept."""

import os

from wan_mcp.storage.thumbnails import ThumbnailCache
from wan_mcp_tools.domain.service import Preview


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
