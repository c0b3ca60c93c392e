"""What dead processes leave is removed, and nothing else."""

import os

import pytest

from wan_mcp.storage.parts import PartName, make_part_path, read_part_name
from wan_mcp_tools.domain.errors import StorageError


def leave_part(folder, order_id="order", index=1, owner="dead"):
    path = make_part_path(folder, order_id=order_id, index=index, owner=owner)
    path.write_bytes(b"half")
    return path


@pytest.mark.parametrize(
    ("order_id", "owner"),
    [
        ("0385dc79-5ff8-4d82-bcb6-bcb5e11e1d2b", "a1b2c3"),
        ("../../escape", "host.example:99"),
        ("x" * 500, "y" * 500),
        ("花\ud800", "/"),
        ("", ""),
        ("CON", "a-b"),
    ],
)
def test_any_id_and_owner_make_a_plain_part_name_that_can_be_read_back(tmp_path, order_id, owner):
    path = make_part_path(tmp_path, order_id=order_id, index=3, owner=owner)

    assert path.parent == tmp_path
    assert path.name.isascii()
    assert len(path.name) <= 140
    assert read_part_name(path.name).index == 3
    path.write_bytes(b"")


def test_a_part_name_says_whose_it_is(tmp_path):
    path = make_part_path(tmp_path, order_id="order-1-2", index=3, owner="me")

    assert path.name.startswith(".wan-mcp-order-1-2-3-me.")
    assert read_part_name(path.name) == PartName("order-1-2", 3, "me")


async def test_the_parts_of_an_order_by_other_owners_are_swept(gallery, pictures):
    leave_part(pictures, index=1)
    leave_part(pictures, index=2, owner="host:1")
    kept = [
        leave_part(pictures, owner="me"),
        leave_part(pictures, order_id="order-1"),
        leave_part(pictures, order_id="orde"),
        pictures / "picture.png",
        pictures / ".wan-mcp-order-1-notes.txt",
    ]
    for path in kept[3:]:
        path.write_text("of somebody")

    assert await gallery.sweep(pictures, order_id="order", keep_owner="me") == 2
    assert set(pictures.iterdir()) == set(kept)


async def test_without_an_owner_to_keep_all_parts_of_the_order_are_swept(gallery, pictures):
    leave_part(pictures, owner="me")
    leave_part(pictures, owner="dead")

    assert await gallery.sweep(pictures, order_id="order", keep_owner=None) == 2


async def test_only_parts_older_than_asked_are_swept(gallery, pictures):
    old, young, picture = leave_part(pictures), leave_part(pictures), pictures / "old.part"
    picture.write_text("of somebody")
    os.utime(old, (1000, 1000))
    os.utime(picture, (1000, 1000))
    os.utime(young, (2000, 2000))

    assert await gallery.sweep_older(pictures, older_than=1500) == 1
    assert set(pictures.iterdir()) == {young, picture}


async def test_a_folder_or_a_link_with_the_name_of_a_part_is_left_alone(gallery, pictures, link):
    victim = pictures / "victim"
    victim.write_text("of somebody")
    folder = make_part_path(pictures, order_id="order", index=1, owner="dead")
    folder.mkdir()
    alias = make_part_path(pictures, order_id="order", index=1, owner="dead")
    link(alias, victim)

    assert await gallery.sweep(pictures, order_id="order", keep_owner=None) == 0
    assert {folder, alias, victim} == set(pictures.iterdir())


async def test_a_folder_that_is_not_there_has_nothing_to_sweep(gallery, tmp_path):
    assert await gallery.sweep(tmp_path / "nothing", order_id="order", keep_owner=None) == 0
    assert await gallery.sweep_older(tmp_path / "nothing" / "below", older_than=1e12) == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that refuses")
async def test_a_folder_that_cannot_be_read_is_an_error_in_words(gallery, pictures):
    pictures.chmod(0)
    try:
        with pytest.raises(StorageError, match="does not permit"):
            await gallery.sweep_older(pictures, older_than=1e12)
    finally:
        pictures.chmod(0o700)
