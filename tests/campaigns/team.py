"""
The campaign against a team's server: replicas on PostgreSQL and an object store, behind a proxy, with people who sign in.

    python tests/campaigns/team.py --orders 300 --kills 40 --restarts 2 --cuts 5 --refusals 2 --replicas 3
    python tests/campaigns/team.py --orders 60 --kills 8 --times quick --no-nginx

Replicas are killed with -9 at random moments and started again, the database is restarted and its connections are cut,
and the object store refuses for a while. Every server is real: PostgreSQL, `rclone serve s3`, nginx with the
configuration of `deploy`, and the program itself with its own times. Prints a report and exits 1 if a promise was broken:
an order lost, paid twice or unfinished, a picture under another principal, a task that another one sees. Needs no
network and no key: the service is on this machine.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaigns.front import open_client
from campaigns.interruptions import RandomInterruptions
from campaigns.team_callers import Caller, Record, TeamOrder, ask_for, list_own
from campaigns.team_report import BucketReader, TeamReport, count_team, own_ids
from campaigns.team_servers import PEOPLE, running_team
from fakes import s3
from fakes.dashscope import FakeService
from fakes.order_service import QUICK
from fakes.postgres import cut_connections, restart_server

LEGACY = "wan2.5-t2i-preview"
_SIZES = ("1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960")
_ERAS = ("auto", "legacy")
_TICK = 0.02
_LATEST = 0.8
"""Of the orders have ended when the last thing happens to the servers."""


@dataclass(frozen=True)
class Plan:
    """
    What a campaign does.

    `timings` are other times than the program's own, `refusal_seconds` how long the store refuses, `each` how many
    programs of each person order at the same time. `limit` seconds bound the whole.
    """

    orders: int
    replicas: int
    kills: int
    restarts: int = 0
    cuts: int = 0
    refusals: int = 0
    refusal_seconds: float = 10.0
    seed: int = 1
    each: int = 8
    limit: float = 900.0
    duration: tuple[float, float] = (0.5, 6.0)
    timings: Mapping[str, float] | None = None
    with_nginx: bool = True

    @property
    def title(self) -> str:
        """What it is, in a line."""
        times = "the program's own times" if self.timings is None else "quick times"
        return f"a team's server: {self.orders} orders, {self.replicas} replicas, {times}, seed {self.seed}"


class Campaign:
    """Runs one plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._dice = random.Random(plan.seed)
        self._orders = self._write_orders()
        self._record = Record()
        self._report = TeamReport(plan.title, orders=plan.orders, cuts=0, restarts=0)
        self._is_over = threading.Event()
        self._reading = threading.Lock()

    def run(self) -> TeamReport:
        """Start everything, order, disturb, finish what is open, count."""
        plan, began = self._plan, time.monotonic()
        self._deadline = began + plan.limit
        self._folder.mkdir(parents=True, exist_ok=True)
        with FakeService(
            seed=plan.seed, duration=plan.duration, image_padding=60_000, list_lag=0.2
        ) as self._dashscope:
            self._dashscope.set_chance("create", 1.0, *_make_slow_creates())
            with running_team(
                self._folder,
                self._dashscope,
                replicas=plan.replicas,
                timings=plan.timings,
                with_nginx=plan.with_nginx,
            ) as self._team:
                # One for each thread that reads.
                self._readers = [
                    BucketReader(self._folder, self._team.ledger_url, self._team.bucket) for _ in range(2)
                ]
                anyio.run(self._work)
                self._team.pool.kill_all()
                self._report.seconds = time.monotonic() - began
                self._count()
        return self._report

    async def _work(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run_sync, self._disturb)
            try:
                with anyio.move_on_after(self._deadline - time.monotonic()):
                    await self._order()
                    await self._finish()
                    await self._compare_views()
            finally:
                self._is_over.set()

    async def _order(self) -> None:
        """Let everybody order, and end when every order has its end."""
        async with anyio.create_task_group() as group:
            for number, name in enumerate(PEOPLE):
                orders = deque(order for order in self._orders if order.person == name)
                for each in range(self._plan.each):
                    caller = Caller(
                        self._team.front,
                        self._team.tokens[name],
                        orders,
                        self._record,
                        era=_ERAS[(number + each) % 2],
                        seed=f"{self._plan.seed}:{name}:{each}",
                        was_delivered=self._was_delivered,
                    )
                    group.start_soon(caller.run)

    async def _finish(self) -> None:
        """Wait until nothing is left to do for the replicas."""
        while await run_sync(self._readers[0].count_open) or self._has_running_tasks():
            await anyio.sleep(0.1)

    async def _compare_views(self) -> None:
        """Ask as each of the people for the tasks that they see, and for one of every other's."""
        rows = await run_sync(self._readers[0].orders)
        for name in PEOPLE:
            own = own_ids(rows, f"token:{name}")
            others = set().union(*(own_ids(rows, f"token:{each}") for each in PEOPLE if each != name))
            async with open_client(self._team.front, self._team.tokens[name]) as client:
                seen = await list_own(client)
                self._report.seen_by_others += [f"{name} is shown {each}" for each in sorted(seen - own)]
                tasks = {row["task_id"] for row in rows.values() if row["task_id"] in own}
                self._report.others += [f"{name} is not shown {each}" for each in sorted(tasks - seen)]
                unknown = await ask_for(client, "00000000-0000-4000-8000-000000000000")
                for each in sorted(others)[:3]:
                    if await ask_for(client, each) != unknown:
                        self._report.seen_by_others.append(f"{name} is told of {each}")

    # What happens to the servers

    def _disturb(self) -> None:
        plan, report, reader = self._plan, self._report, self._readers[1]
        kills = RandomInterruptions(self._team.pool, reader, ["kill"] * plan.kills, plan.orders, self._dice)
        due = ["cut"] * plan.cuts + ["restart"] * plan.restarts + ["refuse"] * plan.refusals
        random.Random(plan.seed + 1).shuffle(due)
        count, starts, store_returns = len(due), dict[int, float](), 0.0
        while not self._is_over.wait(_TICK):
            now, finished = time.monotonic(), self._record.finished
            if interruption := kills.find_due(now, finished):
                self._team.pool.kill(interruption.worker)
                starts[interruption.worker.number] = now + self._dice.uniform(0.0, 0.5)
                report.kills += 1
                # Its lease lasts: what was being sent still says so.
                sending = reader.sending()
                report.kills_in_a_submit += any(
                    self._team.pool.is_worker(row["owner"], interruption.worker) for row in sending
                )
            if due and finished >= (count - len(due) + 0.5) * _LATEST * plan.orders / count:
                store_returns = self._disturb_servers(due, store_returns)
            if self._team.store.is_refusing and now >= store_returns:
                self._team.store.is_refusing = False
            for number in [number for number, moment in starts.items() if moment <= now]:
                del starts[number]
                self._team.pool.start(number)
            for number in set(self._team.pool.missing) - set(starts):
                report.others.append(f"replica {number + 1} ended by itself")
                starts[number] = now + 1
        self._team.store.is_refusing = False

    def _disturb_servers(self, due: list[str], store_returns: float) -> float:
        """Do the next thing to the database or the store; give when the store comes back."""
        report, kind = self._report, due[-1]
        if kind == "refuse":
            if self._team.store.is_refusing:
                return store_returns
            store_returns = time.monotonic() + self._plan.refusal_seconds
            self._team.store.refuse()
            report.refusals += 1
        elif kind == "cut":
            cut_connections(self._team.ledger_url)
            report.cuts = (report.cuts or 0) + 1
        else:
            restart_server(self._team.database)
            report.restarts = (report.restarts or 0) + 1
        due.pop()
        return store_returns

    # What is asked

    def _was_delivered(self, prompt: str) -> bool:
        with self._reading:
            return self._readers[0].was_delivered(prompt)

    def _has_running_tasks(self) -> bool:
        return any(task["status"] in {"PENDING", "RUNNING"} for task in self._dashscope.tasks)

    def _count(self) -> None:
        report, record = self._report, self._record
        report.repeated_calls, report.answers_cut_off = record.repeated_calls, record.answers_cut_off
        report.unanswered, report.refused = sorted(record.unanswered), self._team.store.refused
        report.spooled = len(self._team.pool.leftovers())
        report.title += f", behind {self._team.front.program}"
        report.others += record.others
        report.others += [line for line in self._team.pool.errors if "Traceback" in line]
        count_team(report, self._dashscope, self._readers[0], {name: f"token:{name}" for name in PEOPLE})
        for reader in self._readers:
            reader.close()

    def _write_orders(self) -> list[TeamOrder]:
        return [
            TeamOrder(
                person=(person := PEOPLE[number % len(PEOPLE)]),
                prompt=f"{person} orders picture {number:04} of seed {self._plan.seed}",
                model=LEGACY,
                n=self._dice.choice((1, 1, 2)),
                size=self._dice.choice(_SIZES),
                is_submitted=self._dice.random() < 0.4,
            )
            for number in range(self._plan.orders)
        ]


def _make_slow_creates() -> list[dict[str, object]]:
    return [{"kind": "slow-after", "seconds": seconds} for seconds in (0.1, 0.2, 0.3, 0.4)]


QUICK_TIMES: Mapping[str, float] = asdict(replace(QUICK, create_window=30.0))
"""A process may be long between noting that it sends an order and sending it, where the machine is busy."""


def main() -> int:
    """Run one campaign for a person at a terminal."""
    parser = argparse.ArgumentParser(description="Kill the replicas of a team's server, and count what was lost.")
    parser.add_argument("--orders", type=int, default=300)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--restarts", type=int, default=2, help="restarts of PostgreSQL")
    parser.add_argument("--cuts", type=int, default=5, help="times that all connections to PostgreSQL are cut")
    parser.add_argument("--refusals", type=int, default=2, help="times that the object store refuses for ten seconds")
    parser.add_argument("--each", type=int, default=8, help="programs of each person that order at the same time")
    parser.add_argument(
        "--times", choices=("real", "quick"), default="real", help="quick: leases of 1.5 s and the like"
    )
    parser.add_argument("--no-nginx", action="store_true", help="a plain forwarder in its place")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which the campaign ends")
    parser.add_argument("--folder", type=Path, help="keep the replicas' files and logs here")
    options = parser.parse_args()
    plan = Plan(
        orders=options.orders,
        replicas=options.replicas,
        kills=options.kills,
        restarts=options.restarts,
        cuts=options.cuts,
        refusals=options.refusals,
        seed=options.seed,
        each=options.each,
        limit=options.limit,
        timings=QUICK_TIMES if options.times == "quick" else None,
        with_nginx=not options.no_nginx,
    )
    with tempfile.TemporaryDirectory(prefix="wan-mcp-team-") as scratch:
        try:
            report = Campaign(plan, options.folder or Path(scratch)).run()
        finally:
            s3.stop_server(s3.choose_folder())
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
