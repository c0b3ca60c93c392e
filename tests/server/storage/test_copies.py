"""Copies in another format or smaller, as files beside their originals."""

import os
from hashlib import sha256

import anyio
import pytest

from wan_mcp.storage import LocalStorage
from wan_mcp_tools.domain.service import Conversion, ImageFormat


async def test_a_copy_lies_beside_the_original_which_is_not_changed(storage, save, pictures, paint):
    data = paint(size=(400, 300), noisy=True)
    source = await save(data, pictures, "fox-1")
    os.utime(source, (1, 1))
    copied = await storage.copy(source, pictures, None, Conversion(ImageFormat.WEBP, 200))

    assert copied.path == pictures / "fox-1-200x150.webp"
    assert copied.facts == await storage.read_facts(copied.path)
    assert source.read_bytes() == data
    assert source.stat().st_mtime == 1
    assert sorted(path.name for path in pictures.iterdir()) == ["fox-1-200x150.webp", "fox-1.png"]


async def test_a_copy_is_made_once_and_another_file_of_its_name_stays(storage, save, pictures, paint):
    source = await save(paint(size=(400, 300)), pictures, "fox")
    (pictures / "hero.webp").write_bytes(b"somebody's own")
    wish = Conversion(ImageFormat.WEBP, 200)
    first = await storage.copy(source, pictures, "hero.webp", wish)
    again = await storage.copy(source, pictures, "hero.webp", wish)

    assert first == again
    assert first.path == pictures / "hero-2.webp"
    assert (pictures / "hero.webp").read_bytes() == b"somebody's own"
    smaller = await storage.copy(source, pictures, "hero.webp", Conversion(ImageFormat.WEBP, 100))
    assert smaller.path == pictures / "hero-3.webp"


async def test_a_copy_that_would_be_the_original_is_the_original(storage, save, pictures, paint):
    source = await save(paint(), pictures, "fox")
    copied = await storage.copy(source, pictures, None, Conversion(ImageFormat.PNG))
    again = await storage.copy(copied.path, pictures, None, Conversion(ImageFormat.PNG, 4096))

    assert copied.path == pictures / "fox-40x30.png"
    assert again.path == copied.path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
async def test_a_copy_has_the_rights_of_an_image(tmp_path, paint):
    storage = LocalStorage(tmp_path / "pictures", file_mode=0o640)
    folder = await storage.find_folder(None)
    (folder / "fox.png").write_bytes(paint())
    copied = await storage.copy(folder / "fox.png", folder, None, Conversion(ImageFormat.JPEG))

    assert copied.path.stat().st_mode & 0o777 == 0o640


async def test_many_at_once_end_as_one_file(storage, save, pictures, paint):
    source = await save(paint(size=(400, 300), noisy=True), pictures, "fox")
    paths = []

    async def make():
        paths.append((await storage.copy(source, pictures, None, Conversion(ImageFormat.WEBP))).path)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(make)

    assert set(paths) == {pictures / "fox-400x300.webp"}
    assert sorted(path.name for path in pictures.iterdir()) == ["fox-400x300.webp", "fox.png"]
    assert sha256(source.read_bytes()).hexdigest() == (await storage.read_facts(source)).sha256
