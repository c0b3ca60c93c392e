"""The official SDK works with the sandbox as it does with the service."""

import threading
import warnings
from http import HTTPStatus

import anyio
import httpx
import pytest

from wan_mcp.sandbox import SandboxOptions, serve

with warnings.catch_warnings():
    # The SDK imports old parts of itself and of its dependencies.
    warnings.simplefilter("ignore", DeprecationWarning)
    import dashscope
    from dashscope import ImageSynthesis
    from dashscope.aigc.image_generation import ImageGeneration

KEY = "sk-right"
WORDS = [{"role": "user", "content": [{"text": "a flower shop"}]}]


@pytest.fixture(scope="module")
def address():
    """Serve the sandbox on a loopback port from another thread: the SDK blocks the one that calls it."""
    found, up, stop = [], threading.Event(), threading.Event()

    def ready(url):
        found.append(url)
        up.set()

    async def main():
        options = SandboxOptions(keys=frozenset({KEY}), duration=0.8, pending=0.7, throttle=1000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: serve(options, "127.0.0.1", 0, None, ready=ready))
            await anyio.to_thread.run_sync(stop.wait, 50)
            tasks.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    try:
        assert up.wait(10)
        yield found[0]
    finally:
        stop.set()
        thread.join(45)


@pytest.fixture(autouse=True)
def pointed_at_the_sandbox(address, monkeypatch):
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{address}/api/v1")
    monkeypatch.setattr(dashscope, "api_key", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


async def call(function, *args, **kwargs):
    with anyio.fail_after(45):
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))


async def fetch_png(url):
    async with httpx.AsyncClient(trust_env=False) as client:
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


async def test_image_synthesis_orders_fetches_and_waits_for_an_older_model():
    order = await call(ImageSynthesis.async_call, "wanx2.1-t2i-turbo", "a cat", n=1, size="512*768", seed=3)
    assert order.output.task_status == "PENDING"
    assert (await call(ImageSynthesis.fetch, order)).output.task_status in ("PENDING", "RUNNING")
    answer = await call(ImageSynthesis.wait, order.output.task_id)
    assert answer.output.task_status == "SUCCEEDED"
    await fetch_png(answer.output.results[0].url)


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


async def test_image_generation_orders_fetches_and_waits():
    order = await call(ImageGeneration.async_call, "wan2.6-t2i", messages=WORDS, n=1)
    assert order.output.task_status == "PENDING"
    assert (await call(ImageGeneration.fetch, order)).output.task_status in ("PENDING", "RUNNING")
    answer = await call(ImageGeneration.wait, order)
    assert answer.output.task_status == "SUCCEEDED"
    await fetch_png(answer.output.choices[0].message.content[0]["image"])


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
