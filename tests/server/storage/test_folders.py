"""Nothing outside the allowed folders, and what a folder is good for."""

import os
import stat
from errno import EIO, EROFS
from pathlib import Path, PureWindowsPath

import pytest

from wan_mcp.storage import LocalStorage
from wan_mcp.storage.disk import Disk, find_writers
from wan_mcp.storage.folders import Folders, inspect_folder, is_on_foreign_drive
from wan_mcp_tools.domain.errors import FolderNotAllowedError, NotFoundError, RequestRefusedError, StorageError

posix = pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")


async def test_the_default_folder_is_made_when_it_is_needed_and_not_before(tmp_path):
    storage = LocalStorage(tmp_path / "a" / "pictures")
    assert list(tmp_path.iterdir()) == []

    assert await storage.find_folder(None) == (tmp_path / "a" / "pictures").resolve()
    assert await storage.find_folder("  ") == (tmp_path / "a" / "pictures").resolve()
    assert list((tmp_path / "a" / "pictures").iterdir()) == []


async def test_a_relative_folder_lies_inside_the_default_one(storage, pictures):
    assert await storage.find_folder("shop/花") == pictures / "shop" / "花"
    assert (pictures / "shop" / "花").is_dir()


async def test_an_absolute_folder_inside_an_allowed_one_is_taken(tmp_path):
    storage = LocalStorage(tmp_path / "pictures", [tmp_path / "more"])

    assert await storage.find_folder(str(tmp_path / "more" / "x")) == (tmp_path / "more" / "x").resolve()
    assert await storage.find_folder(str(tmp_path / "pictures")) == (tmp_path / "pictures").resolve()


async def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    storage = LocalStorage(tmp_path / "pictures", [Path("~/more")])

    assert await storage.find_folder("~/more/x") == (tmp_path / "more" / "x").resolve()


async def test_a_folder_outside_is_refused_with_the_allowed_ones_and_the_setting(tmp_path):
    storage = LocalStorage(tmp_path / "pictures", [tmp_path / "more"])

    for outside in ("..", "../other", "a/../../other", str(tmp_path), str(tmp_path / "pictures-2"), "~"):
        with pytest.raises(FolderNotAllowedError) as refusal:
            await storage.find_folder(outside)
        assert str(tmp_path / "pictures") in refusal.value.advice
        assert str(tmp_path / "more") in refusal.value.advice
        assert "WAN_MCP_ALLOWED_DIRS" in refusal.value.advice
    assert list(tmp_path.iterdir()) == []


async def test_a_link_that_leads_outside_is_refused_however_deep(storage, pictures, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (pictures / "a").mkdir()
    link(pictures / "a" / "door", outside)
    link(pictures / "dangling", tmp_path / "not-yet")

    for path in ("a/door", "a/door/new/folder", str(pictures / "a" / "door"), "dangling", "dangling/x"):
        with pytest.raises(FolderNotAllowedError):
            await storage.find_folder(path)
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "not-yet").exists()


async def test_a_link_to_an_allowed_folder_is_followed(tmp_path, pictures, link):
    more = tmp_path / "more"
    more.mkdir()
    link(pictures / "door", more)

    assert await LocalStorage(pictures, [more]).find_folder("door/x") == more.resolve() / "x"


async def test_an_allowed_folder_may_itself_be_a_link(tmp_path, link):
    real = tmp_path / "real"
    real.mkdir()
    link(tmp_path / "alias", real)
    storage = LocalStorage(tmp_path / "alias")

    assert await storage.find_folder(None) == real.resolve()
    assert await storage.find_folder(str(tmp_path / "alias" / "x")) == real.resolve() / "x"


async def test_a_link_in_a_circle_is_an_error_in_words(storage, pictures, link):
    link(pictures / "circle", pictures / "circle")

    with pytest.raises(StorageError):
        await storage.find_folder("circle/x")


def test_a_link_that_appears_after_the_check_is_found_out(pictures, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    folders = Folders(pictures)
    found = folders.find("door")
    link(found, outside)

    with pytest.raises(StorageError, match="has become a link"):
        folders.prepare(found, Disk(), mode=0o755)


async def test_a_draft_in_a_folder_outside_is_refused(storage, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()

    with pytest.raises(FolderNotAllowedError):
        async with storage.open_draft(outside, order_id="order", index=1, owner="me"):
            pytest.fail("it opened")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "x\u202ey", "x\ud800", "~nobody-of-that-name/x"])
async def test_a_text_that_is_no_path_is_refused(storage, path):
    with pytest.raises(RequestRefusedError):
        await storage.find_folder(path)


@posix
@pytest.mark.parametrize("path", ["C:\\Users\\me\\Pictures", "c:/pictures", "\\\\machine\\share"])
async def test_a_windows_path_is_refused_where_it_would_become_an_odd_name(storage, path):
    with pytest.raises(RequestRefusedError, match="Windows path"):
        await storage.find_folder(path)


@pytest.mark.parametrize(
    ("path", "foreign"),
    [
        ("\\\\machine\\share\\x", True),
        ("d:\\x", True),
        ("D:x", True),
        ("c:\\other", False),
        ("\\\\NAS\\photos\\x", False),
        ("relative\\x", False),
    ],
)
def test_a_windows_drive_or_machine_without_an_allowed_folder_is_known_unasked(path, foreign):
    roots = [PureWindowsPath("C:\\Users\\me\\Pictures"), PureWindowsPath("\\\\nas\\photos")]

    assert is_on_foreign_drive(PureWindowsPath(path), roots) is foreign


async def test_a_file_in_place_of_the_folder_is_an_error_in_words(tmp_path):
    (tmp_path / "pictures").write_text("a file")

    for storage in (LocalStorage(tmp_path / "pictures"), LocalStorage(tmp_path / "pictures" / "below")):
        with pytest.raises(StorageError, match="file, not a folder") as refusal:
            await storage.find_folder(None)
        assert "WAN_MCP_OUTPUT_DIR" in refusal.value.advice


async def test_a_read_only_folder_is_found_before_anything_is_ordered(tmp_path):
    def refuse(opened, name, mode):
        raise OSError(EROFS, os.strerror(EROFS))

    storage = LocalStorage(tmp_path, disk=Disk(create_new=refuse))

    with pytest.raises(StorageError, match="read-only") as refusal:
        await storage.find_folder(None)
    assert str(tmp_path.resolve()) in refusal.value.message


async def test_a_disk_with_hardly_any_room_is_found_before_anything_is_ordered(tmp_path):
    with pytest.raises(StorageError, match="free"):
        await LocalStorage(tmp_path, disk=Disk(count_free_bytes=lambda folder: 1_000_000)).find_folder(None)

    unknown = LocalStorage(tmp_path, disk=Disk(count_free_bytes=lambda folder: None))
    assert await unknown.find_folder(None) == tmp_path.resolve()


async def test_a_readable_picture_is_found_by_its_path(storage, pictures, paint):
    path = pictures / "shop.png"
    path.write_bytes(paint())

    assert await storage.find_readable("shop.png") == path
    assert await storage.find_readable(str(path)) == path


async def test_a_file_outside_is_refused_whether_it_exists_or_not(storage, pictures, tmp_path, paint, link):
    (tmp_path / "secret.png").write_bytes(paint())
    link(pictures / "door.png", tmp_path / "secret.png")

    for path in ("../secret.png", "../nothing.png", "door.png", str(tmp_path / "secret.png")):
        with pytest.raises(FolderNotAllowedError):
            await storage.find_readable(path)


async def test_a_missing_file_and_a_folder_are_not_found(storage, pictures):
    (pictures / "folder.png").mkdir()

    for path in ("nothing.png", "folder.png", ""):
        with pytest.raises(NotFoundError):
            await storage.find_readable(path)


async def test_a_file_that_is_no_picture_is_not_readable(storage, pictures):
    (pictures / "notes.png").write_text("not a picture")

    with pytest.raises(RequestRefusedError, match="no PNG, JPEG or WebP"):
        await storage.find_readable("notes.png")


@posix
async def test_a_file_address_means_the_folder_it_names(storage, pictures, tmp_path):
    assert await storage.find_folder(f"file://{pictures}/a%20b") == pictures.resolve() / "a b"
    assert await storage.find_folder(f"file://localhost{pictures}/c") == pictures.resolve() / "c"
    assert await storage.find_folder(f"file:{pictures}/d") == pictures.resolve() / "d"
    with pytest.raises(FolderNotAllowedError):
        await storage.find_folder(f"file://{tmp_path}/outside")
    assert sorted(path.name for path in pictures.iterdir()) == ["a b", "c", "d"]


@pytest.mark.parametrize(
    "path",
    ["https://example.com/x", "file://machine/share", "s3://bucket/x", "file:///a%00b"],
)
async def test_an_address_of_something_else_is_refused_and_makes_no_folder(storage, pictures, path):
    with pytest.raises(RequestRefusedError):
        await storage.find_folder(path)
    assert list(pictures.iterdir()) == []


@pytest.mark.parametrize("path", ["$HOME/x", "${HOME}", "$WAN_DIR/a/b", "%USERPROFILE%/x"])
async def test_a_variable_is_not_taken_for_a_folder_of_that_name(storage, pictures, path):
    with pytest.raises(RequestRefusedError, match="variable"):
        await storage.find_folder(path)
    assert list(pictures.iterdir()) == []


async def test_names_that_only_look_like_variables_or_addresses_are_names(storage, pictures):
    for name in ("$5 offers", "cash$", "100%", "a:b/c"):
        assert await storage.find_folder(name) == pictures.resolve() / name


def test_a_disk_that_fails_to_count_is_a_problem(tmp_path):
    def fail(folder):
        raise OSError(EIO, "Input/output error")

    facts = inspect_folder(tmp_path, Disk(count_free_bytes=fail))

    assert facts.exists
    assert facts.problem == f"Could not look at {tmp_path}: Input/output error."


def test_a_folder_is_looked_at_through_a_link(tmp_path, link):
    (tmp_path / "real").mkdir()
    link(tmp_path / "link", tmp_path / "real")
    link(tmp_path / "broken", tmp_path / "gone")

    assert inspect_folder(tmp_path / "link").exists
    facts = inspect_folder(tmp_path / "broken" / "x")
    assert facts.obstacle == tmp_path / "broken"
    assert facts.problem == f"{tmp_path / 'broken'} is a link that leads nowhere, and a folder is needed there."


@pytest.mark.skipif(os.name != "posix", reason="these kinds of files are POSIX's")
@pytest.mark.parametrize(("make", "kind"), [(Path.touch, "a plain file"), (os.mkfifo, "a pipe")])
@pytest.mark.parametrize("below", [".", "state", "deep/down/state"])
def test_what_stands_in_the_place_of_a_folder_is_told_as_what_it_is(tmp_path, make, kind, below):
    make(tmp_path / "thing")

    facts = inspect_folder(tmp_path / "thing" / below)

    assert (facts.exists, facts.obstacle) == (False, tmp_path / "thing")
    assert facts.problem == f"{tmp_path / 'thing'} is {kind}, and a folder is needed there."


@posix
@pytest.mark.parametrize("which", ["default", "further"])
async def test_a_folder_of_the_settings_that_becomes_a_link_leads_nowhere_from_then_on(tmp_path, link, paint, which):
    default, more, outside = tmp_path / "pictures", tmp_path / "more", tmp_path / "outside"
    for folder in (default, more, outside):
        folder.mkdir()
    (outside / "secret.png").write_bytes(paint())
    storage = LocalStorage(default, [more])
    await storage.hold()
    replaced = default if which == "default" else more
    replaced.rename(tmp_path / "moved")
    link(replaced, outside)

    if which == "default":
        with pytest.raises(StorageError, match="pictures has become a link") as refusal:
            await storage.find_folder(None)
        assert "WAN_MCP_OUTPUT_DIR" in refusal.value.advice
        assert refusal.value.retryable
    for path in (replaced, replaced / "new", outside):
        with pytest.raises(FolderNotAllowedError):
            await storage.find_folder(str(path))
        with pytest.raises(FolderNotAllowedError):
            await storage.find_known_folder(path)
    with pytest.raises(FolderNotAllowedError, match="leads, by a link, outside"):
        await storage.find_readable(str(replaced / "secret.png"))
    with pytest.raises(FolderNotAllowedError):
        await storage.write_sidecar(replaced / "secret.png", {})
    for remove in (
        storage.remove_temp_files(replaced, order_id="order", keep_owner=None),
        storage.remove_old_temp_files(replaced, older_than=1e12),
    ):
        with pytest.raises(FolderNotAllowedError):
            await remove
    assert [path.name for path in outside.iterdir()] == ["secret.png"]


@posix
async def test_a_folder_of_the_settings_is_held_once_it_exists(tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    storage = LocalStorage(tmp_path / "pictures")
    await storage.hold()
    assert await storage.find_folder(None) == tmp_path.resolve() / "pictures"

    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert await storage.find_folder(None) == tmp_path.resolve() / "pictures"
    (tmp_path / "pictures").rmdir()
    link(tmp_path / "pictures", outside)
    with pytest.raises(StorageError, match="become a link"):
        await storage.find_folder(None)


@posix
async def test_a_folder_above_that_becomes_a_link_is_found_as_well(tmp_path, link):
    (tmp_path / "a" / "pictures").mkdir(parents=True)
    (tmp_path / "b" / "pictures").mkdir(parents=True)
    storage = LocalStorage(tmp_path / "a" / "pictures")
    await storage.hold()
    (tmp_path / "a").rename(tmp_path / "moved")
    link(tmp_path / "a", tmp_path / "b")

    with pytest.raises(StorageError, match="become a link"):
        await storage.find_folder(None)
    assert list((tmp_path / "b" / "pictures").iterdir()) == []


async def test_one_folder_of_the_settings_that_cannot_be_used_does_not_stop_the_others(tmp_path, link):
    link(tmp_path / "round", tmp_path / "round")
    storage = LocalStorage(tmp_path / "pictures", [tmp_path / "round", tmp_path / "more"])

    assert await storage.find_folder(str(tmp_path / "more" / "x")) == tmp_path.resolve() / "more" / "x"
    with pytest.raises(RequestRefusedError):
        await storage.find_folder(str(tmp_path / "other"))


@posix
@pytest.mark.parametrize("bad", [b"caf\xe9", b"\xff\xfe", b"ok/\xc3"])
async def test_a_name_that_is_no_utf8_is_refused_in_words_wherever_it_comes_in(tmp_path, pictures, bad):
    name = os.fsdecode(bad)
    (pictures / "door").symlink_to(pictures / name)
    storage = LocalStorage(pictures, [tmp_path / name])

    for attempt in (
        storage.find_folder(name),
        storage.find_folder("door"),
        storage.find_folder(f"door/{name}"),
        storage.find_readable(name),
        storage.find_known_folder(pictures / name),
        storage.read_facts(pictures / name / "x.png"),
        LocalStorage(tmp_path / name).find_known_folder(tmp_path / name),
    ):
        with pytest.raises(RequestRefusedError, match="not UTF-8") as refusal:
            await attempt
        str(refusal.value).encode()
    with pytest.raises(StorageError, match="not UTF-8"):
        await LocalStorage(tmp_path / name).find_folder(None)
    assert await storage.find_missing([pictures / name]) == [pictures / name]
    assert "not UTF-8" in inspect_folder(tmp_path / name).problem
    assert await storage.find_folder("fine") == pictures / "fine"


@posix
async def test_a_null_character_in_a_path_of_the_ledger_is_refused_in_words(storage, pictures):
    path = pictures / "a\0b.png"

    with pytest.raises(RequestRefusedError, match="null character"):
        await storage.read_facts(path)
    assert await storage.find_missing([path]) == [path]


@posix
@pytest.mark.parametrize(("mode", "umask", "expected"), [(0o600, 0o022, 0o755), (0o600, 0, 0o755), (0o660, 0, 0o775)])
async def test_a_folder_that_is_made_can_be_written_to_by_nobody_who_may_not_write_to_the_files(
    tmp_path, mode, umask, expected
):
    before = os.umask(umask)
    try:
        await LocalStorage(tmp_path / "pictures", file_mode=mode).find_folder("a/b")
    finally:
        os.umask(before)

    for folder in ("pictures", "pictures/a", "pictures/a/b"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == expected


@posix
async def test_a_path_that_no_program_could_follow_is_not_made(storage, pictures):
    with pytest.raises(StorageError, match="too long") as refusal:
        await storage.find_folder("/".join(["x" * 200] * 30))

    assert not refusal.value.retryable
    assert list(pictures.iterdir()) == []


@posix
def test_who_else_may_write_is_found(tmp_path):
    for name, mode in (("mine", 0o755), ("ours", 0o775), ("everybodys", 0o777), ("file", 0o666)):
        path = tmp_path / name
        path.touch() if name == "file" else path.mkdir()
        path.chmod(mode)
    paths = [tmp_path / name for name in ("mine", "ours", "everybodys", "file", "nothing")]

    assert find_writers(paths) == [(paths[1], "its group"), (paths[2], "everybody"), (paths[3], "everybody")]
