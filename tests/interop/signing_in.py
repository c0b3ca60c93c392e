"""Clients of both SDKs sign in at an authorization server that others wrote, and order when they may."""

import json
import re
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
from environment import HERE, Environment, Findings, run, serving

_SUITE = ("@modelcontextprotocol/conformance", "dist/index.js")
_OTHER_RESOURCE = "https://other.example.com/mcp"
_READ: list[dict[str, Any]] = [{"name": "list_tasks", "arguments": {}}]
_ORDER: list[dict[str, Any]] = [
    *_READ,
    {"name": "generate_image", "arguments": {"prompt": "a lighthouse", "size": "1:1", "wait_seconds": 45}},
    {"name": "get_task", "arguments": {"task_id": "$"}},
]
_NAMES = {"python": "the Python SDK", "v2": "the TypeScript SDK"}
_TRIES = 15
_TRY_SECONDS = 1.0
_OK, _UNAUTHORIZED, _FORBIDDEN, _UNAVAILABLE = 200, 401, 403, 503

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """A server by its public address, and the issuer whose tokens it takes."""

    url: str
    issuer: str

    @property
    def resource(self) -> str:
        return f"{self.url}/mcp"

    @property
    def metadata(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}/mcp"


async def check_signing_in(environment: Environment) -> Findings:
    """Sign in by every client; then with an issuer that has gone away, and with one that is back."""
    folder = environment.make_folder("signing-in")
    faults: Findings = {"conformance, signing in": await _find_scenarios(environment, folder)}
    port, *ports = _find_ports(3)
    issuer = f"http://127.0.0.1:{port}"
    # One server at the root of its host, and one below a path.
    plain, below = (
        _Place(f"http://127.0.0.1:{each}{path}", issuer) for each, path in zip(ports, ("", "/art"), strict=True)
    )
    async with _server(environment, folder, plain), _server(environment, folder, below):
        async with _issuer(environment, folder, port, (plain, below)):
            await _sign_in(environment, folder, faults, plain, below)
        lines = await _talk(environment, folder, "v2-modern-again", plain, _READ, store="v2-modern")
        faults["the issuer is gone, a token that it gave"] = [
            *_expect_calls(lines, _READ),
            *(f"was asked: {line['request']}" for line in lines if issuer in line.get("request", "")),
        ]
    async with _server(environment, folder, plain):
        lines = await _talk(environment, folder, "v2-modern-gone", plain, _READ, store="v2-modern")
        faults["the issuer is gone, a server that knows no keys yet"] = _expect_thrown(lines, _UNAVAILABLE)
        async with _issuer(environment, folder, port, (plain, below)):
            faults["the issuer is back"] = await _come_back(environment, folder, plain)
            # It has forgotten what it granted, as one does that keeps it in memory.
            await _spoil_token(folder / "v2-modern.json")
            lines = await _talk(
                environment, folder, "v2-modern-anew", plain, _READ, client_id="known", store="v2-modern"
            )
            faults["the issuer is back, and refuses to refresh"] = [
                *_expect_authorizations(lines, plain, [{"wan:read"}]),
                *_expect_calls(lines, _READ),
            ]
    return faults


async def _sign_in(environment: Environment, folder: Path, faults: Findings, plain: _Place, below: _Place) -> None:
    limit = anyio.CapacityLimiter(3)

    async def order(sdk: str, era: str, place: _Place) -> None:
        async with limit:
            lines = await _talk(environment, folder, f"{sdk}-{era}", place, _ORDER, client_id="known")
        faults[f"{_NAMES[sdk]}, {era}, step-up"] = [
            *_expect_discovery(lines, place),
            *_expect_authorizations(lines, place, [{"wan:read"}, {"wan:read", "wan:order"}]),
            *_expect_step_up(lines),
            *_expect_calls(lines, _ORDER),
        ]

    async def register() -> None:
        async with limit:
            lines = await _talk(environment, folder, "v2-modern-registers", plain, _READ)
        faults["the TypeScript SDK registers itself"] = [
            *_expect_authorizations(lines, plain, [{"wan:read"}]),
            *_expect_calls(lines, _READ),
        ]

    async def refresh() -> None:
        async with limit:
            lines = await _talk(environment, folder, "v2-legacy-late", plain, _READ, client_id="late", store="late")
        refused = [line for line in lines if 'error="invalid_token"' in str(line.get("challenge"))]
        grants = [line["grant_type"] for line in lines if line.get("grant_type")]
        faults["the TypeScript SDK, a token that has expired"] = [
            *_expect_authorizations(lines, plain, [{"wan:read"}]),
            *_expect_calls(lines, _READ),
            *([] if [line["status"] for line in refused] == [_UNAUTHORIZED] else [f"refused were {refused}"]),
            *([] if grants == ["authorization_code", "refresh_token"] else [f"the grants were {grants}"]),
        ]

    async def go_astray() -> None:
        async with limit:
            lines = await _talk(
                environment, folder, "v2-modern-other", plain, _READ, client_id="known", resource=_OTHER_RESOURCE
            )
        faults["the TypeScript SDK, a token for another resource"] = _expect_thrown(lines, _UNAUTHORIZED)

    async with anyio.create_task_group() as group:
        group.start_soon(order, "v2", "modern", plain)
        group.start_soon(order, "v2", "legacy", below)
        group.start_soon(order, "python", "modern", below)
        group.start_soon(order, "python", "legacy", plain)
        for check in (register, refresh, go_astray):
            group.start_soon(check)


async def _come_back(environment: Environment, folder: Path, place: _Place) -> list[str]:
    """Call with the token of an earlier run at a server that soon asks its issuer again."""
    lines: list[Line] = []
    for time in range(_TRIES):
        lines = await _talk(environment, folder, f"v2-modern-back-{time}", place, _READ, store="v2-modern")
        if not any(line.get("status") == _UNAVAILABLE for line in lines):
            break
        await anyio.sleep(_TRY_SECONDS)
    return _expect_calls(lines, _READ)


async def _spoil_token(store: Path) -> None:
    """Replace the token that a client remembers by one that is good for nothing; it can still be refreshed."""
    file = anyio.Path(store)
    kept = json.loads(await file.read_text(encoding="utf-8"))
    kept["tokens"]["access_token"] = "spoilt"
    await file.write_text(json.dumps(kept), encoding="utf-8")


async def _find_scenarios(environment: Environment, folder: Path) -> list[str] | str:
    """Make sure that no scenario of the suite is left out; today all about signing in are for clients and issuers."""
    listed = await run([*environment.program(*_SUITE), "list", "--server"], folder)
    found = re.findall(r"- (\S*(?:auth|scope|token)\S*)", listed.out)
    return [f"nobody plays {name}" for name in found] or "the suite has no scenario about it for servers"


def _expect_discovery(lines: list[Line], place: _Place) -> list[str]:
    first = lines[0] if lines else {}
    challenge = f'Bearer scope="wan:read", resource_metadata="{place.metadata}"'
    faults = (
        [] if (first.get("status"), first.get("challenge")) == (_UNAUTHORIZED, challenge) else [f"began with {first}"]
    )
    asked = {line["request"]: line["status"] for line in lines if "request" in line}
    addresses = (place.metadata, f"{place.issuer}/.well-known/oauth-authorization-server")
    missing = [address for address in addresses if asked.get(f"GET {address}") != _OK]
    return [*faults, *(f"nobody read {address}, only {asked}" for address in missing)]


def _expect_authorizations(lines: list[Line], place: _Place, scopes: list[set[str]]) -> list[str]:
    """Expect that an authorization was asked for each of some sets of scopes, and tokens for this resource only."""
    asked = [line["authorize"] for line in lines if "authorize" in line]
    found = [set(each.get("scope", "").split()) - {"offline_access"} for each in asked]
    faults = [] if found == scopes else [f"scopes were asked for: {found}"]
    faults += [f"no PKCE: {each}" for each in asked if each.get("code_challenge_method") != "S256"]
    named = {each.get("resource") for each in [*asked, *(line for line in lines if line.get("grant_type"))]}
    return faults if named == {place.resource} else [*faults, f"tokens were asked for {named}"]


def _expect_step_up(lines: list[Line]) -> list[str]:
    refused = [line for line in lines if line.get("status") == _FORBIDDEN]
    challenges = [str(line.get("challenge")) for line in refused]
    if len(refused) == 1 and all(
        part in challenges[0] for part in ('error="insufficient_scope"', 'scope="wan:order"', "resource_metadata=")
    ):
        return []
    return [f"the step-up was {challenges}"]


def _expect_calls(lines: list[Line], calls: list[dict[str, Any]]) -> list[str]:
    called = [line for line in lines if "called" in line]
    if [line["called"] for line in called] != [call["name"] for call in calls] or any(
        line["isError"] or line["facts"].get("status", "SUCCEEDED") != "SUCCEEDED" for line in called
    ):
        return [f"what came of the calls: {called}", *(str(line) for line in lines if "called" not in line)]
    return []


def _expect_thrown(lines: list[Line], status: int) -> list[str]:
    thrown = [line["thrown"] for line in lines if "thrown" in line]
    asked = [line for line in lines if line.get("status") == status]
    return [] if thrown and asked and not any("called" in line for line in lines) else [str(line) for line in lines]


async def _talk(
    environment: Environment,
    folder: Path,
    name: str,
    place: _Place,
    calls: list[dict[str, Any]],
    **more: str,
) -> list[Line]:
    """
    Let a client sign in and call, and give the lines that it prints.

    `name` begins with the SDK and the era of the protocol. `more` goes into the client's plan.
    """
    sdk, era = name.split("-")[:2]
    own = environment.make_folder(f"signing-in/{name}")
    store = folder / f"{more.pop('store', name)}.json"
    plan = {"url": place.resource, "era": era, "calls": calls, "store": str(store), **more}
    file = own / "plan.json"
    file.write_text(json.dumps(plan), encoding="utf-8")
    programs = {
        "python": [environment.python, str(HERE / "oauth.py")],
        "v2": [environment.node, str(HERE / "oauth.mjs")],
    }
    done = await run([*programs[sdk], str(file)], own, seconds=90)
    lines: list[Line] = [json.loads(line) for line in done.out.splitlines()]
    return lines if done.code == 0 else [*lines, {"ended": done.tail}]


@asynccontextmanager
async def _issuer(
    environment: Environment, folder: Path, port: int, places: tuple[_Place, ...]
) -> AsyncGenerator[None]:
    resources = [*(place.resource for place in places), _OTHER_RESOURCE]
    command = [environment.node, str(HERE / "issuer.mjs"), str(folder), str(port), *resources]
    async with serving(command, folder):
        yield


@asynccontextmanager
async def _server(environment: Environment, folder: Path, place: _Place) -> AsyncGenerator[None]:
    own = folder / f"server-{urlsplit(place.url).port}"
    own.mkdir(exist_ok=True)
    settings = {"WAN_MCP_PUBLIC_URL": place.url, "WAN_MCP_AUTH_ISSUER": place.issuer}
    command = [*environment.server, "serve", "--transport", "http", "--port", str(urlsplit(place.url).port)]
    async with serving(command, own, extra=settings):
        yield


def _find_ports(count: int) -> list[int]:
    """Find ports that are free; what names itself by its address has to know it beforehand."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
