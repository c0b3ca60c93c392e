"""What the tests of single kills have in common: short times, a crew, one order, and the account in the end."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import anyio

from campaigns.crew import Crew, Worker
from campaigns.outsider import Outsider
from campaigns.report import Report, count
from campaigns.worker import make_settings
from fakes.bench import QUICK, running_service
from fakes.dashscope import FakeService

NEW, LEGACY = "wan2.6-t2i", "wan2.5-t2i-preview"
TIMINGS = replace(
    QUICK, lease=0.6, renew_interval=0.2, submit_slot_seconds=0.6, list_lag=0.3, search_grace=0.8, create_window=3.0
)


@contextmanager
def a_crew(folder: Path, dashscope: FakeService, **changes: float) -> Generator[Crew]:
    """Give a crew on the folder; `changes` are other times."""
    crew = Crew(folder, dashscope.base_url, dashscope.image_host, asdict(replace(TIMINGS, **changes)))
    try:
        yield crew
    finally:
        crew.bury()


def another_process(folder: Path, dashscope: FakeService, **changes: float):
    """Run a service of this very process on the folder; `changes` are other times."""
    settings = make_settings(folder, dashscope.base_url, dashscope.image_host)
    return running_service(settings, timings=replace(TIMINGS, **changes))


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Wait for a condition of another process."""
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)


async def until_killed(crew: Crew, worker: Worker) -> None:
    """Wait for a worker's end, which must be the kill that was meant and no mishap before it."""
    await until(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == -signal.SIGKILL, crew.errors()


async def hold_still(crew: Crew, worker: Worker, folder: Path) -> None:
    """Stop a worker at a moment when it has no lock on the ledger, or everybody would be held still with it."""
    while True:
        crew.stop(worker)
        if Outsider(folder).is_unlocked():
            return
        crew.wake(worker)
        await anyio.sleep(0.005)


def is_idle(folder: Path) -> Callable[[], bool]:
    """Give the question whether nothing is open in the ledger."""
    return lambda: Outsider(folder).count_open() == 0


def the_row(folder: Path) -> dict[str, Any]:
    """Give the only order."""
    (row,) = Outsider(folder).orders().values()
    return row


def an_order(model: str, n: int = 2, **more: Any) -> dict[str, Any]:
    """Give a line for a worker."""
    return {"id": "the order", "prompt": "a flower shop", "model": model, "n": n, "wait": 20, **more}


def account(dashscope: FakeService, folder: Path) -> Report:
    """Hold the service's account against ledger and files, as the campaigns do."""
    report = Report("one kill")
    count(report, dashscope, Outsider(folder))
    return report
