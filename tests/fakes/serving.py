"""What people sign in to, served over HTTP on loopback in the loop of the test."""

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import ASGIApp

from wan_mcp import http_server
from wan_mcp.clock import Clock, SystemClock

KEY = b"a key that every replica of this test has"
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain http: to load the usual certificates takes each of them longer than its questions."""


class MovedClock(Clock):
    """The real time, and some seconds more or less."""

    seconds = 0.0

    def now(self) -> float:
        """Give the moved time."""
        return SystemClock().now() + self.seconds

    def monotonic(self) -> float:
        """Give the time of the machine, which nobody moves."""
        return SystemClock().monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await SystemClock().sleep(seconds)


@asynccontextmanager
async def serving_app(make_app: Callable[[str], ASGIApp]) -> AsyncGenerator[str]:
    """Serve an application until the end of the block, and give the address that it is made for."""
    listeners = http_server.listen("127.0.0.1", 0)
    url = http_server.base_url(listeners[0])
    app = make_app(url)
    started = anyio.Event()
    async with anyio.create_task_group() as group:
        ready = lambda _: started.set()  # noqa: E731 - one word
        group.start_soon(partial(http_server.serve, app, listeners, ready=ready, answer_seconds=1))
        await started.wait()
        try:
            yield url
        finally:
            group.cancel_scope.cancel()


@asynccontextmanager
async def signed_in(url: str, token: str, era: str = "auto", **options: Any) -> AsyncGenerator[Client]:
    """Give the MCP client of whoever has a token, at the address that ends with /mcp."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, verify=NO_CERTIFICATES, timeout=45) as http,
        Client(streamable_http_client(url, http_client=http), mode=era, **options) as client,
    ):
        yield client
