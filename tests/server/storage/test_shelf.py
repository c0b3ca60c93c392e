"""Tiny pictures that are kept."""

import os

import pytest

from wan_mcp.storage.shelf import Shelf
from wan_mcp_tools.domain.errors import StorageError
from wan_mcp_tools.domain.service import Preview


class Painter:
    """Draws a different picture every time, of `size` bytes."""

    def __init__(self, size=10):
        self.drawn = 0
        self.size = size

    async def __call__(self):
        self.drawn += 1
        return Preview(bytes([self.drawn]) * self.size, "image/jpeg")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"picture")
    return path


async def test_a_file_is_drawn_once_for_each_size_also_for_the_next_process(tmp_path, source):
    draw = Painter()
    first = await Shelf(tmp_path / "shelf").fetch(source, 100, draw)
    again = await Shelf(tmp_path / "shelf").fetch(source, 100, draw)
    larger = await Shelf(tmp_path / "shelf").fetch(source, 200, draw)

    assert first == again != larger
    assert draw.drawn == 2


async def test_a_file_that_has_changed_is_drawn_anew(tmp_path, source):
    draw, shelf = Painter(), Shelf(tmp_path / "shelf")
    await shelf.fetch(source, 100, draw)
    source.write_bytes(b"another picture")
    await shelf.fetch(source, 100, draw)

    assert draw.drawn == 2


async def test_a_file_that_is_gone_is_not_shown_from_memory(tmp_path, source):
    draw, shelf = Painter(), Shelf(tmp_path / "shelf")
    await shelf.fetch(source, 100, draw)
    source.unlink()
    with pytest.raises(StorageError):
        await shelf.fetch(source, 100, draw)


async def test_the_oldest_go_when_there_is_no_room(tmp_path, source):
    folder = tmp_path / "shelf"
    folder.mkdir()
    for age in range(10):
        old = folder / f"{age}.jpg"
        old.write_bytes(b"x" * 100)
        os.utime(old, (1_000 - age, 1_000 - age))
    await Shelf(folder, most_bytes=500).fetch(source, 100, Painter())

    left = {path.name for path in folder.iterdir()}
    assert {"0.jpg", "1.jpg", "2.jpg"} <= left
    assert len(left) == 4


async def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path, source):
    (tmp_path / "shelf").write_text("a file in the way")
    draw, shelf = Painter(), Shelf(tmp_path / "shelf")
    first = await shelf.fetch(source, 100, draw)
    second = await shelf.fetch(source, 100, draw)

    assert (first.data[0], second.data[0], draw.drawn) == (1, 2, 2)
