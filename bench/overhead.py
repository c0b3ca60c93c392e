"""
What `generate_image` costs beyond the service's own calls.

A look-alike of the service, in a process of its own, answers at once. In turn, `--rounds` times, the tool is called
through the in-memory MCP client, and a bare httpx script, in a process of its own as well, makes the same three calls
and the same safe write: temporary file, digest, fsync, rename, fsync of the folder. Each begins when what the other
has left to do is done, and every second round the script is first. What counts is the median of the ratios of the
rounds: whatever else runs on the machine holds up both. Run it with `python bench/overhead.py`.
"""

# pyright: basic
# (the look-alike is a test double without types)

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
from mcp import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fakes.dashscope import FakeService
from wan_mcp.app import build_server, build_service
from wan_mcp.settings import read_settings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

BODY = {
    "model": "wan2.6-t2i",
    "input": {"messages": [{"role": "user", "content": [{"text": "a flower shop"}]}]},
    "parameters": {"size": "1280*1280", "n": 1, "prompt_extend": True, "watermark": False},
}
KEY = "sk-bench-0123456789"
PADDING = 2_000_000
WARM_UP = 8
SETTLED = 0.25
"""Seconds between two calls: for what is done after an answer; and five orders a second are allowed."""
OURS, BARE = "generate_image", "bare httpx"
Taken = tuple[float, float]
"""Seconds, and seconds of the processor."""


def serve(addresses: "Queue[tuple[str, str]]", is_over: "Event") -> None:
    """Be the service, until the end."""
    with FakeService(duration=0.0, pending=0.0, image_padding=PADDING) as service:
        addresses.put((service.base_url, service.image_host))
        is_over.wait()


@contextmanager
def running_service():
    """Run the service; give the address of its calls, and its image host."""
    context = get_context("spawn")
    addresses, is_over = context.Queue(), context.Event()
    process = context.Process(target=serve, args=(addresses, is_over))
    process.start()
    try:
        yield addresses.get(timeout=60)
    finally:
        is_over.set()
        process.join(30)


async def fetch_bare(base_url: str, folder: Path, number: int) -> None:
    """Make the same calls and the same safe write, with nothing around them."""
    auth = {"Authorization": f"Bearer {KEY}"}
    create = f"{base_url}/services/aigc/image-generation/generation"
    async with httpx.AsyncClient(verify=False) as client:
        answer = await client.post(create, json=BODY, headers=auth | {"X-DashScope-Async": "enable"})
        task_id = answer.json()["output"]["task_id"]
        answer = await client.get(f"{base_url}/tasks/{task_id}", headers=auth)
        url = answer.json()["output"]["choices"][0]["message"]["content"][0]["image"]
    # The image host must not get the key.
    async with httpx.AsyncClient(verify=False) as client:
        data = (await client.get(url)).content

    def write() -> None:
        part = folder / f"{number}.part"
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        hashlib.sha256(data).hexdigest()
        part.rename(folder / f"{number}.png")
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    await anyio.to_thread.run_sync(write)


async def call_tool(client: Client, number: int) -> None:
    """Call the tool, and make sure that it saved an image."""
    answer = await client.call_tool("generate_image", {"prompt": f"a flower shop {number}"})
    if answer.is_error or not (answer.structured_content or {}).get("images"):
        raise RuntimeError(f"no image: {answer}")


async def time_call(call: Callable[[], Awaitable[None]]) -> Taken:
    """Give the seconds that a call takes, and those of the processor in this process."""
    started, used = time.perf_counter(), time.process_time()
    await call()
    return time.perf_counter() - started, time.process_time() - used


def run_script(calls: "Connection", base_url: str, folder: Path) -> None:
    """Be the bare script: make the calls for each number that comes, and tell what that took."""

    async def run() -> None:
        while (number := await anyio.to_thread.run_sync(calls.recv)) is not None:
            calls.send(await time_call(partial(fetch_bare, base_url, folder, number)))

    anyio.run(run)


@contextmanager
def running_script(base_url: str, folder: Path):
    """Run the bare script in a process of its own; give what to talk to it by."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run_script, args=(theirs, base_url, folder))
    process.start()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join(30)


async def call_script(script: "Connection", number: int) -> Taken:
    """Have the script make its calls; give what it tells."""
    script.send(number)
    return await anyio.to_thread.run_sync(script.recv)


async def measure(rounds: int, base_url: str, image_host: str) -> dict[str, list[Taken]]:
    """Give the times of both by rounds."""
    times: dict[str, list[Taken]] = {OURS: [], BARE: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare_folder = folder / "bare"
        bare_folder.mkdir()
        settings = read_settings(
            {
                "DASHSCOPE_REGION": "singapore",
                "DASHSCOPE_API_KEY": KEY,
                "DASHSCOPE_HTTP_BASE_URL": base_url,
                "WAN_MCP_IMAGE_HOSTS": image_host,
                "WAN_MCP_OUTPUT_DIR": str(folder / "pictures"),
                "WAN_MCP_STATE_DIR": str(folder / "state"),
                "WAN_MCP_DAILY_IMAGE_LIMIT": "0",
            }
        )
        server = build_server(build_service(settings))
        with running_script(base_url, bare_folder) as script:
            async with Client(server) as client:
                for number in range(-WARM_UP, rounds):
                    calls = {
                        OURS: partial(time_call, partial(call_tool, client, number)),
                        BARE: partial(call_script, script, number),
                    }
                    for which in sorted(calls, reverse=bool(number % 2)):
                        await anyio.sleep(SETTLED)
                        taken = await calls[which]()
                        if number >= 0:
                            times[which].append(taken)
    return times


def main() -> None:
    """Print medians and their ratio; exit 1 above the bound."""
    parser = argparse.ArgumentParser(description="generate_image against a bare script.")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--most", type=float, default=1.3, help="the largest ratio that passes")
    arguments = parser.parse_args()
    with running_service() as (base_url, image_host):
        times = anyio.run(measure, arguments.rounds, base_url, image_host)
    for name, values in times.items():
        seconds, used = zip(*values, strict=True)
        print(
            f"{name:15} median {statistics.median(seconds) * 1000:6.1f} ms, fastest {min(seconds) * 1000:6.1f} ms, "
            f"{statistics.median(used) * 1000:5.1f} ms of the processor"
        )
    pairs = list(zip(times[OURS], times[BARE], strict=True))
    ratio = statistics.median(ours[0] / bare[0] for ours, bare in pairs)
    used_ratio = statistics.median(ours[1] / bare[1] for ours, bare in pairs)
    print(f"median of the ratios {ratio:.2f} (at most {arguments.most}), of the processor's time {used_ratio:.2f}")
    sys.exit(ratio > arguments.most)


if __name__ == "__main__":
    main()
