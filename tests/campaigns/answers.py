"""
The campaign of answers: orders to a service whose answers and images are written in every way but the usual one.

    python tests/campaigns/answers.py --cases 2000 --seed 1 --seconds 600

Each case is one order. Its answers are changed by chance: decorated with what no database takes, with the key, with
nesting and numbers without end; packed, cut, spelled otherwise, answered by somebody else; its images are called
packed, sent elsewhere, broken off. What was made and can be had must be a file in the end. Beside every case the gates
of the answers are given random bytes. Prints a report and exits 1 if a promise was broken. Needs no network and no key.
"""

import argparse
import base64
import gzip
import json
import logging
import random
import re
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
from pydantic import SecretStr

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from campaigns.tally import LogKeeper
from fakes import tiny_png
from fakes.dashscope import FakeService
from fakes.faults import Answer, Fault
from fakes.order_service import QUICK, get, make_settings, order, running_service
from wan_mcp.dashscope.body import read_body
from wan_mcp.dashscope.errors import CallContext, CallKind
from wan_mcp.dashscope.image_addresses import check_image_url, decode_image, read_address, read_link_end
from wan_mcp.dashscope.payload import KnownKeys, parse_object
from wan_mcp.dashscope.requests import Endpoint
from wan_mcp.dashscope.responses import JsonResponse, read_created_task, read_task, read_task_list
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.tasks import Task

KEY = "sk-campaign-0123456789abcdef"
_AT_ONCE = 12
_LONGEST_WAIT = 20.0
_MOST_SECONDS_A_CASE = 90.0
_CASE = re.compile(r"case (\d+)\.")
_TASK_ID = re.compile(r"(?<=[/\"])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IMAGE = re.compile(r"/([0-9a-f]{8}-[0-9a-f-]{27})-(\d+)\.png")
_DONE = "SUCCEEDED"

Change = Callable[[random.Random, Answer], Answer]
"""Makes another answer of a true one."""


# What is written into answers.

_TEXTS = (
    rb"half \ud83d pair",
    rb"\ude00\ud83d",
    rb"zero \u0000 here",
    b"bad \xff\xfe byte",
    b"cut \xe4\xb8",
    b"raw\ttab\r\nand line\x01\x1f",
    b"raw\x00zero",
    b"\xed\xa0\xbd\xed\xb8\x80",
    rb"\u202e\u200b\ufeff\u2028",
    KEY.encode(),
    f"Bearer {KEY}".encode(),
    KEY.upper().encode(),
    KEY.replace("-", r"\u002d").encode(),
    KEY.replace("-", "%2D").encode(),
    KEY.replace("campaign", r"cam\u200bpaign").encode(),
    b"{region} {0} %s %(x)s",
    b"</script><b>",
    b"x" * 30_000,
    b"",
)
_VALUES = (
    b"9" * 5000,
    b"-" + b"9" * 400,
    b"1e999",
    b"NaN",
    b"true",
    b"null",
    b"[]",
    b"{}",
    b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 1500 + b"1" + b"}" * 1500,
    b'[{"url": 5}, null, [[]]]',
    b'{"code": "InternalError", "message": []}',
)
_NAMES = (
    "note",
    "actual_prompt",
    "orig_prompt",
    "seed",
    "x",
    "type",
    "extra",
    "finish",
    "safety",
    "warning",
    "usage2",
)


def _write_text(dice: random.Random) -> bytes:
    return b'"' + b" ".join(dice.choices(_TEXTS, k=dice.randint(1, 3))) + b'"'


def _write_value(dice: random.Random) -> bytes:
    return _write_text(dice) if dice.random() < 0.7 else dice.choice(_VALUES)


def _list_places(value: object) -> list[dict[str, Any]]:
    """Give every object in some JSON."""
    if isinstance(value, dict):
        return [value, *(place for each in value.values() for place in _list_places(each))]
    if isinstance(value, list):
        return [place for each in value for place in _list_places(each)]
    return []


def _list_slots(body: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    output = body.get("output", {})
    parts = [part for choice in output.get("choices", []) for part in choice["message"]["content"]]
    slots = [(part, "image") for part in parts] + [(result, "url") for result in output.get("results", [])]
    return [(slot, name) for slot, name in slots if name in slot]


def _spell(dice: random.Random, url: str) -> object:
    """Write an address otherwise; it stays the same address."""
    for spelling in dice.sample(_SPELLINGS, k=dice.randint(0, 3)):
        url = spelling(url)
    return dice.choice([url, url, url, url, {"url": url}, [url]])


_SPELLINGS: list[Callable[[str], str]] = [
    lambda url: f" {url}",
    lambda url: f"{url}\t\r\n",
    lambda url: f"\u200b\ufeff{url}\u0000",
    lambda url: url.replace("http:", "HTTP:"),
    lambda url: url.replace("&", "&amp;"),
    lambda url: url[:20] + "\n" + url[20:],
    lambda url: f"<{url}>",
    lambda url: f'"{url}"',
]


def _change_json(dice: random.Random, answer: Answer, images: Mapping[str, bytes]) -> Answer:
    """Change the JSON of an answer in ways that take nothing of its meaning away."""
    body = json.loads(answer.body)
    for slot, name in _list_slots(body):
        url = slot[name]
        slot[name] = _spell(dice, url)
        if dice.random() < 0.1 and url in images:
            content = base64.b64encode(images[url]).decode()
            slot[name] = f"data:image/png;base64,{content}" if dice.random() < 0.5 else content
    written: dict[str, bytes] = {}
    for place in dice.choices(_list_places(body), k=dice.randint(0, 4)):
        name = dice.choice(_NAMES)
        if name not in place:
            place[name] = mark = f"MARK-{len(written)}-MARK"
            written[f'"{mark}"'] = _write_value(dice)
    content = json.dumps(body, ensure_ascii=dice.random() < 0.5).encode()
    for mark, value in written.items():
        content = content.replace(mark.encode(), value)
    if dice.random() < 0.2:
        content = dice.choice([b"\xef\xbb\xbf" + content, b" \r\n" + content])
    return _change_body(dice, replace(answer, body=content))


def _change_body(dice: random.Random, answer: Answer) -> Answer:
    """Pack a body, or say that it is packed; its meaning stays."""
    body, headers = answer.body, dict(answer.headers)
    way = dice.random()
    if way < 0.2:
        body += dice.choice([b"\r\n\r\n", b"<!-- a proxy was here -->", b"\0" * 50])
    coding = dice.choice(
        [None] * 8 + ["utf-8", "", "aws-chunked", "binary", "gzip", "x-gzip", "deflate", "br", "gzip, br"]
    )
    if coding is not None:
        headers["content-encoding"] = coding
    if way > 0.9:
        body = gzip.compress(body)
    elif way > 0.85:
        body, headers["content-encoding"] = zlib.compress(body), "deflate"
    return Answer(answer.status, headers | {"content-length": str(len(body))}, body)


def _multiply(dice: random.Random, answer: Answer) -> Answer:
    """Give many more slots than were ordered, the true ones among them."""
    body = json.loads(answer.body)
    output = body["output"]
    if "results" in output:
        failed = [{"code": "InternalError.Timeout", "message": "late"}] * dice.choice([1, 50, 5000])
        output["results"] = failed + output["results"] if dice.random() < 0.5 else output["results"] + failed
    for choice in output.get("choices", [])[-1:]:
        choice["message"]["content"] *= dice.choice([2, 50])
    return replace(answer, body=json.dumps(body).encode())


# What images are served as.


def _change_image(dice: random.Random, answer: Answer) -> Answer:
    """Serve an image in a way that does not keep it from being had."""
    if answer.status != httpx.codes.OK:
        return answer
    answer = _change_body(dice, answer) if dice.random() < 0.6 else answer
    headers = dict(answer.headers)
    if dice.random() < 0.3:
        headers["content-type"] = dice.choice(["text/html", "application/json", "image/gif", "x"])
    return replace(answer, status=dice.choice([200, 200, 200, 201, 203]), headers=headers)


_NO_IMAGES: tuple[Change, ...] = (
    lambda dice, answer: Answer(302, {"location": dice.choice(_LOCATIONS)}, b""),
    lambda dice, answer: Answer(dice.choice([400, 401, 403, 404, 410, 418, 451]), {}, dice.randbytes(300)),
    lambda dice, answer: Answer(200, {"content-type": "image/png"}, dice.randbytes(500)),
    lambda dice, answer: Answer(200, {}, answer.body[: len(answer.body) // 2]),
    lambda dice, answer: Answer(200, {"content-encoding": "gzip"}, gzip.compress(gzip.compress(bytes(3_000_000)))),
    lambda dice, answer: Answer(206, {"content-range": "bytes 5-9/10"}, answer.body),
    lambda dice, answer: Answer(200, {}, b""),
)
_LOCATIONS = (
    "javascript:alert(1)",
    "http://xn--/",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "https://[::1",
    "http://a..b/",
    "https://h.example:99999/",
    "data:image/png;base64,AAAA",
    "//evil.example/1.png",
    f"https://evil.example/?{KEY}",
    "",
    "/",
)

# What is answered in the place of the service.

_STRANGE: tuple[Change, ...] = (
    lambda dice, answer: Answer(dice.choice([401, 402, 403, 405, 407, 418, 451]), {}, b"<html>no</html>"),
    lambda dice, answer: Answer(
        dice.choice([200, 302, 400, 404, 500, 502, 503]), {}, dice.randbytes(dice.randint(0, 900))
    ),
    lambda dice, answer: Answer(dice.choice([400, 403, 404, 409, 422]), {}, _write_refusal(dice)),
    lambda dice, answer: Answer(200, {}, b'{"output": ' + _write_value(dice) + b"}"),
    lambda dice, answer: Answer(dice.choice([200, 400, 500]), {"content-encoding": "gzip, gzip"}, _BOMB),
    lambda dice, answer: replace(answer, body=answer.body[: dice.randint(0, len(answer.body))]),
)
_BOMB = gzip.compress(gzip.compress(bytes(1_000_000)) * 200)


def _write_refusal(dice: random.Random) -> bytes:
    code = ".".join(
        dice.choices(["InternalError", "Algo", "DataInspectionFailed", "InvalidParameter", "New", KEY], k=3)
    )
    return (
        b'{"code": "'
        + code.encode()
        + b'", "message": '
        + _write_text(dice)
        + b', "request_id": '
        + _write_text(dice)
        + b"}"
    )


# The cases.


@dataclass
class Case:
    """
    One order: `kind` says what happens to it, `count` how many images it is for.

    "kept": nothing is taken away, and every image must be saved. "one image": the first cannot be had, and the others
    must be. "polls": some questions are answered strangely. "order": the order itself is; then nothing is sure but
    that it is not sent twice.
    """

    number: int
    seed: int
    kind: str
    count: int
    model: str
    protocol: str = "async"
    strange_left: int = 0

    @classmethod
    def make(cls, number: int, seed: int) -> "Case":
        """Choose a case by chance."""
        dice = random.Random(f"{seed}:{number}:case")
        kind = dice.choices(["kept", "one image", "polls", "order"], weights=[60, 15, 15, 10])[0]
        count = dice.randint(2, 4) if kind == "one image" else dice.randint(1, 4)
        model = dice.choice(["wan2.5-t2i-preview", "wan2.6-t2i"])
        is_sync = model == "wan2.6-t2i" and kind in ("kept", "one image") and dice.random() < 0.5
        strange_left = dice.randint(1, 3) if kind == "polls" else 0
        return cls(number, seed, kind, count, model, "sync" if is_sync else "async", strange_left)

    @property
    def prompt(self) -> str:
        """What the order asks for."""
        return f"a fox, case {self.number}."

    def roll(self, what: str) -> random.Random:
        """Give dice that fall alike in every run."""
        return random.Random(f"{self.seed}:{self.number}:{what}")


@dataclass
class Report:
    """What came of a campaign."""

    cases: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    images: int = 0
    gates: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    held: float = 0.0
    crashes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What went against the promises."""
        return [*self.crashes, *self.lost, *self.secrets, *self.outside, *self.twice]

    def __str__(self) -> str:
        rows = [
            ("orders", self.cases),
            *((f"    {kind}", number) for kind, number in sorted(self.kinds.items())),
            *((f"    ended {end}", number) for end, number in sorted(self.ends.items())),
            ("images saved", self.images),
            ("random inputs to the gates", self.gates),
            ("seconds", f"{self.seconds:.0f}"),
            ("longest order, seconds", f"{self.longest:.1f}"),
            ("event loop held at most, seconds", f"{self.held:.2f}"),
            ("crashes", len(self.crashes)),
            ("lost pictures", len(self.lost)),
            ("places with a secret", len(self.secrets)),
            ("files outside", len(self.outside)),
            ("orders sent twice", len(self.twice)),
        ]
        found = [
            line for kind in (self.crashes, self.lost, self.secrets, self.outside, self.twice) for line in kind[:8]
        ]
        return "\n".join([*(f"{name:<34}{value}" for name, value in rows), *found])


class Campaign:
    """Runs cases side by side on one server and one service."""

    def __init__(self, *, cases: int, seed: int, seconds: float, folder: Path) -> None:
        self._cases = [Case.make(number, seed) for number in range(cases)]
        self._seed, self._seconds, self._folder = seed, seconds, folder
        self._service = FakeService(duration=0.05)
        self.report = Report()

    async def run(self) -> Report:
        """Run the cases, or as many as there is time for."""
        began = time.monotonic()
        log = LogKeeper()
        logging.getLogger().addHandler(log)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.DEBUG)
        try:
            with self._service:
                for place, change in (
                    ("create", self._change_create),
                    ("query", self._change_query),
                    ("image", self._change_image),
                ):
                    self._service.set_chance(place, 1.0, Fault("change", change=change))
                await self._run_cases(began)
                self._check_payments()
        finally:
            logging.getLogger().removeHandler(log)
            logging.getLogger().setLevel(level)
        self._check_files(log)
        self.report.seconds = time.monotonic() - began
        return self.report

    async def _run_cases(self, began: float) -> None:
        waiting = iter(self._cases)
        async with self._open("async") as by_task, self._open("sync") as at_once:

            async def work() -> None:
                for case in waiting:
                    if time.monotonic() - began > self._seconds:
                        return
                    await self._run_case(at_once if case.protocol == "sync" else by_task, case)
                    self._try_gates(case)

            async with anyio.create_task_group() as watching:
                watching.start_soon(self._watch_loop)
                async with anyio.create_task_group() as group:
                    for _ in range(_AT_ONCE):
                        group.start_soon(work)
                watching.cancel_scope.cancel()

    async def _watch_loop(self) -> None:
        """Measure for how long the event loop is held at a time: in its own seconds, so that a busy machine is none."""
        while True:
            began = time.thread_time()
            await anyio.sleep(0.01)
            self.report.held = max(self.report.held, time.thread_time() - began)

    def _open(self, protocol: str) -> Any:
        """Open a server of its own that orders by a protocol."""
        settings = make_settings(
            self._folder / protocol,
            self._service,
            DASHSCOPE_API_KEY=KEY,
            WAN_MCP_DAILY_IMAGE_LIMIT="0",
            WAN_MCP_PROTOCOL=protocol,
        )
        return running_service(settings, timings=replace(QUICK, search_grace=1.0, save_attempts=2))

    async def _run_case(self, service: Any, case: Case) -> None:
        report = self.report
        report.cases += 1
        report.kinds[case.kind] += 1
        began = time.monotonic()
        try:
            with anyio.fail_after(_MOST_SECONDS_A_CASE):
                task = await order(service, case.prompt, wait=_LONGEST_WAIT, model=case.model, n=case.count)
                while not task.settled:
                    task = await get(service, task.task_id, wait=_LONGEST_WAIT)
        except AppError as error:
            report.ends[type(error).__name__] += 1
            if case.kind != "order":
                report.lost.append(f"case {case.number} ({case.kind}): {error}")
            return
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            report.crashes.append(f"case {case.number} ({case.kind}): {error!r}")
            return
        report.longest = max(report.longest, time.monotonic() - began)
        report.ends[task.status] += 1
        report.images += len(task.images)
        self._check_task(case, task)

    def _check_task(self, case: Case, task: Task) -> None:
        expected = {"kept": case.count, "polls": case.count, "one image": case.count - 1}.get(case.kind, 0)
        saved = {image.index for image in task.images}
        if len(saved) < expected:
            self.report.lost.append(f"case {case.number} ({case.kind}): {len(saved)} of {expected} saved: {task}")
        for image in task.images:
            content = Path(image.path).read_bytes()
            if tiny_png.read_texts(content)["prompt"] != case.prompt:
                self.report.lost.append(f"case {case.number}: {image.path} is another order's")
        if KEY in repr(task) or KEY[3:] in repr(task):
            self.report.secrets.append(f"case {case.number}: the answer")

    # What the service does

    def _find_case(self, answer: Answer) -> Case | None:
        found = _CASE.search(answer.body.decode("latin-1"))
        if found is None:
            named = _TASK_ID.search(answer.body.decode("latin-1"))
            record = self._service._records.get(named[0]) if named else None
            found = _CASE.search(record.prompt) if record else None
        return self._cases[int(found[1])] if found else None

    def _change_create(self, answer: Answer) -> Answer:
        case = self._find_case(answer)
        if case is None:
            return answer
        dice = case.roll("create")
        if case.kind == "order":
            return dice.choice(_STRANGE)(dice, answer)
        return _change_json(dice, answer, self._paint(json.loads(answer.body)))

    def _change_query(self, answer: Answer) -> Answer:
        case = self._find_case(answer)
        if case is None:
            return answer
        dice = case.roll(f"query {case.strange_left}")
        if case.kind == "polls" and case.strange_left:
            case.strange_left -= 1
            return dice.choice(_STRANGE)(dice, answer)
        body = json.loads(answer.body)
        if body["output"].get("task_status") == _DONE and dice.random() < 0.1:
            answer = _multiply(dice, answer)
        return _change_json(dice, answer, self._paint(body))

    def _change_image(self, answer: Answer) -> Answer:
        case = self._find_case(answer)
        if case is None:
            return answer
        index = tiny_png.read_texts(answer.body)["index"]
        dice = case.roll(f"image {index}")
        if case.kind == "one image" and index == "1":
            return dice.choice(_NO_IMAGES)(dice, answer)
        return _change_image(dice, answer)

    def _paint(self, body: Mapping[str, Any]) -> dict[str, bytes]:
        """Give the images of an answer by their addresses."""
        found = {slot[name]: _IMAGE.search(slot[name]) for slot, name in _list_slots(body)}
        records = self._service._records
        return {url: self._service._paint(records[match[1]], int(match[2])) for url, match in found.items()}

    # What must hold in the end

    def _check_payments(self) -> None:
        sent = Counter(match[0] for each in self._service.creates if (match := _CASE.search(each.body.decode())))
        self.report.twice += [f"{prompt} was ordered {number} times" for prompt, number in sent.items() if number > 1]
        if self._service.authorization_at_image_host:
            self.report.secrets.append("the key reached the image host")

    def _check_files(self, log: LogKeeper) -> None:
        allowed = [self._folder / protocol / kind for protocol in ("async", "sync") for kind in ("pictures", "state")]
        for path in self._folder.rglob("*"):
            if path.is_dir():
                continue
            if not any(path.is_relative_to(folder) for folder in allowed):
                self.report.outside.append(str(path))
            if path.suffix != ".png" and _has_key(path.read_bytes()):
                self.report.secrets.append(str(path))
            if path.suffix == ".part":
                self.report.lost.append(f"{path} was left behind")
        self.report.crashes += log.crashes
        if any(_has_key(line.encode("utf-8", "replace")) for line in log.lines):
            self.report.secrets.append("the log")

    # The gates

    def _try_gates(self, case: Case) -> None:
        """Give the gates of the answers random bytes: only our own errors may come of them."""
        dice = case.roll("gates")
        for _ in range(20):
            self.report.gates += 1
            content = _make_noise(dice)
            try:
                _try_gates(content, dice)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                self.report.crashes.append(f"case {case.number}, a gate: {error!r} of {content[:80]!r}")


_KEYS = KnownKeys([KEY])
_ENDPOINT = Endpoint("singapore", "https://dashscope-intl.aliyuncs.com/api/v1", SecretStr(KEY), "DASHSCOPE_API_KEY")


def _make_noise(dice: random.Random) -> bytes:
    parts = [
        *_TEXTS,
        *_VALUES,
        b'{"output": {"results": [{"url": "',
        b'"}]}}',
        b"https://",
        b"data:;base64,",
        b"\x1f\x8b\x08",
    ]
    return b"".join(
        dice.choice([*parts, dice.randbytes(dice.randint(0, 40))])[:2000] for _ in range(dice.randint(1, 6))
    )


def _try_gates(content: bytes, dice: random.Random) -> None:
    context = CallContext(_ENDPOINT, dice.choice(list(CallKind)))
    coding = {"content-encoding": dice.choice(["gzip", "deflate", "br", ""])}
    response = httpx.Response(200, headers=coding, stream=httpx.ByteStream(content))
    _finish(read_body(response, 100_000))
    payload = parse_object(content, _KEYS)
    if payload is not None and _has_key(json.dumps(payload, ensure_ascii=False).encode()):
        raise RuntimeError("a key came through")
    answer = JsonResponse(dice.choice([200, 302, 400, 429, 500]), payload)
    for read in (
        lambda: read_created_task(answer, context),
        lambda: read_task(answer, context, "t-1"),
        lambda: read_task_list(answer, context, page_no=1),
        lambda: _follow(content.decode("utf-8", "replace")),
    ):
        try:
            said = repr(read())
        except AppError as error:
            said = f"{error} {error.code}"
        said.encode()


def _follow(text: str) -> object:
    address = read_address(text)
    if address is None:
        return None
    read_link_end(address)
    if address.startswith("data:"):
        return decode_image(address, 10_000)
    try:
        url = httpx.URL(address)
        return check_image_url(url, frozenset(), in_process=False)
    except (httpx.InvalidURL, ValueError):
        return None


def _finish(coroutine: Any) -> object:
    """Run a coroutine that waits for nothing but its turn."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def _has_key(content: bytes) -> bool:
    return KEY[3:].encode() in content.replace(b"\xe2\x80\x8b", b"")


def main() -> int:
    """Run one campaign for a person at a terminal."""
    parser = argparse.ArgumentParser(description="Answer orders in every way but the usual one.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600.0, help="after which no further case begins")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wan-mcp-campaign-") as scratch:
        campaign = Campaign(cases=options.cases, seed=options.seed, seconds=options.seconds, folder=Path(scratch))
        report = anyio.run(campaign.run)
    print(report)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
