"""
One campaign: orders go in, processes are killed, the service misbehaves; in the end every account must agree.

The driver does what an agent does. It makes a call; when the process that should answer dies, it makes the same call
again, with the same arguments, to any other; when a wait expires it asks for the task; when it is told that nothing
was ordered it orders again. It never asks for a second charge.
"""

import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from campaigns.crew import Crew, Worker
from campaigns.hunters import RandomHunter, Strike, SubmitHunter
from campaigns.outsider import Outsider
from campaigns.report import Report, count
from fakes.bench import QUICK
from fakes.dashscope import FakeService

LEGACY, NEW = "wan2.5-t2i-preview", "wan2.6-t2i"
_SIZES = ("1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960")
_TICK = 0.02
_NOTHING_ORDERED = frozenset({"NotSent", "NotConnected", "Throttling.RateQuota", "LedgerLocked"})

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
_OTHERS = ({"n": 3}, {"n": 4, "size": "1104*1472"}, {"size": "1300*1300"}, {"n": 2, "size": "1408*1408"})


@dataclass(frozen=True)
class Plan:
    """
    What a campaign does. `protocol` is "legacy", whose results repeat the prompt, or "new", whose do not.

    In the new one every strike falls into a submit. `limit` seconds bound the whole; `at_once` are the calls that a
    worker has at a time; `timings` differ from the tests' quick ones.
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
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return (
            f"{self.protocol} protocol: {self.orders} orders, {self.processes} processes, {self.kills} kills"
            + (f", {self.stops} stops" if self.stops else "")
            + f", seed {self.seed}"
        )


class Campaign:
    """Runs one plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._dice = random.Random(plan.seed)
        self._outsider = Outsider(folder)
        self._report = Report(plan.title, orders=plan.orders)
        self._todo: deque[dict[str, Any]] = deque(self._write_orders())
        self._open = {order["id"]: order for order in self._todo}
        self._starts: list[float] = []
        self._wakes: list[tuple[float, Worker]] = []

    def run(self) -> Report:
        """Work, strike, drain, count."""
        plan, began = self._plan, time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline = began + plan.limit
        self._dashscope = FakeService(seed=plan.seed, duration=plan.duration, image_padding=60_000, list_lag=0.2)
        self._set_chances()
        with self._dashscope:
            timings = self._timings()
            self._crew = Crew(self._folder, self._dashscope.base_url, self._dashscope.image_host, timings)
            self._lease = timings["lease"]
            try:
                self._work(deadline)
                self._drain(deadline)
            finally:
                self._crew.bury()
            self._report.seconds = time.monotonic() - began
            self._report.unanswered = sorted(self._open)
            count(self._report, self._dashscope, self._outsider)
        self._report.others += [line for line in self._crew.errors().splitlines() if "Traceback" in line]
        return self._report

    # The work

    def _work(self, deadline: float) -> None:
        hunter = self._make_hunter()
        for _ in range(self._plan.processes):
            self._crew.start()
        foreign_at = 0.0
        while self._open and time.monotonic() < deadline:
            now = time.monotonic()
            self._hear(self._crew.next(_TICK))
            self._hand_out()
            if strike := hunter.look(now, self._plan.orders - len(self._open)):
                self._strike(strike, now)
            self._keep_up(now)
            if self._plan.protocol == "new" and now >= foreign_at:
                self._make_foreign()
                foreign_at = now + 0.7
        for _, worker in self._wakes:
            if worker in self._crew.workers:
                self._crew.wake(worker)

    def _drain(self, deadline: float) -> None:
        """Kill whoever is left, and let two collectors finish what is open, side by side."""
        self._crew.bury()
        for _ in range(2):
            self._crew.start("--collect")
        while self._crew.workers and time.monotonic() < deadline:
            self._crew.next(0.1)
        while self._has_running_tasks() and time.monotonic() < deadline:
            self._crew.next(0.1)

    def _hand_out(self) -> None:
        for worker in self._crew.workers:
            while self._todo and worker.is_ready and not worker.is_stopped and len(worker.jobs) < self._plan.at_once:
                self._crew.tell(worker, self._todo.popleft())

    def _hear(self, event: tuple[Worker, dict[str, Any] | None] | None) -> None:
        if event is None:
            return
        worker, line = event
        if line is None:
            for job in worker.jobs.values():
                self._call_again(job, died=True)
        elif "id" in line:
            self._judge(worker.jobs.pop(line["id"]), line)

    def _judge(self, job: dict[str, Any], answer: Mapping[str, Any]) -> None:
        """Decide as an agent would what to do with an answer."""
        if answer.get("error", answer.get("code")) in _NOTHING_ORDERED and not answer.get("images"):
            self._call_again(self._open[job["id"]], died=False)
        elif "error" in answer:
            self._report.others.append(f"{job['id']}: {answer['error']} {answer['message']}")
            del self._open[job["id"]]
        elif answer["settled"]:
            del self._open[job["id"]]
        else:
            task = {"id": job["id"], "task_id": answer["task_id"], "wait": 8}
            self._todo.appendleft(task)

    def _call_again(self, job: dict[str, Any], *, died: bool) -> None:
        order = self._open[job["id"]]
        if died and self._outsider.was_delivered(order["prompt"]):
            # The answer was under way when the process died. The pictures are there; a client that makes the same
            # call again would be understood as wanting new ones.
            self._report.answers_cut_off += 1
            del self._open[job["id"]]
            return
        self._report.repeated_calls += 1
        self._todo.appendleft(job)

    # The strikes

    def _make_hunter(self) -> RandomHunter | SubmitHunter:
        plan = self._plan
        verbs = ["kill"] * plan.kills + ["stop"] * plan.stops
        self._dice.shuffle(verbs)
        if plan.protocol == "new":
            return SubmitHunter(self._crew, self._outsider, verbs, plan.orders, self._dice, within=0.35)
        return RandomHunter(self._crew, self._outsider, verbs, plan.orders, self._dice)

    def _strike(self, strike: Strike, now: float) -> None:
        sending = self._outsider.sending()
        if strike.verb == "stop":
            self._crew.stop(strike.worker)
            self._wakes.append((now + self._lease * self._dice.uniform(1.2, 2.5), strike.worker))
            self._report.stops += 1
            return
        self._crew.kill(strike.worker)
        self._starts.append(now + self._dice.uniform(0.0, 0.5))
        self._report.kills += 1
        self._report.kills_in_a_submit += any(self._crew.is_of(row["owner"], strike.worker) for row in sending)

    def _keep_up(self, now: float) -> None:
        """Start and wake those whose time has come."""
        for moment in [each for each in self._starts if each <= now]:
            self._starts.remove(moment)
            self._crew.start()
        for due in [each for each in self._wakes if each[0] <= now]:
            self._wakes.remove(due)
            self._crew.wake(due[1])

    # The service

    def _has_running_tasks(self) -> bool:
        ours = [task for task in self._dashscope.tasks if task["who"] == "client"]
        return any(task["status"] in {"PENDING", "RUNNING"} for task in ours)

    def _make_foreign(self) -> None:
        """Let another program order: other pictures now, or pictures like ours at another time."""
        self._dashscope.create_foreign(model=NEW, **self._dice.choice(_OTHERS))
        age = self._dice.uniform(60, 600)
        self._dashscope.create_foreign(
            model=NEW, n=self._dice.choice((1, 2)), size=self._dice.choice(_SIZES), age=age
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
        model = NEW if self._plan.protocol == "new" else LEGACY
        return [
            {
                "id": f"order-{number:04}",
                "prompt": f"order {number:04} of seed {self._plan.seed}",
                "model": model,
                "n": self._dice.choice((1, 1, 2)),
                "size": self._dice.choice(_SIZES),
                "submit": self._dice.random() < 0.4,
                "wait": 8,
            }
            for number in range(1, self._plan.orders + 1)
        ]

    def _timings(self) -> dict[str, float]:
        timings = QUICK
        if self._plan.protocol == "new":
            # The slot must outlast twice what is uncertain about the service's clock, as it does in the real times.
            timings = replace(timings, submit_slot_seconds=2.0, clock_skew=0.6)
        return asdict(replace(timings, **self._plan.timings))
