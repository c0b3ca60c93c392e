"""A process that works on a ledger as it is told on stdin, one JSON object a line, and answers on stdout."""

import json
import os
import sys
import time
from pathlib import Path

import anyio

from fakes.orders import new_order, placed
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import Limit, SqliteLedger
from wan_mcp.ledger.liveness import new_owner
from wan_mcp_tools.domain.errors import DailyLimitError, LedgerError

OWNER = new_owner()


async def place(ledger, *, count, images, daily_limit):
    """Order as much as the limit allows."""
    answer = {"placed": 0, "refused": 0, "troubles": []}
    for number in range(count):
        words = {"local_id": f"{OWNER}-{number}", "fingerprint": f"{OWNER}-{number}", "images": images}
        try:
            await ledger.place(
                new_order(**words), owner=OWNER, lease=30, wanted_until=0, daily_limit=daily_limit, join=True
            )
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
        claimed += await ledger.claim(OWNER, lease=30, limit=1, longest_lease=45)
    return {"claimed": [order.local_id for order in claimed]}


async def turn(ledger, *, tasks, seconds, rate, lasting=True):
    """Take turns, several tasks side by side; answer the moments of the turns."""
    limit, ends, moments = Limit("query", rate, is_lasting=lasting), time.time() + seconds, []

    async def work():
        while time.time() < ends:
            wait = await ledger.turn(limit)
            moments.append(time.time() + wait)
            await anyio.sleep(wait)

    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(work)
    return {"moments": moments}


async def look(ledger):
    """Open the file, and make it if it is not there."""
    try:
        return {"images": await ledger.images_since(0)}
    except LedgerError as error:
        return {"trouble": str(error)}


async def fill(ledger, *, file_bytes):
    """Order until no file may grow any more, then go on when it may; answer what became of it all."""
    import resource  # POSIX alone has it

    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    await ledger.images_since(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, room[1]))
    answer = {"placed": 0, "code": None}
    while answer["code"] is None:
        try:
            await placed(ledger, request="x" * 5000)
            answer["placed"] += 1
        except LedgerError as error:
            answer["code"] = error.code
    answer["readable"] = await ledger.images_since(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, room)
    await placed(ledger)
    return answer | {"afterwards": await ledger.images_since(0)}


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
    ledger = SqliteLedger(Path(order.pop("path")), SystemClock())
    command = COMMANDS[order.pop("command")]
    try:
        return await command(ledger, **order)
    finally:
        await ledger.close()


COMMANDS = {
    "place": place,
    "claim": claim,
    "turn": turn,
    "look": look,
    "fill": fill,
    "order as nobody": order_as_nobody,
}


def main():
    print(json.dumps({"ready": OWNER}), flush=True)
    for line in sys.stdin:
        print(json.dumps(anyio.run(obey, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
