"""What every storage does, whatever it keeps images in."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import anyio
import pytest
from blockbuster import blockbuster_ctx
from PIL import Image

from wan_mcp.storage.names import make_owner_folder, show_path
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import (
    FolderNotAllowedError,
    InputChangedError,
    NotAnImageError,
    NotFoundError,
    RequestRefusedError,
)
from wan_mcp_tools.domain.service import Conversion, ImageFormat

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = Catalogue().find("wan2.7-image").inputs


@pytest.fixture
def save(back_end):
    """Write, verify and publish bytes as the server does; answers the place."""

    async def run(data, *, folder=None, order_id="order", index=1, stem="20261122-shop-1"):
        folder = folder or await back_end.storage.find_folder(None)
        async with back_end.storage.open_draft(folder, order_id=order_id, index=index, owner="me") as draft:
            await draft.write(data)
            facts = await draft.verify()
            while True:
                target = await draft.find_target(stem, facts.extension)
                if await draft.publish(target):
                    return target

    return run


async def test_no_call_of_the_storage_blocks_the_event_loop(back_end, paint):
    data, storage = paint(size=(600, 600), noisy=True), back_end.storage
    with blockbuster_ctx():
        await storage.hold()
        folder = await storage.find_folder(None)
        async with storage.open_draft(folder, order_id="order", index=1, owner="me") as draft:
            await draft.write(b"false start")
            await draft.restart()
            await draft.write(data)
            facts = await draft.verify()
            target = await draft.find_target("x", facts.extension)
            assert await draft.publish(target)
        await storage.write_sidecar(target, {"prompt": "x"})
        assert await storage.matches(target, facts.sha256)
        assert await storage.read_facts(target) == facts
        assert await storage.find_missing([target]) == []
        assert await storage.read_version(target)
        copied = (await storage.copy(target, await storage.find_known_folder(folder), "copy")).path
        assert await storage.find_readable(show_path(copied)) == copied
        assert len((await storage.draw_preview(copied)).data) <= 500_000
        assert await storage.prepare_input(await storage.find_input(show_path(copied)), LIMITS)
        await storage.make_link(copied, seconds=60, filename="x.png", mime_type="image/png")
        place = await storage.find_upload_place(f"upload-{0:032x}.png", owner="token:ada")
        await storage.keep_upload(place, data, "image/png")
        await storage.remove_upload(place, older_than=0)
        assert await storage.remove_temp_files(folder, order_id="order", keep_owner=None) == 0
        assert await storage.remove_old_temp_files(folder, older_than=1e12) == 0


async def test_a_draft_becomes_an_image_with_its_bytes_and_leaves_nothing_beside_it(back_end, save, paint):
    data = paint(noisy=True)

    path = await save(data)

    assert back_end.locate(path).read_bytes() == data
    assert back_end.list() == [path.relative_to(back_end.root).as_posix()]
    assert back_end.leftovers() == []
    facts = await back_end.storage.read_facts(path)
    assert (facts.extension, facts.mime_type, facts.width, facts.height) == (".png", "image/png", 40, 30)
    assert (facts.bytes, facts.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert await back_end.storage.read(path) == (data, facts)


async def test_an_upload_lies_in_its_owners_folder_until_it_is_removed(back_end, paint):
    storage, data = back_end.storage, paint(noisy=True)
    name = f"upload-{7:032x}.png"
    place = await storage.find_upload_place(name, owner="token:ada")
    other = await storage.find_upload_place(name, owner="token:bob")
    await storage.keep_upload(place, data, "image/png")

    assert place != other
    assert back_end.list() == [f"{make_owner_folder('token:ada')}/uploads/{name}"]
    assert (await storage.prepare_input(place, replace(LIMITS, min_side=9))).width == 40
    with pytest.raises(RequestRefusedError, match="The picture it "):
        await storage.prepare_input(place, LIMITS, name="it")
    await storage.remove_upload(place, older_than=0)
    assert back_end.list() == back_end.leftovers() == []
    for gone in (place, other):
        await storage.remove_upload(gone, older_than=0)
    with pytest.raises(ValueError, match="is no upload"):
        await storage.remove_upload(place.parent.parent / name, older_than=0)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
async def test_the_ending_follows_the_bytes(back_end, save, paint, form):
    path = await save(paint(form))

    assert path.suffix == {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}[form]
    assert await back_end.storage.locate(path) == path


@pytest.mark.parametrize("damage", ["cut", "page", "nothing"])
async def test_what_is_no_whole_image_gets_no_name(back_end, save, paint, damage):
    data = {"cut": paint(noisy=True)[:-20], "page": b"<html>no</html>", "nothing": b""}[damage]

    with pytest.raises(NotAnImageError):
        await save(data)

    assert back_end.list() == back_end.leftovers() == []


async def test_a_draft_that_is_given_up_leaves_nothing(back_end, paint):
    storage = back_end.storage
    folder = await storage.find_folder(None)
    with anyio.CancelScope() as scope:
        async with storage.open_draft(folder, order_id="order", index=1, owner="me") as draft:
            await draft.write(paint())
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    assert back_end.list() == back_end.leftovers() == []


async def test_images_of_different_orders_and_indexes_lie_side_by_side(back_end, save, paint):
    data = paint()

    paths = [await save(data, order_id=order, index=index) for order in ("one", "two") for index in (1, 2)]

    assert len(set(paths)) == len(back_end.list()) == 4


async def test_what_a_killed_process_left_of_an_order_is_removed_by_another(back_end, paint):
    storage = back_end.storage
    folder = await storage.find_folder(None)
    async with storage.open_draft(folder, order_id="order", index=1, owner="dead") as draft:
        await draft.write(paint())
        assert len(back_end.leftovers()) == 1
        assert await storage.remove_temp_files(folder, order_id="another", keep_owner="alive") == 0
        assert await storage.remove_temp_files(folder, order_id="order", keep_owner="dead") == 0
        assert await storage.remove_temp_files(folder, order_id="order", keep_owner="alive") == 1
        assert back_end.leftovers() == []


async def test_temporary_files_that_are_old_are_removed(back_end, paint):
    storage = back_end.storage
    folder = await storage.find_folder(None)
    async with storage.open_draft(folder, order_id="order", index=1, owner="dead") as draft:
        await draft.write(paint())
        assert await storage.remove_old_temp_files(folder, older_than=1.0) == 0
        assert await storage.remove_old_temp_files(folder, older_than=1e12) == 1


async def test_a_file_matches_only_its_very_content(back_end, save, paint):
    storage, path = back_end.storage, await save(paint())
    facts = await storage.read_facts(path)
    assert await storage.matches(path, facts.sha256)

    back_end.put(path.relative_to(back_end.root), back_end.locate(path).read_bytes() + b"x")

    assert not await storage.matches(path, facts.sha256)
    assert not await storage.matches(back_end.root / "nothing.png", facts.sha256)
    assert not await storage.matches(back_end.root, facts.sha256)
    assert not await storage.matches(path / "below", facts.sha256)


async def test_what_is_gone_is_missing(back_end, save, paint):
    here, gone = await save(paint()), await save(paint(), index=2)
    back_end.locate(gone).unlink()

    found = await back_end.storage.find_missing([here, gone, back_end.root / "nothing.png"])
    assert found == [gone, back_end.root / "nothing.png"]
    for attempt in (
        back_end.storage.locate(gone),
        back_end.storage.read_facts(gone),
        back_end.storage.draw_preview(gone),
    ):
        with pytest.raises(NotFoundError):
            await attempt
    with pytest.raises(NotFoundError):
        await back_end.storage.prepare_input(gone, LIMITS)
    with pytest.raises(NotFoundError):
        await back_end.storage.copy(gone, back_end.root, "copy")


async def test_an_image_is_found_by_the_address_that_is_shown_of_it(back_end, save, paint):
    path = await save(paint())

    assert await back_end.storage.find_readable(show_path(path)) == path
    assert await back_end.storage.find_input(show_path(path)) == path
    assert Path(str(path)) == path


async def test_what_is_no_image_is_not_shown(back_end):
    path = back_end.put("notes.png", b"not a picture at all")

    for attempt in (
        back_end.storage.locate(path),
        back_end.storage.find_readable(show_path(path)),
        back_end.storage.draw_preview(path),
    ):
        with pytest.raises(RequestRefusedError) as refusal:
            await attempt
        assert refusal.value.code == "NotAnImage"
    with pytest.raises(NotAnImageError):
        await back_end.storage.read_facts(path)


async def test_every_place_is_confined_whatever_is_done_with_it(back_end, save, paint):
    storage, mine = back_end.storage, await save(paint())
    before = back_end.list()

    for path in back_end.outside:
        for attempt in (
            storage.find_readable(show_path(path)),
            storage.find_input(show_path(path)),
            storage.locate(path),
            storage.read_facts(path),
            storage.read(path),
            storage.draw_preview(path),
            storage.prepare_input(path, LIMITS),
            storage.matches(path, "0" * 64),
            storage.read_version(path),
            storage.copy(path, back_end.root, "copy"),
            storage.copy(mine, path, "copy"),
            storage.find_known_folder(path),
            storage.write_sidecar(path / "x.png", {}),
            storage.remove_temp_files(path, order_id="order", keep_owner=None),
            storage.remove_old_temp_files(path, older_than=1e12),
        ):
            with pytest.raises(FolderNotAllowedError):
                await attempt
        with pytest.raises(FolderNotAllowedError):
            async with storage.open_draft(path, order_id="order", index=1, owner="me"):
                pass
    assert back_end.list() == before


async def test_each_principal_has_a_folder_of_its_own(back_end, save, paint):
    storage = back_end.storage
    owners = ["local", "alice", "Alice", "https://issuer.example/alice", "https://issuer.example alice", "../..", "é"]

    folders = [await storage.find_folder(None, owner=owner) for owner in owners]

    assert folders[0] == back_end.root
    assert len(set(folders)) == len(owners)
    assert {folder.parent for folder in folders[1:]} == {back_end.root}
    assert all(folder.name.isascii() and folder.name == folder.name.lower() for folder in folders)
    path = await save(paint(), folder=folders[1])
    assert path.parent == folders[1] == await storage.find_known_folder(folders[1])
    assert (await storage.copy(path, path.parent, "copy")).path.is_relative_to(folders[1])


async def test_a_copy_has_the_bytes_and_the_wanted_name(back_end, save, paint):
    source = await save(paint(noisy=True))

    copied = await back_end.storage.copy(source, back_end.root, "logo.jpg")

    assert copied.path.name == "logo.png"
    assert back_end.locate(copied.path).read_bytes() == back_end.locate(source).read_bytes()
    assert copied.facts == await back_end.storage.read_facts(source)
    assert (await back_end.storage.copy(source, back_end.root, "logo")).path == copied.path
    assert len(back_end.list()) == 2
    with pytest.raises(RequestRefusedError):
        await back_end.storage.copy(source, back_end.root, "../logo")


async def test_two_pictures_may_be_copied_under_one_name(back_end, save, paint):
    one, other = await save(paint(noisy=True)), await save(paint(), index=2)

    copies = [(await back_end.storage.copy(source, back_end.root, "logo")).path for source in (one, other)]

    assert [back_end.locate(copy).read_bytes() for copy in copies] == [
        back_end.locate(source).read_bytes() for source in (one, other)
    ]


async def test_a_copy_may_be_smaller_and_of_another_format(back_end, save, paint):
    source = await save(paint(size=(400, 300), noisy=True))

    copied = await back_end.storage.copy(source, back_end.root, None, Conversion(ImageFormat.WEBP, 200))

    assert (copied.facts.width, copied.facts.height, copied.path.suffix) == (200, 150, ".webp")
    assert copied.path.stem.endswith("-200x150")
    assert await back_end.storage.read_facts(copied.path) == copied.facts


async def test_a_conversion_that_changes_nothing_gives_the_image_itself(back_end, save, paint):
    first = await save(paint(size=(400, 300), noisy=True))
    source = (await back_end.storage.copy(first, back_end.root, "labelled", Conversion(ImageFormat.PNG, None))).path

    again = await back_end.storage.copy(source, source.parent, None, Conversion(ImageFormat.PNG, None))

    assert again.path == source


async def test_a_preview_is_small(back_end, save, paint):
    preview = await back_end.storage.draw_preview(await save(paint(size=(400, 300), noisy=True)), max_side=100)

    assert preview.mime_type == "image/jpeg"
    with Image.open(BytesIO(preview.data)) as image:
        assert max(image.size) <= 100


async def test_an_image_can_be_sent_as_input_and_not_once_it_has_changed(back_end, save, paint):
    path = await save(paint(size=(400, 400), noisy=True))
    facts = await back_end.storage.read_facts(path)

    prepared = await back_end.storage.prepare_input(path, LIMITS)
    assert (prepared.width, prepared.height, prepared.sha256) == (400, 400, facts.sha256)
    assert await back_end.storage.prepare_input(path, LIMITS, sha256=facts.sha256) == prepared

    back_end.put(path.relative_to(back_end.root), paint(size=(401, 401)))
    with pytest.raises(InputChangedError):
        await back_end.storage.prepare_input(path, LIMITS, sha256=facts.sha256)


class Status(StrEnum):
    DONE = "SUCCEEDED"


async def test_a_sidecar_is_readable_json_beside_the_image(back_end, save, paint):
    path = await save(paint())
    facts = {
        "prompt": "一间花店 🌸 \ud800",
        "seed": 7,
        "status": Status.DONE,
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "path": Path("/x/y.png"),
        "parameters": MappingProxyType({"size": "1280*1280"}),
    }

    await back_end.storage.write_sidecar(path, facts)
    await back_end.storage.write_sidecar(path, {"prompt": "of a later process"})

    sidecar = back_end.locate(path.with_suffix(".json"))
    assert len(back_end.list()) == 2
    assert "一间花店 🌸" in sidecar.read_text(encoding="utf-8")
    assert json.loads(sidecar.read_bytes()) == {
        "prompt": "一间花店 🌸 \ud800",
        "seed": 7,
        "status": "SUCCEEDED",
        "created_at": "2026-11-22T00:00:00+00:00",
        "path": str(Path("/x/y.png")),
        "parameters": {"size": "1280*1280"},
    }


async def test_versions_tell_files_apart(back_end, save, paint):
    one, other = await save(paint()), await save(paint(), index=2)

    versions = [await back_end.storage.read_version(path) for path in (one, other, one)]

    assert versions[0] == versions[2] != versions[1]
