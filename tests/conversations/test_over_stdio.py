"""What a host sees of the real server process, in both protocol eras."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
from PIL import Image

from fakes.clock import LONGEST, wait_until
from fakes.dashscope import FakeService
from fakes.stdio_client import ERAS, environment, facts, open_client, words


@pytest.mark.parametrize("era", ERAS)
async def test_every_tool_does_its_part_on_the_sandbox(tmp_path, era):
    async with open_client(environment(tmp_path), era) as client:
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

        submitted = facts(
            await client.call_tool("submit_task", {"prompt": "a lighthouse", "model": "wan2.5-t2i-preview", "n": 2})
        )
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
        assert {row["task_id"] for row in rows} == {made["task_id"], task["task_id"]}

        refusal = words(await client.call_tool("cancel_task", {"task_id": made["task_id"]}))
        assert "is SUCCEEDED: it is saved; there is nothing to cancel." in refusal


async def test_a_server_that_has_just_started_tells_how_the_order_of_an_earlier_one_stands(tmp_path):
    async with open_client(environment(tmp_path), "legacy") as client:
        ordered = [
            facts(await client.call_tool("submit_task", {"prompt": prompt}))["task_id"]
            for prompt in ("a fox", "a hen")
        ]
    # The sandbox draws on, as the service does.
    await anyio.sleep(2.0)
    async with open_client(environment(tmp_path), "legacy") as client:
        told = facts(await client.call_tool("get_task", {"task_id": ordered[0], "wait_seconds": 45}))
    async with open_client(environment(tmp_path), "legacy") as client:
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
        variables = environment(
            tmp_path,
            service,
            DASHSCOPE_HTTP_BASE_URL=service.base_url_of("singapore"),
            DASHSCOPE_HTTP_BASE_URL_BEIJING=service.base_url_of("beijing"),
            DASHSCOPE_API_KEY_BEIJING=keys["beijing"],
        )
        async with open_client(variables, era) as client:
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
        async with open_client(environment(tmp_path, service), "auto") as client:
            text = words(await client.call_tool("generate_image", {"prompt": "x"}))

    assert "singapore" in text
    assert "DASHSCOPE_API_KEY" in text
    assert "sk-test" not in text


async def test_without_a_key_the_tools_list_and_a_call_explains(tmp_path):
    async with open_client(environment(tmp_path, DASHSCOPE_REGION="singapore"), "auto") as client:
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


def test_the_server_ends_soon_after_stdin_closes_and_the_next_one_collects(tmp_path):
    with FakeService(duration=600) as service:
        variables = environment(tmp_path, service)
        with _start(variables) as process:
            _greet(process)
            _say(process, "tools/call", 2, name="generate_image", arguments={"prompt": "left behind"})
            wait_until(lambda: service.tasks)
            process.stdin.close()
            # Long before the picture is there.
            assert process.wait(LONGEST) == 0
            process.stdout.close()
        service.advance(1200)
        with _start(variables) as process:
            _greet(process)
            pictures = tmp_path / "pictures"
            wait_until(lambda: list(pictures.glob("*left-behind*.png")))
            process.stdin.close()
            process.wait(LONGEST)
            process.stdout.close()

    assert len(service.creates) == 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_server_at_once_and_loses_nothing(tmp_path, name):
    with FakeService(duration=600) as service:
        variables = environment(tmp_path, service)
        with _start(variables) as process:
            _greet(process)
            _say(process, "tools/call", 2, name="generate_image", arguments={"prompt": "interrupted"})
            wait_until(lambda: service.tasks)
            process.send_signal(getattr(signal, name))
            assert process.wait(LONGEST) != 0
            process.stdin.close()
            process.stdout.close()
        service.advance(1200)
        done = subprocess.run(
            [sys.executable, "-m", "wan_mcp", "collect"], env=variables, capture_output=True, timeout=60, check=False
        )

    assert done.returncode == 0, done.stderr
    assert len(service.creates) == 1
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1
