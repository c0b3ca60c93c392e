"""
The argument campaign: whatever a client can say, said by the thousand to a real server on the sandbox.

    python tests/campaigns/arguments.py --cases 20000 --seed 1 --seconds 600

Every tool, prompt, resource, completion and method of the tasks extension is called in both protocol eras with arguments
that are right, nearly right, of the wrong kind, huge, deep, hostile or somebody else's; lines that are no messages go
to the reader of messages. Prints a report and exits 1 if something crashed, an error was 2 kB or more, an answer was
larger than what was asked for, a key was told, or a file was touched outside the folders. Needs no network and no key.
"""

import argparse
import json
import random
import reprlib
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

if __name__ == "__main__":  # started as a program, whose own folder is on the path and not the one above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio.lowlevel

from campaigns.tally import Tally
from fakes import tiny_png
from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS
from fakes.tasks_client import Tasks, ask
from wan_mcp.app import build_server
from wan_mcp.mcp_server.messages import UnreadableMessageError, read_message

MOST_SECONDS = 30.0
"""Longer than any wait that is asked for here, on a machine that has other things to do."""
_MOST_ANSWER_BYTES = {"view_image": 700_000, "resources/read": 1_100_000, "prompts/get": 40_000, "list_tasks": 60_000}
_MOST_OTHER_BYTES = 12_000

_MODELS = ("wan2.6-t2i", "wan2.7-image", "wan2.7-image-pro", "wan2.5-t2i-preview", "wanx-v1", "WAN2.6-T2I")
_SIZES = ("1:1", "16:9", "1280*1280", "1024x1024", "4K", "2240*896", "7:5", "0:0", "1*1", "99999*99999", "１：１")
_REGIONS = (*("sandbox",) * 9, "singapore", "cn-beijing", "tokyo", "atlantis", "SANDBOX")
_TEXTS = (
    "", " ", "\t\n", "null", "None", "undefined", "NaN", "true", "[]", "{}", "0", "-1", "1e999", "a red fox", "花店 💐",
    "sandbox:slow harbour", "sandbox:moderation", "../../outside/x", "/etc/passwd", "..\\..\\x", "con", "nul.png", "a/b",
    "~root", "$HOME", "$(id)", "`id`", "%s%n{0}{task_id}", "'; DROP TABLE orders; --", "\x00", "\x1b[2J", "\u202egnp",
    "\u200b", "\ud83d", "\udc00x", "e\u0301" * 50, "👩‍👩‍👧‍👦" * 20, "<script>alert(1)</script>", "file:///etc/passwd",
    "javascript:alert(1)", "data:image/png;base64,AAAA", "http://127.0.0.1:9/a.png", "https://dashscope-x.oss-cn.aliyuncs.com/a",
    "local-0000", "00000000-1111-2222-3333-444444444444", "$1", "$5", "1,0", "１", "Ⅷ", "٣",
)  # fmt: skip
_EXTRAS = (
    "wait_for_previous",
    "task_progress",
    "toolCallId",
    "_meta",
    "_x",
    "promt",
    "negativePrompt",
    "_n",
    "colour",
)
_METHODS = ("tasks/get", "tasks/cancel", "tasks/update")


@dataclass(frozen=True)
class Plan:
    """How much is said; `seconds` end it earlier."""

    cases: int = 20_000
    seed: int = 1
    seconds: float = 600.0


PROMISES = ("crashes", "errors of 2 kB or more", "answers too large", "secrets told", "files outside", "late answers")


class Speaker:
    """Says things, by dice."""

    def __init__(self, dice: random.Random, outside: Path) -> None:
        self.dice = dice
        self.task_ids: list[str] = []
        self._outside = outside

    def text(self) -> str:
        """Give any text."""
        kind = self.dice.randrange(20)
        if kind == 0:
            return self.dice.choice("x花\ud83d ") * self.dice.choice((300, 5_001, 9_000, 1_000_000))
        if kind == 1:
            return "".join(chr(self.dice.randrange(1, 0x2FFF)) for _ in range(self.dice.randrange(1, 80)))
        if kind == 2:
            return str(self._outside / self.dice.choice(("secret.png", "new", "../outside/secret.png")))
        return self.dice.choice(_TEXTS)

    def written(self) -> str:
        """Give any text that a client can write in UTF-8."""
        return self.text().encode(errors="replace").decode()

    def task_id(self) -> str:
        """Give the id of a task, or a text in its place that a client can write: it stands in a header."""
        return str(self.right("task_id")).encode(errors="replace").decode()

    def value(self) -> object:
        """Give anything that JSON can hold, and some things that only Python can."""
        match self.dice.randrange(9):
            case 0:
                return self.dice.choice((0, 1, 2, -1, 4, 5, 2**31, -(2**63), 10**40, 10**5000))
            case 1:
                return self.dice.choice((0.0, 1.5, -0.0, 1e308, float("inf"), float("nan")))
            case 2:
                return self.dice.choice((None, True, False))
            case 3:
                return [self.text() for _ in range(self.dice.choice((0, 1, 3, 2_000)))]
            case 4:
                return {self.written(): self.text() for _ in range(self.dice.choice((0, 1, 3)))}
            case 5:
                deep: object = 1
                for _ in range(self.dice.choice((3, 9, 150))):
                    deep = [deep]
                return deep
            case _:
                return self.text()

    def right(self, name: str) -> object:
        """Give a value that an argument takes, mostly."""
        dice = self.dice
        match name:
            case "model":
                return dice.choice(_MODELS)
            case "size":
                return dice.choice(_SIZES)
            case "region":
                return dice.choice(_REGIONS)
            case "n" | "index":
                return dice.choice((1, 2, "2", 0))
            case "seed" | "limit":
                return dice.choice((7, "42", 100, None))
            case "wait_seconds":
                return dice.choice((0, 0, 0, "0", 0.1, "0.2"))
            case "task_id" if self.task_ids:
                return dice.choice(self.task_ids)
            case "status":
                return dice.choice(("PENDING", "failed", "Cancelled", ""))
            case "prompt_extend" | "watermark" | "fresh" | "remote":
                return dice.choice((True, False, "true", 0))
            case _:
                return dice.choice(_TEXTS)

    def arguments(self, names: list[str]) -> dict[str, Any]:
        """Give some of the arguments, and sometimes what is none of them."""
        hostile = self.dice.choice((0.0, 0.1, 0.5, 1.0))
        chosen = self.dice.sample(names, self.dice.randrange(len(names) + 1))
        given = {name: self.value() if self.dice.random() < hostile else self.right(name) for name in chosen}
        if self.dice.random() < 0.2:
            given[self.dice.choice((*_EXTRAS, self.written()))] = self.value()
        if "wait_seconds" in names:
            given.setdefault("wait_seconds", 0)
        return given

    def line(self) -> bytes:
        """Give a line that is a message, or was one before it was damaged."""
        message = {"jsonrpc": "2.0", "id": 7, "method": self.text(), "params": {"a": self.text()}}
        data = bytearray(json.dumps(message).encode())
        for _ in range(self.dice.randrange(4)):
            at = self.dice.randrange(len(data))
            data[at : at + self.dice.randrange(3)] = self.dice.randbytes(self.dice.randrange(3))
        return bytes(data)


_short = reprlib.Repr()
# What is huge is cut before it is written out: most of what is said is shown to nobody.
_short.maxstring = _short.maxother = 60
_short.maxdict = 20


def show(said: object) -> str:
    """Give what was said in a line, as far as Python can print it."""
    try:
        return ascii(_short.repr(said))[1:-1]
    except (ValueError, RecursionError):
        return "with what cannot be printed"


class Campaign:
    """Says everything and judges the answers; `folder` must be new."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._key = f"sk-{secrets.token_hex(16)}"
        self._outside = folder / "outside"
        self._speaker = Speaker(random.Random(plan.seed), self._outside)
        self.report = Tally(f"arguments: {plan.cases} cases, seed {plan.seed}", PROMISES, self._key)

    def run(self) -> Tally:
        """Run to the end and give the report."""
        anyio.run(self.talk)
        return self.report

    async def talk(self) -> None:
        """Say everything."""
        self._outside.mkdir(parents=True)
        (self._outside / "secret.png").write_bytes(tiny_png.encode(8, 8, colour=(200, 20, 20), texts={}))
        before = self._files_outside()
        started = time.monotonic()
        clients = [self._client(era) for era in ERAS]
        async with clients[0] as modern, clients[1] as legacy:
            tools = {tool.name: [*tool.input_schema["properties"]] for tool in (await modern.list_tools()).tools}
            prompts = {p.name: [each.name for each in p.arguments] for p in (await modern.list_prompts()).prompts}
            for number in range(self._plan.cases):
                if time.monotonic() - started > self._plan.seconds:
                    break
                client = self._speaker.dice.choice((modern, legacy))
                await self._try(client, modern, tools, prompts)
                if number % 50 == 0:
                    await anyio.lowlevel.checkpoint()
        for path in self._files_outside() ^ before:
            self.report.blame("files outside", str(path))
        self.report.seconds = time.monotonic() - started

    def _client(self, era: str) -> Client:
        settings = make_settings(
            self._folder,
            DASHSCOPE_API_KEY_SINGAPORE=self._key,
            DASHSCOPE_HTTP_BASE_URL_SINGAPORE="http://127.0.0.1:9/api/v1",
            WAN_MCP_DAILY_IMAGE_LIMIT="0",
        )
        server = build_server(quick_service(settings))
        return Client(server, mode=era, extensions=[Tasks()] if era == "auto" else [])

    def _files_outside(self) -> set[tuple[Path, int, int]]:
        own = (self._folder / "pictures", self._folder / "state")
        paths = [path for path in self._folder.rglob("*") if not any(path.is_relative_to(each) for each in own)]
        return {(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path not in own}

    async def _try(
        self, client: Client, modern: Client, tools: dict[str, list[str]], prompts: dict[str, list[str]]
    ) -> None:
        speaker, dice = self._speaker, self._speaker.dice
        kind = dice.choices(("tool", "prompt", "resource", "completion", "task", "line"), (60, 12, 10, 8, 5, 5))[0]
        self.report.cases[kind] += 1
        match kind:
            case "tool":
                name = dice.choice([*tools]) if dice.random() < 0.99 else speaker.written()
                given = speaker.arguments(tools.get(name, []))
                await self._judge(name, given, lambda: client.session.call_tool(name, given, allow_claimed=True))
            case "prompt":
                name = dice.choice([*prompts])
                texts = {
                    each: speaker.written() if isinstance(value, str) else "x"
                    for each, value in speaker.arguments(prompts[name]).items()
                }
                await self._judge("prompts/get", texts, lambda: client.get_prompt(name, texts))
            case "resource":
                start = dice.choice(
                    ("wan://models", "wan://models/", "wan://tasks/", "wan://images/", "ui://", "file://")
                )
                uri = start + dice.choice((speaker.written(), speaker.task_id(), f"{speaker.task_id()}-1", ""))
                await self._judge("resources/read", uri, lambda: client.read_resource(uri))
            case "completion":
                template = ResourceTemplateReference(
                    uri=dice.choice(("wan://tasks/{task_id}", "wan://images/{id}", "x"))
                )
                ref = dice.choice((PromptReference(name=dice.choice([*prompts])), template))
                argument = {
                    "name": dice.choice(("model", "size", "task_id", "id", speaker.written())),
                    "value": speaker.written(),
                }
                context = {"model": speaker.written(), "region": speaker.written()}
                await self._judge("completion", argument, lambda: client.complete(ref, argument, context))
            case "task":
                method, task_id = dice.choice(_METHODS), dice.choice((speaker.task_id(), speaker.written()))
                more = {"inputResponses": {"a": speaker.value()}} if method == "tasks/update" else {}
                await self._judge(method, task_id, lambda: ask(modern, method, task_id, **more))
            case _:
                self._judge_line(speaker.line())

    async def _judge(self, name: str, said: object, call: Callable[[], Awaitable[Any]]) -> None:
        case = f"{name} {show(said)}"
        most_bytes = _MOST_ANSWER_BYTES.get(name, _MOST_OTHER_BYTES)
        started = time.monotonic()
        try:
            with anyio.fail_after(MOST_SECONDS):
                answer = await call()
        except MCPError as error:
            self.report.weigh(error.error.model_dump_json(), case, is_error=True, most_bytes=most_bytes)
        except TimeoutError:
            self.report.blame("late answers", case)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the campaign looks for
            self.report.blame("crashes", f"{case}: {error!r}")
        else:
            text = (
                json.dumps(answer)
                if isinstance(answer, dict)
                else answer.model_dump_json(by_alias=True, exclude_none=True)
            )
            is_error = bool(getattr(answer, "is_error", False))
            self.report.weigh(text, case, is_error=is_error, most_bytes=most_bytes)
            facts = getattr(answer, "structured_content", None) or {}
            if "task_id" in facts and len(self._speaker.task_ids) < 200:
                self._speaker.task_ids.append(facts["task_id"])
            if name == "view_image" and not answer.is_error and "outside" in str(said):
                self.report.blame("files outside", case)
        self.report.slowest = max(self.report.slowest, time.monotonic() - started)

    def _judge_line(self, line: bytes) -> None:
        try:
            read_message(line)
        except UnreadableMessageError as error:
            for answer in error.answers:
                self.report.weigh(
                    answer.model_dump_json(), f"line {line[:200]!r}", is_error=True, most_bytes=_MOST_OTHER_BYTES
                )
        except Exception as error:  # noqa: BLE001 - the same
            self.report.blame("crashes", f"line {line[:200]!r}: {error!r}")
        else:
            self.report.ends["answered"] += 1


def main() -> None:
    """Run a campaign as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=Plan.cases)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--seconds", type=float, default=Plan.seconds)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Campaign(Plan(options.cases, options.seed, options.seconds), Path(folder) / "campaign").run()
    print(report)
    sys.exit(1 if report.broken else 0)


if __name__ == "__main__":
    main()
