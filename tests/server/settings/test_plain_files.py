"""Only plain files of a bounded size are read; nothing else is waited for."""

import os
import socket

import pytest

from wan_mcp.settings import read_settings
from wan_mcp.settings.files import read_plain_file
from wan_mcp_tools.domain.errors import SettingsError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="these kinds of files are POSIX's")


@pytest.fixture
def a_socket(tmp_path, monkeypatch):
    # The name of a socket must be short.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        yield tmp_path / "socket"


def a_pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def a_link_to_a_pipe(folder):
    (folder / "link").symlink_to(a_pipe(folder))
    return folder / "link"


def a_hole(folder):
    path = folder / "hole"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (a_pipe, "it is a pipe, not a file"),
        (a_link_to_a_pipe, "it is a pipe, not a file"),
        (lambda folder: folder, "it is a folder"),
        (lambda folder: "/dev/zero", "it is a device, not a file"),
        (lambda folder: "/dev/null", "it is a device, not a file"),
        (a_hole, "it is larger than 1 MiB"),
        (lambda folder: folder / "none", "No such file or directory"),
        (lambda folder: folder / "a\0b", "its name holds a null character"),
    ],
)
def test_what_is_no_plain_file_is_refused_at_once_and_says_what_it_is(tmp_path, make, reason):
    from pathlib import Path

    path = Path(make(tmp_path))
    with pytest.raises(OSError) as caught:
        read_plain_file(path, 1 << 20)
    assert caught.value.strerror == reason


def test_a_socket_is_refused(a_socket):
    with pytest.raises(OSError) as caught:
        read_plain_file(a_socket, 100)
    assert caught.value.strerror == "it is a socket, not a file"


def test_a_plain_file_is_read_up_to_the_limit_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_plain_file(tmp_path / "link", 100) == b"x" * 100
    with pytest.raises(OSError, match="larger than 99 bytes"):
        read_plain_file(tmp_path / "file", 99)


@pytest.mark.parametrize("make", [a_pipe, lambda folder: "/dev/zero", lambda folder: folder, a_hole])
def test_settings_files_and_key_files_stand_behind_that_gate(tmp_path, make):
    path = make(tmp_path)
    with pytest.raises(SettingsError, match="cannot be read: it is"):
        read_settings({"WAN_MCP_ENV_FILE": str(path)})
    problem = read_settings({"DASHSCOPE_API_KEY_FILE_PATH": str(path)}).regions["singapore"].problem
    assert "cannot be read: it is" in problem
