"""Network drives, by the words of each system."""

import errno
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from wan_mcp.storage.disk import Disk
from wan_mcp.storage.mounts import choose_mount, find_file_system, is_share, read_mount_command, read_mountinfo
from wan_mcp.storage.survey import survey_folder

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
def test_linux_tells_by_its_table_of_mounts(path: str, kind: str | None) -> None:
    assert choose_mount(PurePosixPath(path), read_mountinfo(LINUX)) == kind


@pytest.mark.parametrize(
    ("path", "kind"), [("/Users/me", None), ("/Volumes/My Pictures/wan", "smbfs"), ("/Volumes/Other", None)]
)
def test_macos_tells_by_the_command_mount(path: str, kind: str | None) -> None:
    assert choose_mount(PurePosixPath(path), read_mount_command(MACOS)) == kind


@pytest.mark.parametrize(
    ("path", "is_one"),
    [(r"\\server\share\pictures", True), (r"C:\pictures", False), (r"\\?\C:\pictures", False)],
)
def test_windows_names_a_share_by_its_path(path: str, is_one: bool) -> None:
    assert is_share(PureWindowsPath(path)) is is_one


def test_a_table_of_nonsense_tells_nothing() -> None:
    assert read_mountinfo("nonsense\n\n - \n1 2 3") == []
    assert choose_mount(PurePosixPath("/x"), []) is None


def test_the_folder_of_a_test_is_on_this_machine(tmp_path: Path) -> None:
    assert find_file_system(tmp_path) is None


def test_a_disk_that_fails_to_count_is_trouble(tmp_path: Path) -> None:
    def fail(folder: Path) -> int:
        raise OSError(errno.EIO, "Input/output error")

    facts = survey_folder(tmp_path, Disk(count_free_bytes=fail))

    assert facts.exists
    assert facts.trouble == f"Could not look at {tmp_path}: Input/output error."


def test_a_folder_is_looked_at_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "broken").symlink_to(tmp_path / "gone")

    assert survey_folder(tmp_path / "link").exists
    assert survey_folder(tmp_path / "broken" / "x").trouble == f"{tmp_path / 'broken'} is no folder."
