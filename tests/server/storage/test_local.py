"""The storage in folders of this machine: copies, digests, sidecars, and nothing on the event loop."""

import json
import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest
from blockbuster import blockbuster_ctx

from wan_mcp.storage import LocalStorage
from wan_mcp.storage.disk import Disk
from wan_mcp_tools.domain.errors import (
    FolderNotAllowedError,
    NotAnImageError,
    NotFoundError,
    RequestRefusedError,
    StorageError,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_no_call_of_the_storage_blocks_the_event_loop(tmp_path, paint):
    data = paint(size=(1200, 1200), noisy=True)
    with blockbuster_ctx():
        storage = LocalStorage(tmp_path / "pictures", [tmp_path / "more"])
        folder = await storage.folder(None)
        stem = storage.stem(
            prompt="x", created_at=NOON, order_id="order", index=1, count=1, filename=storage.check_filename("x.png")
        )
        async with storage.draft(folder, order_id="order", index=1, owner="me") as draft:
            await draft.write(b"false start")
            await draft.restart()
            await draft.write(data)
            facts = await draft.verify()
            target = await draft.target(stem, facts.extension)
            assert await draft.publish(target)
        await storage.write_sidecar(target, {"prompt": "x"})
        assert await storage.matches(target, facts.sha256)
        assert await storage.facts(target) == facts
        copied, _ = await storage.copy(target, await storage.folder("album"), None)
        assert await storage.readable(str(copied)) == copied
        assert len((await storage.preview(copied)).data) <= 500_000
        assert await storage.remove_temp_files(folder, order_id="order", keep_owner=None) == 0
        assert await storage.remove_old_temp_files(folder, older_than=1e12) == 0


async def test_a_file_matches_only_its_very_content(storage, pictures, paint, save):
    path = await save(paint(), pictures, "shop")
    facts = await storage.facts(path)
    path.write_bytes(path.read_bytes() + b"x")

    assert not await storage.matches(path, facts.sha256)
    assert not await storage.matches(pictures / "nothing.png", facts.sha256)
    assert not await storage.matches(pictures, facts.sha256)
    assert not await storage.matches(path / "below", facts.sha256)


@pytest.fixture
def source(pictures, paint):
    path = pictures / "20261122-shop-0385dc79-1.png"
    path.write_bytes(paint(noisy=True))
    return path


@pytest.fixture
async def album(storage):
    return await storage.folder("album")


async def test_a_copy_has_the_bytes_and_the_wanted_name(storage, source, album):
    path, facts = await storage.copy(source, album, "logo.jpg")

    assert path == album / "logo.png"
    assert path.read_bytes() == source.read_bytes()
    assert facts == await storage.facts(source)


async def test_a_copy_without_a_name_keeps_the_name_of_its_source(storage, source, album):
    path, _ = await storage.copy(source, album, None)

    assert path == album / source.name


async def test_copying_again_gives_the_copy_that_is_there(storage, source, album):
    (album / "logo.png").write_text("of somebody")

    first, _ = await storage.copy(source, album, "logo")
    again, _ = await storage.copy(source, album, "logo")

    assert first == again == album / "logo-2.png"
    assert len(list(album.iterdir())) == 2


async def test_copying_an_image_onto_itself_changes_nothing(storage, source, pictures):
    assert (await storage.copy(source, pictures, None))[0] == source
    assert list(pictures.iterdir()) == [source]


async def test_eight_equal_copies_at_once_are_one_file(storage, source, album):
    paths = []

    async def copy():
        paths.append((await storage.copy(source, album, "logo"))[0])

    with anyio.fail_after(45):
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(copy)

    assert set(paths) == {album / "logo.png"} == set(album.iterdir())


async def test_a_copy_that_cannot_be_made_says_why_and_leaves_nothing(storage, source, album, pictures, tmp_path):
    (pictures / "notes.png").write_text("not a picture")

    with pytest.raises(NotFoundError):
        await storage.copy(pictures / "nothing.png", album, None)
    with pytest.raises(NotAnImageError):
        await storage.copy(pictures / "notes.png", album, None)
    with pytest.raises(FolderNotAllowedError):
        await storage.copy(source, tmp_path, None)
    with pytest.raises(RequestRefusedError):
        await storage.copy(source, album, "../logo")

    assert list(album.iterdir()) == []
    assert not list(tmp_path.glob("*.png"))


async def test_a_further_allowed_folder_takes_copies(source, pictures, tmp_path):
    storage = LocalStorage(pictures, [tmp_path / "website"])

    path, _ = await storage.copy(source, await storage.folder(str(tmp_path / "website")), "logo")

    assert path == (tmp_path / "website" / "logo.png").resolve()


class Status(StrEnum):
    DONE = "SUCCEEDED"


async def test_a_sidecar_is_readable_json_beside_the_image(storage, pictures):
    facts = {
        "prompt": "一间花店 🌸 \ud800",
        "seed": 7,
        "status": Status.DONE,
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "path": Path("/x/y.png"),
        "parameters": MappingProxyType({"size": "1280*1280"}),
    }

    await storage.write_sidecar(pictures / "v1.2 shop.png", facts)

    sidecar = pictures / "v1.2 shop.json"
    assert list(pictures.iterdir()) == [sidecar]
    assert "一间花店 🌸" in sidecar.read_text(encoding="utf-8")
    assert json.loads(sidecar.read_bytes()) == {
        "prompt": "一间花店 🌸 \ud800",
        "seed": 7,
        "status": "SUCCEEDED",
        "created_at": "2026-11-22T00:00:00+00:00",
        "path": str(Path("/x/y.png")),
        "parameters": {"size": "1280*1280"},
    }


async def test_a_file_that_has_the_name_of_the_sidecar_is_left_as_it_is(storage, pictures, tmp_path, link):
    (pictures / "shop.json").write_text("of somebody")
    link(pictures / "door.json", tmp_path / "outside.json")

    await storage.write_sidecar(pictures / "shop.png", {"prompt": "x"})
    await storage.write_sidecar(pictures / "door.png", {"prompt": "x"})

    assert (pictures / "shop.json").read_text() == "of somebody"
    assert not (tmp_path / "outside.json").exists()


async def test_a_sidecar_outside_is_refused(storage, pictures, tmp_path):
    with pytest.raises(FolderNotAllowedError):
        await storage.write_sidecar(tmp_path / "shop.png", {"prompt": "x"})

    assert not (tmp_path / "shop.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
async def test_a_full_disk_leaves_no_half_sidecar(pictures):
    storage = LocalStorage(pictures, disk=Disk(create_new=lambda *_: os.open("/dev/full", os.O_WRONLY)))

    with pytest.raises(StorageError, match="disk is full"):
        await storage.write_sidecar(pictures / "shop.png", {"prompt": "x"})

    assert list(pictures.iterdir()) == []
    (pictures / "shop.json").write_text("{}")
    await storage.write_sidecar(pictures / "shop.png", {"prompt": "x"})
