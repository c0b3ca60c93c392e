"""
The campaign of damaged ledgers: a file is made other than it was, and everything is asked that can be asked.

    python tests/campaigns/ledger_damage.py --cases 1000 --seed 1
    python tests/campaigns/ledger_damage.py --cases 100000 --seconds 600

Each case damages a copy of one ledger in a way of `damage.py`, before a server starts or while it runs. The server must
answer every call in time, in its own words, and end only when it is told to; so must the commands, the gallery and
`doctor`. No picture that is there may change, none may come to be elsewhere, and what cannot be read is named. Prints
a report and exits 1 if a promise was broken. Needs no network and no key.
"""

import argparse
import hashlib
import json
import logging
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
import httpx
from click.testing import CliRunner
from mcp import Client

from campaigns.damage import DAMAGES
from campaigns.tally import LogKeeper
from fakes.filled_ledger import fill
from fakes.order_service import QUICK, make_settings
from fakes.orders import make_order, make_request
from wan_mcp.app import build_server, build_service
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import DAY, ImageState, Order, OrderImage, RateLimit, Slot, Stage
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.web.gallery import make_gallery_app
from wan_mcp.web.security import Secrets
from wan_mcp_tools.domain.tasks import TaskStatus

_LONGEST_CALL = 30.0
"""Seconds; a call of this campaign waits for one at most."""
_HOST = "127.0.0.1:4711"
_PYTHONS_WORDS = re.compile(
    r"Traceback|Error executing|NoneType|has no attribute|unsupported operand|not subscriptable|invalid literal|"
    r"could not convert|codec can't|no such (?:table|column)|is not a valid \w+|\b(?:Type|Value|Key|Overflow|"
    r"Index|Attribute|Unicode\w+)Error\b|__init__|object is not"
)


@dataclass
class Report:
    """What the campaign did, and what it found: for each broken promise the seed of its case, the damage and the words."""

    cases: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.cases} damaged ledgers in {self.seconds:.0f} s, {len(self.broken)} broken promises"]
        lines += [f"  {count:7} {kind}" for kind, count in sorted(self.answers.items())]
        return "\n".join([*lines, *(f"BROKEN {each}" for each in self.broken)])


class Campaign:
    """Runs one case after the other, each in a folder of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._template = folder / "template"
        self.report = Report()
        # Its rows name the folder in which each case has its copy.
        anyio.run(_make_ledger, folder / "case")
        (folder / "case").rename(self._template)

    def run(self, cases: int, seconds: float, first: int = 0) -> Report:
        """Run cases until there are enough, or until the time is over."""
        began = time.monotonic()
        faults = LogKeeper(logging.WARNING)
        logging.getLogger().addHandler(faults)
        try:
            for number in range(first, first + cases):
                if time.monotonic() - began > seconds:
                    break
                faults.crashes.clear()
                _Case(self.report, self._folder / "case", self._template, f"{self._seed}/{number}", faults).run()
                self.report.cases += 1
        finally:
            logging.getLogger().removeHandler(faults)
        self.report.seconds = time.monotonic() - began
        return self.report


class _Case:
    def __init__(self, report: Report, folder: Path, template: Path, seed: str, faults: LogKeeper) -> None:
        self._report = report
        self._folder = folder
        self._dice = random.Random(seed)
        self._seed = seed
        self._faults = faults
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "state").mkdir(parents=True)
        (folder / "pictures").mkdir()
        for path in (template / "state").iterdir():
            shutil.copy(path, folder / "state")
        for path in (template / "pictures").iterdir():
            (folder / "pictures" / path.name).hardlink_to(path)
        self._settings = make_settings(folder)
        self._path = self._settings.state_dir / "ledger.sqlite3"
        self._damage = ""
        self._pictures = _digest_all(folder / "pictures")

    def run(self) -> None:
        is_damaged_first = self._dice.random() < 0.7
        if is_damaged_first:
            self._do_damage()
        try:
            anyio.run(self._use_server, not is_damaged_first)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self._complain(f"the server ended: {_unwrap(error)!r}")
        self._use_commands()
        for fault in self._faults.crashes:
            self._complain(f"logged: {fault}")
        self._check_files()

    def _do_damage(self) -> None:
        damage = self._dice.choices([each for each, _ in DAMAGES], [weight for _, weight in DAMAGES])[0]
        path = self._path if self._dice.random() < 0.93 else self._path.with_name("pace.sqlite3")
        self._damage = f"{path.name}: {damage(self._dice, path)}"

    def _complain(self, words: str) -> None:
        self._report.broken.append(f"case {self._seed}, {self._damage}: {words[:600]}")
        print(f"BROKEN {self._report.broken[-1]}", file=sys.stderr, flush=True)

    def _judge(self, call: str, text: str, seconds: float, kind: str) -> None:
        self._report.answers[f"{call}: {kind}"] += 1
        if seconds > _LONGEST_CALL:
            self._complain(f"{call} took {seconds:.1f} s")
        if found := _PYTHONS_WORDS.search(text):
            self._complain(f"{call} says {found[0]!r}: {text[max(0, found.start() - 200) :]}")

    # --- the server -------------------------------------------------------------------------------------------------

    async def _use_server(self, is_damaged_late: bool) -> None:
        service = build_service(self._settings, timings=QUICK)
        async with Client(build_server(service), mode="auto") as client:
            if is_damaged_late:
                await self._call(client, "list_tasks", {})
                await anyio.to_thread.run_sync(self._do_damage)
            await client.list_tools()
            listed = await self._call(client, "list_tasks", {"limit": 100})
            ids = [task["task_id"] for task in (listed or {}).get("tasks", [])]
            await self._call(client, "list_tasks", {"status": "SUCCEEDED", "limit": 3})
            await self._call(client, "list_tasks", {"limit": 3, "remote": True})
            for task_id in [*self._pick(ids, 3), "task-saved", "task-open", "local-lost"]:
                await self._call(client, "get_task", {"task_id": task_id})
            for task_id in [*self._pick(ids, 2), "task-saved"]:
                await self._call(client, "download_image", {"task_id": task_id, "filename": "again"})
                await self._call(client, "view_image", {"task_id": task_id})
            await self._call(client, "cancel_task", {"task_id": "task-open"})
            await self._call(client, "generate_image", {"prompt": "a red fox", "wait_seconds": 1})
            await self._call(client, "submit_task", {"prompt": "a flower shop", "model": "wan2.5-t2i-preview"})
            await self._use_gallery(service)
            await anyio.sleep(0.1)
            await client.list_tools()

    def _pick(self, ids: list[str], most: int) -> list[str]:
        return self._dice.sample(ids, min(most, len(ids)))

    async def _call(self, client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        started = time.monotonic()
        with anyio.move_on_after(_LONGEST_CALL + 5):
            answer = await client.call_tool(tool, arguments)
            text = "".join(getattr(each, "text", "") for each in answer.content)
            code = (answer.meta or {}).get("wan-mcp/code") or (answer.structured_content or {}).get("code")
            self._judge(tool, text, time.monotonic() - started, str(code) if answer.is_error else "answered")
            return answer.structured_content
        self._complain(f"{tool} never answered")
        return None

    async def _use_gallery(self, service: Any) -> None:
        app = make_gallery_app(service, Secrets("token", "ticket"), frozenset({_HOST}))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"Host": _HOST, "Sec-Fetch-Site": "same-origin"}
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{_HOST}/token/", headers=headers) as page:
            listed = await self._get(page, "orders")
            for order in (listed or {}).get("orders", [])[:3]:
                await self._get(page, f"orders/{order['id']}")
                await self._get(page, f"thumbnails/{order['id']}/1", is_json=False)
                await self._get(page, f"images/{order['id']}/1", is_json=False)
            await self._get(page, "open")
            await self._get(page, "costs")

    async def _get(self, page: httpx.AsyncClient, path: str, *, is_json: bool = True) -> dict[str, Any] | None:
        started = time.monotonic()
        answer = await page.get(path)
        kind = "answered" if answer.is_success else str(answer.status_code)
        text = "" if answer.headers.get("Content-Type", "").startswith("image/") else answer.text
        self._judge(f"gallery {path.partition('/')[0]}", text, time.monotonic() - started, kind)
        if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            self._complain(f"the gallery answers 500 to {path}")
        return answer.json() if is_json and answer.is_success else None

    # --- commands ---------------------------------------------------------------------------------------------------

    def _use_commands(self) -> None:
        listed = self._command("tasks", "--limit", "100", "--json")
        self._command("tasks", "--costs")
        self._command("get", "task-saved")
        self._command("collect", "--json")
        found = self._command("doctor", "--json")
        if not listed or not found:
            return
        shown = len(json.loads(listed)["tasks"])
        there = _count_rows(self._path)
        problems = [
            each for each in json.loads(found)["findings"] if each["verdict"] != "ok" and each["check"] == "ledger"
        ]
        if there is not None and shown < there and not problems:
            self._complain(f"{there} rows, {shown} of them listed, and doctor says nothing of it")

    def _command(self, *words: str) -> str:
        environ = {
            "WAN_MCP_OUTPUT_DIR": str(self._settings.output_dir),
            "WAN_MCP_STATE_DIR": str(self._settings.state_dir),
            "DASHSCOPE_REGION": "sandbox",
        }
        started = time.monotonic()
        done = CliRunner().invoke(cli, list(words), obj=CommandContext(environ, _open_quick))
        self._judge(f"wan-mcp {words[0]}", done.output, time.monotonic() - started, f"exit code {done.exit_code}")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            self._complain(f"wan-mcp {' '.join(words)} raises {_unwrap(done.exception)!r}")
        return done.stdout if done.exit_code in (0, 1) and done.stdout.startswith("{") else ""

    # --- files ------------------------------------------------------------------------------------------------------

    def _check_files(self) -> None:
        now = _digest_all(self._folder / "pictures")
        for name, digest in self._pictures.items():
            if now.get(name) != digest:
                self._complain(f"the picture {name} is changed or gone")
        for path in self._folder.iterdir():
            if path.name not in ("pictures", "state"):
                self._complain(f"something was written to {path}")


def _open_quick(settings: Any, take_over: bool) -> Any:
    return build_service(settings, timings=QUICK).running(take_over=take_over)


async def _make_ledger(folder: Path) -> None:
    """Write a ledger with orders of every stage, some with real pictures."""
    settings, clock = make_settings(folder), SystemClock()
    now = clock.now()
    await anyio.to_thread.run_sync(_fill_album, settings, now)
    ledger = open_sqlite_ledger(settings.state_dir / "ledger.sqlite3", clock)
    saved = next((folder / "pictures").glob("*.png"))
    common = {"created_at": now - 60, "worker_id": None, "awaited_by": None, "folder": str(settings.output_dir)}
    for order in (
        make_order(local_id="local-queued", lease_until=now - 5, **common),
        make_order(local_id="local-sending", stage=Stage.SENDING, sent_at=now - 50, **common),
        make_order(
            local_id="local-lost",
            stage=Stage.LOST,
            status=TaskStatus.SUBMIT_UNKNOWN,
            sent_at=now - 50,
            lost_at=now - 40,
            **common,
        ),
        *(_make_accepted(name, now, common, stage, images) for name, stage, images in _make_images(saved)),
    ):
        in_sandbox = order.request and make_request(region="sandbox", n=order.images_ordered)
        await ledger.orders.adopt(_in_sandbox(order, in_sandbox))
    await ledger.limits.reserve(RateLimit("create/sandbox/wan2.6-t2i", 5.0))
    await ledger.limits.reserve(RateLimit("query/sandbox", 18.0, is_durable=False))
    await ledger.leases.take_slot(Slot("keeper", 30.0), "nobody")
    await ledger.close()


def _fill_album(settings: Any, now: float) -> None:
    fill(settings.state_dir, settings.output_dir, 12, now=now, painted=3)


def _make_images(saved: Path) -> tuple[tuple[str, Stage, tuple[OrderImage, ...]], ...]:
    data = saved.read_bytes()
    file = {"path": str(saved), "width": 320, "height": 320, "bytes": len(data)}
    link = "http://sandbox/images/1.png?Expires=1"
    return (
        ("task-open", Stage.OPEN, ()),
        ("task-saved", Stage.CLOSED, (OrderImage(1, ImageState.SAVED, **file),)),
        (
            "task-mixed",
            Stage.OPEN,
            (
                OrderImage(1, ImageState.SAVED, **file),
                OrderImage(2, ImageState.UNSAVED, url=link, code="Storage", message="The disk is full."),
                OrderImage(3, ImageState.WAITING, url=link),
                OrderImage(
                    4, ImageState.PUBLISHING, url=link, sha256=hashlib.sha256(data).hexdigest(), path=str(saved)
                ),
            ),
        ),
        (
            "task-failed",
            Stage.CLOSED,
            (OrderImage(1, ImageState.FAILED, code="Expired", message="Its link is over."),),
        ),
    )


def _make_accepted(
    name: str, now: float, common: dict[str, Any], stage: Stage, images: tuple[OrderImage, ...]
) -> Order:
    return make_order(
        local_id=name.replace("task", "local"),
        task_id=name,
        stage=stage,
        status=TaskStatus.SUCCEEDED if images else TaskStatus.RUNNING,
        sent_at=now - 50,
        accepted_at=now - 50,
        expires_at=now + DAY,
        duration=12.0 if images else None,
        images=images,
        images_ordered=max(1, len(images)),
        notes=("It was found again.",),
        **common,
    )


def _in_sandbox(order: Order, request: Any) -> Order:
    from dataclasses import replace

    return replace(order, region="sandbox", request=request)


def _digest_all(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.png")}


def _count_rows(path: Path) -> int | None:
    import sqlite3
    from contextlib import closing

    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            return int(file.execute("SELECT count(*) FROM orders").fetchone()[0])
    except sqlite3.Error:
        return None


def _unwrap(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> int:
    """Run the campaign for a person at a terminal."""
    parser = argparse.ArgumentParser(description="Damage ledgers, and see that nothing ends or lies.")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seconds", type=float, default=900.0, help="seconds after which no further case begins")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wan-mcp-campaign-") as scratch:
        report = Campaign(Path(scratch), options.seed).run(options.cases, options.seconds, options.first)
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
