"""What is asked of a disk: links without overwriting, and whether it is a network drive."""

from pathlib import PurePosixPath, PureWindowsPath

import pytest

from wan_mcp.storage.disk import (
    choose_mount,
    find_network_drive,
    is_share,
    publish_by_link,
    read_mount_command,
    read_mountinfo,
)
from wan_mcp.storage.open_folder import open_folder

LINUX = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,relatime - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/me/local rw - ext4 /dev/sdb1 rw
32 22 0:42 / /mnt/with\040blank rw shared:7 master:2 - cifs //server/share rw
33 22 0:43 / /mnt/remote rw - fuse.sshfs me@host: rw
34 22 0:44 / /mnt/joined rw - fuse.mergerfs a:b rw
35 22 0:45 / /mnt/twice rw - nfs server:/x rw
36 22 0:46 / /mnt/twice rw - ext4 /dev/sdc1 rw
"""
MACOS = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
//me@server._smb._tcp.local/Pictures on /Volumes/My Pictures (smbfs, nodev, nosuid, mounted by me)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)
"""


def test_a_refused_hard_link_falls_back_and_a_failed_fall_back_leaves_no_empty_file(tmp_path):
    (tmp_path / "a-folder-cannot-be-linked").mkdir()

    with open_folder(tmp_path.resolve()) as opened, pytest.raises(OSError):
        publish_by_link(opened, "a-folder-cannot-be-linked", "shop.png")

    assert [path.name for path in tmp_path.iterdir()] == ["a-folder-cannot-be-linked"]


def test_a_link_whose_answer_was_lost_counts_as_given(tmp_path):
    (tmp_path / "x.part").write_text("a picture")
    (tmp_path / "shop.png").hardlink_to(tmp_path / "x.part")

    with open_folder(tmp_path.resolve()) as opened:
        assert publish_by_link(opened, "x.part", "shop.png")
    assert [path.name for path in tmp_path.iterdir()] == ["shop.png"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib", None),
        ("/homes/me", None),
        ("/home/me/Pictures", "nfs4"),
        ("/home/me/local/x", None),
        ("/mnt/with blank/x", "cifs"),
        ("/mnt/remote", "fuse.sshfs"),
        ("/mnt/joined/x", None),
        ("/mnt/twice/x", None),
    ],
)
def test_linux_tells_by_its_table_of_mounts(path, kind):
    assert choose_mount(PurePosixPath(path), read_mountinfo(LINUX)) == kind


@pytest.mark.parametrize(
    ("path", "kind"), [("/Users/me", None), ("/Volumes/My Pictures/wan", "smbfs"), ("/Volumes/Other", None)]
)
def test_macos_tells_by_the_command_mount(path, kind):
    assert choose_mount(PurePosixPath(path), read_mount_command(MACOS)) == kind


@pytest.mark.parametrize(
    ("path", "is_one"),
    [(r"\\server\share\pictures", True), (r"C:\pictures", False), (r"\\?\C:\pictures", False)],
)
def test_windows_names_a_share_by_its_path(path, is_one):
    assert is_share(PureWindowsPath(path)) is is_one


def test_a_table_of_nonsense_tells_nothing():
    assert read_mountinfo("nonsense\n\n - \n1 2 3") == []
    assert choose_mount(PurePosixPath("/x"), []) is None


def test_the_folder_of_a_test_is_on_this_machine(tmp_path):
    assert find_network_drive(tmp_path) is None
