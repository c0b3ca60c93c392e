"""A server that people sign in to, over HTTP on loopback in the loop of the test: real ledger, real files."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import anyio
import httpx
import httpx2
from anyio import to_thread
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from fakes.dashscope import FakeService
from fakes.order_service import QUICK, make_settings
from wan_mcp import http_server
from wan_mcp.app import build_context, build_server, build_service
from wan_mcp.auth.gate import AuthGate
from wan_mcp.auth.tokens import TokenFile, add_token
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.http_app import SHARED_INSTRUCTIONS, build_links
from wan_mcp.mcp_server.files import make_file_routes
from wan_mcp.mcp_server.http import HttpRoutes, build_http_app
from wan_mcp.orders import OrderService
from wan_mcp.orders.links import ImageLinks
from wan_mcp.settings import Settings
from wan_mcp_tools.domain.principals import Scope

KEY = b"a key that every replica of this test has"
SCOPES = frozenset({Scope.ORDER, Scope.CANCEL})


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


@dataclass
class Team:
    """The server as its clients know it; `links` are what it makes links with, by the time of `clock`."""

    url: str
    folder: Path
    settings: Settings
    service: OrderService
    links: ImageLinks
    clock: MovedClock
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def web(self, name: str | None = None, **headers: str) -> httpx.AsyncClient:
        """Give what makes requests as somebody, or as nobody."""
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens[name]}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=45)

    @asynccontextmanager
    async def agent(self, name: str, era: str = "auto", **options: Any) -> AsyncGenerator[Client]:
        """Give the MCP client of somebody."""
        headers = {"Authorization": f"Bearer {self.tokens[name]}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=45) as http,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=http), mode=era, **options) as client,
        ):
            yield client


@asynccontextmanager
async def running_team(
    folder: Path,
    dashscope: FakeService | None = None,
    *,
    names: tuple[str, ...] = ("ada", "bob"),
    scopes: frozenset[Scope] = SCOPES,
    storage: Any = None,
    key: bytes = KEY,
    public_url: str | None = None,
    **environ: str,
) -> AsyncGenerator[Team]:
    """
    Run a server whose people have these names; "root" is an administrator, "reader" may only read.

    `public_url` is what links begin with, where that is not the address at which it listens.
    """
    path = folder / f"tokens-{token_hex(4)}"
    settings = await to_thread.run_sync(partial(make_settings, folder, dashscope, **environ))
    tokens: dict[str, str] = {}
    for name in (*names, "root", "reader"):
        own = {"root": frozenset({Scope.ADMIN}), "reader": frozenset({Scope.READ})}.get(name, scopes)
        tokens[name] = await to_thread.run_sync(add_token, path, name, own)
    gate = AuthGate(tokens=TokenFile(path, SystemClock()))
    listeners = http_server.listen("127.0.0.1", 0)
    url = http_server.base_url(listeners[0])
    context = build_context(settings)
    if storage is not None:
        context = replace(context, storage=storage(settings))
    clock = MovedClock()
    links = build_links(replace(context, clock=clock), key, public_url or url)
    service = build_service(settings, context=context, timings=QUICK, links=links)
    server = build_server(
        service, secret_key=key, instructions=SHARED_INSTRUCTIONS.format(address=url), alongside=[service.uploads.run]
    )
    routes = HttpRoutes(pages=make_file_routes(service, gate))
    app = build_http_app(server, "127.0.0.1", gate=gate, count_call=service.count_call, routes=routes)
    started = anyio.Event()
    async with anyio.create_task_group() as group:
        ready = lambda _: started.set()  # noqa: E731 - one word
        group.start_soon(partial(http_server.serve, app, listeners, ready=ready, answer_seconds=1))
        await started.wait()
        try:
            yield Team(url, folder, settings, service, links, clock, tokens)
        finally:
            group.cancel_scope.cancel()
