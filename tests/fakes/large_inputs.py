"""A process that orders with ten pictures of twenty million bytes, and says how much memory that took at most."""

import json
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import anyio
import httpx

from fakes import tiny_png
from fakes.order_service import make_settings, order
from wan_mcp.app import build_context, build_service

COUNT = 10
MODEL = "wan2.7-image"
STORE = "https://dashscope-file-mgr.oss-ap-southeast-1.aliyuncs.com"
RESULTS = "https://dashscope-a717.oss-accelerate.aliyuncs.com"


@dataclass
class Service(httpx.AsyncBaseTransport):
    """Answers as the service does, and keeps nothing of what it is sent."""

    uploaded: int = 0
    received: int = 0

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
        content = [{"image": f"{RESULTS}/1.png?Expires=4000000000&Signature=s"}]
        choices = [{"message": {"role": "assistant", "content": content}}]
        output = {"choices": choices, "task_id": "task-1", "task_status": "SUCCEEDED"}
        return httpx.Response(200, json={"request_id": "r", "output": output})


def draw(path, kind):
    """
    Write a file of some twenty million bytes.

    Those of the last three kinds have to be drawn anew before they are sent; a "photograph" has 48 million pixels.
    """
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    form, mode, size, options = {
        "PNG": ("PNG", "RGB", (2560, 2560), {"compress_level": 0}),
        "JPEG": ("JPEG", "RGB", (3060, 3060), {"quality": 93, "subsampling": 0}),
        "turned": ("JPEG", "RGB", (3060, 3060), {"quality": 93, "subsampling": 0, "exif": exif}),
        "photograph": ("JPEG", "RGB", (8000, 6000), {"quality": 50, "exif": exif}),
        "transparent": ("PNG", "RGBA", (2200, 2200), {"compress_level": 0}),
    }[kind]
    with path.open("wb") as file:
        Image.frombytes(mode, size, os.urandom(size[0] * size[1] * len(mode))).save(file, form, **options)


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


def read_peak():
    """Give the most memory that this process has had, in MiB."""
    if sys.platform == "linux":
        # What `resource` tells begins with what the parent had.
        [line] = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    where, kind = Path(sys.argv[1]), sys.argv[2]
    pictures = where / "pictures"
    pictures.mkdir(parents=True)
    child = os.fork()
    if child == 0:
        draw(pictures / "0.png", kind)
        for number in range(1, COUNT):
            # What follows the end is no part of the picture, and makes another file of it.
            (pictures / f"{number}.png").write_bytes((pictures / "0.png").read_bytes() + bytes([number]))
        os._exit(0)
    os.waitpid(child, 0)
    anyio.run(main, where)
