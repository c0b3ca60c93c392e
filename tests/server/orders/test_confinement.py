"""What the ledger says of folders and files is held to the folders that are allowed now; no picture is lost for it."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import get, make_settings, order, running_service, saved_files, submit
from fakes.tiny_png import encode, read_size
from wan_mcp_tools.domain.errors import AppError, FolderNotAllowedError, NotFoundError
from wan_mcp_tools.domain.tasks import NameReason, TaskStatus

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links of POSIX")

SECRET = encode(31, 17, colour=(0, 0, 0), texts={"secret": "yes"})


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "secret.png", folder / "sub" / "secret.png"):
        path.write_bytes(SECRET)
    yield folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "secret.png",
        "sub",
        "sub/secret.png",
    ]
    assert (folder / "secret.png").read_bytes() == (folder / "sub" / "secret.png").read_bytes() == SECRET


def change_row(settings, table, **values):
    marks = ", ".join(f'"{name}" = ?' for name in values)
    with closing(sqlite3.connect(settings.ledger_path)) as database, database:
        database.execute(f"UPDATE {table} SET {marks}", list(values.values()))


def read_paths(settings):
    with closing(sqlite3.connect(settings.ledger_path)) as database:
        return [row[0] for row in database.execute('SELECT path FROM images ORDER BY local_id, "index"')]


def download(service, task, output_dir=None, filename=None, index=1):
    return service.download_image(
        task_id=task.task_id, index=index, url=None, output_dir=output_dir, filename=filename
    )


def replace_by_link(path, target):
    path.unlink()
    path.symlink_to(target)


async def test_an_output_folder_that_becomes_a_link_while_an_order_runs_gets_its_picture_when_it_is_back(
    tmp_path, outside
):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
            settings.output_dir.rename(tmp_path / "moved")
            settings.output_dir.symlink_to(outside)
            dashscope.advance(120)
            waiting = await get(service, task.task_id)

            assert [image.url is not None for image in waiting.failed_images] == [True]
            assert "has become a link" in waiting.failed_images[0].message
            settings.output_dir.unlink()
            (tmp_path / "moved").rename(settings.output_dir)
            done = await get(service, task.task_id)
    assert [Path(image.path).parent for image in done.images] == [settings.output_dir.resolve()]
    assert done.notes == ()
    assert len(dashscope.creates) == 1


async def test_a_folder_of_an_order_that_becomes_a_link_is_not_written_to_and_the_picture_is_saved_elsewhere(
    tmp_path, outside
):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service, output_dir="album", n=2)
            (settings.output_dir / "album").rmdir()
            (settings.output_dir / "album").symlink_to(outside)
            dashscope.advance(120)
            done = await get(service, task.task_id)

    assert [Path(image.path).parent for image in done.images] == [settings.output_dir.resolve()] * 2
    [note] = done.notes
    assert str(settings.output_dir / "album") in note
    assert all(Path(image.path).with_suffix(".json").exists() for image in done.images)


async def test_an_order_whose_folder_is_allowed_no_more_is_saved_in_the_image_folder_and_that_is_said(tmp_path):
    album = tmp_path / "album"
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_ALLOWED_DIRS=str(album))
        async with running_service(settings) as service:
            task = await submit(service, output_dir=str(album), filename="fox")
        dashscope.advance(120)
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            done = await get(service, task.task_id)
            again = await get(service, task.task_id)

    assert [image.path for image in done.images] == [str(settings.output_dir.resolve() / "fox.png")]
    assert done.notes == again.notes
    assert len(done.notes) == 1
    assert str(album) in done.notes[0]
    assert list(album.iterdir()) == []


FOLDERS = [
    "{outside}",
    "{outside}/new/folder",
    "{pictures}/../outside",
    "relative",
    "~",
    "/",
    "",
    "a\nb",
    "x" * 5000,
    "{pictures}/" + "/".join(["x" * 200] * 30),
]


async def test_whatever_a_row_says_of_a_folder_the_picture_is_saved_inside(tmp_path, outside):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            tasks = {folder: await submit(service, f"picture {n}") for n, folder in enumerate(FOLDERS)}
        dashscope.advance(120)
        with closing(sqlite3.connect(settings.ledger_path)) as database, database:
            for folder, task in tasks.items():
                told = folder.format(outside=outside, pictures=tmp_path / "pictures")
                database.execute("UPDATE orders SET folder = ? WHERE task_id = ?", (told, task.task_id))
        async with running_service(settings) as service:
            done = {folder: await get(service, task.task_id) for folder, task in tasks.items()}

    for folder, task in done.items():
        assert task.status is TaskStatus.SUCCEEDED, folder
        assert len(task.images) == 1, folder
    saved = [str(path) for path in saved_files(settings)]
    assert sorted(task.images[0].path for task in done.values()) == saved


async def test_a_filename_in_a_row_that_is_no_name_does_not_lose_the_picture(tmp_path, outside):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service, filename="fox")
        dashscope.advance(120)
        with closing(sqlite3.connect(settings.ledger_path)) as database, database:
            database.execute("UPDATE orders SET request = replace(request, '\"fox\"', '\"../outside/fox\"')")
        async with running_service(settings) as service:
            done = await get(service, task.task_id)

    [image] = done.images
    assert Path(image.path).parent == settings.output_dir.resolve()


@contextmanager
def no_longer_asked(dashscope):
    """Let the service have forgotten its tasks."""
    dashscope.set_chance("query", 1.0, "unknown")
    yield
    dashscope.faults.clear()


async def test_a_saved_file_that_was_replaced_by_a_link_is_neither_shown_nor_copied(tmp_path, outside):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service)
            [path] = saved_files(settings)
            replace_by_link(path, outside / "secret.png")

            with pytest.raises(NotFoundError, match="moved or deleted"):
                await service.draw_preview(task_id=task.task_id, index=1, path=None)
            with pytest.raises(AppError):
                await service.draw_preview(task_id=None, index=1, path=str(path))
            with pytest.raises(NotFoundError, match="moved or deleted"):
                await service.read_image(task_id=task.task_id, index=1, most_bytes=10**9)
            with pytest.raises(AppError):
                await service.draw_thumbnail(task_id=task.task_id, index=1, side=100)
            with no_longer_asked(dashscope), pytest.raises(NotFoundError, match="moved or deleted"):
                await download(service, task, filename="copy")
            image, _ = await download(service, task, filename="copy")

    assert path.readlink() == outside / "secret.png"
    [copy] = [found for found in saved_files(settings) if not found.is_symlink()]
    assert str(copy) == image.path
    assert copy.name == "copy.png"
    assert read_size(copy.read_bytes()) == (1280, 1280)


@pytest.mark.parametrize("what", ["folder", "pipe", "dangling link"])
async def test_something_else_in_the_place_of_a_saved_file_is_not_that_file(tmp_path, what):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service)
            [path] = saved_files(settings)
            path.unlink()
            make = {"folder": os.mkdir, "pipe": os.mkfifo, "dangling link": partial(os.symlink, "nothing")}
            make[what](path)
            with anyio.fail_after(45):
                gone = await get(service, task.task_id, wait=0)
                image, _ = await download(service, task)

    assert [failed.code for failed in gone.failed_images] == ["FileGone"]
    assert Path(image.path).name == f"{path.stem}-2.png"


async def test_a_file_is_not_fetched_again_into_a_folder_that_became_a_link(tmp_path, outside):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service, output_dir="album")
            shutil.rmtree(settings.output_dir / "album")
            (settings.output_dir / "album").symlink_to(outside)
            image, _ = await download(service, task)

    assert Path(image.path).parent == settings.output_dir.resolve()
    assert image.wanted_folder == str(settings.output_dir.resolve() / "album")
    assert read_paths(settings) == [image.path]


@pytest.mark.parametrize(
    "path", ["{outside}/secret.png", "{pictures}/../outside/secret.png", "/dev/zero", "/etc/hostname"]
)
async def test_whatever_a_row_says_of_a_file_nothing_outside_is_read(tmp_path, outside, path):
    path = path.format(outside=outside, pictures=tmp_path / "pictures")
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service)
            await until(lambda: not service._worker.orders())
            change_row(settings, "images", path=path)
            calls = (
                partial(service.draw_preview, task_id=task.task_id, index=1, path=None),
                partial(service.read_image, task_id=task.task_id, index=1, most_bytes=10**9),
                partial(service.draw_thumbnail, task_id=task.task_id, index=1, side=100),
                partial(download, service, task, output_dir="copies"),
                partial(download, service, task, filename="copy"),
            )
            refused = []
            with anyio.fail_after(45):
                for call in calls:
                    try:
                        await call()
                    except AppError as error:
                        refused.append(str(error))

    # What is no file is gone, and fetched again.
    assert len(refused) == (3 if path == "/dev/zero" else 5)
    assert all(refused)
    assert SECRET not in [found.read_bytes() for found in saved_files(settings)]


async def test_a_picture_in_a_folder_that_is_allowed_no_more_is_told_and_not_read(tmp_path):
    album = tmp_path / "album"
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_ALLOWED_DIRS=str(album))
        async with running_service(settings) as service:
            task = await order(service, output_dir=str(album))
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            told = await get(service, task.task_id)
            image, _ = await download(service, task)
            with pytest.raises(FolderNotAllowedError, match="outside the folders that are allowed now") as refusal:
                await download(service, task, filename="copy")
            with pytest.raises(FolderNotAllowedError, match="not read there"):
                await service.draw_preview(task_id=task.task_id, index=1, path=None)

    assert told.images == task.images
    assert told.failed_images == ()
    assert image.path == task.images[0].path
    assert image.path in refusal.value.message


@pytest.mark.parametrize("move", ["folder", "file", "deeper", "with its folder"])
async def test_a_picture_that_was_moved_is_found_again_and_the_ledger_is_told(tmp_path, move):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service, n=2, output_dir="album" if move == "with its folder" else None)
        before = [Path(image.path) for image in task.images]
        environ = {}
        if move == "folder":
            environ = {"WAN_MCP_OUTPUT_DIR": str(tmp_path / "new")}
            settings.output_dir.rename(tmp_path / "new")
            after = [tmp_path / "new" / path.name for path in before]
        elif move == "with its folder":
            environ = {"WAN_MCP_ALLOWED_DIRS": str(tmp_path / "new")}
            (tmp_path / "new").mkdir()
            (settings.output_dir / "album").rename(tmp_path / "new" / "album")
            after = [tmp_path / "new" / "album" / path.name for path in before]
        else:
            place = tmp_path / "new" if move == "file" else settings.output_dir / "2026" / "november"
            environ = {"WAN_MCP_ALLOWED_DIRS": str(tmp_path / "new")}
            place.mkdir(parents=True)
            after = [path.rename(place / path.name) for path in before]
        settings = make_settings(tmp_path, dashscope, **environ)
        served = dashscope.count_served().total()
        async with running_service(settings) as service:
            preview = await service.draw_preview(task_id=task.task_id, index=1, path=None)
            told = await get(service, task.task_id)
            image, _ = await download(service, task, index=2)

    assert preview.data
    assert [image.path for image in told.images] == [str(path.resolve()) for path in after]
    assert told.failed_images == ()
    assert image.path == str(after[1].resolve())
    assert read_paths(settings) == [str(path.resolve()) for path in after]
    assert dashscope.count_served().total() == served


async def test_a_file_of_the_name_with_another_content_is_not_the_picture_that_was_moved(tmp_path, outside):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_ALLOWED_DIRS=str(tmp_path / "new"))
        async with running_service(settings) as service:
            task = await order(service, filename="secret")
            [path] = saved_files(settings)
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "secret.png").write_bytes(path.read_bytes()[:-1] + b"x")
            path.unlink()
            (tmp_path / "new" / "sub").symlink_to(outside)
            (settings.output_dir / "sub").mkdir()
            (settings.output_dir / "sub" / "secret.png").symlink_to(outside / "secret.png")
            told = await get(service, task.task_id)

    assert told.images == ()
    assert [failed.code for failed in told.failed_images] == ["FileGone"]


async def test_a_wanted_name_that_became_another_is_a_fact_of_the_task(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            first = await order(service, "one", filename="hero.jpg")
            second = await order(service, "two", filename="hero.png")
            third = await order(service, "three", filename="villain", n=2)
            joined = await get(service, second.task_id)
            copied, _ = await download(service, first, output_dir="site", filename="logo.webp")
            again, _ = await download(service, second, output_dir="site", filename="logo.png")

    def changes(*images):
        return [image.name_change and (image.name_change.wanted, *image.name_change.reasons) for image in images]

    assert changes(*first.images) == [("hero.jpg", NameReason.ENDING)]
    assert changes(*second.images) == changes(*joined.images) == [("hero.png", NameReason.TAKEN)]
    assert changes(*third.images) == [None, None]
    assert changes(copied, again) == [("logo.webp", NameReason.ENDING), ("logo.png", NameReason.TAKEN)]


async def test_five_hundred_views_while_a_link_comes_and_goes_show_nothing_from_outside(tmp_path, outside):
    ours = encode(40, 30, colour=(200, 30, 30), texts={})
    settings = make_settings(tmp_path)
    settings.output_dir.mkdir(parents=True)
    path, door, real = (settings.output_dir / name for name in ("fox.png", "door", "real"))
    path.write_bytes(ours)
    door.symlink_to(outside / "secret.png")
    over = threading.Event()

    def swap():
        while not over.is_set():
            path.rename(real)
            door.rename(path)
            path.rename(door)
            real.rename(path)

    shown = set()
    async with running_service(settings) as service:
        thread = threading.Thread(target=swap)
        thread.start()
        try:
            with anyio.fail_after(45):
                for number in range(30_000):
                    if number >= 500 and any(isinstance(each, bytes) for each in shown):
                        break
                    try:
                        if number % 3 == 2:
                            image, _ = await place_copy(service, path, f"copy-{number}")
                            shown.add(image)
                        else:
                            preview = await service.draw_preview(task_id=None, index=1, path="fox.png")
                            shown.add(preview.data)
                    except AppError as error:
                        shown.add(type(error).__name__)
        finally:
            over.set()
            await anyio.to_thread.run_sync(thread.join)
        honest = await service.draw_preview(task_id=None, index=1, path="fox.png")

    assert {each for each in shown if isinstance(each, bytes)} <= {honest.data, ours}
    assert honest.data in shown


async def place_copy(service, path, name):
    """Copy as the storage does for download_image; give the bytes of the copy."""
    copied = (await service._context.storage.copy(path, path.parent, name)).path
    return copied.read_bytes(), None
