"""Files of other programs: replaced at once or not at all."""

import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wan_mcp.clients.files import read_config, replace_config, write_secret
from wan_mcp_tools.domain.errors import StorageError

NOW = datetime(2026, 11, 22, 12, 30, 45, tzinfo=UTC)
posix = pytest.mark.skipif(os.name != "posix", reason="permission bits and links are as on POSIX")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_and_its_old_bytes_are_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(b"\xef\xbb\xbfold\r\n")
    file = read_config(path)
    assert (file.text, file.bom) == ("old\r\n", True)
    backup = replace_config(file, "new\r\n", NOW)
    assert path.read_bytes() == b"new\r\n"
    assert backup == tmp_path / "c.json.bak-20261122-123045"
    assert backup.read_bytes() == b"\xef\xbb\xbfold\r\n"
    again = replace_config(read_config(path), "third", NOW)
    assert again.name == "c.json.bak-20261122-123045-2"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c.json", backup.name, again.name]


def test_a_new_file_is_made_with_its_folders_and_without_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.json"
    assert replace_config(read_config(path), "{}", NOW) is None
    assert path.read_bytes() == b"{}"


@posix
def test_a_new_file_is_its_owners_alone_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    replace_config(read_config(path), "{}", NOW)
    assert mode_of(path) == 0o600
    path.chmod(0o644)
    file = read_config(path)
    assert file.open_to_others
    backup = replace_config(file, "{ }", NOW)
    assert (mode_of(path), mode_of(backup)) == (0o644, 0o600)
    replace_config(read_config(path), "{  }", NOW, private=True)
    assert mode_of(path) == 0o600


@posix
def test_a_link_stays_a_link_and_the_copy_stays_out_of_the_folder_it_leads_to(tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "real.json").write_text("old", encoding="utf-8")
    link = tmp_path / "c.json"
    link.symlink_to("dotfiles/real.json")
    backup = replace_config(read_config(link), "new", NOW)
    assert link.is_symlink()
    assert (dotfiles / "real.json").read_text(encoding="utf-8") == "new"
    assert [each.name for each in dotfiles.iterdir()] == ["real.json"]
    assert backup.parent == tmp_path


@posix
def test_a_link_to_nowhere_yet_makes_the_file_it_names(tmp_path: Path) -> None:
    link = tmp_path / "c.json"
    link.symlink_to("later/real.json")
    replace_config(read_config(link), "new", NOW)
    assert link.is_symlink()
    assert (tmp_path / "later" / "real.json").read_text(encoding="utf-8") == "new"


@posix
def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StorageError, match="cannot be read"):
        read_config(tmp_path / "a")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes("{}".encode("utf-16"))
    with pytest.raises(StorageError, match=r"is no UTF-8 text\. Nothing was changed"):
        read_config(path)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: it is a folder"):
        read_config(tmp_path)


@posix
def test_a_pipe_a_device_and_a_huge_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for path, reason in (
        (tmp_path / "pipe", "it is a pipe, not a file"),
        (Path("/dev/zero"), "it is a device, not a file"),
        (tmp_path / "huge", "it is larger than 32 MiB"),
    ):
        with pytest.raises(StorageError, match=reason):
            read_config(path)


def test_what_another_program_wrote_meanwhile_is_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("old", encoding="utf-8")
    file = read_config(path)
    path.write_text("theirs", encoding="utf-8")
    with pytest.raises(StorageError, match="changed by another program meanwhile"):
        replace_config(file, "ours", NOW)
    assert path.read_text(encoding="utf-8") == "theirs"
    new = tmp_path / "n.json"
    file = read_config(new)
    new.write_text("theirs", encoding="utf-8")
    with pytest.raises(StorageError, match="changed by another program meanwhile"):
        replace_config(file, "ours", NOW)
    assert not [each for each in tmp_path.iterdir() if each.suffix == ".tmp"]


def test_a_failed_rename_leaves_the_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("old", encoding="utf-8")

    def refuse(one: Path, other: Path) -> None:
        raise PermissionError(13, "in use by another program")

    with pytest.raises(StorageError, match=r"in use by another program\. Nothing was changed"):
        replace_config(read_config(path), "new", NOW, replace=refuse)
    assert path.read_text(encoding="utf-8") == "old"
    assert not [each for each in tmp_path.iterdir() if each.suffix == ".tmp"]


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from wan_mcp.clients.files import read_config, replace_config

def replace(part, target):
    assert part.read_text() == "new" * 100_000
    if sys.argv[2] == "after":
        os.replace(part, target)
    os.kill(os.getpid(), signal.SIGKILL)

replace_config(read_config(Path(sys.argv[1])), "new" * 100_000, datetime.now(UTC), replace=replace)
"""


@posix
@pytest.mark.parametrize(("when", "left"), [("before", "old"), ("after", "new" * 100_000)], ids=["before", "after"])
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path, when: str, left: str) -> None:
    path = tmp_path / "c.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o600)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), when], env=environment, check=False, timeout=45)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text(encoding="utf-8") == left
    assert all(mode_of(each) == 0o600 for each in tmp_path.iterdir() if each.suffix == ".tmp")


def test_a_secret_is_written_for_its_owner_and_never_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "d" / "key"
    write_secret(path, "sk-abcdef1")
    assert path.read_bytes() == b"sk-abcdef1\n"
    if os.name == "posix":
        assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    with pytest.raises(StorageError, match="exists"):
        write_secret(path, "other")
    assert path.read_bytes() == b"sk-abcdef1\n"
