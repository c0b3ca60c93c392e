"""What the tests of single kills and stops share: short times, workers, one order, and the report in the end."""

import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio

from campaigns.report import Report, count
from campaigns.state_reader import StateReader
from campaigns.worker import make_settings
from campaigns.worker_pool import Worker, WorkerPool
from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import QUICK, running_service

NEW, LEGACY = "wan2.6-t2i", "wan2.5-t2i-preview"
EDITING: Mapping[str, str] = {NEW: "wan2.7-image", LEGACY: "wan2.5-i2i-preview"}
"""The model of the same protocol that takes pictures."""
TIMINGS = replace(
    QUICK, lease=0.6, renew_interval=0.2, submit_slot_seconds=0.6, list_lag=0.3, search_grace=0.8, create_window=30.0
)
"""A process may be long between noting that it sends an order and sending it, where the machine is busy."""


@contextmanager
def open_pool(folder: Path, dashscope: FakeService, **changes: float) -> Generator[WorkerPool]:
    """Give workers for the folder; `changes` are other times."""
    pool = WorkerPool(folder, dashscope.base_url, dashscope.image_host, asdict(replace(TIMINGS, **changes)))
    try:
        yield pool
    finally:
        pool.kill_all()


def second_service(
    folder: Path, dashscope: FakeService, *, environ: Mapping[str, str] = MappingProxyType({}), **changes: float
):
    """Run a service of this very process on the folder; `environ` are further settings, `changes` other times."""
    settings = make_settings(folder, dashscope.base_url, dashscope.image_host, **environ)
    return running_service(settings, timings=replace(TIMINGS, **changes))


async def until_killed(pool: WorkerPool, worker: Worker) -> None:
    """Wait for a worker's end, which must be the kill that was meant and no mishap before it."""
    await until(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == -signal.SIGKILL, pool.read_errors()


async def stop_unlocked(pool: WorkerPool, worker: Worker, folder: Path) -> None:
    """Stop a worker at a moment when it has no lock on the ledger, or everybody would be held still with it."""
    while True:
        pool.stop(worker)
        if StateReader(folder).is_unlocked():
            return
        pool.resume(worker)
        await anyio.sleep(0.005)


def is_idle(folder: Path) -> Callable[[], bool]:
    """Give the question whether nothing is open in the ledger."""
    return lambda: StateReader(folder).count_open() == 0


def read_order(folder: Path) -> dict[str, Any]:
    """Give the only order."""
    (row,) = StateReader(folder).orders().values()
    return row


def make_line(model: str, n: int = 2, **more: Any) -> dict[str, Any]:
    """Give a line for a worker."""
    return {"id": "the order", "prompt": "a flower shop", "model": model, "n": n, "wait": 45, **more}


def make_report(dashscope: FakeService, folder: Path) -> Report:
    """Compare what the service billed with the ledger and the files, as the campaigns do."""
    report = Report("one kill")
    count(report, dashscope, StateReader(folder))
    return report
