"""
A process that orders with ten large pictures, and says how much memory that took at most.

They have twenty million bytes each and are uploaded for two orders ("mixed"), or seven and stand in ten orders that
wait for their answers all at once ("waiting").
"""

import json
import os
import resource
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import anyio
import httpx

from fakes import tiny_png
from fakes.order_service import make_settings, order
from wan_mcp.app import build_context, build_service

KINDS = {
    "mixed": (*("PNG",) * 5, "JPEG", "JPEG", "turned", "photograph", "photograph"),
    "waiting": ("small PNG",) * 10,
}
"""Of the pictures, in the order in which they are given: what takes most comes last, when anything kept would show."""
COUNT = 10
MODEL = "wan2.7-image"
STORE = "https://dashscope-file-mgr.oss-ap-southeast-1.aliyuncs.com"
RESULTS = "https://dashscope-a717.oss-accelerate.aliyuncs.com"


@dataclass
class Service(httpx.AsyncBaseTransport):
    """Answers as the service does, and keeps nothing of what it is sent."""

    uploaded: int = 0
    received: int = 0
    awaited: int = 0
    """How many orders must have come before any is answered."""
    created: int = 0
    came: anyio.Event = field(default_factory=anyio.Event)

    async def handle_async_request(self, request):
        size = 0
        async for piece in request.stream:
            size += len(piece)
        host, path = f"{request.url.scheme}://{request.url.host}", request.url.path
        if host == STORE:
            self.uploaded += 1
            self.received += size
            return httpx.Response(200)
        if host == RESULTS:
            return httpx.Response(200, content=tiny_png.encode(64, 64, colour=(1, 2, 3), texts={}))
        if path.endswith("/uploads"):
            data = dict.fromkeys(("policy", "signature", "oss_access_key_id", "upload_dir"), "x")
            return httpx.Response(200, json={"data": data | {"upload_host": STORE}})
        if path.endswith("/generation"):
            self.created += 1
            self.received += size
            if self.created >= self.awaited:
                self.came.set()
            await self.came.wait()
        content = [{"image": f"{RESULTS}/1.png?Expires=4000000000&Signature=s"}]
        choices = [{"message": {"role": "assistant", "content": content}}]
        output = {"choices": choices}
        if "multimodal-generation" not in path:
            output |= {"task_id": "task-1", "task_status": "SUCCEEDED"}
        return httpx.Response(200, json={"request_id": "r", "output": output})


def draw(path, kind):
    """
    Write a file of some twenty million bytes.

    A "turned" one and a "photograph" of 48 million pixels have to be drawn anew before they are sent. A "small PNG"
    has seven million bytes.
    """
    if "PNG" in kind:
        path.write_bytes(tiny_png.encode_noise(2560 if kind == "PNG" else 1500))
        return
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    size, options = {
        "JPEG": ((3060, 3060), {"quality": 93, "subsampling": 0}),
        "turned": ((3060, 3060), {"quality": 93, "subsampling": 0, "exif": exif}),
        "photograph": ((8000, 6000), {"quality": 50, "exif": exif}),
    }[kind]
    with path.open("wb") as file:
        Image.frombytes("RGB", size, os.urandom(size[0] * size[1] * 3)).save(file, "JPEG", **options)


async def main(folder):
    settings = make_settings(folder, DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-test-singapore")
    remote = Service()
    context = build_context(settings, transport=remote)
    async with build_service(settings, context=context).running() as service:
        names = [f"{number}.png" for number in range(COUNT)]
        # No more than nine are taken in one order.
        task = await order(service, "put them together", images=names[:9], model=MODEL, wait=200)
        more = await order(service, "make it blue", images=names[9:], model=MODEL, wait=200)
    facts = {"status": task.status, "uploaded": remote.uploaded, "bytes": remote.received}
    print(json.dumps(facts | {"more": more.status, "peak_mib": read_peak()}), flush=True)


async def wait_together(folder):
    settings = make_settings(folder, DASHSCOPE_REGION="singapore", DASHSCOPE_API_KEY="sk-test-singapore")
    remote = Service(awaited=COUNT)
    context = build_context(settings, transport=remote)
    statuses = set()
    async with build_service(settings, context=context).running() as service, anyio.create_task_group() as group:

        async def edit(number):
            task = await order(
                service, f"make it blue {number}", images=[f"{number}.png"], model="qwen-image-2.1-pro", wait=200
            )
            statuses.add(task.status)

        for number in range(COUNT):
            group.start_soon(edit, number)
    facts = {"statuses": sorted(statuses), "orders": remote.created, "bytes": remote.received}
    print(json.dumps(facts | {"peak_mib": read_peak()}), flush=True)


def read_peak():
    """Give the most memory that this process has had, in MiB."""
    if sys.platform == "linux":
        # What `resource` tells begins with what the parent had.
        [line] = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def draw_all(folder, kinds):
    """Write pictures, each kind painted once."""
    painted = {}
    for number, kind in enumerate(kinds):
        path = folder / f"{number}.png"
        if kind in painted:
            # What follows the end is no part of the picture, and makes another file of it.
            path.write_bytes(painted[kind].read_bytes() + bytes([number]))
        else:
            draw(path, kind)
            painted[kind] = path


if __name__ == "__main__":
    where, what = Path(sys.argv[1]), sys.argv[2]
    pictures = where / "pictures"
    pictures.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        draw_all(pictures, KINDS[what])
        os._exit(0)
    os.waitpid(child, 0)
    anyio.run(wait_together if what == "waiting" else main, where)
