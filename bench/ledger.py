"""
What a ledger of a million orders costs beside one of a thousand.

Both are made in a temporary folder (the large one takes 1.2 GB and a minute) as an earlier release would have left
them, brought up to date, and then asked in turn for what a call, a page and a poll need. The ratio of the medians is
what counts. Run it with `python bench/ledger.py`; with `--postgres` both are databases of a PostgreSQL server.
"""

# pyright: basic
# (rows are written past the ledger's own methods, which are too slow for a million)

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
from mcp import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fakes.filled_database import fill_database
from fakes.postgres import make_schema, running_server, start_server
from wan_mcp.app import build_server, build_service, open_ledger
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import OrderLimits, Stage, new_local_id
from wan_mcp.ledger.backends.sqlite import SqliteDatabase
from wan_mcp.ledger.migrations import MIGRATIONS
from wan_mcp.settings import read_settings
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Quota

LIMITS = OrderLimits(Quota(daily_images=1_000_000))

FILE = "ledger.sqlite3"
EARLIER = (1, 2)
"""The migrations of the release before."""
TURNS, WARM_UP = 4, 3
SMALL, LARGE = 1_000, 1_000_000
APART = 90.0
"""Seconds between two orders: a million of them are about three years."""
MODEL, REGION = "wan2.6-t2i", "singapore"
_REQUEST = json.dumps(
    ImageRequest(model=MODEL, region=REGION, prompt="a flower shop", size="1280*1280", n=1).to_dict(), sort_keys=True
)
_COUNTED_UP = "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count)"
_ORDERS = f"""
    {_COUNTED_UP}
    INSERT INTO orders (local_id, task_id, origin, region, account, model, wire_model, protocol, request, fingerprint,
        images_ordered, folder, stage, status, created_at, sent_at, accepted_at, finished_at, expires_at, duration,
        delivered_at, search_text)
    SELECT printf('local-%08x%024x', n * 2654435761 % 4294967296, n),
        printf('%08x-0000-4000-8000-%012x', n * 2654435761 % 4294967296, n),
        'ordered', CASE n % 5 WHEN 3 THEN 'beijing' ELSE '{REGION}' END, 'account',
        CASE n % 4 WHEN 3 THEN 'wan2.7-image' ELSE '{MODEL}' END, '{MODEL}', 'async', :request, 'request ' || n, 1,
        '/pictures', 'CLOSED', CASE n % 50 WHEN 7 THEN 'FAILED' ELSE 'SUCCEEDED' END,
        :now - 600 - n * {APART}, :now - 600 - n * {APART}, :now - 599 - n * {APART}, :now - 580 - n * {APART},
        :now + 85800 - n * {APART}, CASE n % 50 WHEN 7 THEN NULL ELSE 20.0 + n % 7 END, :now - 579 - n * {APART},
        'a flower shop'
    FROM numbers
"""
_IMAGES = """
    INSERT INTO images (local_id, "index", state, path, width, height, bytes, sha256)
    SELECT local_id, 1, 'SAVED', '/pictures/20261122-a-flower-shop-' || local_id || '-1.png', 1280, 1280, 2345678,
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    FROM orders WHERE status = 'SUCCEEDED' ORDER BY local_id
"""


async def bring_up_to_date(path: Path, migrations=MIGRATIONS) -> None:
    """Make what a ledger lacks."""
    database = SqliteDatabase(path, SystemClock(), migrations=migrations)
    await database.read(lambda tx: tx.execute("SELECT 1"))
    await database.close()


def fill(path: Path, count: int) -> None:
    """Make a ledger of `count` orders that are closed, most of them with a saved image."""
    anyio.run(bring_up_to_date, path, {number: MIGRATIONS[number] for number in EARLIER})
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA cache_size = -500000")
        file.execute("BEGIN")
        file.execute(_ORDERS, {"count": count, "now": time.time(), "request": _REQUEST})
        file.execute(_IMAGES)
        file.execute("COMMIT")


async def ask(state: Path, url: str | None, rounds: int) -> dict[str, list[float]]:
    """Give the times of each question to a ledger, in milliseconds."""
    settings = read_settings(
        {
            "DASHSCOPE_REGION": "sandbox",
            "WAN_MCP_OUTPUT_DIR": str(state / "pictures"),
            "WAN_MCP_STATE_DIR": str(state),
            "WAN_MCP_DAILY_IMAGE_LIMIT": "0",
            **({"WAN_MCP_LEDGER_URL": url} if url else {}),
        }
    )
    service = build_service(settings)
    # A connection of its own for what a call asks before and while it orders; nothing is sent.
    ledger = open_ledger(settings, SystemClock())
    times: dict[str, list[float]] = {}

    async def measure(name: str, question: Callable[[], Awaitable[object]]) -> None:
        started = time.perf_counter()
        await question()
        times.setdefault(name, []).append((time.perf_counter() - started) * 1000)

    async def place_first(number: int) -> None:
        await ledger.reports.list_durations(REGION, f"new-{number}", 1)
        order = replace(
            known,
            local_id=new_local_id(),
            task_id=None,
            model=f"new-{number % 10}",
            fingerprint=f"new {time.time_ns()}",
            stage=Stage.CLOSED,
            status=TaskStatus.CANCELED,
            images=(),
        )
        await ledger.orders.place(order, lease=0, limits=LIMITS, deduplicate=True)

    async def refresh() -> None:
        await service.count_orders(OrderQuery())
        await service.find_orders(OrderQuery(state=OrderState.OPEN), limit=100, cursor=None)

    async with Client(build_server(service)) as client:
        known = (await ledger.search.list_orders(status=None, limit=SMALL // 2, before=None))[-1]

        async def call(tool: str, **arguments: object) -> None:
            answer = await client.call_tool(tool, arguments)
            if answer.is_error:
                raise RuntimeError(f"{tool}: {answer}")

        for number in range(-WARM_UP, rounds):
            await measure("list_tasks", lambda: call("list_tasks"))
            await measure("list_tasks, a status nothing has", lambda: call("list_tasks", status="RUNNING"))
            await measure("get_task", lambda: call("get_task", task_id=known.best_id))
            await measure("get by an id's beginning", lambda: service.find_by_beginning(known.best_id[:8], limit=10))
            await measure("first order of a new model", partial(place_first, number))
            # After a write, which is when it costs something.
            await measure("an open gallery's refresh", refresh)
            await measure(
                "a worker's look for orders",
                lambda: ledger.leases.claim("bench/1/1", lease=30, limit=100, longest_lease=60),
            )
    await ledger.close()
    return {name: values[WARM_UP:] for name, values in times.items()}


@contextmanager
def make_files(orders: int) -> Generator[list[tuple[Path, str | None]]]:
    """Make both ledgers as files, and bring them up to date."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, "small"), Path(name, "large")]
        for folder, count in zip(folders, (SMALL, orders), strict=True):
            folder.mkdir()
            fill(folder / FILE, count)
            started = time.perf_counter()
            anyio.run(bring_up_to_date, folder / FILE)
            print(f"{count:,} orders: brought up to date in {time.perf_counter() - started:.1f} s")
        yield [(folder, None) for folder in folders]


@contextmanager
def make_databases(orders: int) -> Generator[list[tuple[Path, str | None]]]:
    """Make both ledgers in a PostgreSQL server."""
    with tempfile.TemporaryDirectory() as name, running_server() as (server, first):
        urls = [first, make_schema(start_server(server))]
        for url, count in zip(urls, (SMALL, orders), strict=True):
            anyio.run(make_tables, url)
            fill_database(url, count, now=time.time())
        yield [(Path(name), url) for url in urls]


async def make_tables(url: str) -> None:
    """Make the tables of a database."""
    ledger = open_ledger(read_settings({"WAN_MCP_LEDGER_URL": url}), SystemClock())
    await ledger.orders.get("")
    await ledger.close()


def main() -> None:
    """Print medians and their ratios; exit 1 if one is above the bound."""
    parser = argparse.ArgumentParser(description="A ledger of a million orders beside one of a thousand.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--orders", type=int, default=LARGE, help="orders of the large ledger")
    parser.add_argument("--most", type=float, default=2.0, help="the largest ratio that passes")
    parser.add_argument("--postgres", action="store_true", help="in PostgreSQL in the place of files")
    arguments = parser.parse_args()
    make = make_databases if arguments.postgres else make_files
    small, large = {}, {}
    with make(arguments.orders) as ledgers:
        for _ in range(TURNS):
            for (folder, url), times in zip(ledgers, (small, large), strict=True):
                for question, values in anyio.run(ask, folder, url, arguments.rounds // TURNS).items():
                    times.setdefault(question, []).extend(values)
    print(f"{'median':34} {SMALL:>12,} {arguments.orders:>12,} {'ratio':>6}")
    is_missed = False
    for question, values in small.items():
        medians = [statistics.median(values), statistics.median(large[question])]
        ratio = medians[1] / medians[0]
        is_missed = is_missed or ratio > arguments.most
        print(f"{question:34} {medians[0]:9.2f} ms {medians[1]:9.2f} ms {ratio:6.2f}")
    print(f"at most {arguments.most}")
    sys.exit(is_missed)


if __name__ == "__main__":
    main()
