"""
What a host sees of the real server process, in both protocol eras.

One process for each era answers most of it; those that have to end have processes of their own.
"""

import base64
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference
from PIL import Image

from fakes.clock import LONGEST, until, wait_until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, running_service, saved_files
from fakes.stdio_client import ERAS, environment, facts, open_client, words
from fakes.wire_record import WireRecord
from wan_mcp.app import build_server, build_service


@dataclass
class Host:
    """A host in a conversation with its server, and what passes over the wire."""

    client: Client
    record: WireRecord


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Let conversations last for more than one test."""
    return "asyncio"


@pytest.fixture(scope="module")
async def hosts(tmp_path_factory) -> AsyncGenerator[dict[str, Host]]:
    """A conversation for each era: one server has the sandbox inside, the other the fake service."""
    async with AsyncExitStack() as stack:
        service = stack.enter_context(FakeService(duration=0.5, pending=0.2))
        found: dict[str, Host] = {}
        for era, remote in zip(ERAS, (None, service), strict=True):
            record = WireRecord()
            variables = environment(tmp_path_factory.mktemp(era), remote)
            client = await stack.enter_async_context(open_client(variables, era, record))
            found[era] = Host(client, record)
        yield found


@pytest.fixture(params=ERAS)
def host(request, hosts) -> Host:
    return hosts[request.param]


@pytest.fixture
def client(host) -> Client:
    return host.client


async def test_every_tool_does_its_part(client):
    listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == [
        "generate_image",
        "submit_task",
        "get_task",
        "download_image",
        "cancel_task",
        "list_tasks",
        "view_image",
    ]

    told: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    made = facts(
        await client.call_tool(
            "generate_image", {"prompt": "花店 متجر الزهور 💐", "size": "16:9"}, progress_callback=note
        )
    )
    path = Path(made["images"][0]["path"])
    await anyio.to_thread.run_sync(lambda: Image.open(path).load())
    assert told
    assert told == sorted(told, key=lambda each: each[0])

    order = {"prompt": "a lighthouse", "model": "wan2.2-t2i-flash", "size": "768*768", "n": 2}
    submitted = facts(await client.call_tool("submit_task", order))
    task = facts(await client.call_tool("get_task", {"task_id": submitted["task_id"], "wait_seconds": 20}))
    assert len(task["images"]) == 2

    placed = facts(await client.call_tool("download_image", {"task_id": made["task_id"], "filename": "shop"}))
    assert Path(placed["images"][0]["path"]).name == "shop.png"
    again = facts(await client.call_tool("download_image", {"task_id": made["task_id"], "filename": "shop"}))
    assert again["images"] == placed["images"]
    assert "message" not in placed
    second = facts(await client.call_tool("download_image", {"task_id": task["task_id"], "index": 2}))
    assert second["message"] == "Image 2 of 2; pass index for the others."

    seen = await client.call_tool("view_image", {"task_id": made["task_id"]})
    assert [block.type for block in seen.content] == ["image"]
    assert seen.structured_content is None

    rows = facts(await client.call_tool("list_tasks", {"status": "SUCCEEDED"}))["tasks"]
    assert {made["task_id"], task["task_id"]} <= {row["task_id"] for row in rows}
    assert {row["status"] for row in rows} == {"SUCCEEDED"}

    refusal = words(await client.call_tool("cancel_task", {"task_id": made["task_id"]}))
    assert re.search("is SUCCEEDED: it (was charged and )?is saved; there is nothing to cancel\\.", refusal)


async def _listen(progress: float, total: float | None, message: str | None) -> None:
    """Ask for progress; the wire record keeps it."""


async def test_progress_comes_early_only_grows_and_ends_with_the_answer(host):
    # Of a model that no other test here orders from, so that nothing is known of it.
    for prompt in ("a red fox", "a blue fox"):
        order = {"prompt": prompt, "model": "wan2.7-image", "size": "768*768"}
        facts(await host.client.call_tool("generate_image", order, progress_callback=_listen))
    # What is sent after the answers comes before the answer to a later question.
    facts(await host.client.call_tool("list_tasks", {}))

    first, second = (call for call in host.record.calls.values() if call.arguments.get("model") == "wan2.7-image")
    for call in (first, second):
        assert call.progress
        assert call.grows
        assert not call.late
        assert all(told["total"] > told["progress"] for _, told in call.progress)
    assert re.search("perhaps about [0-9]+ s", first.progress[0][1]["message"])
    assert re.search("usually about [0-9]+ s", second.progress[0][1]["message"])


async def test_without_a_token_nothing_is_told(host):
    order = {"prompt": "without a token", "model": "wan2.2-t2i-flash", "size": "512*512"}
    facts(await host.client.call_tool("generate_image", order))

    [call] = [call for call in host.record.calls.values() if call.arguments.get("prompt") == "without a token"]
    assert call.answer is not None
    assert not call.progress


async def test_a_host_reads_completes_and_prompts_beside_the_tools(client):
    capabilities = client.server_capabilities
    assert capabilities.resources is not None
    assert capabilities.prompts is not None
    assert capabilities.completions is not None

    addresses = {resource.uri for resource in (await client.list_resources()).resources}
    templates = {each.uri_template for each in (await client.list_resource_templates()).resource_templates}
    assert "wan://models" in addresses
    assert {"wan://models/{id}", "wan://tasks/{task_id}", "wan://images/{id}"} <= templates

    models = json.loads((await client.read_resource("wan://models")).contents[0].text)
    cheapest = models["cheapest_first"]["singapore"][0].split()[0]
    model = json.loads((await client.read_resource(f"wan://models/{cheapest}")).contents[0].text)
    assert model["id"] == cheapest

    text = (await client.get_prompt("wallpaper", {"subject": "花店 💐"})).messages[0].content.text
    assert "花店 💐" in text
    assert 'size="9:16"' in text

    made = facts(await client.call_tool("generate_image", {"prompt": "花店 💐", "size": "9:16"}))
    ref = ResourceTemplateReference(uri="wan://images/{id}")
    (name,) = (await client.complete(ref, {"name": "id", "value": made["task_id"][:8]})).completion.values
    image = (await client.read_resource(f"wan://images/{name}")).contents[0]
    saved = await anyio.Path(made["images"][0]["path"]).read_bytes()
    assert image.meta["path"] == made["images"][0]["path"]
    if not image.meta["reduced"]:
        assert base64.b64decode(image.blob) == saved
    assert image.meta["bytes"] == len(saved)

    task = json.loads((await client.read_resource(f"wan://tasks/{made['task_id']}")).contents[0].text)
    assert task["images"] == made["images"]

    sizes = (await client.complete(PromptReference(name="picture"), {"name": "size", "value": "16"})).completion
    assert sizes.values[0] == "16:9"


async def test_a_host_is_told_in_words_what_does_not_exist(client):
    for uri in ("wan://models/wan9", "wan://images/local-0000-1", "wan://tasks/local-0000", "wan://nothing"):
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
        assert caught.value.code == -32602
        assert caught.value.data == {"uri": uri}
    for call in (
        client.get_prompt("poster"),
        client.complete(PromptReference(name="poster"), {"name": "model", "value": ""}),
    ):
        with pytest.raises(MCPError) as caught:
            await call
        assert caught.value.code == -32602
        assert "There " in caught.value.message


def _client(settings, era="auto") -> Client:
    return Client(build_server(build_service(settings)), mode=era)


async def test_a_server_that_has_just_started_tells_how_the_order_of_an_earlier_one_stands(tmp_path):
    with FakeService(duration=60) as service:
        settings = make_settings(tmp_path, service)
        async with _client(settings) as client:
            ordered = [
                facts(await client.call_tool("submit_task", {"prompt": prompt}))["task_id"]
                for prompt in ("a fox", "a hen")
            ]
        service.advance(120)
        async with _client(settings) as client:
            told = facts(await client.call_tool("get_task", {"task_id": ordered[0], "wait_seconds": 45}))
        async with _client(settings) as client:
            with anyio.fail_after(LONGEST):
                # Who does not wait is told what is known after a moment, which on a busy machine is not yet all.
                while {row["status"] for row in facts(await client.call_tool("list_tasks", {}))["tasks"]} != {
                    "SUCCEEDED"
                }:
                    await anyio.sleep(0.1)

    assert told["status"] == "SUCCEEDED"
    assert await anyio.Path(told["images"][0]["path"]).is_file()


@pytest.mark.parametrize("era", ERAS)
async def test_two_regions_use_their_own_keys_and_addresses(tmp_path, era):
    keys = {"singapore": "sk-test-singapore", "beijing": "sk-test-beijing"}
    with FakeService(duration=0.2, keys=keys) as service:
        settings = make_settings(
            tmp_path,
            service,
            DASHSCOPE_HTTP_BASE_URL=service.base_url_of("singapore"),
            DASHSCOPE_HTTP_BASE_URL_BEIJING=service.base_url_of("beijing"),
            DASHSCOPE_API_KEY_BEIJING=keys["beijing"],
        )
        async with _client(settings, era) as client:
            here = facts(await client.call_tool("generate_image", {"prompt": "x"}))
            there = facts(await client.call_tool("generate_image", {"prompt": "x", "region": "cn-beijing"}))
            only_there = facts(
                await client.call_tool("generate_image", {"prompt": "x", "model": "wanx2.0-t2i-turbo"})
            )
            unknown = words(await client.call_tool("get_task", {"task_id": "00000000-1111-2222-3333-444444444444"}))

        assert (here["region"], there["region"], only_there["region"]) == ("singapore", "beijing", "beijing")
        assert "singapore" in unknown
        assert "beijing" in unknown
        sent = {(record.path.split("/")[1], record.headers["authorization"]) for record in service.creates}
        assert sent == {("singapore", f"Bearer {keys['singapore']}"), ("beijing", f"Bearer {keys['beijing']}")}
        assert not service.authorization_at_image_host


async def test_a_key_of_another_region_is_explained_without_being_shown(tmp_path):
    with FakeService(keys="sk-the-right-key") as service:
        async with _client(make_settings(tmp_path, service)) as client:
            text = words(await client.call_tool("generate_image", {"prompt": "x"}))

    assert "singapore" in text
    assert "DASHSCOPE_API_KEY" in text
    assert "sk-test" not in text


async def test_without_a_key_the_tools_list_and_a_call_explains(tmp_path):
    async with _client(make_settings(tmp_path, DASHSCOPE_REGION="singapore")) as client:
        assert len((await client.list_tools()).tools) == 7
        assert "DASHSCOPE_API_KEY" in words(await client.call_tool("generate_image", {"prompt": "x"}))


def _start(variables: dict[str, str], stderr: int | IO[bytes] = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wan_mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=variables,
    )


def _say(process: subprocess.Popen[bytes], method: str, number: int | None, **parameters: object) -> None:
    message = {"jsonrpc": "2.0", "method": method, "params": parameters}
    if number is not None:
        message["id"] = number
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def _greet(process: subprocess.Popen[bytes]) -> None:
    client = {"name": "test", "version": "1"}
    _say(process, "initialize", 1, protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
    assert b'"result"' in process.stdout.readline()
    _say(process, "notifications/initialized", None)


def _call(process: subprocess.Popen[bytes], name: str, **arguments: object) -> dict[str, Any]:
    """Call a tool; every line up to its answer must be a message."""
    _say(process, "tools/call", 2, name=name, arguments=arguments)
    while True:
        message = json.loads(process.stdout.readline())
        assert message["jsonrpc"] == "2.0"
        if message.get("id") == 2:
            return message["result"]


def test_stdout_holds_messages_only_and_the_key_stands_nowhere(tmp_path):
    key = "token0OfAnotherForm1"
    log = tmp_path / "log"
    with FakeService(duration=0.2, keys=key) as service, log.open("wb") as stderr:
        service.script("query", "error-500", "drop")
        variables = environment(tmp_path, service, DASHSCOPE_API_KEY=key, WAN_MCP_LOG_LEVEL="DEBUG")
        with _start(variables, stderr) as process:
            _greet(process)
            made = _call(process, "generate_image", prompt="x")
            answers = [
                made,
                _call(process, "get_task", task_id=made["structuredContent"]["task_id"]),
                _call(process, "get_task", task_id="00000000-1111-2222-3333-444444444444"),
                _call(process, "list_tasks", remote=True),
                _call(process, "view_image", task_id=made["structuredContent"]["task_id"]),
                _call(process, "generate_image", prompt="x", output_dir="/etc"),
            ]
            process.stdin.close()
            assert process.stdout.read() == b""
            process.wait(LONGEST)

    assert f"Bearer {key}" in {record.headers["authorization"] for record in service.creates}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".png", ".json", ".sqlite3", ""} <= {path.suffix for path in written}
    assert [path.name for path in written if key.encode() in path.read_bytes()] == []
    assert "POST in the region singapore" in log.read_text(encoding="utf-8")
    assert key not in str(answers)


@pytest.mark.parametrize("how", ["stdin", "SIGINT", "SIGTERM"])
async def test_the_server_ends_soon_after_stdin_closes_or_a_signal_comes_and_the_next_one_collects(tmp_path, how):
    def leave_behind() -> int:
        with _start(environment(tmp_path, service)) as process:
            _greet(process)
            _say(process, "tools/call", 2, name="generate_image", arguments={"prompt": "left behind"})
            wait_until(lambda: service.tasks)
            if how == "stdin":
                process.stdin.close()
            else:
                process.send_signal(getattr(signal, how))
            # Long before the picture is there.
            code = process.wait(LONGEST)
            process.stdin.close()
            process.stdout.close()
            return code

    with FakeService(duration=600) as service:
        assert (await anyio.to_thread.run_sync(leave_behind) == 0) == (how == "stdin")
        service.advance(1200)
        settings = make_settings(tmp_path, service)
        async with running_service(settings):
            await until(lambda: saved_files(settings))

    assert len(service.creates) == 1
    assert ["left-behind" in path.name for path in saved_files(settings)] == [True]
