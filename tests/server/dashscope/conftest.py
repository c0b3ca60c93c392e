"""A scripted network, a clock that never waits, and a place for bytes."""

from dataclasses import dataclass, field

import httpx
import pytest
from pydantic import SecretStr

from wan_mcp.dashscope import CreateOrder, DashScope
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import AppError

KEY = "sk-test-0123456789abcdef"
IMAGE_URL = (
    "https://dashscope-a717.oss-accelerate.aliyuncs.com/1d/1f/20260818/cdc59fa6/"
    "8f2a-1.png?Expires=1893456000&OSSAccessKeyId=LTAI5tExample&Signature=a%2Fb%2Bc%3D"
)


@dataclass
class StillClock:
    """Stands still, and notes what it was asked to sleep."""

    time: float = 1_800_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds


@dataclass
class MemorySink:
    content: bytes = b""
    restarts: int = 0

    @property
    def size(self):
        return len(self.content)

    async def write(self, chunk):
        self.content += chunk

    async def restart(self):
        self.restarts += 1
        self.content = b""


class Network:
    """Answers from a script, in order; the last answer repeats. Notes every request."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.requests = []

    async def __call__(self, request):
        await request.aread()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def last(self):
        return self.requests[-1]


def make_access(**changes):
    values = {
        "region": "singapore",
        "base_url": "https://dashscope-intl.aliyuncs.com/api/v1",
        "api_key": SecretStr(KEY),
        "workspace_id": None,
        "key_setting": "DASHSCOPE_API_KEY",
        **changes,
    }
    return {values["region"]: RegionAccess(**values)}


def make_order(**changes):
    values = {
        "region": "singapore",
        "protocol": WireProtocol.ASYNC,
        "model_id": "wan2.6-t2i",
        "prompt": "一朵花 {flower}",
        "size": "1280*1280",
        "n": 1,
        **changes,
    }
    return CreateOrder(**values)


@dataclass
class Kit:
    """What the tests of this folder are made of."""

    clock: StillClock
    key: str = KEY
    image_url: str = IMAGE_URL
    access = staticmethod(make_access)
    order = staticmethod(make_order)
    sink = MemorySink

    @staticmethod
    async def create(client, order, **words):
        """Send an order."""
        return await client.create(await client.encode(order), **words)

    def client(self, *answers, access=None, **options):
        """Give a client whose network answers from a script, and that network."""
        network = Network(answers)
        options.setdefault("max_image_bytes", 1_000_000)
        transport = httpx.MockTransport(network)
        return DashScope(access or make_access(), clock=self.clock, transport=transport, **options), network

    async def error_of(self, answer, **options):
        """Give the error that comes of an order with this answer; it is sent once."""
        client, network = self.client(answer, **options)
        with pytest.raises(AppError) as caught:
            await self.create(client, self.order())
        assert len(network.requests) == 1
        return caught.value

    @staticmethod
    def json(payload, status=200, **headers):
        """Give an answer that can be given any number of times."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda request: httpx.Response(status, json=payload, headers=names)


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def kit(clock):
    return Kit(clock)


@pytest.fixture
def anyio_backend():
    return "asyncio"
