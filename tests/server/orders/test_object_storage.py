"""Orders whose images go into a real object store: saved, shown, finished by another process, and kept through outages."""

import hashlib
import json
from io import BytesIO
from urllib.parse import urlsplit

import pytest
from PIL import Image

from campaigns.support import NEW, is_idle, make_line, open_pool, read_order, second_service, until_killed
from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import (
    HURRIED_WAIT,
    get,
    hurried_service,
    make_settings,
    order,
    running_service,
    saved_files,
    submit,
)
from fakes.refusing_proxy import RefusingProxy
from wan_mcp.orders import OrderService
from wan_mcp.storage.names import read_address
from wan_mcp_tools.domain.errors import NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.principals import Principal, Scope, acting_as
from wan_mcp_tools.domain.service import Conversion, ImageFormat
from wan_mcp_tools.domain.tasks import TaskStatus

SMALL = {"model": "wan2.2-t2i-flash", "size": "512*512"}
ALICE = Principal("https://issuer.example#alice", frozenset({Scope.ORDER}))


def read(bucket, address):
    """Give what lies under an address that an answer has shown."""
    place = read_address(address)
    return (bucket.folder / place.relative_to(place.parents[-3])).read_bytes()


def pictures(bucket):
    return [key for key in bucket.list_keys() if key.endswith(".png")]


async def test_an_order_of_the_sandbox_is_saved_shown_copied_and_used_again(tmp_path, bucket):
    settings = make_settings(tmp_path, **bucket.environ())
    async with hurried_service(settings) as service:
        task = await order(service, "a fox", n=2, filename="fox", wait=HURRIED_WAIT, **SMALL)
        await until(lambda: not service._worker.orders())

        assert task.status is TaskStatus.SUCCEEDED
        for image in task.images:
            data = read(bucket, image.path)
            assert image.path.startswith(f"s3://{bucket.name}/pictures/{task.local_id}-{image.index}-")
            assert (len(data), hashlib.sha256(data).hexdigest()[:32]) == (image.bytes, image.path[-36:-4])
            assert image.name == f"fox-{image.index}.png"
            assert json.loads(read(bucket, image.path.replace(".png", ".json")))["prompt"] == "a fox"
            assert image.name_change is None
        assert [image.path for image in (await get(service, task.task_id)).images] == [
            image.path for image in task.images
        ]

        by_path = await service.draw_preview(task_id=None, index=1, path=task.images[0].path)
        by_task = await service.draw_preview(task_id=task.task_id, index=1, path=None)
        assert by_path == by_task
        thumbnails = [await service.draw_thumbnail(task_id=task.task_id, index=1, side=64) for _ in range(2)]
        with Image.open(BytesIO(thumbnails[0].data)) as drawn:
            assert max(drawn.size) == 64
        assert thumbnails[0] == thumbnails[1]
        whole = await service.read_image(task_id=task.task_id, index=2, most_bytes=10_000_000)
        assert (whole.data, whole.file.path) == (read(bucket, task.images[1].path), task.images[1].path)

        same, _ = await service.download_image(
            task_id=task.task_id, index=1, url=None, output_dir=None, filename=None
        )
        copy, _ = await service.download_image(
            task_id=task.task_id,
            index=1,
            url=None,
            output_dir=None,
            filename="logo",
            conversion=Conversion(ImageFormat.WEBP, 100),
        )
        assert same.path == task.images[0].path
        assert (copy.name, copy.width, copy.height) == ("logo.webp", 100, 100)
        with Image.open(BytesIO(read(bucket, copy.path))) as converted:
            assert converted.format == "WEBP"

        for reference in (task.images[0].path, f"{task.task_id}#1"):
            prompt = f"make it blue: {reference[:4]}"
            edited = await order(service, prompt, images=[reference], size="768*768", wait=HURRIED_WAIT)
            assert edited.status is TaskStatus.SUCCEEDED
        assert (await service.draw_input(task_id=edited.local_id, number=1, side=64)).data
    assert saved_files(settings) == []
    assert list((tmp_path / "state" / "spool").iterdir()) == []


async def test_no_folder_can_be_chosen_and_nothing_is_ordered_then(tmp_path, bucket):
    with FakeService(duration=0.1) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope, **bucket.environ())) as service:
            with pytest.raises(RequestRefusedError, match="no folder of it can be chosen"):
                await order(service, output_dir="album")
            assert len(dashscope.creates) == 0


async def test_a_store_that_was_never_reached_refuses_the_order_before_it_costs_anything(tmp_path, bucket):
    with FakeService(duration=0.1) as dashscope:
        environ = bucket.environ(AWS_SECRET_ACCESS_KEY="wrong-secret-access-key")
        async with running_service(make_settings(tmp_path, dashscope, **environ)) as service:
            with pytest.raises(Exception, match="Nothing was ordered"):
                await order(service)
            assert len(dashscope.creates) == 0


@pytest.mark.parametrize("kind", ["folder", "objects"])
async def test_each_principals_pictures_lie_in_a_folder_of_their_own(tmp_path, bucket, kind):
    environ = bucket.environ() if kind == "objects" else {}
    async with hurried_service(make_settings(tmp_path, **environ)) as service:
        mine = await order(service, "mine", wait=HURRIED_WAIT, **SMALL)
        with acting_as(ALICE):
            hers = await order(service, "hers", wait=HURRIED_WAIT, **SMALL)
        await until(lambda: not service._worker.orders())
        rows = [await service._ledger.orders.get(task.local_id) for task in (mine, hers)]

    folders = [row.images[0].path.rpartition("/")[0] for row in rows]
    assert hers.images[0].path == hers.images[0].name
    assert folders[1].startswith(f"{folders[0]}/issuer-example-alice-")


@pytest.mark.parametrize("die", ["save/PUBLISHING/after", "save/SAVED"])
async def test_what_a_killed_process_has_put_is_finished_by_another_and_is_one_object(tmp_path, bucket, die):
    environ = bucket.environ()
    with FakeService(duration=0.1, image_padding=100_000) as dashscope:
        with open_pool(tmp_path, dashscope) as pool:
            worker = pool.start("--settings", json.dumps(environ), "--die", die)
            pool.send(worker, make_line(NEW))
            await until_killed(pool, worker)
        # Of two images, that are saved side by side, at least one was as far as that.
        assert die != "save/SAVED" or pictures(bucket)
        async with second_service(tmp_path, dashscope, environ=environ):
            await until(is_idle(tmp_path))

        row = read_order(tmp_path)
        assert row["status"] == "SUCCEEDED"
        assert len(dashscope.creates) == 1
        assert len(pictures(bucket)) == len(row["images"]) == dashscope.paid_images() == 2
        for image in row["images"]:
            place = image["path"].removeprefix(f"/s3:/{bucket.name}/")
            assert hashlib.sha256((bucket.folder / place).read_bytes()).hexdigest() == image["sha256"]
            assert (bucket.folder / place).with_suffix(".json").exists()
    assert list((tmp_path / "state" / "spool").iterdir()) == []


@pytest.mark.parametrize("answers", [True, False])
async def test_a_store_that_refuses_for_a_while_loses_nothing(tmp_path, bucket, answers):
    with (
        RefusingProxy(urlsplit(bucket.endpoint).port, answers=answers) as proxy,
        FakeService(duration=0.3) as dashscope,
    ):
        environ = bucket.environ(AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
        async with running_service(make_settings(tmp_path, dashscope, **environ)) as service:
            first = await order(service, "before")
            proxy.refuse()
            second = await submit(service, "while it refuses")
            await until(lambda: proxy.refused >= 6)
            seen = await get(service, second.task_id, wait=0)
            assert not seen.images
            assert len(pictures(bucket)) == 1
            # A look at what was saved before does not take it for gone.
            assert [image.path for image in (await get(service, first.task_id)).images] == [
                image.path for image in first.images
            ]
            proxy.is_refusing = False
            # What was begun while it refused may still come to nothing, and is tried again.
            await until(lambda: len(pictures(bucket)) == 2)
            await until(lambda: not service._worker.orders())
            done = await get(service, second.task_id)

        assert done.status is TaskStatus.SUCCEEDED
        assert read(bucket, done.images[0].path)
        assert len(pictures(bucket)) == len(dashscope.creates) == dashscope.paid_images() == 2


async def test_an_object_that_was_deleted_is_told_of_by_its_address_and_fetched_again_on_request(tmp_path, bucket):
    with FakeService(duration=0.1) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope, **bucket.environ())) as service:
            task = await order(service)
            await until(lambda: not service._worker.orders())
            place = read_address(task.images[0].path)
            (bucket.folder / place.relative_to(place.parents[-3])).unlink()

            seen = await get(service, task.task_id)
            assert task.images[0].path in seen.failed_images[0].message
            with pytest.raises(NotFoundError):
                await service.draw_preview(task_id=task.task_id, index=1, path=None)
            again, _ = await service.download_image(
                task_id=task.task_id, index=1, url=None, output_dir=None, filename=None
            )
            assert again.path == task.images[0].path
            assert read(bucket, again.path)


async def test_an_open_order_moves_into_the_store_when_the_setting_changes(tmp_path, bucket):
    with FakeService(duration=0.5) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope), take_over=False) as service:
            task = await submit(service)
        async with running_service(make_settings(tmp_path, dashscope, **bucket.environ())) as service:
            done = await get(service, task.task_id)

    assert isinstance(service, OrderService)
    assert done.images[0].path.startswith(f"s3://{bucket.name}/pictures/")
    assert len(pictures(bucket)) == 1
