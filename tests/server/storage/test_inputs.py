"""Files that are given as input: which are found, and which are read."""

import os

import pytest

from wan_mcp.images.inputs import MOST_INPUT_BYTES
from wan_mcp.storage import LocalStorage
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import AppError, FolderNotAllowedError, NotFoundError, RequestRefusedError

WAN = InputLimits(0, 9, 20_000_000, 240, 8000, 8.0, ("JPEG", "PNG", "BMP", "WEBP"), has_alpha=False)


async def test_a_large_file_is_refused_without_being_read(storage, pictures):
    with (pictures / "large.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(200_000_000)
    path = await storage.find_input("large.png")
    with pytest.raises(RequestRefusedError, match=f"more than {MOST_INPUT_BYTES} bytes"):
        await storage.prepare_input(path, WAN)


@pytest.mark.skipif(os.name == "nt", reason="there are no such files")
async def test_pipes_devices_and_folders_are_refused_and_not_waited_for(tmp_path, pictures):
    os.mkfifo(pictures / "pipe.png")
    (pictures / "folder.png").mkdir()
    storage = LocalStorage(pictures, [tmp_path.resolve()], input_files=[tmp_path.resolve() / "x", "/dev/zero"])
    for name, kind in (("pipe.png", "a pipe"), ("folder.png", "no file"), ("/dev/zero", "outside")):
        with pytest.raises(AppError, match=kind):
            await storage.prepare_input(await storage.find_input(name), WAN)


async def test_a_file_is_found_in_the_image_folder_and_in_allowed_ones_only(tmp_path, pictures, link, paint):
    allowed, outside = tmp_path.resolve() / "allowed", tmp_path.resolve() / "outside"
    for folder in (allowed, outside, pictures / "in"):
        folder.mkdir()
        (folder / "a.png").write_bytes(paint(size=(400, 300)))
    link(pictures / "out.png", outside / "a.png")
    link(pictures / "there", outside)
    storage = LocalStorage(pictures, [allowed])

    for name in ("in/a.png", str(allowed / "a.png"), (allowed / "a.png").as_uri(), "./in/../in/a.png"):
        assert (await storage.prepare_input(await storage.find_input(name), WAN)).width == 400
    for name in (str(outside / "a.png"), "../outside/a.png", "out.png", "there/a.png", str(outside / "missing.png")):
        with pytest.raises(FolderNotAllowedError):
            await storage.find_input(name)
    with pytest.raises(NotFoundError):
        await storage.prepare_input(await storage.find_input("in/none.png"), WAN)


async def test_a_file_that_a_person_named_is_read_wherever_it_lies_and_no_other(tmp_path, pictures, paint):
    outside = tmp_path.resolve() / "outside"
    outside.mkdir()
    for name in ("a.png", "b.png"):
        (outside / name).write_bytes(paint(size=(400, 300)))
    storage = LocalStorage(pictures, input_files=[outside / "a.png"])
    assert (await storage.prepare_input(await storage.find_input(str(outside / "a.png")), WAN)).width == 400
    with pytest.raises(FolderNotAllowedError):
        await storage.find_input(str(outside / "b.png"))
    with pytest.raises(FolderNotAllowedError):
        await storage.prepare_input(outside / "b.png", WAN)


@pytest.mark.parametrize("where", ["file", "folder"])
async def test_a_link_that_comes_between_finding_and_reading_is_not_followed(tmp_path, pictures, link, paint, where):
    outside = tmp_path.resolve() / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(paint(size=(400, 300)))
    (pictures / "in").mkdir()
    (pictures / "in" / "a.png").write_bytes(paint(size=(400, 300)))
    storage = LocalStorage(pictures)
    path = await storage.find_input("in/a.png")
    if where == "file":
        path.unlink()
        link(path, outside / "a.png")
    else:
        path.parent.rename(pictures / "was")
        link(path.parent, outside)
    with pytest.raises(AppError) as caught:
        await storage.prepare_input(path, WAN)
    assert caught.value.code in ("FolderNotAllowed", "Storage")
