"""Images that are not where they should be: what is said of them, and what brings them where they are wanted."""

import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import get, leftovers, make_settings, order, running_service, saved_files
from wan_mcp_tools.domain.errors import AppError, NotFoundError
from wan_mcp_tools.domain.service import Conversion, ImageFormat
from wan_mcp_tools.domain.tasks import RelativeFolder, TaskStatus, describe_places


async def place(service, task, index=1, output_dir=None, filename=None):
    image, _ = await service.download_image(
        task_id=task.task_id, index=index, url=None, output_dir=output_dir, filename=filename
    )
    return image


@asynccontextmanager
async def a_saved_task(tmp_path, *, n=1, **environ):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope, **environ)
        async with running_service(settings) as service:
            task = await order(service, n=n)
            assert len(task.images) == n
            await until(lambda: not service._worker.orders())
            yield dashscope, settings, service, task


async def test_a_file_that_was_deleted_is_told_of_and_not_made_again_by_looking(tmp_path):
    async with a_saved_task(tmp_path, n=2) as (dashscope, settings, service, task):
        gone = saved_files(settings)[0]
        gone.unlink()
        served = dashscope.count_served().total()
        seen = await get(service, task.task_id)
        with pytest.raises(NotFoundError, match="moved or deleted since") as raised:
            await service.draw_preview(task_id=task.task_id, index=1, path=None)
        await anyio.sleep(0.5)

        assert seen.status is TaskStatus.SUCCEEDED
        assert [image.index for image in seen.images] == [2]
        [failed] = seen.failed_images
        assert (failed.index, failed.code, failed.url) == (1, "FileGone", None)
        assert str(gone) in failed.message
        assert failed.can_fetch_again
        assert (failed.next_step.task_id, failed.next_step.index) == (task.task_id, 1)
        assert raised.value.next_step == failed.next_step
        assert len(saved_files(settings)) == 1
        assert dashscope.count_served().total() == served


async def test_a_deleted_file_is_fetched_again_on_request_and_lies_where_it_was(tmp_path):
    async with a_saved_task(tmp_path) as (dashscope, settings, service, task):
        [gone] = saved_files(settings)
        content = gone.read_bytes()
        gone.unlink()
        image = await place(service, task)

        assert image.path == str(gone)
        assert gone.read_bytes() == content
        assert (await get(service, task.task_id)).images == task.images
        assert len(dashscope.creates) == 1
        assert not leftovers(settings)
        again = await place(service, task)
        assert again.path == str(gone)
        assert len(saved_files(settings)) == 1


@pytest.mark.parametrize(
    "words", [{"filename": "shop"}, {"output_dir": "more"}, {"output_dir": "x", "filename": "y"}]
)
async def test_a_deleted_file_is_fetched_again_where_the_caller_wants_it(tmp_path, words):
    async with a_saved_task(tmp_path) as (_, settings, service, task):
        for path in (*saved_files(settings), *settings.output_dir.glob("*.json")):
            path.unlink()
        image = await place(service, task, **words)

        [path] = saved_files(settings)
        assert image.path == str(path)
        assert path.parent == settings.output_dir / words.get("output_dir", "")
        assert json.loads(path.with_suffix(".json").read_text())["task_id"] == task.task_id
        [known] = (await get(service, task.task_id)).images
        assert known.path == str(path)


async def test_a_deleted_file_that_the_service_has_no_longer_is_said_to_be_lost(tmp_path):
    async with a_saved_task(tmp_path) as (dashscope, settings, service, task):
        shutil.rmtree(settings.output_dir)
        dashscope.set_chance("query", 1.0, "unknown")
        with pytest.raises(NotFoundError, match="moved or deleted since") as raised:
            await place(service, task)
        assert raised.value.code == "FileGone"
        assert saved_files(settings) == []


async def test_a_deleted_file_of_the_synchronous_protocol_cannot_come_back_and_that_is_said(tmp_path):
    async with a_saved_task(tmp_path, WAN_MCP_PROTOCOL="sync") as (_, settings, service, task):
        shutil.rmtree(settings.output_dir)
        [failed] = (await get(service, task.task_id)).failed_images
        assert "synchronous protocol keeps no task" in failed.message
        with pytest.raises(NotFoundError, match="synchronous protocol keeps no task"):
            await place(service, task)


@asynccontextmanager
async def an_unsaved_task(tmp_path, *, n=1, **timings):
    """Give a task whose default folder is in the way of saving, and another folder that is not."""
    with FakeService(duration=0.1) as dashscope:
        other = tmp_path / "other"
        settings = make_settings(tmp_path, dashscope, WAN_MCP_ALLOWED_DIRS=str(other))
        async with running_service(settings, save_again=60.0, save_again_most=60.0, **timings) as service:
            dashscope.set_chance("image", 1.0, "error-403")
            task = await order(service, n=n)
            assert len(task.failed_images) == n
            dashscope.faults.clear()
            yield dashscope, settings, service, task, other


def pictures_in(*folders):
    return sorted(path for folder in folders for path in folder.rglob("*.png"))


@pytest.mark.parametrize("filename", [None, "shop"])
async def test_an_unsaved_image_is_saved_where_the_caller_wants_it_and_nowhere_else(tmp_path, filename):
    async with an_unsaved_task(tmp_path) as (dashscope, settings, service, task, other):
        image = await place(service, task, output_dir=str(other), filename=filename)
        await until(lambda: not service._worker.orders())

        [path] = pictures_in(settings.output_dir, other)
        assert image.path == str(path)
        assert path.parent == other
        assert filename in (None, path.stem)
        assert json.loads(path.with_suffix(".json").read_text())["task_id"] == task.task_id
        done = await get(service, task.task_id)
        assert [known.path for known in done.images] == [str(path)]
        assert done.failed_images == ()
        assert dashscope.count_served().total() == 1


async def test_an_unsaved_image_that_still_cannot_be_saved_gives_the_reason_and_is_tried_on(tmp_path):
    async with an_unsaved_task(tmp_path) as (dashscope, settings, service, task, other):
        dashscope.script("image", "error-403", "error-403", "error-403")
        with pytest.raises(AppError, match="refused to give the image"):
            await place(service, task, output_dir=str(other))
        assert (await get(service, task.task_id, wait=0)).open

        dashscope.faults.clear()
        await place(service, task, output_dir=str(other))
        assert len(pictures_in(settings.output_dir, other)) == 1


async def test_one_of_several_unsaved_images_is_placed_and_the_others_stay_where_they_belong(tmp_path):
    async with an_unsaved_task(tmp_path, n=3) as (_, settings, service, task, other):
        await place(service, task, 2, output_dir=str(other), filename="two")
        await until(lambda: len(pictures_in(settings.output_dir)) == 2)
        await until(lambda: not service._worker.orders())

        assert [path.name for path in pictures_in(other)] == ["two.png"]
        done = await get(service, task.task_id)
        assert [image.path == str(other / "two.png") for image in done.images] == [False, True, False]


async def test_an_unsaved_image_that_another_process_follows_is_saved_once_where_the_caller_wants_it(tmp_path):
    async with an_unsaved_task(tmp_path) as (_, settings, _, task, other):
        async with running_service(settings) as second:
            image = await place(second, task, output_dir=str(other))
            await until(lambda: not second._worker.orders())
        assert [str(path) for path in pictures_in(settings.output_dir, other)] == [image.path]
    assert [str(path) for path in pictures_in(settings.output_dir, other)] == [image.path]


async def test_the_images_that_are_saved_already_are_told_while_another_one_is_slow(tmp_path):
    with FakeService(duration=0.1, image_padding=300_000) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        dashscope.script("image", "held")
        async with running_service(settings) as service:
            task = await order(service, n=3, wait=0.5)
            while len(task.images) < 2:
                task = await get(service, task.local_id, wait=0.5)
            assert task.status is TaskStatus.SUCCEEDED
            assert not task.settled
            for image in task.images:
                note = json.loads(Path(image.path).with_suffix(".json").read_text())
                assert note["index"] == image.index
            dashscope.release()
            done = await get(service, task.task_id)
            assert len(done.images) == 3
    assert len(saved_files(settings)) == 3
    assert set(dashscope.count_served().values()) == {1}


# --- converted copies ---------------------------------------------------------------------------------------


async def convert(service, task, form=ImageFormat.WEBP, side=None, **words):
    given = {"index": 1, "url": None, "output_dir": None, "filename": None}
    image, _ = await service.download_image(task_id=task.task_id, conversion=Conversion(form, side), **given | words)
    return image


async def test_a_copy_lies_beside_the_image_and_is_the_same_the_next_time(tmp_path):
    async with a_saved_task(tmp_path) as (dashscope, settings, service, task):
        [original] = saved_files(settings)
        before = original.read_bytes()
        served = dashscope.count_served().total()
        first = await convert(service, task, side=800)
        again = await convert(service, task, side=800)

        assert first == again
        assert first.path == str(original.with_name(f"{original.stem}-800x800.webp"))
        [copied] = settings.output_dir.glob("*.webp")
        assert (first.width, first.height, first.bytes) == (800, 800, copied.stat().st_size)
        assert original.read_bytes() == before
        assert (await get(service, task.task_id)).images == task.images
        assert dashscope.count_served().total() == served
        assert not leftovers(settings)


async def test_a_copy_goes_where_the_caller_wants_it_under_the_ending_of_its_bytes(tmp_path):
    async with a_saved_task(tmp_path) as (_, settings, service, task):
        image = await convert(service, task, ImageFormat.JPEG, 100, output_dir="site", filename="hero.webp")

        assert image.path == str(settings.output_dir / "site" / "hero.jpg")
        assert [reason.value for reason in image.name_change.reasons] == ["ending"]
        assert image.relative_folder == RelativeFolder("site", str(settings.output_dir / "site"))


async def test_a_picture_that_is_gone_is_fetched_to_where_it_was_and_the_copy_is_made_of_that(tmp_path):
    async with a_saved_task(tmp_path) as (_, settings, service, task):
        [gone] = saved_files(settings)
        content = gone.read_bytes()
        gone.unlink()
        image = await convert(service, task, side=64, output_dir="site", filename="hero")

        assert gone.read_bytes() == content
        assert image.path == str(settings.output_dir / "site" / "hero.webp")


async def test_a_result_url_is_saved_as_it_is_and_copied_as_it_is_wanted(tmp_path):
    async with a_saved_task(tmp_path) as (_, settings, service, task):
        answer = await service._queries.get_task("singapore", task.task_id, images=1)
        given = {"task_id": None, "index": 1, "url": answer.images[0].url, "output_dir": "site", "filename": "hero"}
        wish = Conversion(ImageFormat.WEBP, 64)
        image, _ = await service.download_image(**given, conversion=wish)
        again, _ = await service.download_image(**given, conversion=wish)

        assert image == again
        assert image.path == str(settings.output_dir / "site" / "hero.webp")
        assert len(saved_files(settings)) == 2
        assert {path.parent for path in saved_files(settings)} == {settings.output_dir}


@pytest.mark.parametrize("outside", ["/etc/assets", "../elsewhere"])
async def test_a_copy_is_put_into_no_folder_that_is_not_allowed(tmp_path, outside):
    async with a_saved_task(tmp_path) as (_, settings, service, task):
        with pytest.raises(AppError, match="outside the allowed folders"):
            await convert(service, task, output_dir=outside)

        assert [path.suffix for path in settings.output_dir.iterdir() if path.suffix == ".webp"] == []


async def test_a_relative_folder_is_told_with_the_order_and_with_the_image(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service, output_dir="icons/new")
            absolute = await order(service, "another", output_dir=str(settings.output_dir / "icons"))
            placed = await place(service, absolute, output_dir="copies")

    meant = RelativeFolder("icons/new", str(settings.output_dir / "icons" / "new"))
    assert task.relative_folder == meant
    assert describe_places(task.images, task.relative_folder) == (f"The relative folder icons/new is {meant.path}.",)
    assert absolute.relative_folder is None
    assert placed.relative_folder == RelativeFolder("copies", str(settings.output_dir / "copies"))
