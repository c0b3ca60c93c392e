"""
A process that is made to be killed: one service on a shared state folder, told what to do line by line.

    python tests/campaigns/worker.py --folder DIR --base-url URL --image-host HOST [--ledger-url URL]
        [--timings JSON] [--settings JSON] [--die POINT]

Standard input takes one JSON order a line, `{"id", "prompt", "model", "n", "size", "images", "submit", "wait"}`, or a question
`{"id", "task_id", "wait"}`; standard output gives one JSON answer a line, in any order. At the end of the input the
process ends like a server whose client has gone. With `--collect` it works on what the ledger holds until nothing
is open, and ends. It may be killed at any moment.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wan_mcp.app import build_context, build_service
from wan_mcp.dashscope import DashScope
from wan_mcp.images.inputs import PreparedInput
from wan_mcp.ledger import Order
from wan_mcp.ledger.orders import Orders
from wan_mcp.ledger.rows import find_changed_images
from wan_mcp.orders import OrderService, Timings
from wan_mcp.settings import Settings, read_settings
from wan_mcp.storage import LocalStorage
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.tasks import Task

KEY = "sk-campaign-singapore"


class KillingOrders:
    """
    The orders of a ledger that kill the process at one call.

    `point` is the name of a method, then perhaps the state that an image gets with it, then perhaps `after` for the
    moment after the write is on the disk: `accept`, `accept/after`, `save/SAVED`.
    """

    def __init__(self, orders: Orders, point: str) -> None:
        self._orders = orders
        self._method, *words = point.split("/")
        self._is_after = "after" in words
        self._state = next((word for word in words if word != "after"), None)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._orders, name)
        if name == "place" and self._method == "begin_sending":
            # The order stands in line first, as it does where another one is being sent.
            return lambda *values, **named: method(*values, **{**named, "dispatch": None})
        if name != self._method:
            return method

        async def call_or_die(*values: Any, **named: Any) -> Any:
            is_it = self._state is None or self._state in _new_states(*values)
            if is_it and not self._is_after:
                die()
            result = await method(*values, **named)
            if is_it:
                die()
            return result

        return call_or_die


class KillingStorage(LocalStorage):
    """Storage that kills the process when a picture is read for the second time: the first time is at its order."""

    reads = 0

    async def prepare_input(
        self, path: Path, limits: InputLimits, *, sha256: str | None = None, name: str | None = None
    ) -> PreparedInput:
        """Read a picture, or die."""
        self.reads += 1
        if self.reads > 1:
            die()
        return await super().prepare_input(path, limits, sha256=sha256, name=name)


class KillingDashScope(DashScope):
    """A client that kills the process when a picture is uploaded."""

    async def upload(self, region: str, model_id: str, data: bytes, mime_type: str) -> str:
        """Die."""
        die()
        return await super().upload(region, model_id, data, mime_type)


def _new_states(before: Order, after: Order) -> set[str]:
    """Give the names of the states that images get with a change of their order."""
    return {image.state.name for image in find_changed_images(before, after)}


def die() -> None:
    """End this process as a kill from outside would: nothing is tidied up, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def make_settings(
    folder: Path, base_url: str, image_host: str, ledger_url: str | None = None, **environ: str
) -> Settings:
    """Read settings as the program would, with everything it writes under `folder`; `environ` are further ones."""
    return read_settings(
        {
            "WAN_MCP_OUTPUT_DIR": str(folder / "pictures"),
            "WAN_MCP_ALLOWED_DIRS": str(folder / "inputs"),
            "WAN_MCP_STATE_DIR": str(folder / "state"),
            "WAN_MCP_DAILY_IMAGE_LIMIT": "0",
            "WAN_MCP_IMAGE_HOSTS": image_host,
            "DASHSCOPE_REGION": "singapore",
            "DASHSCOPE_API_KEY": KEY,
            "DASHSCOPE_HTTP_BASE_URL": base_url,
            **({"WAN_MCP_LEDGER_URL": ledger_url} if ledger_url else {}),
        }
        | environ
    )


def make_service(settings: Settings, timings: Timings, point: str | None) -> OrderService:
    """Build the service of the program, with a ledger that kills it where one is wanted."""
    context = build_context(settings)
    if point == "read_input":
        context = replace(context, storage=KillingStorage(settings.output_dir, settings.allowed_dirs))
    elif point == "upload_input":
        dashscope = KillingDashScope(
            settings.regions, max_image_bytes=1, clock=context.clock, image_hosts=settings.image_hosts
        )
        context = replace(context, dashscope=dashscope)
    elif point is not None:
        context.ledger.orders = KillingOrders(context.ledger.orders, point)
    return build_service(settings, context=context, timings=timings)


def tell(message: Mapping[str, Any]) -> None:
    """Write one line, whole."""
    os.write(1, (json.dumps(message) + "\n").encode())


def describe(task: Task) -> dict[str, Any]:
    """Give what the driver looks at."""
    return {
        "task_id": task.task_id,
        "local_id": task.local_id,
        "status": str(task.status),
        "settled": task.settled,
        "deduplicated": task.deduplicated,
        "images": [image.path for image in task.images],
        "failed": [asdict(image) for image in task.failed_images],
        "code": task.problem.code if task.problem else None,
        "message": task.problem.message if task.problem else None,
    }


async def answer(service: OrderService, line: Mapping[str, Any]) -> None:
    """Make the call of one line, as the tools do, and tell what came of it."""
    wait = float(line.get("wait", 10))
    try:
        if "prompt" in line:
            words = {name: line[name] for name in ("prompt", "model", "n", "size", "images") if name in line}
            task = await service.order(
                service.catalogue.make_request(**words),
                wait_seconds=wait,
                until_accepted=bool(line.get("submit")),
                fresh=bool(line.get("fresh")),
                report=None,
            )
        else:
            task = await service.get(line["task_id"], wait_seconds=wait, report=None)
    except AppError as error:
        tell({"id": line["id"], "error": error.code, "message": str(error)})
    else:
        tell({"id": line["id"], **describe(task)})


async def serve(service: OrderService) -> None:
    """Answer lines until the input ends; what is still open then is left to others, as a server leaves it."""
    async with service.running(), anyio.create_task_group() as group:
        tell({"ready": os.getpid()})
        while line := await run_sync(sys.stdin.readline, abandon_on_cancel=True):
            group.start_soon(answer, service, json.loads(line))
        group.cancel_scope.cancel()


async def collect(service: OrderService) -> None:
    """Finish everything that is open."""
    async with service.running(take_over=False):
        tell({"ready": os.getpid()})
        tell(asdict(await service.collect(None, wait=True)))


def main() -> None:
    """Run one worker."""
    parser = argparse.ArgumentParser(description="A service that is made to be killed.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--image-host", required=True)
    parser.add_argument("--ledger-url", help="the database of the ledger; without it a file in the folder")
    parser.add_argument("--timings", type=json.loads, default={}, help="JSON of Timings that differ from the usual")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON of further settings")
    parser.add_argument("--die", metavar="POINT", help="the call that kills the process")
    parser.add_argument("--collect", action="store_true", help="finish what is open and end")
    options = parser.parse_args()
    settings = make_settings(
        options.folder, options.base_url, options.image_host, options.ledger_url, **options.settings
    )
    service = make_service(settings, Timings(**options.timings), options.die)
    anyio.run(collect if options.collect else serve, service)


if __name__ == "__main__":
    main()
