"""A server that people sign in to, with its gallery, over HTTP on loopback in the loop of the test."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from anyio import to_thread
from mcp import Client
from starlette.types import ASGIApp

from fakes.clock import FakeClock
from fakes.order_service import QUICK, make_settings, quick_context
from fakes.serving import KEY, NO_CERTIFICATES, MovedClock, serving_app, signed_in
from wan_mcp.app import build_server, build_service
from wan_mcp.auth.challenges import ProtectedResource
from wan_mcp.auth.gate import AuthGate, VerifyToken
from wan_mcp.auth.tokens import TokenFile, add_token
from wan_mcp.http_app import build_gallery
from wan_mcp.mcp_server.http import HttpRoutes, build_http_app
from wan_mcp.orders import OrderService
from wan_mcp_tools.domain.principals import Scope

PEOPLE: Mapping[str, frozenset[Scope]] = {
    "ada": frozenset({Scope.ORDER, Scope.CANCEL}),
    "bob": frozenset({Scope.ORDER}),
    "reader": frozenset({Scope.READ}),
    "root": frozenset({Scope.ADMIN}),
}
COOKIE = "__Host-wan-gallery"


@dataclass
class Team:
    """A replica as people know it. `clock` is what links and sessions are judged by."""

    url: str
    service: OrderService
    clock: MovedClock
    tokens: Mapping[str, str]
    tokens_file: Path

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """Give what asks as a page of the gallery does."""
        sent = {"Sec-Fetch-Site": "same-origin", **headers}
        return httpx.AsyncClient(
            base_url=f"{self.url}/gallery/", headers=sent, verify=NO_CERTIFICATES, trust_env=False, timeout=45
        )

    async def ask_for_link(self, name: str) -> httpx.Response:
        """Ask for a link as an agent does."""
        async with httpx.AsyncClient(verify=NO_CERTIFICATES, trust_env=False, timeout=45) as client:
            headers = {"Authorization": f"Bearer {self.tokens[name]}"}
            return await client.post(f"{self.url}/gallery/links", headers=headers)

    async def make_ticket(self, name: str) -> str:
        """Make the ticket of somebody's link."""
        return (await self.ask_for_link(name)).json()["url"].partition("#")[2]

    async def redeem(self, client: httpx.AsyncClient, ticket: object, **more: object) -> httpx.Response:
        """Give up a ticket, as the page of a link does; the cookie is kept as a browser does at this machine."""
        answer = await client.post("session", json={"ticket": ticket, **more})
        if answer.status_code == 200:
            client.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
        return answer

    @asynccontextmanager
    async def agent(self, name: str, era: str) -> AsyncGenerator[Client]:
        """Give the MCP client of somebody."""
        async with signed_in(f"{self.url}/mcp", self.tokens[name], era) as client:
            yield client

    @asynccontextmanager
    async def session(self, name: str) -> AsyncGenerator[httpx.AsyncClient]:
        """Sign somebody in."""
        async with self.browser() as client:
            assert (await self.redeem(client, await self.make_ticket(name))).status_code == 200
            yield client


def add_people(folder: Path) -> tuple[Path, Mapping[str, str]]:
    """Write the file of tokens."""
    path = folder / "tokens"
    return path, {name: add_token(path, name, scopes) for name, scopes in PEOPLE.items()}


@asynccontextmanager
async def running_team(
    folder: Path,
    people: tuple[Path, Mapping[str, str]] | None = None,
    *,
    public_url: str | None = None,
    verify: VerifyToken | None = None,
    issuer: str = "https://login.example",
    key: bytes = KEY,
    **environ: str,
) -> AsyncGenerator[Team]:
    """Run a replica on the ledger of a folder; others on it have the same `people`. `verify` takes the issuer's tokens."""
    path, tokens = people or await to_thread.run_sync(add_people, folder)
    settings = await to_thread.run_sync(partial(make_settings, folder, **environ))
    clock = MovedClock()
    # The file of tokens is looked at anew each time.
    resource = ProtectedResource(public_url or "https://pictures.example.com", issuer) if verify else None
    gate = AuthGate(tokens=TokenFile(path, _Hurrying()), verify=verify, resource=resource)
    context = quick_context(settings, clock=clock)
    service = build_service(settings, context=context, timings=QUICK)

    def make_app(url: str) -> ASGIApp:
        gallery = build_gallery(service, context, gate, secret_key=key, address=public_url or url)
        server = build_server(service, secret_key=key, make_gallery_link=gallery.make_link)
        routes = HttpRoutes(pages=gallery.routes)
        return build_http_app(server, "127.0.0.1", public_url=public_url, gate=gate, routes=routes)

    async with serving_app(make_app) as url:
        yield Team(url, service, clock, tokens, path)


class _Hurrying(FakeClock):
    """A clock of which a minute passes whenever it is looked at."""

    def monotonic(self) -> float:
        """Give a later time than before."""
        self.advance(60)
        return super().monotonic()
