"""
Twenty orders at once on a service that takes 0.8 s to accept one: until the last of them has its task.

Once by the legacy protocol, whose tasks repeat the prompt, and once by a newer one, whose do not, so that only one
order is unanswered at a time; each in one process and shared by four on one ledger. What cannot be beaten is five
orders a second, the service's limit, or 0.8 s for each where they wait for one another. Run it with
`python bench/submits.py`.
"""

# pyright: basic
# (the look-alike is a test double without types)

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, running_service, submit
from wan_mcp.orders import Timings

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

ORDERS, PROCESSES, CREATE_SECONDS, RATE = 20, 4, 0.8, 5.0
ROWS = {"with echo": ("wan2.5-t2i-preview", 6.0), "without": ("wan2.6-t2i", 17.0)}
"""The model, and the seconds that pass."""
NO_SLOWER = 1.05
"""By how much four processes may exceed one: as the measurement differs from run to run."""


@dataclass(frozen=True)
class Share:
    """What one process orders, and where."""

    folder: Path
    environ: dict[str, str]
    model: str
    names: list[str]


async def submit_and_tell(share: Share, ready: "Barrier", ends: "Queue[float]") -> None:
    """Submit one order for each name, side by side, once every process is ready; tell when the last has its task."""
    async with running_service(make_settings(share.folder, None, **share.environ), timings=Timings()) as service:
        await anyio.to_thread.run_sync(ready.wait)
        async with anyio.create_task_group() as group:
            for name in share.names:
                group.start_soon(partial(submit, service, f"a flower shop {name}", model=share.model, wait=120.0))
        ends.put(time.time())


def run_process(share: Share, ready: "Barrier", ends: "Queue[float]") -> None:
    """Be one of the processes."""
    anyio.run(submit_and_tell, share, ready, ends)


def measure(model: str, processes: int) -> float:
    """Give the seconds from the start of all orders to the last answer."""
    context = get_context("spawn")
    ready, ends = context.Barrier(processes + 1), context.Queue()
    names = [str(number) for number in range(ORDERS)]
    with tempfile.TemporaryDirectory() as folder, FakeService(duration=600.0) as dashscope:
        dashscope.set_chance("create", 1.0, {"kind": "slow-after", "seconds": CREATE_SECONDS})
        environ = {
            "DASHSCOPE_REGION": "singapore",
            "DASHSCOPE_API_KEY": "sk-test-singapore",
            "DASHSCOPE_HTTP_BASE_URL": dashscope.base_url,
            "WAN_MCP_IMAGE_HOSTS": dashscope.image_host,
            "WAN_MCP_DAILY_IMAGE_LIMIT": "0",
        }
        shares = [Share(Path(folder), environ, model, names[number::processes]) for number in range(processes)]
        workers = [context.Process(target=run_process, args=(share, ready, ends)) for share in shares]
        for worker in workers:
            worker.start()
        ready.wait(60)
        started = time.time()
        ended = max(ends.get(timeout=150) for _ in workers)
        for worker in workers:
            worker.join(60)
        if len(dashscope.creates) != ORDERS:
            raise RuntimeError(f"{len(dashscope.creates)} orders reached the service")
    return ended - started


def main() -> None:
    """Print the seconds of each; exit 1 above a bound."""
    argparse.ArgumentParser(description="Twenty orders at once.").parse_args()
    missed = False
    for name, (model, most) in ROWS.items():
        least = (ORDERS - 1) / RATE + CREATE_SECONDS if name == "with echo" else ORDERS * CREATE_SECONDS
        bound = most
        for processes in (1, PROCESSES):
            seconds = measure(model, processes)
            bounds = f"at most {bound:.1f}, at least {least:.1f}"
            print(f"{name:10} {processes} processes: {seconds:5.2f} s ({bounds})", flush=True)
            missed = missed or seconds > bound
            bound = min(most, seconds * NO_SLOWER)
    sys.exit(missed)


if __name__ == "__main__":
    main()
