"""
What an image of 20 MB costs on its way from the image host to its name in a folder, and what memory it takes.

A host in a process of its own serves a PNG over loopback. In turn, `--rounds` times, our client and storage fetch it
(download, digest, check, sync, publish) and `curl` does, followed by the same sync of file and folder and a rename;
then four images at once each. The median of the ratios of the rounds counts, and by how much our process grows beyond
what it had after one small image, at most and in the end. Run it with `python bench/download.py`.
"""

# ruff: noqa: ASYNC240
# (what looks at files in the event loop does so between two measurements)

import argparse
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from wan_mcp.clock import SystemClock
from wan_mcp.dashscope import DashScope
from wan_mcp.storage import LocalStorage

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

MEGABYTE = 1_000_000
SIZE = 20 * MEGABYTE
AT_ONCE = 4
MOST_KEPT = 5
"""Megabytes that need not be given back in the end: what the system keeps for the next one."""
STATUS = Path("/proc/self/status")


def make_png(size: int) -> bytes:
    """Give a PNG of noise of about `size` bytes, its pixels in pieces as encoders cut them."""
    width = max(1, round((size / 3) ** 0.5))
    rows = b"".join(b"\0" + os.urandom(3 * width) for _ in range(width))
    pixels = zlib.compress(rows, 1)
    pieces = [pixels[start : start + 65_536] for start in range(0, len(pixels), 65_536)]
    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *((b"IDAT", piece) for piece in pieces), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks
    )


def serve(images: dict[str, bytes], port_of: "Queue[int]") -> None:
    """Give every caller the image that its path names, over a connection for each."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port_of.put(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, images), daemon=True).start()


def answer(connection: socket.socket, images: dict[str, bytes]) -> None:
    """Read one request, and answer it."""
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65_536)
            if not piece:
                return
            head += piece
        data = images[head.split(b" ", 2)[1].decode().split("?")[0]]
        connection.sendall(
            f'HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\nETag: "1"\r\n'
            "Connection: close\r\n\r\n".encode()
        )
        connection.sendall(data)


def sync(path: Path) -> None:
    """Have the disk keep a file, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fetch_with_curl(urls: list[str], folder: Path) -> None:
    """Fetch side by side, then sync each file, name it, and sync the folder."""
    parts = [folder / f"curl-{number}.part" for number in range(len(urls))]
    named = [word for url, part in zip(urls, parts, strict=True) for word in ("-o", str(part), url)]
    subprocess.run(
        ["curl", "-sS", "--no-progress-meter", "--fail", "--noproxy", "*", "--parallel", *named], check=True
    )
    for part in parts:
        sync(part)
        part.rename(part.with_suffix(".png"))
    sync(folder)


async def fetch(dashscope: DashScope, storage: LocalStorage, urls: list[str], folder: Path) -> None:
    """Fetch side by side with our client into our storage."""

    async def fetch_one(number: int, url: str) -> None:
        async with storage.open_draft(folder, order_id="bench", index=number, owner="bench") as draft:
            await dashscope.download("singapore", url, draft)
            facts = await draft.verify()
            if not await draft.publish(await draft.find_target(f"ours-{number}", facts.extension)):
                raise RuntimeError("the name is taken")

    async with anyio.create_task_group() as group:
        for number, url in enumerate(urls):
            group.start_soon(fetch_one, number, url)


def read_memory(name: str) -> int:
    """Read a figure of this process's memory in bytes: `VmRSS` now, `VmHWM` the most since it was reset."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


async def measure(port: int, rounds: int, at_once: int) -> tuple[dict[str, list[float]], float, float]:
    """Give the times of both, taken in turn, and the bytes by which we grew at most and in the end."""
    times: dict[str, list[float]] = {"curl plus sync": [], "wan-mcp": []}
    host = f"http://127.0.0.1:{port}"
    urls = [f"{host}/large.png?{number}" for number in range(at_once)]
    grown, kept = 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        storage = LocalStorage(folder)
        async with DashScope(
            {}, max_image_bytes=64 * MEGABYTE, clock=SystemClock(), image_hosts=[f"127.0.0.1:{port}"]
        ) as dashscope:
            await fetch(dashscope, storage, [f"{host}/small.png?{number}" for number in range(at_once)], folder)
            before = read_memory("VmRSS") if STATUS.exists() else 0
            for number in range(-2, rounds):
                for path in folder.iterdir():
                    path.unlink()
                started = time.perf_counter()
                await anyio.to_thread.run_sync(fetch_with_curl, urls, folder)
                if STATUS.exists():
                    Path("/proc/self/clear_refs").write_text("5")
                middle = time.perf_counter()
                await fetch(dashscope, storage, urls, folder)
                ended = time.perf_counter()
                if STATUS.exists():
                    grown, kept = max(grown, read_memory("VmHWM") - before), read_memory("VmRSS") - before
                if number >= 0:
                    times["curl plus sync"].append(middle - started)
                    times["wan-mcp"].append(ended - middle)
    return times, grown, kept


def main() -> None:
    """Print medians, the ratio and the growth; exit 1 above a bound."""
    parser = argparse.ArgumentParser(description="Downloads of 20 MB against curl plus sync.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--most", type=float, default=1.6, help="the largest ratio that passes")
    parser.add_argument("--growth", type=float, default=30.0, help="the largest growth that passes, in MB")
    arguments = parser.parse_args()
    if shutil.which("curl") is None:
        sys.exit("curl is needed.")
    context = get_context("spawn")
    port_of = context.Queue()
    images = {"/large.png": make_png(SIZE), "/small.png": make_png(30_000)}
    host = context.Process(target=serve, args=(images, port_of), daemon=True)
    host.start()
    del images
    missed = False
    try:
        port = port_of.get(timeout=60)
        for at_once in (1, AT_ONCE):
            times, grown, kept = anyio.run(partial(measure, port, arguments.rounds, at_once))
            medians = {name: statistics.median(values) for name, values in times.items()}
            ratio = statistics.median(
                ours / theirs for ours, theirs in zip(times["wan-mcp"], times["curl plus sync"], strict=True)
            )
            print(f"{at_once} at once")
            for name, values in times.items():
                print(f"  {name:15} median {medians[name] * 1000:6.1f} ms, fastest {min(values) * 1000:6.1f} ms")
            print(f"  median of the ratios {ratio:.2f} (at most {arguments.most})")
            print(f"  memory: +{grown / MEGABYTE:.1f} MB at most (at most {arguments.growth:.0f})")
            print(f"  memory: +{kept / MEGABYTE:.1f} MB in the end (at most {MOST_KEPT})")
            missed = missed or ratio > arguments.most
            missed = missed or grown > arguments.growth * MEGABYTE or kept > MOST_KEPT * MEGABYTE
    finally:
        host.terminate()
        host.join()
    sys.exit(missed)


if __name__ == "__main__":
    main()
