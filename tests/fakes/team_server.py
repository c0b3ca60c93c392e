"""A server that people sign in to, over HTTP on loopback in the loop of the test: real ledger, real files."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
from anyio import to_thread
from mcp import Client
from starlette.types import ASGIApp

from fakes.dashscope import FakeService
from fakes.order_service import QUICK, make_settings, quick_context
from fakes.serving import KEY, NO_CERTIFICATES, MovedClock, serving_app, signed_in
from wan_mcp.app import build_server, build_service
from wan_mcp.auth.gate import AuthGate
from wan_mcp.auth.tokens import TokenFile, add_token
from wan_mcp.clock import SystemClock
from wan_mcp.http_app import SHARED_INSTRUCTIONS, build_links
from wan_mcp.mcp_server.files import make_file_routes
from wan_mcp.mcp_server.http import HttpRoutes, build_http_app
from wan_mcp.orders import OrderService
from wan_mcp.orders.files.links import ImageLinkSigner
from wan_mcp.settings import Settings
from wan_mcp_tools.domain.principals import Scope

SCOPES = frozenset({Scope.ORDER, Scope.CANCEL})


@dataclass
class Team:
    """The server as its clients know it; `links` are what it makes links with, by the time of `clock`."""

    url: str
    folder: Path
    settings: Settings
    service: OrderService
    links: ImageLinkSigner
    clock: MovedClock
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def web(self, name: str | None = None, **headers: str) -> httpx.AsyncClient:
        """Give what makes requests as somebody, or as nobody."""
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens[name]}"
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, verify=NO_CERTIFICATES, trust_env=False, timeout=45
        )

    @asynccontextmanager
    async def agent(self, name: str, era: str = "auto", **options: Any) -> AsyncGenerator[Client]:
        """Give the MCP client of somebody."""
        async with signed_in(f"{self.url}/mcp", self.tokens[name], era, **options) as client:
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
    context = quick_context(settings)
    if storage is not None:
        context = replace(context, storage=storage(settings))
    clock = MovedClock()
    teams: list[Team] = []

    def make_app(url: str) -> ASGIApp:
        links = build_links(replace(context, clock=clock), key, public_url or url)
        service = build_service(settings, context=context, timings=QUICK, links=links)
        server = build_server(
            service,
            secret_key=key,
            instructions=SHARED_INSTRUCTIONS.format(address=url),
            alongside=[service.uploads.run],
        )
        teams.append(Team(url, folder, settings, service, links, clock, tokens))
        routes = HttpRoutes(pages=make_file_routes(service, gate))
        return build_http_app(server, "127.0.0.1", gate=gate, count_call=service.count_call, routes=routes)

    async with serving_app(make_app):
        yield teams[0]
