"""Orders with pictures: what is refused before any money, what is sent, and what becomes of a picture that changes."""

import hashlib
import json
import os
import subprocess
import sys
from base64 import b64decode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import anyio
import httpx
import pytest
from PIL import Image

from fakes import tiny_png
from fakes.clock import until
from fakes.order_service import QUICK, get, make_settings, order, submit
from wan_mcp.app import build_context, build_service
from wan_mcp.mcp_server.resources import read_resource
from wan_mcp.orders.inputs import MOST_BODY_BYTES, scale_boxes
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError
from wan_mcp_tools.domain.requests import InputChange, InputSource
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.results import task_result

KEY = "sk-test-singapore"
STORE = "https://dashscope-file-mgr.oss-ap-southeast-1.aliyuncs.com"
RESULTS = "https://dashscope-a717.oss-accelerate.aliyuncs.com"
MODEL = "wan2.7-image"


@dataclass
class Service:
    """Answers as the service does; notes every order, every upload and every question for a place."""

    orders: list[dict] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    policies: int = 0
    uploads: list[httpx.Request] = field(default_factory=list)
    refusals: list[httpx.Response] = field(default_factory=list)
    upload_troubles: list[object] = field(default_factory=list)
    hold: anyio.Event | None = None

    async def __call__(self, request):
        await request.aread()
        path, host = request.url.path, f"{request.url.scheme}://{request.url.host}"
        if host == STORE:
            self.uploads.append(request)
            assert "authorization" not in request.headers
            assert KEY.encode() not in request.content
            trouble = self.upload_troubles.pop(0) if self.upload_troubles else httpx.Response(200)
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        if host == RESULTS:
            return httpx.Response(200, content=tiny_png.encode(64, 64, colour=(1, 2, 3), texts={}))
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if path.endswith("/uploads"):
            self.policies += 1
            if self.hold is not None:
                await self.hold.wait()
            names = ("policy", "signature", "oss_access_key_id")
            data = dict.fromkeys(names, "x") | {
                "upload_dir": "dir/1",
                "upload_host": STORE,
                "max_file_size_mb": "100",
            }
            return httpx.Response(200, json={"data": data})
        if request.method == "POST":
            if self.refusals:
                return self.refusals.pop(0)
            self.orders.append(json.loads(request.content))
            self.headers.append(request.headers)
            output = {"task_id": f"task-{len(self.orders)}", "task_status": "PENDING"}
            return httpx.Response(200, json={"request_id": "r", "output": output})
        if not path.rpartition("/")[2].startswith("task-"):
            return httpx.Response(200, json={"output": {"task_id": path[-36:], "task_status": "UNKNOWN"}})
        content = [{"type": "image", "image": f"{RESULTS}/{path[-6:]}.png?Expires=4000000000&Signature=s"}]
        choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": content}}]
        output = {"task_id": path.rpartition("/")[2], "task_status": "SUCCEEDED", "choices": choices}
        return httpx.Response(200, json={"request_id": "r", "output": output, "usage": {"image_count": 1}})

    @property
    def images(self):
        """The pictures of the last order as they were sent."""
        content = self.orders[-1]["input"]["messages"][0]["content"]
        return [part["image"] for part in content if "image" in part]


@asynccontextmanager
async def studio(tmp_path, *, input_files=(), **environ):
    settings = make_settings(
        tmp_path, DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY=environ.pop("key", KEY), **environ
    )
    settings = replace(settings, input_files=tuple(input_files))
    settings.output_dir.mkdir(exist_ok=True)
    remote = Service()
    context = build_context(settings, transport=httpx.MockTransport(remote))
    async with build_service(settings, context=context, timings=QUICK).running() as service:
        yield service, remote, settings


def draw(path, *, size=(400, 300), form="PNG", colour="red", **options):
    Image.new("RGB", size, colour).save(path, form, **options)
    return path


def decode(address):
    head, _, data = address.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(BytesIO(b64decode(data, validate=True)))


# --- what is sent ----------------------------------------------------------------------------------------------------


async def test_a_picture_of_the_image_folder_is_sent_inside_the_order(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        draw(settings.output_dir / "red.png")
        draw(settings.output_dir / "blue.jpg", form="JPEG", colour="blue", exif=exif_with_place())
        task = await order(service, "put them together", images=["red.png", "https://example.com/x.png", "blue.jpg"])

    assert task.status is TaskStatus.SUCCEEDED
    parts = remote.orders[0]["input"]["messages"][0]["content"]
    assert [list(part) for part in parts] == [["image"], ["image"], ["image"], ["text"]]
    red, url, blue = remote.images
    assert decode(red).getpixel((9, 9)) == (255, 0, 0)
    assert url == "https://example.com/x.png"
    assert not decode(blue).getexif()
    assert "X-DashScope-OssResourceResolve" not in remote.headers[0]
    assert not remote.policies
    assert [image.source for image in task.request.images] == [InputSource.FILE, InputSource.URL, InputSource.FILE]


def exif_with_place():
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.6)
    return exif


async def test_an_image_of_an_earlier_task_is_a_picture_to_order_with(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        first = await order(service, "a flower shop", model=MODEL, size="1024*1024")
        path = settings.output_dir / first.images[0].path
        draw(path, size=(500, 400), colour="green")
        again = await order(service, "the same but blue", images=[f"{first.task_id}#1"])

    assert decode(remote.images[0]).size == (500, 400)
    assert again.request.images[0].path == str(path)
    assert again.request.images[0].reference == f"{first.task_id}#1"


async def test_the_row_and_the_sidecar_keep_what_was_named_and_its_digest_and_no_bytes(tmp_path):
    async with studio(tmp_path) as (service, _, settings):
        file = draw(settings.output_dir / "red.png")
        signed = "https://example.com/x.png?Signature=s3cret"
        task = await order(service, "put them together", images=["red.png", signed])
        await until(lambda: not service._worker.orders())
        sidecar = json.loads((settings.output_dir / task.images[0].path).with_suffix(".json").read_text())
        row = await service._ledger.orders.get(task.task_id)

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert sidecar["inputs"] == [
        {"reference": "red.png", "sha256": digest},
        {"reference": "https://example.com/x.png"},
    ]
    assert "s3cret" not in json.dumps(sidecar)
    assert (row.request.images[0].sha256, row.request.images[0].path) == (digest, str(file.resolve()))
    assert "base64" not in json.dumps(row.request.to_dict())
    assert len(json.dumps(task_result(task).model_dump(exclude_none=True))) < 1500


async def test_what_is_changed_on_the_way_is_told_in_the_answer(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        draw(settings.output_dir / "scan.tif", form="TIFF")
        task = await order(service, "make it blue", images=["scan.tif"])
        later = await get(service, task.task_id)

    assert decode(remote.images[0]).format == "PNG"
    assert task.request.images[0].changes == (InputChange.FORMAT,)
    for each in (task, later):
        assert "picture 1 (scan.tif) in another format" in task_result(each).message


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ("qwen-image-3.0", (383, 900), "picture 1 (red.png) has a side of less than 384 pixels"),
        ("qwen-image-3.0", (384, 384), None),
        # Nothing is said of how long for its width it may be.
        ("qwen-image-3.0", (2900, 300), "has a side of less than 384 pixels"),
        ("wan2.5-i2i-preview", (200, 200), "has a side of less than 384 pixels"),
    ],
)
async def test_a_picture_that_is_smaller_than_advised_is_sent_as_it_is_with_a_remark(tmp_path, model, size, words):
    async with studio(tmp_path) as (service, remote, settings):
        file = draw(settings.output_dir / "red.png", size=size)
        task = await order(service, "make it blue", images=["red.png"], model=model, wait=0.0)
        later = await service.peek(task.task_id)
        await until(lambda: remote.orders)

    assert hashlib.sha256(file.read_bytes()).hexdigest() == task.request.images[0].sha256
    for each in (task, later):
        message = task_result(each).message or ""
        assert (words in message) if words else ("advised" not in message)


async def test_a_picture_that_a_model_certainly_refuses_for_its_size_is_refused_here(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        draw(settings.output_dir / "red.png", size=(10, 300))
        draw(settings.output_dir / "blue.png", size=(239, 300))
        with pytest.raises(AppError, match="10 x 300 pixels, and this model takes sides of 11 to 3072"):
            await order(service, "make it blue", images=["red.png"], model="qwen-image-3.0")
        with pytest.raises(AppError, match="239 x 300 pixels, and this model takes sides of 240 to 8000"):
            await order(service, "make it blue", images=["blue.png"], model="wan2.7-image")
    assert not remote.orders


async def test_marked_places_fit_a_picture_that_is_sent_smaller(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        Image.new("L", (10_000, 1250)).save(settings.output_dir / "wide.png")
        draw(settings.output_dir / "red.png")
        boxes = [[[1000, 500, 2000, 1000]], [[10, 20, 30, 40]]]
        await order(service, "a door here", images=["wide.png", "red.png"], options={"bbox_list": boxes})

    assert decode(remote.images[0]).size == (8000, 1000)
    assert remote.orders[0]["parameters"]["bbox_list"] == [[[800, 400, 1600, 800]], [[10, 20, 30, 40]]]


async def test_a_place_that_does_not_lie_on_its_picture_is_refused_before_any_order(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        draw(settings.output_dir / "red.png")
        with pytest.raises(RequestRefusedError, match="marks"):
            await order(service, "a door", images=["red.png"], options={"bbox_list": [[[0, 0, 9000, 9000]]]})
    assert remote.orders == []


def test_a_place_keeps_some_extent_when_its_picture_is_scaled():
    scaled = scale_boxes({"bbox_list": [[[100, 100, 101, 101]]]}, [0.341])
    assert scaled["bbox_list"] == [[[34, 34, 35, 35]]]


def test_places_stay_as_they_are_where_nothing_is_scaled():
    options = {"bbox_list": [[[1, 2, 3, 4]]], "other": 1}
    assert scale_boxes(options, [1.0]) is options
    assert scale_boxes({"other": 1}, [0.5]) == {"other": 1}


# --- large ones ------------------------------------------------------------------------------------------------------


async def test_pictures_that_make_the_order_too_large_are_all_uploaded(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        draw(settings.output_dir / "small.png")
        (settings.output_dir / "large.png").write_bytes(tiny_png.encode_noise(1800))
        url = "https://example.com/x.png"
        task = await order(service, "put them together", images=["small.png", "large.png", url])

    assert task.status is TaskStatus.SUCCEEDED
    assert [image[:10] for image in remote.images] == ["oss://dir/", "oss://dir/", url[:10]]
    assert remote.headers[0]["X-DashScope-OssResourceResolve"] == "enable"
    assert (remote.policies, len(remote.uploads)) == (2, 2)
    assert b"large.png" not in remote.uploads[1].content
    assert len(json.dumps(remote.orders[0])) < 2000


async def test_an_order_that_is_throttled_uploads_its_pictures_once(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        (settings.output_dir / "large.png").write_bytes(tiny_png.encode_noise(1800))
        remote.refusals = [httpx.Response(429, json={"code": "Throttling.RateQuota", "message": "slow"})] * 2
        task = await order(service, "make it blue", images=["large.png"])

    assert task.status is TaskStatus.SUCCEEDED
    assert (remote.policies, len(remote.uploads)) == (1, 1)


async def test_a_passing_trouble_of_the_store_is_sat_out_and_a_lasting_one_ends_the_order_free(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        (settings.output_dir / "large.png").write_bytes(tiny_png.encode_noise(1800))
        remote.upload_troubles = [httpx.Response(503), httpx.ReadError("broke")]
        task = await order(service, "make it blue", images=["large.png"])
        remote.upload_troubles = [httpx.Response(403)]
        refused = await order(service, "make it green", images=["large.png"])
        sent = len(remote.orders)

    assert task.status is TaskStatus.SUCCEEDED
    assert (refused.status, refused.problem.code) == (TaskStatus.FAILED, "UploadFailed")
    assert "not sent and nothing is charged" in refused.problem.message
    assert sent == 1


@pytest.mark.parametrize("region", ["singapore", "virginia"])
async def test_where_nothing_can_be_uploaded_pictures_stay_inside_up_to_a_limit(tmp_path, region):
    access = {"DASHSCOPE_HTTP_BASE_URL": "https://gateway.example.com/api/v1", "key": "sk-sp-0123456789"}
    if region == "virginia":
        access = {"DASHSCOPE_API_KEY_VIRGINIA": KEY}
    model = MODEL if region == "singapore" else "wan2.6-image"
    async with studio(tmp_path, **access) as (service, remote, settings):
        (settings.output_dir / "large.png").write_bytes(tiny_png.encode_noise(1600))
        if region == "virginia":
            task = await order(service, "x", images=["large.png"] * 2, model=model, region=region)
            assert task.status is TaskStatus.SUCCEEDED
            assert sum(map(len, remote.images)) > MOST_BODY_BYTES
            assert len(decode(remote.images[1]).tobytes()) == 1600 * 1600 * 3
        with pytest.raises(AppError, match="more than 30 million bytes") as caught:
            await order(service, "x", images=["large.png"] * 4, model=model, region=region)
        assert caught.value.nothing_created
        assert not remote.policies


# --- before any money ------------------------------------------------------------------------------------------------


async def test_whatever_cannot_be_a_picture_is_refused_before_anything_is_written_down(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    draw(outside / "secret.png")
    async with studio(tmp_path) as (service, remote, settings):
        folder = settings.output_dir
        (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (folder / "page.png").write_text("<html>")
        (folder / "folder.png").mkdir()
        (folder / "link.png").symlink_to(outside / "secret.png")
        os.mkfifo(folder / "pipe.png")
        with (folder / "huge.png").open("wb") as file:
            file.truncate(200_000_000)
        draw(folder / "fine.png")
        for reference in (
            str(outside / "secret.png"),
            "../outside/secret.png",
            "drawing.svg",
            "page.png",
            "folder.png",
            "link.png",
            "pipe.png",
            "huge.png",
            "missing.png",
            "/dev/zero",
            "/etc/passwd",
            "data:image/png;base64,iVBORw0KGgo=",
            "oss://dir/a.png",
            "http://127.0.0.1/a.png",
            "https://me:secret@example.com/a.png",
            "no-such-task#1",
            "",
        ):
            with pytest.raises(AppError) as caught:
                await order(service, "make it blue", images=["fine.png", reference], model=MODEL)
            error = caught.value
            assert error.nothing_created, reference
            assert error.message, reference
            assert error.advice or error.next_step, reference
            assert "root:" not in str(error)
        page = await service.list_tasks(status=None, limit=10, cursor=None, remote=False)
        assert not page.tasks
    assert not remote.orders
    assert not remote.policies


async def test_an_image_that_is_not_saved_yet_says_what_to_do_first(tmp_path):
    async with studio(tmp_path) as (service, remote, _):
        remote.refusals = [httpx.Response(401, json={"code": "InvalidApiKey", "message": "no"})]
        failed = await order(service, "a flower shop", model=MODEL)
        with pytest.raises(AppError, match="has no images"):
            await order(service, "the same but blue", images=[f"{failed.task_id}#1"])
        done = await order(service, "a flower shop", model=MODEL, fresh=True)
        with pytest.raises(AppError, match="has no image 2"):
            await order(service, "the same but blue", images=[f"{done.task_id}#2"])
    assert len(remote.orders) == 1


async def test_a_file_that_a_person_named_is_read_and_its_neighbours_are_not(tmp_path):
    named = draw(tmp_path / "mine.png").resolve()
    other = draw(tmp_path / "other.png").resolve()
    async with studio(tmp_path, input_files=[named]) as (service, remote, _):
        await order(service, "make it blue", images=[str(named)])
        with pytest.raises(AppError, match="outside"):
            await order(service, "make it blue", images=[str(other)])
    assert len(remote.orders) == 1


# --- equal orders ----------------------------------------------------------------------------------------------------


async def test_equal_pictures_make_equal_orders_whatever_they_are_called(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        draw(settings.output_dir / "one.png")
        (settings.output_dir / "two.png").write_bytes((settings.output_dir / "one.png").read_bytes())
        draw(settings.output_dir / "three.png", colour="blue")
        first = await submit(service, "make it blue", images=["one.png"])
        await until(lambda: not service._worker.orders())
        second = await submit(service, "make it blue", images=["two.png"])
        third = await submit(service, "make it blue", images=["three.png"])

    assert second.deduplicated
    assert not second.saved_elsewhere
    assert second.local_id == first.local_id
    assert not third.deduplicated
    assert len(remote.orders) == 2


async def test_addresses_count_as_they_are_written(tmp_path):
    async with studio(tmp_path) as (service, remote, _):
        urls = [["https://example.com/a.png"], ["https://example.com/b.png"], ["https://example.com/a.png"]]
        tasks = [await submit(service, "make it blue", images=each) for each in urls]
    assert [task.deduplicated for task in tasks] == [False, False, True]
    assert len(remote.orders) == 2


# --- between the order and its sending -------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["changed", "deleted", "replaced by a link"])
async def test_a_picture_that_is_another_one_by_the_time_of_sending_ends_the_order_unsent_and_free(tmp_path, what):
    async with studio(tmp_path) as (service, remote, settings):
        # The first order is held up at the upload, and the second stands in line behind it.
        remote.hold = anyio.Event()
        (settings.output_dir / "large.png").write_bytes(tiny_png.encode_noise(1800))
        file = draw(settings.output_dir / "red.png")
        first = await submit(service, "make it blue", images=["large.png"], wait=0.0)
        await until(lambda: remote.policies)
        second = await submit(service, "make it green", images=["red.png"], wait=0.0)
        match what:
            case "changed":
                draw(file, colour="green")
            case "deleted":
                file.unlink()
            case _:
                file.unlink()
                file.symlink_to(draw(tmp_path / "elsewhere.png"))
        remote.hold.set()
        ended = await get(service, second.task_id)
        done = await get(service, first.task_id)

    assert done.status is TaskStatus.SUCCEEDED
    assert ended.status is TaskStatus.FAILED
    assert ended.problem.code in ("InputChanged", "FolderNotAllowed")
    assert "was not sent and nothing is charged" in ended.problem.message
    assert ended.is_failure
    assert len(remote.orders) == 1


async def test_an_order_whose_pictures_are_being_read_is_not_written_down_as_sent(tmp_path):
    async with studio(tmp_path) as (service, remote, settings):
        remote.hold = anyio.Event()
        (settings.output_dir / "large.png").write_bytes(tiny_png.encode_noise(1800))
        task = await submit(service, "make it blue", images=["large.png"], wait=0.0)
        await until(lambda: remote.policies)
        row = await service._ledger.orders.get(task.local_id)
        seen = await service.peek(task.local_id)
        cancelled = await service.cancel(task.local_id)
        remote.hold.set()
        await until(lambda: not service._worker.orders())

    assert (row.stage, row.sent_at) == ("QUEUED", None)
    assert "being read and handed over" in seen.problem.message
    assert cancelled.status is TaskStatus.CANCELED
    assert not remote.orders


# --- memory ----------------------------------------------------------------------------------------------------------


def measure(tmp_path, what):
    script = Path(__file__).parents[2] / "fakes" / "large_inputs.py"
    command = [sys.executable, str(script), str(tmp_path), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell how much memory was used at most")
@pytest.mark.timeout(300)
def test_orders_with_ten_pictures_of_twenty_million_bytes_of_all_kinds_stay_within_250_mib(tmp_path):
    seen = measure(tmp_path, "mixed")
    assert seen["status"] == seen["more"] == "SUCCEEDED"
    assert seen["uploaded"] == 10
    assert seen["bytes"] > 160_000_000
    assert seen["peak_mib"] < 250


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell how much memory was used at most")
@pytest.mark.timeout(300)
def test_orders_that_wait_for_their_answers_keep_no_pictures_in_memory(tmp_path):
    seen = measure(tmp_path, "waiting")
    assert (seen["statuses"], seen["orders"]) == (["SUCCEEDED"], 10)
    assert seen["bytes"] > 80_000_000
    assert seen["peak_mib"] < 180


# --- what is told of an order's pictures -----------------------------------------------------------------------------


async def test_a_task_reads_with_what_it_was_made_from_and_without_signatures(tmp_path):
    async with studio(tmp_path) as (service, _, settings):
        file = draw(settings.output_dir / "scan.tif", form="TIFF")
        task = await order(service, "make it blue", images=["scan.tif", "https://example.com/x.png?Signature=s3cret"])
        content = (await read_resource(service, f"wan://tasks/{task.task_id}")).content

    facts = json.loads(content)["order"]
    assert facts["arguments"]["images"] == ["scan.tif", "https://example.com/x.png"]
    assert facts["inputs"] == [
        {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "changes": ["format"]},
        {"changes": []},
    ]
    assert "s3cret" not in content
