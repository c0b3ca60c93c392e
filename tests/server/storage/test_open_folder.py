"""An open folder: nothing in it or on the way to it is a door."""

import os
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from wan_mcp.storage.open_folder import HAS_HANDLES, LinkFoundError, NotAFileError, open_folder

posix = pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
ways = pytest.mark.parametrize(
    "by_handle",
    [pytest.param(True, marks=pytest.mark.skipif(not HAS_HANDLES, reason="no handles here")), False],
    ids=["handle", "path"],
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path.resolve() / "folder"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path):
    path = tmp_path.resolve() / "outside"
    path.mkdir()
    (path / "secret").write_text("secret")
    return path


def read(opened, name):
    with os.fdopen(opened.open(name), "rb") as file:
        return file.read()


@ways
def test_files_are_made_read_renamed_linked_and_removed_by_their_names(folder, by_handle):
    with open_folder(folder, by_handle=by_handle) as opened:
        descriptor = opened.create("one", 0o600)
        os.write(descriptor, b"content")
        os.close(descriptor)
        with pytest.raises(FileExistsError):
            opened.create("one", 0o600)
        opened.link("one", "two")
        with pytest.raises(FileExistsError):
            opened.link("one", "two")
        opened.rename("two", "three")
        assert sorted(opened.names()) == ["one", "three"]
        assert read(opened, "three") == b"content"
        os.close(opened.create("four", 0o600))
        opened.replace("four", "three")
        assert read(opened, "three") == b""
        opened.remove("three")
        opened.remove("one")
        opened.remove("one")
        opened.sync()
        assert not opened.has("one")
        assert opened.names() == []


@ways
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../secret", "/etc/passwd"])
def test_what_is_no_plain_name_is_refused(folder, outside, by_handle, name):
    with open_folder(folder, by_handle=by_handle) as opened:
        for call in (opened.open, opened.status, opened.remove, opened.has):
            with pytest.raises(ValueError, match="no file name"):
                call(name)


@ways
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_link_anywhere_on_the_way_is_found(folder, outside, link, by_handle, depth):
    place = folder
    for number in range(depth):
        place /= str(number)
        place.mkdir()
    link(place / "door", outside)

    for below in ("door", "door/new/folder"):
        for mode in (None, 0o700):
            with pytest.raises(LinkFoundError) as found:
                open_folder(place / below, create_mode=mode, by_handle=by_handle)
            assert found.value.filename.startswith(str(place / "door"))
    assert [path.name for path in outside.iterdir()] == ["secret"]


@ways
def test_a_link_in_the_folder_is_not_opened_and_its_own_status_is_told(folder, outside, link, by_handle):
    link(folder / "door", outside / "secret")
    link(folder / "dangling", folder / "nothing")

    with open_folder(folder, by_handle=by_handle) as opened:
        for name in ("door", "dangling"):
            with pytest.raises(LinkFoundError):
                opened.open(name)
            with pytest.raises(FileExistsError):
                opened.create(name, 0o600)
            assert stat.S_ISLNK(opened.status(name).st_mode)
            assert opened.has(name)
            opened.remove(name)
    assert (outside / "secret").read_text() == "secret"
    assert not (folder / "nothing").exists()


@posix
@ways
def test_what_is_no_file_is_refused_at_once_and_not_read(folder, by_handle):
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    # The address of a socket has hardly a hundred bytes.
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory(prefix="wan-") as short:
        listener.bind(f"{short}/socket")
        Path(short, "socket").rename(folder / "socket")
        with open_folder(folder, by_handle=by_handle) as opened:
            for name in ("folder", "pipe", "socket"):
                with pytest.raises(NotAFileError) as refusal:
                    opened.open(name)
                assert refusal.value.kind == f"a {name}"
    with open_folder(Path("/dev"), by_handle=by_handle) as devices, pytest.raises(NotAFileError, match="a device"):
        devices.open("zero")


@posix
@ways
def test_a_pipe_that_takes_the_place_of_a_file_never_holds_up_the_reader(folder, by_handle):
    over = threading.Event()

    def swap():
        while not over.is_set():
            (folder / "new").write_bytes(b"content")
            (folder / "new").replace(folder / "file")
            os.mkfifo(folder / "new")
            (folder / "new").replace(folder / "file")

    (folder / "file").write_bytes(b"content")
    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        with open_folder(folder, by_handle=by_handle) as opened:
            for number in range(100_000):
                if number >= 1500 and b"content" in seen:
                    break
                try:
                    seen.add(read(opened, "file"))
                except (NotAFileError, FileNotFoundError, LinkFoundError) as problem:
                    seen.add(type(problem))
    finally:
        over.set()
        thread.join()
    assert seen <= {b"content", b"", NotAFileError, FileNotFoundError, LinkFoundError}
    assert b"content" in seen


@ways
def test_missing_folders_are_made_only_on_request_and_with_the_rights_given(folder, by_handle):
    with pytest.raises(FileNotFoundError):
        open_folder(folder / "a" / "b", by_handle=by_handle)
    with open_folder(folder / "a" / "b", create_mode=0o700, by_handle=by_handle) as opened:
        assert opened.path == folder / "a" / "b"
    if os.name != "nt":
        assert stat.S_IMODE((folder / "a" / "b").stat().st_mode) == 0o700


@ways
def test_a_file_where_a_folder_should_be_is_not_taken_for_a_link(folder, by_handle):
    (folder / "file").write_text("")

    for below in ("file", "file/below"):
        with pytest.raises(NotADirectoryError):
            open_folder(folder / below, by_handle=by_handle)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs folders that refuse")
def test_a_folder_below_one_that_may_only_be_passed_through_is_reached(folder):
    (folder / "closed" / "open").mkdir(parents=True)
    (folder / "closed").chmod(0o100)
    try:
        with open_folder(folder / "closed" / "open") as opened:
            assert opened.names() == []
    finally:
        (folder / "closed").chmod(0o700)


@pytest.mark.skipif(not HAS_HANDLES, reason="needs handles")
def test_what_is_opened_stays_the_folder_that_it_was(folder, outside, link):
    inner = folder / "inner"
    inner.mkdir()
    with open_folder(inner) as opened:
        inner.rename(folder / "moved")
        link(inner, outside)
        os.close(opened.create("file", 0o600))

    assert [path.name for path in (folder / "moved").iterdir()] == ["file"]
    assert [path.name for path in outside.iterdir()] == ["secret"]


@pytest.mark.skipif(not HAS_HANDLES, reason="needs handles")
@pytest.mark.parametrize("what", ["file", "folder", "folder above"])
def test_fifteen_hundred_swaps_with_a_link_show_nothing_from_outside(folder, outside, link, what):
    place = folder / "a" / "b"
    place.mkdir(parents=True)
    (place / "secret").write_text("ours")
    swapped, leads = {
        "file": (place / "secret", outside / "secret"),
        "folder": (place, outside),
        "folder above": (folder / "a", outside),
    }[what]
    (outside / "b").mkdir()
    (outside / "b" / "secret").write_text("secret")
    real, door = folder / "real", folder / "door"
    link(door, leads)
    over = threading.Event()

    def swap():
        while not over.is_set():
            swapped.rename(real)
            door.rename(swapped)
            swapped.rename(door)
            real.rename(swapped)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(1500):
            try:
                with open_folder(place) as opened:
                    seen.add(read(opened, "secret"))
            except OSError as problem:
                seen.add(type(problem))
    finally:
        over.set()
        thread.join()
    assert b"secret" not in seen
    assert seen <= {b"ours", LinkFoundError, FileNotFoundError, NotADirectoryError}
