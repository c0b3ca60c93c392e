"""
The kill campaign: many orders, several processes, kill -9 at random, a service that misbehaves.

    python tests/campaigns/kill.py --orders 300 --processes 6 --kills 40
    python tests/campaigns/kill.py --protocol new --orders 90 --processes 3 --kills 20
    python tests/campaigns/kill.py --ledger postgres --cuts 5 --restarts 2
    python tests/campaigns/kill.py --pictures

Prints a report and exits 1 if a promise was broken: an order paid twice, a paid image without its file, a file under
the wrong order. Needs no network and no key: the service is on this machine.

The campaign does what an agent does. It makes a call; when the process that should answer dies, it makes the same call
again, with the same arguments, to any other, and when the ledger is away; when a wait expires it asks for the task; when it is told that nothing
was ordered it orders again. It never asks for a second charge.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaigns.interruptions import Interruption, RandomInterruptions, SubmitInterruptions
from campaigns.report import Report, count
from campaigns.state_reader import StateReader
from campaigns.support import EDITING, LEGACY, NEW
from campaigns.worker_pool import Worker, WorkerPool
from fakes import tiny_png
from fakes.dashscope import FakeService
from fakes.order_service import QUICK
from fakes.postgres import cut_connections, restart_server, running_server

_SIZES = ("1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960")
_EDITING_SIZES = ("1280*1280", "1024*1024", "960*1280", "1280*960")
_INPUT_SIDES = (400, 640, 900, 1200, 1500)
"""Of pictures of noise: some orders have them in the body, the larger ones hand them to the service's store."""
_TICK = 0.02
_NOTHING_ORDERED = frozenset({"NotSent", "NotConnected", "Throttling.RateQuota"})
_AWAY = frozenset({"LedgerLocked", "LedgerUnavailable"})

_LOST_OR_REFUSED = (
    "drop-after",
    "status-500-after",
    "html-502-after",
    "half-json-after",
    "drop-before",
    {"kind": "error-429", "code": "Throttling.RateQuota", "retry_after": 0.3},
)
_FAULTS: Mapping[str, tuple[float, tuple[Any, ...]]] = {
    "create": (
        0.5,
        (
            *_LOST_OR_REFUSED,
            *({"kind": "slow-after", "seconds": seconds} for seconds in (0.1, 0.2, 0.3, 0.4) for _ in range(6)),
        ),
    ),
    "query": (0.05, ("error-500", {"kind": "error-429", "retry_after": 0.2}, "html-502", "drop")),
    "list": (0.05, ("error-500", "drop")),
    "image": (0.10, ("cut", "error-500", "drop", {"kind": "slow", "seconds": 0.4})),
}
_SLOW_CREATES = (
    1.0,
    (
        *({"kind": "slow-after", "seconds": seconds} for seconds in (0.3, 0.4) for _ in range(18)),
        *({"kind": "slow-before", "seconds": 0.15} for _ in range(18)),
    ),
)
_FOREIGN = ({"n": 3}, {"n": 4, "size": "1104*1472"}, {"size": "1440*1440"}, {"n": 2, "size": "1408*1408"})


@dataclass(frozen=True)
class Plan:
    """
    What a campaign does. `protocol` is "legacy", whose results repeat the prompt, or "new", whose do not.

    In the new one every interruption falls into a submit. `limit` seconds bound the whole; `at_once` are the calls
    that a worker has at a time. With `ledger` "postgres" the ledger is a server of the campaign's own, whose connections
    are all cut `cuts` times, and which is restarted `restarts` times without letting anything end. With `pictures` each
    order has one to three as input. `timings` differ from the tests' quick ones.
    """

    orders: int
    processes: int
    kills: int
    stops: int = 0
    protocol: str = "legacy"
    seed: int = 1
    faults: bool = True
    at_once: int = 3
    limit: float = 600.0
    duration: tuple[float, float] = (0.2, 2.0)
    ledger: str = "sqlite"
    cuts: int = 0
    restarts: int = 0
    pictures: bool = False
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model of every order."""
        model = NEW if self.protocol == "new" else LEGACY
        return EDITING[model] if self.pictures else model

    @property
    def sizes(self) -> Sequence[str]:
        """Sizes that the model takes."""
        return _EDITING_SIZES if self.pictures else _SIZES

    @property
    def title(self) -> str:
        where = " on PostgreSQL" if self.ledger == "postgres" else ""
        what = " with pictures" if self.pictures else ""
        return (
            f"{self.protocol} protocol{where}{what}: {self.orders} orders, {self.processes} processes, {self.kills} kills"
            + (f", {self.stops} stops" if self.stops else "")
            + f", seed {self.seed}"
        )


class Campaign:
    """Runs one plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._dice = random.Random(plan.seed)
        self._report = Report(plan.title, orders=plan.orders)
        self._calls: deque[dict[str, Any]] = deque(self._write_orders())
        self._open = {order["id"]: order for order in self._calls}
        self._disturbances = ["cut"] * plan.cuts + ["restart"] * plan.restarts
        random.Random(plan.seed + 1).shuffle(self._disturbances)
        self._starts: list[float] = []
        self._resumes: list[tuple[float, Worker]] = []

    def run(self) -> Report:
        """Order, interrupt, finish what is open, count."""
        if self._plan.ledger != "postgres":
            return self._run(None, None)
        with running_server() as (server, url):
            self._report.cuts = self._report.restarts = 0
            return self._run(server, url)

    def _run(self, server: Path | None, ledger_url: str | None) -> Report:
        plan, began = self._plan, time.monotonic()
        self._server, self._ledger_url = server, ledger_url
        self._reader = StateReader(self._folder, ledger_url)
        self._folder.mkdir(parents=True, exist_ok=True)
        if plan.pictures:
            self._paint_inputs()
        deadline = began + plan.limit
        self._dashscope = FakeService(seed=plan.seed, duration=plan.duration, image_padding=60_000, list_lag=0.2)
        self._set_chances()
        with self._dashscope:
            timings = self._timings()
            self._pool = WorkerPool(
                self._folder, self._dashscope.base_url, self._dashscope.image_host, timings, ledger_url=ledger_url
            )
            self._lease = timings["lease"]
            try:
                self._work(deadline)
                self._finish(deadline)
            finally:
                self._pool.kill_all()
            self._report.seconds = time.monotonic() - began
            self._report.unanswered = sorted(self._open)
            count(self._report, self._dashscope, self._reader)
            self._reader.close()
        self._report.others += [line for line in self._pool.read_errors().splitlines() if "Traceback" in line]
        return self._report

    # The calls

    def _work(self, deadline: float) -> None:
        interruptions = self._plan_interruptions()
        for _ in range(self._plan.processes):
            self._pool.start()
        foreign_at = 0.0
        while self._open and time.monotonic() < deadline:
            now = time.monotonic()
            self._handle(self._pool.next_event(_TICK))
            self._send_calls()
            if interruption := interruptions.find_due(now, self._plan.orders - len(self._open)):
                self._interrupt(interruption, now)
            self._disturb_database(self._plan.orders - len(self._open))
            self._start_and_resume(now)
            if self._plan.protocol == "new" and now >= foreign_at:
                self._make_foreign()
                foreign_at = now + 0.7
        for _, worker in self._resumes:
            if worker in self._pool.workers:
                self._pool.resume(worker)

    def _finish(self, deadline: float) -> None:
        """Kill whoever is left, and let two collectors finish what is open, side by side."""
        self._pool.kill_all()
        for _ in range(2):
            self._pool.start("--collect")
        while self._pool.workers and time.monotonic() < deadline:
            self._pool.next_event(0.1)
        while self._has_running_tasks() and time.monotonic() < deadline:
            self._pool.next_event(0.1)

    def _send_calls(self) -> None:
        for worker in self._pool.workers:
            while (
                self._calls and worker.is_ready and not worker.is_stopped and len(worker.calls) < self._plan.at_once
            ):
                self._pool.send(worker, self._calls.popleft())

    def _handle(self, event: tuple[Worker, dict[str, Any] | None] | None) -> None:
        if event is None:
            return
        worker, line = event
        if line is None:
            for call in worker.calls.values():
                self._call_again(call, died=True)
        elif "id" in line:
            self._handle_answer(worker.calls.pop(line["id"]), line)

    def _handle_answer(self, call: dict[str, Any], answer: Mapping[str, Any]) -> None:
        """Decide as an agent would what to do with an answer."""
        code = answer.get("error", answer.get("code"))
        if code in _AWAY and not answer.get("images"):
            # What became of the call is not known; the same call finds it.
            self._call_again(self._open[call["id"]], died=True)
        elif code in _NOTHING_ORDERED and not answer.get("images"):
            self._call_again(self._open[call["id"]], died=False)
        elif "error" in answer:
            self._report.others.append(f"{call['id']}: {answer['error']} {answer['message']}")
            del self._open[call["id"]]
        elif answer["settled"]:
            del self._open[call["id"]]
        else:
            self._calls.appendleft({"id": call["id"], "task_id": answer["task_id"], "wait": 8})

    def _call_again(self, call: dict[str, Any], *, died: bool) -> None:
        order = self._open[call["id"]]
        if died and self._reader.was_delivered(order["prompt"]):
            # The answer was under way when the process died. The pictures are there; a client that makes the same
            # call again would be understood as wanting new ones.
            self._report.answers_cut_off += 1
            del self._open[call["id"]]
            return
        self._report.repeated_calls += 1
        self._calls.appendleft(call)

    # The interruptions

    def _plan_interruptions(self) -> RandomInterruptions | SubmitInterruptions:
        plan = self._plan
        actions = ["kill"] * plan.kills + ["stop"] * plan.stops
        self._dice.shuffle(actions)
        if plan.protocol == "new":
            return SubmitInterruptions(self._pool, self._reader, actions, plan.orders, self._dice, within=0.35)
        return RandomInterruptions(self._pool, self._reader, actions, plan.orders, self._dice)

    def _interrupt(self, interruption: Interruption, now: float) -> None:
        worker = interruption.worker
        if interruption.action == "stop":
            self._pool.stop(worker)
            self._resumes.append((now + self._lease * self._dice.uniform(1.2, 2.5), worker))
            self._report.stops += 1
            return
        self._pool.kill(worker)
        self._starts.append(now + self._dice.uniform(0.0, 0.5))
        self._report.kills += 1
        # Its lease lasts: what was being sent still says so.
        sending = self._reader.sending()
        self._report.kills_in_a_submit += any(self._pool.is_worker(row["owner"], worker) for row in sending)

    def _disturb_database(self, finished: int) -> None:
        """Cut all connections to the database, or restart it, spread over the work."""
        if self._server is None or self._ledger_url is None or not self._disturbances:
            return
        done = self._plan.cuts + self._plan.restarts - len(self._disturbances)
        if finished < (done + 0.5) * 0.8 * self._plan.orders / (done + len(self._disturbances)):
            return
        if self._disturbances.pop() == "cut":
            cut_connections(self._ledger_url)
            self._report.cuts = (self._report.cuts or 0) + 1
        else:
            restart_server(self._server)
            self._report.restarts = (self._report.restarts or 0) + 1

    def _start_and_resume(self, now: float) -> None:
        """Start and resume those whose time has come."""
        for moment in [each for each in self._starts if each <= now]:
            self._starts.remove(moment)
            self._pool.start()
        for due in [each for each in self._resumes if each[0] <= now]:
            self._resumes.remove(due)
            self._pool.resume(due[1])

    # The service

    def _has_running_tasks(self) -> bool:
        ours = [task for task in self._dashscope.tasks if task["who"] == "client"]
        return any(task["status"] in {"PENDING", "RUNNING"} for task in ours)

    def _make_foreign(self) -> None:
        """Let another program order: other pictures now, and pictures like ours at another time."""
        self._dashscope.create_foreign(model=self._plan.model, **self._dice.choice(_FOREIGN))
        age = self._reader.longest_unanswered() + self._dice.uniform(60, 600)
        self._dashscope.create_foreign(
            model=self._plan.model, n=self._dice.choice((1, 2)), size=self._dice.choice(self._plan.sizes), age=age
        )

    def _set_chances(self) -> None:
        chances = dict(_FAULTS) if self._plan.faults else {}
        if self._plan.protocol == "new":
            odds, slow = _SLOW_CREATES
            chances["create"] = odds, (*slow, *(_LOST_OR_REFUSED if self._plan.faults else ()))
        for place, (odds, faults) in chances.items():
            self._dashscope.set_chance(place, odds, *faults)

    # The orders

    def _write_orders(self) -> list[dict[str, Any]]:
        return [
            {
                "id": f"order-{number:04}",
                "prompt": f"order {number:04} of seed {self._plan.seed}",
                "model": self._plan.model,
                "n": self._dice.choice((1, 1, 2)),
                "size": self._dice.choice(self._plan.sizes),
                **self._choose_inputs(),
                "submit": self._dice.random() < 0.4,
                "wait": 8,
            }
            for number in range(1, self._plan.orders + 1)
        ]

    def _choose_inputs(self) -> dict[str, Any]:
        if not self._plan.pictures:
            return {}
        chosen = self._dice.sample(_INPUT_SIDES, self._dice.randint(1, 3))
        return {"images": [str(self._folder / "inputs" / f"{side}.png") for side in chosen]}

    def _paint_inputs(self) -> None:
        folder = self._folder / "inputs"
        folder.mkdir(exist_ok=True)
        for side in _INPUT_SIDES:
            (folder / f"{side}.png").write_bytes(tiny_png.encode_noise(side))

    def _timings(self) -> dict[str, float]:
        # A process may be long between noting that it sends an order and sending it, where the machine is busy.
        timings = replace(QUICK, create_window=30.0)
        if self._plan.protocol == "new":
            # The slot must outlast twice what is uncertain about the service's clock, as it does in the real times.
            timings = replace(timings, submit_slot_seconds=2.0, clock_skew=0.6)
        return asdict(replace(timings, **self._plan.timings))


def main() -> int:
    """Run one campaign for a person at a terminal."""
    parser = argparse.ArgumentParser(description="Kill the server again and again, and count what was lost.")
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--stops", type=int, default=0, help="processes held still (SIGSTOP) past their lease")
    parser.add_argument("--protocol", choices=("legacy", "new"), default="legacy", help="new: no prompt is echoed")
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite", help="where the ledger lies")
    parser.add_argument("--cuts", type=int, default=0, help="times that all connections to PostgreSQL are cut")
    parser.add_argument("--restarts", type=int, default=0, help="restarts of PostgreSQL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=3, help="calls that each process has at a time")
    parser.add_argument("--pictures", action="store_true", help="each order has pictures as input")
    parser.add_argument("--no-faults", action="store_true", help="the service itself behaves")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which the campaign ends")
    parser.add_argument("--folder", type=Path, help="keep the ledger and the pictures here")
    options = parser.parse_args()
    plan = Plan(
        orders=options.orders,
        processes=options.processes,
        kills=options.kills,
        stops=options.stops,
        protocol=options.protocol,
        seed=options.seed,
        faults=not options.no_faults,
        at_once=options.at_once,
        limit=options.limit,
        ledger=options.ledger,
        cuts=options.cuts,
        restarts=options.restarts,
        pictures=options.pictures,
    )
    with tempfile.TemporaryDirectory(prefix="wan-mcp-campaign-") as scratch:
        report = Campaign(plan, options.folder or Path(scratch)).run()
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
