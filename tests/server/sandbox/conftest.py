import anyio.lowlevel
import httpx
import pytest

from wan_mcp.sandbox import SandboxOptions, create_app

API = "/api/v1"
SYNC = f"{API}/services/aigc/multimodal-generation/generation"
ASYNC = f"{API}/services/aigc/image-generation/generation"
LEGACY = f"{API}/services/aigc/text2image/image-synthesis"
# 2026-01-02 03:04:05.678 UTC.
START = 1_767_323_045.678


class ManualClock:
    """A clock that only moves when told to, or when somebody sleeps."""

    def __init__(self):
        self.time = START

    def now(self):
        return self.time

    def monotonic(self):
        return self.time - START

    async def sleep(self, seconds):
        self.time += seconds
        await anyio.lowlevel.checkpoint()


class Harness:
    """The sandbox, a client of it, and the orders that the tests make."""

    def __init__(self, build):
        self.clock = ManualClock()
        self.app = build(self.clock)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://sandbox.invalid",
            headers={"Authorization": "Bearer sk-test"},
        )

    async def order_legacy(self, prompt="a flower shop", *, model="wan2.5-t2i-preview", **parameters):
        body = {"model": model, "input": {"prompt": prompt}, "parameters": parameters}
        return await self.post(LEGACY, body)

    async def order_async(self, prompt="a flower shop", *, model="wan2.6-t2i", **parameters):
        return await self.post(ASYNC, messages_body(prompt, model, parameters))

    async def order_sync(self, prompt="a flower shop", *, model="wan2.6-t2i", **parameters):
        return await self.post(SYNC, messages_body(prompt, model, parameters), is_async=False)

    async def post(self, path, body, *, is_async=True):
        headers = {"X-DashScope-Async": "enable"} if is_async else {}
        return await self.client.post(path, json=body, headers=headers)

    async def task(self, answer_or_id):
        if isinstance(answer_or_id, httpx.Response):
            assert answer_or_id.status_code == 200, answer_or_id.text
            answer_or_id = answer_or_id.json()["output"]["task_id"]
        answer = await self.client.get(f"{API}/tasks/{answer_or_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ended(self, answer):
        self.clock.time += 100
        return await self.task(answer)

    async def listed(self, **parameters):
        answer = await self.client.get(f"{API}/tasks/", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def cancel(self, task_id):
        return await self.client.post(f"{API}/tasks/{task_id}/cancel")


def messages_body(prompt, model, parameters):
    messages = [{"role": "user", "content": [{"text": prompt}]}]
    return {"model": model, "input": {"messages": messages}, "parameters": parameters}


@pytest.fixture
def open_harness():
    """Open what a function builds from a clock."""
    return Harness


@pytest.fixture
def open_sandbox():
    """Open a sandbox with its own clock; the limit of submissions is off unless the test sets it."""

    def open_one(*, store=None, **switches):
        options = SandboxOptions(**{"throttle": float("inf"), "query_throttle": 1000} | switches)
        return Harness(lambda clock: create_app(options, store=store, clock=clock))

    return open_one


@pytest.fixture
def sandbox(open_sandbox):
    return open_sandbox()
