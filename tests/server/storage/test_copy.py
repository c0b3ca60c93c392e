"""An image under another name, once."""

import anyio
import pytest

from wan_mcp.storage import LocalStorage
from wan_mcp_tools.domain.errors import (
    FolderNotAllowedError,
    NotAnImageError,
    NotFoundError,
    RequestRefusedError,
)


@pytest.fixture
def source(pictures, paint):
    path = pictures / "20261122-shop-0385dc79-1.png"
    path.write_bytes(paint(noisy=True))
    return path


@pytest.fixture
async def album(gallery):
    return await gallery.folder("album")


async def test_a_copy_has_the_bytes_and_the_wanted_name(gallery, source, album):
    path, facts = await gallery.copy(source, album, "logo.jpg")

    assert path == album / "logo.png"
    assert path.read_bytes() == source.read_bytes()
    assert facts == await gallery.facts(source)


async def test_a_copy_without_a_name_keeps_the_name_of_its_source(gallery, source, album):
    path, _ = await gallery.copy(source, album, None)

    assert path == album / source.name


async def test_copying_again_gives_the_copy_that_is_there(gallery, source, album):
    (album / "logo.png").write_text("of somebody")

    first, _ = await gallery.copy(source, album, "logo")
    again, _ = await gallery.copy(source, album, "logo")

    assert first == again == album / "logo-2.png"
    assert len(list(album.iterdir())) == 2


async def test_copying_an_image_onto_itself_changes_nothing(gallery, source, pictures):
    assert (await gallery.copy(source, pictures, None))[0] == source
    assert list(pictures.iterdir()) == [source]


async def test_eight_equal_copies_at_once_are_one_file(gallery, source, album):
    paths = []

    async def copy():
        paths.append((await gallery.copy(source, album, "logo"))[0])

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(copy)

    assert set(paths) == {album / "logo.png"} == set(album.iterdir())


async def test_a_copy_that_cannot_be_made_says_why_and_leaves_nothing(gallery, source, album, pictures, tmp_path):
    (pictures / "notes.png").write_text("not a picture")

    with pytest.raises(NotFoundError):
        await gallery.copy(pictures / "nothing.png", album, None)
    with pytest.raises(NotAnImageError):
        await gallery.copy(pictures / "notes.png", album, None)
    with pytest.raises(FolderNotAllowedError):
        await gallery.copy(source, tmp_path, None)
    with pytest.raises(RequestRefusedError):
        await gallery.copy(source, album, "../logo")

    assert list(album.iterdir()) == []
    assert not list(tmp_path.glob("*.png"))


async def test_a_further_allowed_folder_takes_copies(source, pictures, tmp_path):
    gallery = LocalStorage(pictures, [tmp_path / "website"])

    path, _ = await gallery.copy(source, await gallery.folder(str(tmp_path / "website")), "logo")

    assert path == (tmp_path / "website" / "logo.png").resolve()
