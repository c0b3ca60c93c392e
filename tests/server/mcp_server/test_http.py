"""The server over HTTP: who may ask, where it listens, and how it ends."""

import errno
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import httpx
import pytest
from click.testing import CliRunner
from mcp import Client
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fakes.clock import LONGEST
from fakes.stdio_client import ERAS, environment
from wan_mcp.app import build_server, build_service
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp.mcp_server.http import HttpRoutes, build_http_app
from wan_mcp.settings import read_settings

MODERN = "2026-07-28"
_opener = build_opener(ProxyHandler({}))


@contextmanager
def serving(folder: Path, *options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Start a server at a free port, and give it and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "serve", "--transport", "http", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder),
    ) as process:
        try:
            line = process.stderr.readline()
            yield process, re.search(r"serves at (\S+) ", line)[1]
        finally:
            process.kill()


def ask(url: str, method: str, modern: bool = True, headers: dict[str, str] | None = None, **params):
    """Send one request and give the answer as it is, once its headers are there."""
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    params["_meta"] = {"progressToken": 1}
    if modern:
        names = "io.modelcontextprotocol/"
        params["_meta"] |= {f"{names}protocolVersion": MODERN, f"{names}clientCapabilities": {}}
        sent |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        sent |= {"Mcp-Name": params["name"]} if "name" in params else {}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return _opener.open(Request(url, json.dumps(body).encode(), sent | (headers or {})), timeout=45)


def status(url: str, **headers: str) -> int:
    """Give the status of a question that anyone may ask, with some headers replaced."""
    try:
        with ask(url, "tools/list", headers=headers) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Generator[str]:
    """The address of a server that answers many tests; its name is not written as clients of the web write it."""
    with serving(tmp_path_factory.mktemp("server"), "--host", "LocalHost") as (_, url):
        yield url


@pytest.mark.parametrize("era", ERAS)
async def test_clients_of_both_eras_are_answered_where_the_server_says_it_listens(url, era):
    async with Client(url, mode=era) as client:
        assert len((await client.list_tools()).tools) == 7


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has no other loopback address unless one is added")
def test_only_requests_for_this_machine_from_pages_of_this_machine_are_answered(tmp_path):
    with serving(tmp_path, "--host", "127.0.0.9") as (_, url):
        port = urlsplit(url).port

        assert status(url) == 200
        assert status(url, Host=f"localhost:{port}") == 200
        assert status(url, Host=f"LocalHost:{port}") == 200
        assert status(url, Host="127.0.0.9") == 200
        assert status(url, Host=f"pictures.example.com:{port}") == 421
        assert status(url, Host="127.0.0.9.example.com") == 421
        assert status(url, Origin="http://localhost:3000") == 200
        assert status(url, Origin="https://pictures.example.com") == 403
        assert status(url, Origin="null") == 403


def post(url: str, body: bytes, modern: bool, **headers: str) -> tuple[int, dict]:
    """Send a body as it is, and give the status and the message that answers it."""
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if modern:
        sent |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "list_tasks"}
    try:
        with _opener.open(Request(url, body, sent | headers), timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text.partition(b"data: ")[2] or text)
    except HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {}


@pytest.mark.parametrize("modern", [True, False])
def test_every_body_that_cannot_be_read_is_answered_under_its_id(url, modern):
    url = url.lower()
    names = "io.modelcontextprotocol/"
    meta = {f"{names}protocolVersion": MODERN, f"{names}clientCapabilities": {}} if modern else {}
    params = {"name": "list_tasks", "arguments": {"limit": 1}, "_meta": meta}
    whole = json.dumps({"method": "tools/call", "params": params, "jsonrpc": "2.0", "id": 7}).encode()

    def put(value: bytes) -> bytes:
        return whole.replace(b'"limit": 1', b'"limit": ' + value)

    for body, status, code in (
        (put(rb'"\ud83d"'), 400, -32700),
        (put(b"1" * 5_000), 400, -32700),
        (put(b"[" * 300 + b"]" * 300), 400, -32700),
        (put(b'"\xff"'), 400, -32700),
        (put(b"[" * 100_000), 400, -32700),
        (put(b'"' + b"x" * 20_000_000 + b'"'), 413, -32600),
        (b"[" + whole + b"]", 400, -32600),
    ):
        told = post(url, body, modern)
        assert (told[0], told[1]["id"], told[1]["error"]["code"]) == (status, 7, code)
    assert post(url, b"hello", modern)[1]["id"] is None
    assert post(url, put(b"?"), modern, Origin="https://pictures.example.com")[0] == 403
    status, told = post(url, b"\xef\xbb\xbf" + whole, modern)
    assert (status, told["id"], told["result"]["structuredContent"]) == (200, 7, {"tasks": []})


def test_an_error_over_http_is_short_whatever_it_repeats(url):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {}}}
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "9" * 30_000
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {}
    headers = {"MCP-Protocol-Version": "9" * 30_000, "Mcp-Method": "tools/list"}
    status, told = post(url.lower(), json.dumps(body).encode(), True, **headers)

    assert status == 400
    assert told["id"] == 1
    assert len(json.dumps(told)) < 2_000


def test_a_taken_port_is_told_before_anything_is_promised(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["serve", "--transport", "http", "--port", str(port)]
        try:
            done = CliRunner().invoke(cli, arguments, obj=CommandContext(environment(tmp_path)))
        finally:
            # The command leaves the collector to the server that it would have started.
            gc.enable()

    assert done.exit_code == 2
    assert done.stderr == (
        f"wan-mcp: The server cannot listen at 127.0.0.1, port {port}. {os.strerror(errno.EADDRINUSE)}: choose another --host or"
        " --port.\n"
    )


def _read(answer) -> bytes:
    try:
        return answer.read()
    except IncompleteRead as error:
        return error.partial


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize(("name", "code", "modern"), [("SIGTERM", -signal.SIGTERM, True), ("SIGINT", 130, False)])
def test_a_signal_ends_the_server_though_a_call_waits_and_the_order_is_kept(tmp_path, name, code, modern):
    with serving(tmp_path) as (process, url):
        order = {"prompt": "sandbox:slow harbour", "wait_seconds": 50}
        with ask(url, "tools/call", modern, name="generate_image", arguments=order) as answer:
            # The first report says that the order is on its way.
            first = answer.readline()
            rest: list[bytes] = []
            reader = threading.Thread(target=lambda: rest.append(_read(answer)))
            reader.start()
            process.send_signal(getattr(signal, name))
            # Before the wait of the call would be over.
            assert process.wait(LONGEST) == code
            reader.join(LONGEST)
        errors = process.stderr.read()

    assert first
    assert rest
    assert b"SUCCEEDED" not in rest[0]
    assert errors == ""
    told = CliRunner().invoke(cli, ["tasks", "--json"], obj=CommandContext(environment(tmp_path)))
    assert [task["status"] for task in json.loads(told.stdout)["tasks"]] in (["PENDING"], ["RUNNING"])


async def test_routes_beside_mcp_are_answered_at_their_paths_and_probes_under_any_name(tmp_path):
    async def answer(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {request.path_params.get('id', '-')}")

    settings = read_settings({**environment(tmp_path)})
    routes = HttpRoutes(
        pages=[Route("/images/{id}", answer, methods=["GET"])], probes=[Route("/livez", answer, methods=["GET"])]
    )
    app = build_http_app(build_server(build_service(settings)), "127.0.0.1", routes=routes)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client:
        found = await client.get("/images/7")
        assert (found.status_code, found.text) == (200, "GET 7")
        assert (await client.get("/images/7", headers={"Host": "pictures.example.com"})).status_code == 421
        assert (await client.get("/images/7", headers={"Origin": "https://example.com"})).status_code == 403
        assert (await client.post("/images/7")).status_code == 405
        assert (await client.get("/livez", headers={"Host": "10.0.0.7"})).text == "GET -"
        assert (await client.get("/images")).status_code == 404
