"""
The waiting campaign: many calls that wait side by side in one server, each to be answered in its time.

    python tests/campaigns/waiting.py --calls 50 --seconds 45

The server speaks over stdio, as hosts start it. A second one, inside this program, follows some of the tasks; the
service answers slowly now and then; somebody else locks the ledger for seconds at a time. Prints a report and exits 1
if an answer came more than two seconds after its wait, or the progress was wrong. Needs no network and no key.

How busy the machine is shows in what a question for the list of tools takes at the same time, which needs nothing but
the server: three times the slowest of them is allowed beyond every limit.
"""

import argparse
import math
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.dashscope import FakeService
from fakes.stdio_client import environment, open_client
from fakes.wire_record import Call, WireRecord
from wan_mcp.app import build_server, build_service
from wan_mcp.settings import read_settings

GRACE = 2.0
FIRST, LONGEST_SILENCE = 1.0, 5.0


@dataclass(frozen=True)
class Plan:
    """What happens; `waits` are seconds and are dealt out in turn, `locks` are (start, seconds)."""

    calls: int = 50
    waits: Sequence[float] = (45.0,)
    era: str = "auto"
    locks: Sequence[tuple[float, float]] = ()
    slow_share: float = 0.3
    slow_seconds: float = 5.0
    seed: int = 1


@dataclass(frozen=True)
class Report:
    """What was measured: each call with the wait that it was given, and the seconds of questions beside them."""

    calls: Sequence[tuple[Call, float]]
    delays: Sequence[float]

    @property
    def slack(self) -> float:
        """The seconds that a busy machine may add to any limit."""
        return 3 * max(self.delays)

    @property
    def lateness(self) -> list[float]:
        """The seconds by which each answer came after the end of its wait."""
        return sorted(call.seconds - wait for call, wait in self.calls)

    @property
    def broken(self) -> list[str]:
        """What went against the promises."""
        found: list[str] = []
        for call, wait in self.calls:
            name = f"{call.tool} with {wait:g} s"
            if call.seconds > wait + GRACE + self.slack:
                found.append(f"{name}: answered after {call.seconds:.2f} s")
            if call.answer is None or call.answer.get("isError"):
                found.append(f"{name}: {call.answer}")
            silences = call.silences
            if wait >= FIRST and (not call.progress or silences[0] > FIRST + self.slack):
                found.append(f"{name}: the first progress after {silences[0]:.2f} s")
            if max(silences) > LONGEST_SILENCE + self.slack:
                found.append(f"{name}: silent for {max(silences):.2f} s")
            if not call.grows:
                found.append(f"{name}: progress that does not grow")
            if call.late:
                found.append(f"{name}: {call.late} progress messages after the answer")
        return found

    def __str__(self) -> str:
        late = self.lateness
        told = [len(call.progress) for call, _ in self.calls]
        first = sorted(call.silences[0] for call, _ in self.calls if call.progress)
        silences = sorted(max(call.silences) for call, _ in self.calls)
        rows = [
            ("calls side by side", len(self.calls)),
            ("answers after the end of their wait, median s", f"{statistics.median(late):.2f}"),
            (
                "                                     95th percentile s",
                f"{late[math.ceil(len(late) * 0.95) - 1]:.2f}",
            ),
            ("                                     latest s", f"{late[-1]:.2f}"),
            ("progress messages for each call, median", f"{statistics.median(told):g}"),
            ("first progress after, median s", f"{statistics.median(first):.2f}"),
            ("                      latest s", f"{first[-1]:.2f}"),
            ("longest silence of a call, median s", f"{statistics.median(silences):.2f}"),
            ("                           longest s", f"{silences[-1]:.2f}"),
            ("slowest list of tools meanwhile, s", f"{max(self.delays):.2f}"),
            ("progress messages after the answer", sum(call.late for call, _ in self.calls)),
            ("broken promises", len(self.broken)),
        ]
        return "\n".join([*(f"{name:<56}{value:>8}" for name, value in rows), *self.broken])


@contextmanager
def locked_now_and_then(path: Path, locks: Sequence[tuple[float, float]]) -> Generator[None]:
    """Let another program hold the ledger's lock at times."""
    stop = threading.Event()

    def hold() -> None:
        begun = 0.0
        for start, seconds in locks:
            if stop.wait(max(0.0, start - begun)):
                return
            other = sqlite3.connect(path, isolation_level=None, timeout=45)
            try:
                other.execute("BEGIN EXCLUSIVE")
                stop.wait(seconds)
                other.execute("ROLLBACK")
            finally:
                other.close()
            begun = start + seconds

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def run(plan: Plan, folder: Path) -> Report:
    """Let the calls wait, and measure."""
    dice = random.Random(plan.seed)
    with FakeService(duration=0.1, pending=0.0) as service:
        service.set_chance("query", plan.slow_share, {"kind": "slow", "seconds": plan.slow_seconds})
        service.script_endings(*["never"] * plan.calls * 2)
        variables = environment(folder, service, WAN_MCP_DAILY_IMAGE_LIMIT="0")
        record = WireRecord()
        second = build_server(build_service(read_settings(variables)))
        async with Client(second, mode=plan.era) as other, open_client(variables, plan.era, record) as client:
            share = max(2, plan.calls // 5)
            theirs = [await _submit(other, f"theirs {number}") for number in range(share)]
            ours = [await _submit(client, f"ours {number}") for number in range(share)]
            requests = [
                *(("get_task", {"task_id": task_id}) for task_id in theirs + ours),
                *(("generate_image", {"prompt": f"theirs {number}"}) for number in range(share // 2)),
            ]
            requests += [
                ("generate_image", {"prompt": f"new {number}"}) for number in range(plan.calls - len(requests))
            ]
            dice.shuffle(requests)
            before = set(record.calls)
            ledger = folder / "state" / "ledger.sqlite3"
            delays: list[float] = []
            with locked_now_and_then(ledger, plan.locks):
                async with anyio.create_task_group() as questions:
                    questions.start_soon(_measure_delays, client, delays)
                    async with anyio.create_task_group() as group:
                        for number, (tool, arguments) in enumerate(requests):
                            wait = plan.waits[number % len(plan.waits)]
                            group.start_soon(_call, client, tool, {**arguments, "wait_seconds": wait})
                    questions.cancel_scope.cancel()
            # What is sent after the answers would come now.
            await anyio.sleep(0.3)
        calls = [call for number, call in record.calls.items() if number not in before]
        return Report([(call, call.arguments["wait_seconds"]) for call in calls], delays)


async def _call(client: Any, tool: str, arguments: dict[str, Any]) -> None:
    await client.call_tool(tool, arguments, progress_callback=_listen)


async def _measure_delays(client: Any, delays: list[float]) -> None:
    """Ask again and again what needs no wait."""
    while True:
        began = time.monotonic()
        await client.list_tools()
        delays.append(time.monotonic() - began)
        await anyio.sleep(0.05)


async def _listen(progress: float, total: float | None, message: str | None) -> None:
    """Ask for progress; the wire record keeps it."""


async def _submit(client: Any, prompt: str) -> str:
    answer = await client.call_tool("submit_task", {"prompt": prompt})
    assert not answer.is_error, answer.content
    return answer.structured_content["task_id"]


def main() -> int:
    """Run one campaign for a person at a terminal."""
    parser = argparse.ArgumentParser(
        description="Let many calls wait side by side, and measure when they are answered."
    )
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=45.0)
    parser.add_argument("--era", choices=("auto", "legacy"), default="auto")
    parser.add_argument("--no-locks", action="store_true", help="nobody locks the ledger")
    options = parser.parse_args()
    third = options.seconds / 3
    locks = () if options.no_locks else ((third, 4.0), (2 * third, 4.0), (options.seconds - 2.0, 5.0))
    plan = Plan(calls=options.calls, waits=(options.seconds,), era=options.era, locks=locks)
    with tempfile.TemporaryDirectory(prefix="wan-mcp-waiting-") as scratch:
        report = anyio.run(run, plan, Path(scratch))
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
