"""
How soon the end of a task is noticed, and how many questions that takes.

The worker's own polling, limiter and reading of the list run on a scripted service, by a clock that never waits: a
thousand orders of a minute take seconds, and a run is the same every time. Where the official SDK is the rival, its
own `wait` runs on the same tasks, by such a clock. An answer takes 0.1 s. What is measured ends where the download
begins.

    python bench/polling.py                 every row
    python bench/polling.py queue single    some of: queue single crowd many

Prints each row with its bounds, and exits 1 if one of them is missed.
"""

# pyright: basic
# (the scripted service is a test double without types)

import argparse
import math
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
from dashscope.api_entities.dashscope_response import DashScopeAPIResponse
from dashscope.client import base_api

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fakes.simulation import Job, Report, ScriptedService, ScriptedTask, SimulatedClock, simulate

LATENCY = 0.1
SEEDS = range(5)
MEGABYTE = 1024
MOST_MEMORY = 120
"""In megabytes, with a thousand orders in flight."""

failed: list[str] = []


def draw(median: float, sigma: float, count: int, seed: int) -> list[float]:
    """Draw running times in seconds, about log-normal as the service's are."""
    dice = random.Random(seed)
    return [median * math.exp(dice.gauss(0, sigma)) for _ in range(count)]


def follow(jobs: Sequence[Job], *, learned: Sequence[float] = (), processes: int = 1, **service: Any) -> Report:
    """Let the worker follow the jobs."""
    scripted = ScriptedService(SimulatedClock(), latency=LATENCY, **service)

    async def run() -> Report:
        return await simulate(scripted, jobs, learned=learned, processes=processes)

    return anyio.run(run)


class VirtualTime:
    """Stands where the SDK's module has `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        """Give the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.now += seconds


def follow_with_sdk(jobs: Sequence[Job], places: float) -> tuple[list[float], float]:
    """Let the official SDK wait for each of the jobs; give its delays and the questions for each."""
    delays: list[float] = []
    questions = 0
    for task in plan(jobs, places):
        clock = VirtualTime()
        clock.now = task.created + LATENCY

        class Api(base_api.BaseAsyncApi):
            """The SDK's own loop on our task."""

            @classmethod
            def _get(cls, *_: object, task: ScriptedTask = task, clock: VirtualTime = clock, **__: object):
                nonlocal questions
                questions += 1
                clock.now += LATENCY / 2
                status = str(task.status(clock.now))
                clock.now += LATENCY / 2
                return DashScopeAPIResponse(200, "id", "", "", {"task_status": status}, None)

        with patch.object(base_api, "time", clock):
            Api.wait(task.task_id, api_key="sk-none")
        delays.append(clock.now - task.ended)
    return delays, questions / len(jobs)


def plan(jobs: Sequence[Job], places: float) -> list[ScriptedTask]:
    """Give what the service does with the jobs, the oldest first."""
    tasks: list[ScriptedTask] = []
    for job in jobs:
        ends = sorted(task.ended for task in tasks if task.ended > job.at)
        started = job.at if len(ends) < places else max(job.at, ends[-int(places)])
        tasks.append(ScriptedTask(f"task-{len(tasks)}", job.at, started, started + job.seconds))
    return tasks


def tell(
    name: str, delays: Sequence[float], questions: float, bounds: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Print one row: what was measured, and each bound with its value."""
    ordered = sorted(delays)
    checks = []
    for what, (value, bound) in (bounds or {}).items():
        is_kept = value <= bound
        checks.append(f"{what} {value:.2f} <= {bound:g}{'' if is_kept else ' MISSED'}")
        if not is_kept:
            failed.append(name)
    median, late = statistics.median(ordered), ordered[min(int(0.9 * len(ordered)), len(ordered) - 1)]
    print(
        f"{name:44} mean {statistics.fmean(ordered):6.2f} s  median {median:6.2f} s  p90 {late:6.2f} s  "
        f"most {ordered[-1]:6.2f} s  {questions:5.2f} questions  {'; '.join(checks)}",
        flush=True,
    )


def measure_queue() -> None:
    """Measure thirty orders of about 20 s behind five, of a kind that was never ordered."""
    ours: list[float] = []
    theirs: list[float] = []
    asked = asked_by_sdk = 0.0
    for seed in SEEDS:
        times = draw(20, 0.1, 30, seed)
        jobs = [Job(0.2 * number, seconds, is_awaited=True) for number, seconds in enumerate(times)]
        report = follow(jobs, places=5)
        delays, questions = follow_with_sdk(jobs, 5)
        ours += report.delays
        theirs += delays
        asked += report.questions / len(SEEDS)
        asked_by_sdk += questions / len(SEEDS)
    p90 = sorted(ours)[int(0.9 * len(ours))]
    tell(
        "30 orders behind five, 20 s",
        ours,
        asked,
        {"mean": (statistics.fmean(ours), 1.0), "p90": (p90, 2.0), "questions": (asked, asked_by_sdk)},
    )
    tell("    the official SDK", theirs, asked_by_sdk)


def measure_single() -> None:
    """Measure single orders of a kind that was learned."""
    for median, bound, questions in ((20.0, 1.0, 6.0), (60.0, 1.5, math.inf)):
        jobs = [Job(600.0 * n, seconds, is_awaited=True) for n, seconds in enumerate(draw(median, 0.25, 500, 1))]
        report = follow(jobs, learned=draw(median, 0.25, 50, 2), places=5)
        bounds = {"mean": (report.mean, bound)}
        if questions < math.inf:
            bounds["questions"] = (report.questions, questions)
        tell(f"single orders, {median:.0f} s, learned", report.delays, report.questions, bounds)
        delays, asked = follow_with_sdk(jobs, 5)
        tell("    the official SDK", delays, asked)


def measure_crowd() -> None:
    """Measure a thousand orders of a minute whose ends are spread over two."""
    jobs = [Job(0.12 * number, seconds) for number, seconds in enumerate(draw(60, 0.25, 1000, 1))]
    learned = draw(60, 0.25, 50, 2)
    rows: list[tuple[str, float, dict[str, Any]]] = [
        ("a list that answers", 6.0, {}),
        ("a list, four processes", 6.0, {"processes": 4}),
        ("without a list", 20.0, {"is_list_refused": True}),
        ("a list that lags 30 s", 20.0, {"list_lag": 30.0}),
        ("pages of 10", 20.0, {"page_size": 10}),
    ]
    for name, bound, service in rows:
        report = follow(jobs, learned=learned, **service)
        tell(
            f"1,000 in flight, 60 s, {name}",
            report.delays,
            report.questions,
            {"median": (report.quantile(0.5), bound), "worst second": (report.worst_second, 19)},
        )
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    print(f"    memory of the process {used:.0f} MB (at most {MOST_MEMORY}), with the SDK and the service inside")
    if used > MOST_MEMORY:
        failed.append("memory")


def measure_many() -> None:
    """Measure whether the pace is kept with more orders than can be asked for."""
    jobs = [Job(0.02 * number, seconds) for number, seconds in enumerate(draw(60, 0.25, 2700, 1))]
    learned = draw(60, 0.25, 50, 2)
    rows: list[tuple[str, dict[str, Any]]] = [
        ("a list that answers", {}),
        ("without a list, four processes", {"is_list_refused": True, "processes": 4}),
    ]
    for name, service in rows:
        report = follow(jobs, learned=learned, **service)
        tell(
            f"2,700 in flight, {name}",
            report.delays,
            report.questions,
            {"worst second": (report.worst_second, 19), "refused": (report.refused, 0)},
        )


ROWS: dict[str, Callable[[], None]] = {
    "queue": measure_queue,
    "single": measure_single,
    "crowd": measure_crowd,
    "many": measure_many,
}


def main() -> None:
    """Print the rows that were asked for; exit 1 if a bound was missed."""
    parser = argparse.ArgumentParser(description="How soon an end is noticed, and for how many questions.")
    parser.add_argument("rows", nargs="*", help=f"some of: {', '.join(ROWS)}")
    names = parser.parse_args().rows or list(ROWS)
    if unknown := set(names) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    for name in names:
        started = time.process_time()
        ROWS[name]()
        print(f"    {time.process_time() - started:.0f} s of processor")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
