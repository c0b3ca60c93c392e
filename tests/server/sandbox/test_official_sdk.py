"""The official SDK works with the sandbox as it does with the service."""

import base64
import io
import threading
import warnings
from contextlib import contextmanager
from http import HTTPStatus

import anyio
import httpx
import pytest
from PIL import Image

from fakes.serving import NO_CERTIFICATES
from wan_mcp.sandbox import SandboxOptions, serve

with warnings.catch_warnings():
    # The SDK imports old parts of itself and of its dependencies.
    warnings.simplefilter("ignore", DeprecationWarning)
    import dashscope
    from dashscope import ImageSynthesis
    from dashscope.aigc.image_generation import AioImageGeneration, ImageGeneration
    from dashscope.aigc.image_synthesis import AioImageSynthesis
    from dashscope.api_entities.aio_session import close_shared_aio_session

KEY = "sk-right"
WORDS = [{"role": "user", "content": [{"text": "a flower shop"}]}]
EDIT = "Give image 1 a blue door"


@contextmanager
def serving(**switches):
    """Serve the sandbox on a loopback port from another thread: the SDK blocks the one that calls it."""
    found, up, stop = [], threading.Event(), threading.Event()

    def ready(url):
        found.append(url)
        up.set()

    async def main():
        options = SandboxOptions(keys=frozenset({KEY}), throttle=1000, concurrency=100, **switches)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: serve(options, "127.0.0.1", 0, None, ready=ready))
            await anyio.to_thread.run_sync(stop.wait, 600)
            tasks.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    try:
        assert up.wait(10)
        yield found[0]
    finally:
        stop.set()
        thread.join(45)


@pytest.fixture(scope="module")
def address():
    """A sandbox whose tasks are done at once: the SDK looks once a second."""
    with serving(duration=0.0, pending=0.0) as found:
        yield found


@pytest.fixture(scope="module")
def slow_address():
    """One whose tasks take a while."""
    with serving(duration=0.8, pending=0.7) as found:
        yield found


@pytest.fixture(autouse=True)
def pointed_at_the_sandbox(address, monkeypatch):
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{address}/api/v1")
    monkeypatch.setattr(dashscope, "api_key", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def pointed_at_the_slow_one(pointed_at_the_sandbox, slow_address, monkeypatch):
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{slow_address}/api/v1")


@pytest.fixture
async def sessions():
    """Close the connections that the asynchronous clients keep for the loop of a test."""
    yield
    await close_shared_aio_session()


async def call(function, *args, **kwargs):
    with anyio.fail_after(45):
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))


async def fetch_png(url):
    async with httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES) as client:
        answer = await client.get(url)
    assert answer.status_code == HTTPStatus.OK
    assert answer.content[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("model", ["wan2.5-t2i-preview", "wan2.2-t2i-flash"])
async def test_image_synthesis_orders_and_waits(model):
    answer = await call(
        ImageSynthesis.call, model, "a flower shop", negative_prompt="people", n=2, prompt_extend=True
    )
    assert answer.status_code == HTTPStatus.OK
    assert answer.output.task_status == "SUCCEEDED"
    assert answer.output.task_metrics == {"TOTAL": 2, "SUCCEEDED": 2, "FAILED": 0}
    assert answer.usage.image_count == 2
    assert len({result.url for result in answer.output.results}) == 2
    assert answer.output.results[0].orig_prompt == "a flower shop"
    await fetch_png(answer.output.results[0].url)


@pytest.mark.usefixtures("pointed_at_the_slow_one")
async def test_image_synthesis_orders_fetches_and_waits_for_an_older_model():
    order = await call(ImageSynthesis.async_call, "wanx2.1-t2i-turbo", "a cat", n=1, size="512*768", seed=3)
    assert order.output.task_status == "PENDING"
    assert (await call(ImageSynthesis.fetch, order)).output.task_status in ("PENDING", "RUNNING")
    answer = await call(ImageSynthesis.wait, order.output.task_id)
    assert answer.output.task_status == "SUCCEEDED"
    await fetch_png(answer.output.results[0].url)


@pytest.mark.usefixtures("pointed_at_the_slow_one")
async def test_image_synthesis_cancels_what_is_pending_and_only_that():
    order = await call(ImageSynthesis.async_call, "wan2.5-t2i-preview", "a cat", n=1)
    answer = await call(ImageSynthesis.cancel, order)
    assert (answer.status_code, answer.code) == (HTTPStatus.OK, None)
    assert not answer.output
    assert (await call(ImageSynthesis.wait, order)).output.task_status == "CANCELED"
    late = await call(ImageSynthesis.cancel, order)
    assert (late.status_code, late.code) == (HTTPStatus.BAD_REQUEST, "UnsupportedOperation")


async def test_image_generation_calls_the_synchronous_protocol():
    answer = await call(ImageGeneration.call, "wan2.6-t2i", messages=WORDS, n=2, negative_prompt="", size="1280*1280")
    assert answer.status_code == HTTPStatus.OK
    assert [choice.finish_reason for choice in answer.output.choices] == ["stop", "stop"]
    assert answer.usage.image_count == 2
    await fetch_png(answer.output.choices[0].message.content[0]["image"])


@pytest.mark.usefixtures("pointed_at_the_slow_one")
async def test_image_generation_orders_fetches_and_waits():
    order = await call(ImageGeneration.async_call, "wan2.6-t2i", messages=WORDS, n=1)
    assert order.output.task_status == "PENDING"
    assert (await call(ImageGeneration.fetch, order)).output.task_status in ("PENDING", "RUNNING")
    answer = await call(ImageGeneration.wait, order)
    assert answer.output.task_status == "SUCCEEDED"
    await fetch_png(answer.output.choices[0].message.content[0]["image"])


@pytest.mark.usefixtures("pointed_at_the_slow_one")
async def test_image_generation_cancels():
    order = await call(ImageGeneration.async_call, "wan2.6-t2i", messages=WORDS, n=1)
    assert (await call(ImageGeneration.cancel, order)).status_code == HTTPStatus.OK
    assert (await call(ImageGeneration.fetch, order)).output.task_status == "CANCELED"


async def test_the_list_holds_what_was_ordered():
    order = await call(ImageSynthesis.async_call, "wan2.2-t2i-plus", "a cat", n=1)
    answer = await call(ImageSynthesis.list, model_name="wan2.2-t2i-plus", page_size=5)
    assert answer.status_code == HTTPStatus.OK
    assert answer.output["data"][0]["task_id"] == order.output.task_id
    assert answer.output["data"][0]["request_id"] == order.request_id


async def test_refusals_and_failures_reach_the_caller_of_the_sdk():
    refused = await call(ImageSynthesis.async_call, "wan2.6-t2i", "a cat")
    assert (refused.status_code, refused.code) == (HTTPStatus.BAD_REQUEST, "InvalidParameter")
    assert refused.message.startswith("url error")
    wrong = await call(ImageGeneration.call, "wan2.6-t2i", api_key="sk-wrong", messages=WORDS)
    assert (wrong.status_code, wrong.code) == (HTTPStatus.UNAUTHORIZED, "InvalidApiKey")
    unknown = await call(ImageSynthesis.wait, "00000000-0000-0000-0000-000000000000")
    assert unknown.output.task_status == "UNKNOWN"
    failed = await call(ImageSynthesis.call, "wan2.5-t2i-preview", "sandbox:refuse", n=1)
    assert failed.status_code == HTTPStatus.OK
    assert (failed.output.task_status, failed.output.code) == ("FAILED", "DataInspectionFailed")


def draw(kind="PNG", size=(640, 480)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 80, 40)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "shop front.png"
    path.write_bytes(draw())
    return path


def edit_of(*images, text=EDIT):
    return [{"role": "user", "content": [*({"image": image} for image in images), {"text": text}]}]


async def test_image_generation_edits_a_picture_in_the_body():
    address = "data:image/png;base64," + base64.b64encode(draw()).decode()
    answer = await call(ImageGeneration.call, "wan2.7-image", messages=edit_of(address), n=1, size="1K")
    assert answer.status_code == HTTPStatus.OK, answer
    assert answer.usage.image_count == 1
    await fetch_png(answer.output.choices[0].message.content[0]["image"])


@pytest.mark.parametrize("model", ["wan2.7-image-pro", "wan2.6-image", "qwen-image-3.0"])
async def test_image_generation_uploads_a_local_file_and_orders_an_edit_by_task(photo, model):
    messages = edit_of(f"file://{photo}", "https://example.com/room.webp")
    order = await call(ImageGeneration.async_call, model, messages=messages, n=2)
    assert order.status_code == HTTPStatus.OK, order
    assert messages[0]["content"][0]["image"].startswith("oss://dashscope-instant/")
    answer = await call(ImageGeneration.wait, order)
    assert answer.output.task_status == "SUCCEEDED", answer
    images = [part["image"] for choice in answer.output.choices for part in choice.message.content]
    assert len(images) == 2
    await fetch_png(images[0])


async def test_the_asynchronous_client_uploads_orders_and_waits(photo, sessions):
    with anyio.fail_after(45):
        order = await AioImageGeneration.async_call("wan2.7-image", messages=edit_of(f"file://{photo}"), n=1)
        assert order.status_code == HTTPStatus.OK, order
        answer = await AioImageGeneration.wait(order)
    assert answer.output.task_status == "SUCCEEDED"
    await fetch_png(answer.output.choices[0].message.content[0]["image"])


async def test_the_asynchronous_client_calls_the_synchronous_protocol(photo, sessions):
    with anyio.fail_after(45):
        answer = await AioImageGeneration.call("qwen-image-edit-plus", messages=edit_of(f"file://{photo}"), n=2)
    assert answer.status_code == HTTPStatus.OK, answer
    assert len(answer.output.choices[0].message.content) == 2


async def test_image_synthesis_edits_on_the_legacy_path(photo):
    answer = await call(
        ImageSynthesis.call, "wan2.5-i2i-preview", EDIT, images=[f"file://{photo}", "https://example.com/a.png"], n=1
    )
    assert answer.output.task_status == "SUCCEEDED", answer
    assert answer.output.results[0].orig_prompt == EDIT
    await fetch_png(answer.output.results[0].url)


async def test_the_asynchronous_client_edits_on_the_legacy_path(photo, sessions):
    with anyio.fail_after(45):
        order = await AioImageSynthesis.async_call("wan2.5-i2i-preview", EDIT, images=[f"file://{photo}"], n=1)
        answer = await AioImageSynthesis.wait(order)
    assert answer.output.task_status == "SUCCEEDED", answer


async def test_image_generation_orders_a_set():
    answer = await call(ImageGeneration.call, "wan2.7-image", messages=WORDS, enable_sequential=True, n=6, size="1K")
    assert len(answer.output.choices[0].message.content) == answer.usage.image_count == 6


@pytest.mark.parametrize("model", ["qwen-image-max", "qwen-image-2.0", "z-image-turbo"])
async def test_image_generation_paints_by_the_other_families(model):
    answer = await call(ImageGeneration.call, model, messages=WORDS)
    assert answer.status_code == HTTPStatus.OK, answer
    assert answer.usage.image_count == 1
    assert answer.usage.width


async def test_the_newer_client_edits_a_local_file_by_a_call_and_by_a_task(address, photo):
    def edit():
        asked = {"model": "wan2.6-image", "prompt": EDIT, "image_urls": [str(photo)], "n": 1, "size": "1024x768"}
        with dashscope.Client(api_key=KEY, base_url=f"{address}/api/v1") as client:
            job = client.images.jobs.create(**asked)
            return client.images.generate(**asked), client.images.jobs.wait(job)

    for job in await call(edit):
        assert job.succeeded, job
        await fetch_png(job.output["choices"][0]["message"]["content"][0]["image"])


async def test_the_newer_asynchronous_client_edits_a_local_file(address, photo):
    with anyio.fail_after(45):
        async with dashscope.AsyncClient(api_key=KEY, base_url=f"{address}/api/v1") as client:
            job = await client.images.generate(
                model="wan2.6-image", prompt=EDIT, image_urls=[f"file://{photo}"], n=1, size="1K"
            )
    assert job.succeeded, job
