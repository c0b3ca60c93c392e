"""The facts beside an image."""

import json
import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import pytest

from wan_mcp.storage import LocalStorage
from wan_mcp.storage.disk import Disk
from wan_mcp_tools.domain.errors import FolderNotAllowedError, StorageError


class Status(StrEnum):
    DONE = "SUCCEEDED"


async def test_a_sidecar_is_readable_json_beside_the_image(gallery, pictures):
    facts = {
        "prompt": "一间花店 🌸 \ud800",
        "seed": 7,
        "status": Status.DONE,
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "path": Path("/x/y.png"),
        "parameters": MappingProxyType({"size": "1280*1280"}),
    }

    await gallery.write_sidecar(pictures / "v1.2 shop.png", facts)

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


async def test_a_file_that_has_the_name_of_the_sidecar_is_left_as_it_is(gallery, pictures, tmp_path, link):
    (pictures / "shop.json").write_text("of somebody")
    link(pictures / "door.json", tmp_path / "outside.json")

    await gallery.write_sidecar(pictures / "shop.png", {"prompt": "x"})
    await gallery.write_sidecar(pictures / "door.png", {"prompt": "x"})

    assert (pictures / "shop.json").read_text() == "of somebody"
    assert not (tmp_path / "outside.json").exists()


async def test_a_sidecar_outside_is_refused(gallery, pictures, tmp_path):
    with pytest.raises(FolderNotAllowedError):
        await gallery.write_sidecar(tmp_path / "shop.png", {"prompt": "x"})

    assert not (tmp_path / "shop.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
async def test_a_full_disk_leaves_no_half_sidecar(pictures):
    gallery = LocalStorage(pictures, disk=Disk(create_new=lambda path: os.open("/dev/full", os.O_WRONLY)))

    with pytest.raises(StorageError, match="disk is full"):
        await gallery.write_sidecar(pictures / "shop.png", {"prompt": "x"})

    assert list(pictures.iterdir()) == []
    (pictures / "shop.json").write_text("{}")
    await gallery.write_sidecar(pictures / "shop.png", {"prompt": "x"})
