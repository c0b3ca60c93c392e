"""The sandbox as an application: inside the process, and over HTTP."""

import errno
import socket
import subprocess
import sys
import threading

import anyio
import httpx
import pytest
from blockbuster import blockbuster_ctx

from fakes.serving import NO_CERTIFICATES
from wan_mcp.sandbox import IN_PROCESS_URL, SandboxOptions, in_process_app, serve

API = "/api/v1"


BODY = {"model": "wan2.5-t2i-preview", "input": {"prompt": "a cat"}, "parameters": {"n": 1}}


HEADERS = {"Authorization": "Bearer sk-test", "X-DashScope-Async": "enable"}


async def test_nothing_blocks_the_event_loop(open_harness, tmp_path):
    sandbox = open_harness(lambda clock: in_process_app(tmp_path / "state", clock))
    with blockbuster_ctx():
        task_id = (await sandbox.order_async(n=1)).json()["output"]["task_id"]
        await sandbox.cancel(task_id)
        task = await sandbox.ended(await sandbox.order_legacy(n=1, model="wan2.2-t2i-flash"))
        await sandbox.listed()
        assert (await sandbox.client.get(task["output"]["results"][0]["url"])).status_code == 200


async def test_the_sandbox_inside_the_process_links_to_a_name_that_no_resolver_answers(open_harness, tmp_path):
    sandbox = open_harness(lambda clock: in_process_app(tmp_path, clock))
    sandbox.client.base_url = "http://elsewhere.invalid"
    task = await sandbox.ended(await sandbox.order_async(n=1))
    url = task["output"]["choices"][0]["message"]["content"][0]["image"]
    assert url.startswith(IN_PROCESS_URL + "/results/")
    assert (await sandbox.client.get(url)).headers["content-type"] == "image/png"
    assert (tmp_path / "sandbox.sqlite3").exists()


class Running:
    """The sandbox while it serves: its URL, and a way to end it."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.url = None
        self.started = anyio.Event()

    def ready(self, url):
        self.url = url
        self.started.set()

    async def serve(self, options, state_dir=None, host="127.0.0.1"):
        with anyio.fail_after(45):
            await serve(options, host, 0, state_dir, ready=self.ready)


async def test_it_finds_a_port_serves_and_ends_when_it_is_cancelled(capfd):
    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            running = Running(tasks)
            tasks.start_soon(running.serve, SandboxOptions(duration=0.1, pending=0))
            await running.started.wait()
            async with httpx.AsyncClient(base_url=running.url, verify=NO_CERTIFICATES) as client:
                path = f"{API}/services/aigc/text2image/image-synthesis"
                answer = await client.post(path, json=BODY, headers=HEADERS)
                task_id = answer.json()["output"]["task_id"]
                assert len(answer.headers.get_list("date")) == 1
                assert "server" not in answer.headers
                while True:
                    task = (await client.get(f"{API}/tasks/{task_id}", headers=HEADERS)).json()
                    if task["output"]["task_status"] == "SUCCEEDED":
                        break
                    await anyio.sleep(0.03)
                url = task["output"]["results"][0]["url"]
                assert url.startswith(running.url + "/results/")
                assert (await client.get(url)).content[:4] == b"\x89PNG"
            tasks.cancel_scope.cancel()
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", httpx.URL(running.url).port), 1),
    ):
        pass
    assert capfd.readouterr() == ("", "")


async def test_an_answer_under_way_is_finished_before_the_end(tmp_path):
    answers = []

    async def order(url):
        body = {
            "model": "wan2.6-t2i",
            "input": {"messages": [{"role": "user", "content": [{"text": "a cat"}]}]},
            "parameters": {"n": 1},
        }
        path = f"{API}/services/aigc/multimodal-generation/generation"
        async with httpx.AsyncClient(base_url=url, verify=NO_CERTIFICATES) as client:
            answers.append(await client.post(path, json=body, headers={"Authorization": "Bearer sk-test"}))

    with anyio.fail_after(45):
        async with anyio.create_task_group() as outer, anyio.create_task_group() as tasks:
            running = Running(tasks)
            tasks.start_soon(running.serve, SandboxOptions(duration=0.6, pending=0), tmp_path)
            await running.started.wait()
            outer.start_soon(order, running.url)
            while not (tmp_path / "sandbox.sqlite3").exists():
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert [answer.status_code for answer in answers] == [200]


async def test_an_address_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError) as raised:
        await serve(SandboxOptions(), "127.0.0.1", taken.getsockname()[1], None)
    assert raised.value.errno == errno.EADDRINUSE


async def test_an_address_of_the_newer_kind_is_written_in_brackets():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            running = Running(tasks)
            try:
                tasks.start_soon(running.serve, SandboxOptions(), None, "::1")
                await running.started.wait()
            except OSError:
                pytest.skip("this machine has no IPv6 loopback")
            assert running.url.startswith("http://[::1]:")
            tasks.cancel_scope.cancel()


async def test_a_file_that_cannot_be_written_is_an_error_of_the_service(open_harness, tmp_path):
    (tmp_path / "sandbox.sqlite3").mkdir()
    answer = await open_harness(lambda clock: in_process_app(tmp_path, clock)).order_async()
    assert (answer.status_code, answer.json()["code"]) == (500, "InternalError")


def test_it_can_be_served_from_another_thread(tmp_path):
    found, stop = [], threading.Event()

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await anyio.to_thread.run_sync(stop.wait, 10)
            tasks.cancel_scope.cancel()

    async def run():
        await serve(SandboxOptions(), "127.0.0.1", 0, tmp_path, ready=lambda url: (found.append(url), up.set()))

    up = threading.Event()
    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    try:
        assert up.wait(10)
        answer = httpx.get(f"{found[0]}{API}/tasks/nothing", headers=HEADERS, trust_env=False, verify=NO_CERTIFICATES)
        assert answer.json()["output"]["task_status"] == "UNKNOWN"
    finally:
        stop.set()
        thread.join(45)
    assert not thread.is_alive()


def test_the_sandbox_stands_alone_and_loads_nothing_heavy():
    program = (
        "import sys, wan_mcp; before = set(sys.modules); import wan_mcp.sandbox;"
        "print('\\n'.join(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=45,
    )
    loaded = set(result.stdout.split())
    assert "wan_mcp.sandbox.service" in loaded
    for name in ("httpx", "PIL", "uvicorn", "mcp", "wan_mcp.dashscope", "wan_mcp_tools.catalogue"):
        assert not [module for module in loaded if module == name or module.startswith(name + ".")]
