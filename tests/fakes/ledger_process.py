"""A process that works on a ledger as it is told on stdin, one JSON object a line, and answers on stdout."""

import json
import os
import sys
import time
from functools import cache
from pathlib import Path

import anyio

from fakes.orders import make_request, place, placed
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import OrderLimits, RateLimit
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.ledger.leases import new_worker_id
from wan_mcp_tools.domain.errors import DailyLimitError, LedgerError
from wan_mcp_tools.domain.usage import Quota


@cache
def find_worker():
    """Give the id of this process as a worker; not before it runs, as it is forked from one that imported all."""
    return new_worker_id()


async def place_many(ledger, *, count, images, daily_limit=0, user_limit=0):
    """Order as much as the limits of all and of each allow."""
    limits = OrderLimits(Quota(daily_images=daily_limit), Quota(daily_images=user_limit))
    answer = {"placed": 0, "refused": 0, "troubles": []}
    for number in range(count):
        name = f"{find_worker()}-{number}"
        try:
            await place(ledger, local_id=name, fingerprint=name, images_ordered=images, limits=limits)
            answer["placed"] += 1
        except DailyLimitError:
            answer["refused"] += 1
        except LedgerError as error:
            answer["troubles"].append(str(error))
    return answer


async def claim(ledger, *, tries):
    """Take one free order after the other."""
    claimed = []
    for _ in range(tries):
        claimed += await ledger.leases.claim(find_worker(), lease=30, limit=1, longest_lease=45)
    return {"claimed": [order.local_id for order in claimed]}


async def reserve(ledger, *, tasks, seconds, rate, durable=True):
    """Reserve turns, several tasks side by side; answer the moments of the turns."""
    limit, ends, moments = RateLimit("query", rate, is_durable=durable), time.time() + seconds, []

    async def work():
        while time.time() < ends:
            wait = await ledger.limits.reserve(limit)
            moments.append(time.time() + wait)
            await anyio.sleep(wait)

    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(work)
    return {"moments": moments}


async def look(ledger):
    """Open the file, and make it if it is not there."""
    try:
        return {"images": await ledger.reports.count_images_since(0)}
    except LedgerError as error:
        return {"trouble": str(error)}


async def fill(ledger, *, file_bytes):
    """Order until no file may grow any more, then go on when it may; answer what became of it all."""
    import resource  # POSIX alone has it

    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    await ledger.reports.count_images_since(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, room[1]))
    answer = {"placed": 0, "code": None}
    while answer["code"] is None:
        try:
            await placed(ledger, request=make_request("x" * 5000))
            answer["placed"] += 1
        except LedgerError as error:
            answer["code"] = error.code
    answer["readable"] = await ledger.reports.count_images_since(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, room)
    await placed(ledger)
    return answer | {"afterwards": await ledger.reports.count_images_since(0)}


async def order_as_nobody(ledger):
    """Order without the rights of root, which nothing is refused to."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        await placed(ledger)
    except LedgerError as error:
        return {"code": error.code, "text": str(error)}
    return {"code": None}


async def obey(order):
    # On a machine that is busy, four processes at once may wait for each other longer than a tool's call may.
    ledger = open_sqlite_ledger(Path(order.pop("path")), SystemClock(), busy_seconds=10)
    command = COMMANDS[order.pop("command")]
    try:
        return await command(ledger, **order)
    finally:
        await ledger.close()


COMMANDS = {
    "place": place_many,
    "claim": claim,
    "reserve": reserve,
    "look": look,
    "fill": fill,
    "order as nobody": order_as_nobody,
}


def main():
    print(json.dumps({"ready": find_worker()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(anyio.run(obey, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
