"""The storage in folders of this machine: copies, digests, sidecars, and nothing on the event loop."""

import hashlib
import os
import socket
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

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


@pytest.fixture
def source(pictures, paint):
    path = pictures / "20261122-shop-0385dc79-1.png"
    path.write_bytes(paint(noisy=True))
    return path


@pytest.fixture
async def album(storage):
    return await storage.find_folder("album")


async def test_a_copy_has_the_bytes_and_the_wanted_name(storage, source, album):
    copied = await storage.copy(source, album, "logo.jpg")
    path, facts = copied.path, copied.facts

    assert path == album / "logo.png"
    assert path.read_bytes() == source.read_bytes()
    assert facts == await storage.read_facts(source)


async def test_a_copy_without_a_name_keeps_the_name_of_its_source(storage, source, album):
    path = (await storage.copy(source, album, None)).path

    assert path == album / source.name


async def test_copying_again_gives_the_copy_that_is_there(storage, source, album):
    (album / "logo.png").write_text("of somebody")

    first = (await storage.copy(source, album, "logo")).path
    again = (await storage.copy(source, album, "logo")).path

    assert first == again == album / "logo-2.png"
    assert len(list(album.iterdir())) == 2


async def test_eight_equal_copies_at_once_are_one_file(storage, source, album):
    paths = []

    async def copy():
        paths.append((await storage.copy(source, album, "logo")).path)

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

    path = (await storage.copy(source, await storage.find_folder(str(tmp_path / "website")), "logo")).path

    assert path == (tmp_path / "website" / "logo.png").resolve()


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


posix = pytest.mark.skipif(os.name == "nt", reason="files of POSIX")


@pytest.fixture
def outside(tmp_path, paint):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.png").write_bytes(paint(size=(31, 17)))
    return folder.resolve()


def make_socket(path):
    # The address of a socket has hardly a hundred bytes.
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory(prefix="wan-") as short:
        listener.bind(f"{short}/it")
        Path(short, "it").rename(path)


MAKERS = {"pipe": os.mkfifo, "socket": make_socket} if os.name != "nt" else {}


@posix
@pytest.mark.parametrize("what", ["pipe", "device", "socket"])
async def test_what_is_no_file_is_neither_opened_nor_waited_for(pictures, what):
    storage, path = LocalStorage(pictures), pictures / "it.png"
    if what == "device":
        storage, path = LocalStorage(pictures, [Path("/dev")]), Path("/dev/zero")
    else:
        MAKERS[what](path)

    with anyio.fail_after(45):
        for attempt in (
            storage.find_readable(str(path)),
            storage.locate(path),
            storage.read_facts(path),
            storage.read(path),
            storage.draw_preview(path),
            storage.copy(path, pictures, "copy"),
        ):
            with pytest.raises(RequestRefusedError, match=f"is a {what} and no picture") as refusal:
                await attempt
            assert refusal.value.code == "NotAnImage"
        assert not await storage.matches(path, "0" * 64)
        assert await storage.find_missing([path]) == [path]
    assert not (pictures / "copy.png").exists()


@posix
async def test_every_path_is_confined_whatever_is_done_with_it(storage, pictures, outside, link, paint):
    link(pictures / "door.png", outside / "secret.png")
    link(pictures / "way", outside)
    (pictures / "mine.png").write_bytes(paint())

    for path in (
        outside / "secret.png",
        pictures / "door.png",
        pictures / "way" / "secret.png",
        pictures / ".." / "outside",
    ):
        for attempt in (
            storage.find_readable(str(path)),
            storage.locate(path),
            storage.read_facts(path),
            storage.read(path),
            storage.draw_preview(path),
            storage.matches(path, "0" * 64),
            storage.copy(path, pictures, "copy"),
            storage.copy(pictures / "mine.png", path, "copy"),
            storage.find_known_folder(path),
            storage.write_sidecar(path / "x.png", {}),
            storage.remove_temp_files(path, order_id="order", keep_owner=None),
            storage.remove_old_temp_files(path, older_than=1e12),
        ):
            with pytest.raises(FolderNotAllowedError):
                await attempt
    assert [path.name for path in outside.iterdir()] == ["secret.png"]
    assert not (pictures / "copy.png").exists()


@posix
async def test_a_link_that_leads_to_an_allowed_place_is_followed(storage, pictures, paint, link):
    (pictures / "archive").mkdir()
    (pictures / "archive" / "fox.png").write_bytes(paint())
    link(pictures / "fox.png", pictures / "archive" / "fox.png")

    assert await storage.locate(pictures / "fox.png") == pictures / "archive" / "fox.png"
    assert await storage.find_missing([pictures / "fox.png"]) == []
    assert (await storage.read_facts(pictures / "fox.png")).width == 40


async def test_what_is_gone_is_missing_and_what_cannot_be_told_is_not(storage, pictures, outside, paint, link):
    (pictures / "mine.png").write_bytes(paint())
    link(pictures / "door.png", outside / "secret.png")
    paths = [pictures / "mine.png", outside / "secret.png", pictures / "door.png", pictures / "nothing.png"]
    paths += [outside / "nothing.png", pictures / "mine.png" / "below"]

    assert await storage.find_missing(paths) == paths[2:]


@pytest.fixture
def digest_of():
    return lambda data: hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("place", ["pictures", "more", "pictures/a", "more/a/b/c", "pictures/old/album"])
async def test_a_file_that_was_moved_is_found_by_its_name_and_its_digest(tmp_path, paint, digest_of, place):
    data = paint(noisy=True)
    storage = LocalStorage(tmp_path / "pictures", [tmp_path / "more"])
    (tmp_path / "pictures").mkdir()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "fox.png").write_bytes(data)
    was = tmp_path / "old" / "album" / "fox.png"

    found = await storage.find_moved(was, sha256=digest_of(data), size=len(data))

    assert found == (tmp_path / place / "fox.png").resolve()
    assert await storage.find_moved(was, sha256=digest_of(data), size=None) == found
    assert await storage.find_moved(was, sha256=digest_of(b"other"), size=len(data)) is None
    assert await storage.find_moved(was, sha256=digest_of(data), size=len(data) + 1) is None
    assert await storage.find_moved(was.with_name("cat.png"), sha256=digest_of(data), size=len(data)) is None


@posix
async def test_the_search_for_a_moved_file_follows_no_link_and_has_an_end(  # noqa: PLR0917 - fixtures
    tmp_path, pictures, outside, paint, digest_of, link
):
    data = (outside / "secret.png").read_bytes()
    storage = LocalStorage(pictures)
    link(pictures / "way", outside)
    link(pictures / "round", pictures)
    os.mkfifo(pictures / "secret.png")
    for number in range(2000):
        (pictures / f"{number:04}").mkdir()
    deep = pictures.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "secret.png").write_bytes(data)

    with anyio.fail_after(45):
        for was in (outside / "secret.png", tmp_path / ".." / "secret.png", Path("secret.png"), Path("/")):
            assert await storage.find_moved(was, sha256=digest_of(data), size=len(data)) is None


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644])
async def test_a_copy_has_the_rights_of_the_setting_and_not_those_of_its_source(pictures, source, mode):
    source.chmod(0o777)
    storage = LocalStorage(pictures, file_mode=mode)

    path = (await storage.copy(source, pictures, "logo")).path

    assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_a_file_that_is_larger_than_anything_that_is_read_is_refused(storage, pictures):
    with (pictures / "large.png").open("wb") as file:
        file.truncate(600 * 1024 * 1024)

    with pytest.raises(RequestRefusedError, match="more than 536870912 bytes"):
        await storage.read_facts(pictures / "large.png")
