"""The whole server over HTTP with people who sign in: real clients of both eras, each of them somebody else."""

import gc
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import httpx2
import pytest
from anyio import to_thread
from click.testing import CliRunner
from mcp import MCPError
from mcp.server.mcpserver import MCPServer

from fakes.clock import FakeClock, until, wait_until
from fakes.issuer import FakeIssuer
from fakes.serving import NO_CERTIFICATES, serving_app, signed_in
from fakes.stdio_client import environment
from wan_mcp.auth.gate import AuthGate
from wan_mcp.auth.tokens import TokenFile, add_token
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp.mcp_server.http import build_http_app
from wan_mcp_tools.domain.principals import Scope, current_principal

ERAS = ("auto", "legacy")
PUBLIC = "https://pictures.example.com"
SMALL = {"model": "wan2.2-t2i-flash", "size": "512*512"}


@contextmanager
def serving(folder: Path, *options: str, **more: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "serve", "--transport", "http", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, **more),
    ) as process:
        try:
            lines = iter(process.stderr.readline, "")
            yield process, next(found[1] for line in lines if (found := re.search(r"serves at (\S+) ", line)))
        finally:
            process.kill()


@pytest.mark.parametrize("era", ERAS)
async def test_each_of_many_callers_at_once_is_who_they_are(tmp_path, era):
    path, server = tmp_path / "tokens", MCPServer("who")

    @server.tool()
    async def get_task(rounds: int) -> str:
        """Tell who calls, at the beginning and at the end."""
        first = current_principal().id
        for _ in range(rounds):
            await anyio.sleep(0.01)
        assert current_principal().id == first
        return first

    names = [f"user{number}" for number in range(8)]
    tokens = [await to_thread.run_sync(add_token, path, name, frozenset({Scope.READ})) for name in names]
    told: list[tuple[str, str]] = []

    async def call(url: str, name: str, token: str) -> None:
        async with signed_in(url, token, era) as client:
            for rounds in (0, 7, 1):
                answer = await client.call_tool("get_task", {"rounds": rounds})
                told.append((f"token:{name}", answer.content[0].text))

    app = build_http_app(server, "127.0.0.1", gate=AuthGate(tokens=TokenFile(path, FakeClock())))
    async with serving_app(lambda _: app) as url, anyio.create_task_group() as callers:
        for name, token in zip(names, tokens, strict=True):
            callers.start_soon(call, f"{url}/mcp", name, token)

    assert len(told) == 3 * len(names)
    assert all(expected == found for expected, found in told)


def ask(url: str, token: str | None = None, **headers: str) -> httpx.Response:
    sent = {"Accept": "application/json, text/event-stream", **headers}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    return httpx.post(url, json=body, headers=sent, verify=NO_CERTIFICATES, trust_env=False, timeout=30)


@dataclass
class Team:
    """A server as its people know it: its address, who has which token, and the file of its log."""

    url: str
    tokens: dict[str, str]
    log: Path
    issuer: FakeIssuer | None = None


@contextmanager
def running(folder: Path, *options: str, issuer: FakeIssuer | None = None, **more: str) -> Generator[Team]:
    """Start a server of a team; its log goes into a file, so that nobody has to read it on the way."""
    path, log = folder / "tokens", folder / "log"
    tokens = {name: add_token(path, name, frozenset({Scope(f"wan:{name}")})) for name in ("order", "read")}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "wan_mcp", "serve", "--transport", "http", "--port", "0", *options],
            stderr=errors,
            env=environment(folder, WAN_MCP_TOKENS_FILE=str(path), **more),
        ) as process,
    ):
        try:
            wait_until(lambda: b"serves at" in log.read_bytes())
            url = re.search(r"serves at (\S+) ", log.read_text(encoding="utf-8"))[1]
            yield Team(url, tokens, log, issuer)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Generator[Team]:
    """A server with tokens of its own, behind a proxy and under a path there."""
    with running(tmp_path_factory.mktemp("team"), WAN_MCP_PUBLIC_URL=f"{PUBLIC}/art") as team:
        yield team


@pytest.fixture(scope="module")
def wide_team(tmp_path_factory) -> Generator[Team]:
    """A server that other machines reach, with tokens of its own and of an issuer."""
    with FakeIssuer() as issuer:
        settings = {"WAN_MCP_AUTH_ISSUER": issuer.url, "WAN_MCP_PUBLIC_URL": PUBLIC}
        folder = tmp_path_factory.mktemp("wide")
        with running(folder, "--host", "0.0.0.0", issuer=issuer, **settings) as team:
            yield replace(team, url=f"http://127.0.0.1:{urlsplit(team.url).port}/mcp")


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_with_an_issuers_token_orders_and_one_without_the_scope_is_told_so(wide_team, era):
    url, issuer = wide_team.url, wide_team.issuer
    claims = issuer.claims(time.time(), f"{PUBLIC}/mcp")
    async with signed_in(url, issuer.sign(claims | {"scope": "wan:order"}), era) as client:
        answer = await client.call_tool("generate_image", {"prompt": "a red fox", "wait_seconds": 40} | SMALL)
        assert answer.structured_content["status"] == "SUCCEEDED"
    reader = issuer.sign(claims)
    async with signed_in(url, reader, era) as client:
        assert len((await client.list_tools()).tools) == 7
        with pytest.raises((MCPError, httpx2.HTTPStatusError, BaseExceptionGroup)):
            await client.call_tool("submit_task", {"prompt": "a red fox"})
    expired = issuer.sign(claims | {"exp": time.time() - 600})
    refused = await to_thread.run_sync(partial(ask, url, expired))
    assert refused.status_code == 401
    await until(lambda: "A token was refused: it has expired." in wide_team.log.read_text(encoding="utf-8"))
    errors = wide_team.log.read_text(encoding="utf-8")
    assert not any(token in errors for token in (reader, expired, expired.split(".")[1]))


def test_behind_a_proxy_the_public_name_is_answered_and_no_forwarded_one(team):
    url, token = team.url, team.tokens["order"]
    host = "pictures.example.com"
    assert ask(url, token, Host=host).status_code == 200
    assert ask(url, token, Host=f"{host}:443").status_code == 200
    assert ask(url, token, Host=host, Origin=PUBLIC).status_code == 200
    assert ask(url.replace("/mcp", "/art/mcp"), token, Host=host).status_code == 200
    assert ask(url.replace("/mcp", "/art/mcp"), Host=host).status_code == 401
    assert ask(url, token, Host=host, Origin="https://evil.example.com").status_code == 403
    assert ask(url, token, Host=host, Origin="http://pictures.example.com").status_code == 403
    refused = ask(url, token, Host="evil.example.com", **{"X-Forwarded-Host": host, "Forwarded": f"host={host}"})
    assert refused.status_code == 421
    assert "WAN_MCP_PUBLIC_URL" in refused.text
    assert ask(url, token, Host=f"{host}:8443").status_code == 421
    assert ask(url, token, Host=f"{host}.evil.example.com").status_code == 421
    assert ask(url, Host=host).headers["WWW-Authenticate"] == 'Bearer scope="wan:read"'
    origin = url.removesuffix("/mcp")
    for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/art/mcp", "/"):
        # Without an issuer there is nothing to read about signing in.
        assert (
            httpx.get(f"{origin}{path}", headers={"Host": host}, verify=NO_CERTIFICATES, trust_env=False).status_code
            == 404
        )
    assert ask(f"{url}/", Host=host).status_code == 401


def test_a_slash_at_the_end_of_the_address_changes_nothing(team):
    url, token = team.url, team.tokens["order"]
    host = "pictures.example.com"
    for address in (f"{url}/", f"{url}%2F", url.replace("/mcp", "/art/mcp/"), url.replace("/mcp", "/%6Dcp")):
        # A redirect would lead to http, for TLS has ended before.
        assert ask(address, token, Host=host).status_code == 200
        assert ask(address, Host=host).status_code == 401
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        large = httpx.post(
            address, content=b" " * 5_000_000, headers=headers, verify=NO_CERTIFICATES, trust_env=False, timeout=30
        )
        assert large.status_code == 413


def test_what_is_checked_of_a_message_is_what_is_called(team):
    url, token = team.url, team.tokens["read"]
    order, read = ('"name":"submit_task","arguments":{"prompt":"x"}', '"name":"get_task","arguments":{"task_id":"x"}')
    ordering = [
        f'"method":"tools/call","params":{{{read},{order}}}',
        f'"method":"tools/call","params":{{{read}}},"params":{{{order}}}',
        f'"method":"tools/list","params":{{{order}}},"method":"tools/call"',
        '"m\\u0065thod":"tools\\/call","params":{"n\\u0061me":"submit\\u005ftask","arguments":{"prompt":"x"}}',
    ]
    reading = [
        f'"method":"tools/call","params":{{{order},{read}}}',
        f'"method":"tools/call","params":{{{order}}},"params":{{{read}}}',
        f'"method":"tools/call","params":{{{order}}},"method":"tools/list"',
    ]
    sent = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    sent |= {"Authorization": f"Bearer {token}", "Mcp-Name": "get_task", "Mcp-Method": "tools/list"}
    with httpx.Client(verify=NO_CERTIFICATES, trust_env=False, timeout=30, headers=sent) as client:
        refused = [client.post(url, content=f'{{"jsonrpc":"2.0","id":1,{body}}}') for body in ordering]
        refused.append(client.post(url, content=f'{{"jsonrpc":"2.0",{ordering[0]}}}'))
        answered = [client.post(url, content=f'{{"jsonrpc":"2.0","id":1,{body}}}') for body in reading]
        wide = client.post(url, content=f'{{"jsonrpc":"2.0","id":1,{ordering[0]}}}'.encode("utf-16"))
        tasks = client.post(
            url,
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "list_tasks", "arguments": {}},
            },
        )

    assert [answer.status_code for answer in refused] == [403] * 5
    assert [answer.status_code for answer in answered] == [200] * 3
    assert "TaskNotFound" in answered[0].text
    assert wide.status_code == 400
    assert '"tasks":[]' in tasks.text


def test_beyond_this_machine_clients_are_answered_once_they_sign_in(wide_team):
    host = "pictures.example.com"
    assert ask(wide_team.url, wide_team.tokens["order"], Host=host).status_code == 200
    assert ask(wide_team.url, Host=host).status_code == 401


def test_a_large_body_without_a_token_is_answered_before_it_is_read(team):
    refused = httpx.post(team.url, content=b"x" * 500_000, verify=NO_CERTIFICATES, trust_env=False, timeout=30)

    assert refused.status_code == 401


def test_a_message_that_cannot_be_read_is_answered_as_such_to_whoever_has_signed_in(team):
    url, token = team.url, team.tokens["order"]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "cancel_task"}}
    batch = httpx.post(
        url, content=json.dumps([call]), headers=headers, verify=NO_CERTIFICATES, trust_env=False, timeout=30
    )
    single = httpx.post(
        url, content=json.dumps(call), headers=headers, verify=NO_CERTIFICATES, trust_env=False, timeout=30
    )

    assert (batch.status_code, batch.json()["id"]) == (400, 7)
    assert single.status_code == 403


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({}, ("--host", "0.0.0.0"), "WAN_MCP_TOKENS_FILE or WAN_MCP_AUTH_ISSUER"),
        ({"WAN_MCP_TOKENS_FILE": "{file}"}, ("--host", "0.0.0.0"), "set WAN_MCP_PUBLIC_URL"),
        ({"WAN_MCP_TOKENS_FILE": "{gone}"}, (), "Run wan-mcp token create"),
        ({"WAN_MCP_TOKENS_FILE": "{broken}"}, (), "line 1 is no name and digest"),
        ({"WAN_MCP_AUTH_ISSUER": "https://login.example.com"}, (), "without WAN_MCP_PUBLIC_URL"),
        ({"WAN_MCP_LEDGER_URL": "postgresql://u:p@127.0.0.1/x"}, (), "without WAN_MCP_SECRET_KEY"),
        ({"WAN_MCP_SECRET_KEY": "tooshort"}, (), "WAN_MCP_SECRET_KEY has only 8 characters"),
        ({"WAN_MCP_PUBLIC_URL": "http://pictures.example.com"}, (), "over plain http"),
    ],
)
def test_what_lacks_for_signing_in_is_told_with_its_advice(tmp_path, settings, options, words):
    paths = {name: tmp_path / name for name in ("file", "gone", "broken")}
    add_token(paths["file"], "ada", frozenset({Scope.READ}))
    paths["broken"].write_text("wanmcp_secret\n")
    more = {name: value.format(**paths) for name, value in settings.items()}

    arguments = ["serve", "--transport", "http", "--port", "0", *options]
    try:
        done = CliRunner().invoke(cli, arguments, obj=CommandContext(environment(tmp_path, **more)))
    finally:
        # The command leaves the collector to the server that it would have started.
        gc.enable()

    told = done.stderr
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in told
    assert "secret\n" not in told
    assert "tooshort" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_metrics_are_for_admins_each_order_is_in_the_audit_log_with_who_ordered_it_and_the_server_ends_well(tmp_path):
    path = tmp_path / "tokens"
    ann, root = (
        add_token(path, name, frozenset({scope})) for name, scope in (("ann", Scope.ORDER), ("root", Scope.ADMIN))
    )
    with (
        serving(tmp_path, WAN_MCP_TOKENS_FILE=str(path)) as (process, url),
        httpx.Client(timeout=45, verify=NO_CERTIFICATES, trust_env=False) as client,
    ):
        statuses = [
            client.get(url.replace("/mcp", "/metrics"), headers={"Authorization": f"Bearer {token}"} if token else {})
            for token in ("", ann, root)
        ]
        params = {"name": "generate_image", "arguments": {"prompt": "a secret fox"} | SMALL}
        answer = client.post(
            url,
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            headers={"Authorization": f"Bearer {ann}", "Accept": "application/json, text/event-stream"},
        )
        # There is something to tell once an order was placed.
        metrics = client.get(url.replace("/mcp", "/metrics"), headers={"Authorization": f"Bearer {root}"}).text
        health = [client.get(url.replace("/mcp", name)).status_code for name in ("/livez", "/readyz")]
        process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
        assert process.wait(45) == 0

    assert [each.status_code for each in statuses] == [401, 403, 200]
    assert 'error="insufficient_scope"' in statuses[1].headers["www-authenticate"]
    assert 'scope="wan:admin"' in statuses[1].headers["www-authenticate"]
    assert "target_info" in metrics
    assert "wan_orders_placed_total" in metrics
    assert "SUCCEEDED" in answer.text
    assert health == [200, 200]
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["order", "task"]
    assert (lines[0]["principal"], lines[0]["tool"], lines[0]["n"]) == ("token:ann", "generate_image", 1)
    assert lines[1]["order_id"] == lines[0]["order_id"]
    assert "secret fox" not in errors
    assert ann not in errors
