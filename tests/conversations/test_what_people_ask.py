"""
What people ask for is had with the calls that docs/conversations.md names: those very calls, on a real server.

What a call needs comes from the page, from earlier answers, or from the person; nothing else is known.
"""

import json
import os
import re
import statistics
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pytest
from mcp import Client

from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS, facts, words
from fakes.tiny_png import encode
from wan_mcp.app import build_server, build_service
from wan_mcp_tools.catalogue.catalogue import MODELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conversations.md"
_CALL = re.compile(r"(?P<tool>[a-z_]+) (?P<arguments>\{.*\})(?P<mark>  # next_step)?(?:  # joins)?$")
_TASK_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NEXT = re.compile(r"Call (?P<tool>[a-z_]+) with (?P<arguments>[a-z_]+=\S+(?: and [a-z_]+=\S+)*)")


@dataclass(frozen=True)
class Conversation:
    """
    One section of the page: how the world is, and the lines of its blocks.

    `passes` of the world are seconds that go by at the service before a call that a next step has named; `files` are
    pictures in the folder of the person.
    """

    title: str
    world: dict
    lines: tuple[str, ...]


def _read_page() -> dict[str, Conversation]:
    found = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.partition("\n")[0]
        world = json.loads(re.search(r"<!-- (.*) -->", section)[1])
        blocks = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
        lines = tuple(line for block in blocks for line in block.splitlines())
        found[title] = Conversation(title, world, lines)
    return found


CONVERSATIONS = _read_page()


@dataclass
class Known:
    """What the model knows by now: the names that answers have filled, and the last answer's next step."""

    names: dict[str, str] = field(default_factory=dict)
    next_step: str = ""

    @property
    def pictures(self) -> list[str]:
        """The paths among what is known."""
        return [value for value in self.names.values() if value.endswith(".png")]

    def fill(self, value: object) -> object:
        """Put what is known into the arguments of a call; a name that no answer has given is an error."""
        if isinstance(value, dict):
            return {key: self.fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        return re.sub(r"\$(\w+)", lambda name: self.names[name[1]], value) if isinstance(value, str) else value

    def match(self, expected: object, got: object, where: str = "answer") -> None:
        """Compare an answer with the page, and learn the names in it."""
        if isinstance(expected, dict):
            for key, each in expected.items():
                assert key in got, f"{where}: no {key} in {got}"
                self.match(each, got[key], f"{where}.{key}")
        elif isinstance(expected, list):
            assert len(got) == len(expected), f"{where}: {got}"
            for number, (each, other) in enumerate(zip(expected, got, strict=True)):
                self.match(each, other, f"{where}[{number}]")
        elif isinstance(expected, str):
            if re.fullmatch(r"\$\w+", expected) and expected[1:] not in self.names:
                self.names[expected[1:]] = str(got)
            self._match_text(expected, str(got), where)
        else:
            assert got == expected, where

    def _match_text(self, expected: str, got: str, where: str) -> None:
        """
        Compare a text in which "…" stands for anything.

        An order that the service has not named in time is known by an id of ours, and by the service's from then on.
        """
        pattern = re.escape(self.fill(expected)).replace("…", ".*")
        if re.fullmatch(pattern, got, re.DOTALL):
            return
        for name in re.findall(r"\$(\w+)", expected):
            if not self.names[name].startswith("local-"):
                continue
            before, *others = pattern.split(re.escape(self.names[name]))
            renamed = f"{before}(?P<id>{_TASK_ID}){'(?P=id)'.join(others)}"
            if found := re.fullmatch(renamed, got, re.DOTALL):
                self.names[name] = found["id"]
                return
        raise AssertionError(f"{where}: {got!r} is not {expected!r}")


def read_next_step(text: str) -> tuple[str, dict]:
    """Give the call that a next step names."""
    found = _NEXT.search(text)
    assert found, text
    pairs = (pair.split("=", 1) for pair in found["arguments"].split(" and "))
    arguments = {name: value.rstrip(".:,;") for name, value in pairs}
    return found["tool"], {name: int(value) if value.isdigit() else value for name, value in arguments.items()}


async def _hold(conversation: Conversation, service: FakeService, client: Client, known: Known) -> None:
    """Make the calls of a conversation and compare the answers."""
    answer = None
    for line in conversation.lines:
        if call := _CALL.match(line):
            arguments = known.fill(json.loads(call["arguments"]))
            if call["mark"]:
                assert read_next_step(known.next_step) == (call["tool"], arguments)
                await until(lambda: service.tasks)
                service.advance(conversation.world.get("passes", 0))
            answer = await client.call_tool(call["tool"], arguments)
            told = answer.structured_content or {}
            known.next_step = told.get("next_step") or (words(answer) if answer.is_error and not told else "")
        elif line.startswith("refused: "):
            known.match(line.removeprefix("refused: "), words(answer))
        elif line.startswith("failed: "):
            assert answer.is_error
            known.match(json.loads(line.removeprefix("failed: ")), answer.structured_content)
        elif line == "a picture":
            assert [block.type for block in answer.content] == ["image"]
        else:
            known.match(json.loads(line), facts(answer))


# The eras take turns; what is told in them is the same.
@pytest.mark.parametrize(("title", "era"), [*zip(CONVERSATIONS, cycle(ERAS), strict=False)])
async def test_what_is_asked_for_is_had_with_the_calls_of_the_page(tmp_path, title, era):
    conversation = CONVERSATIONS[title]
    assets = tmp_path.resolve() / "project" / "assets"
    assets.mkdir(parents=True)
    for name in conversation.world.get("files", ()):
        (assets / name).write_bytes(encode(640, 480, colour=(200, 30, 30), texts={}))
    known = Known({"assets": str(assets)})
    environ = {name: str(known.fill(value)) for name, value in conversation.world.get("environ", {}).items()}
    with FakeService(**conversation.world.get("service", {})) as service:
        settings = make_settings(tmp_path, service, **environ)
        async with Client(build_server(quick_service(settings)), mode=era) as client:
            await _hold(conversation, service, client, known)

    assert all(map(os.path.isfile, known.pictures))
    orders = [line for line in conversation.lines if line.startswith(("generate_image", "submit_task"))]
    refused = sum(line.startswith("refused: ") and "has begun" not in line for line in conversation.lines)
    in_sandbox = sum('"region": "sandbox"' in line for line in orders)
    joined = sum(line.endswith("  # joins") for line in orders)
    assert len(service.creates) == len(orders) - refused - in_sandbox - joined


def test_the_page_has_every_conversation_that_people_have():
    asked = " ".join(CONVERSATIONS).lower()
    for word in ("one picture", "variations", "wallpaper", "later", "cancel", "show me", "assets folder", "cheapest"):
        assert word in asked
    assert "webp for my site" in asked
    assert "spend today, and yesterday" in asked
    for word in ("but blue", "on that background", "remove the background", "storyboard", "can edit"):
        assert word in asked


async def test_the_cheapest_model_is_named_with_its_price_in_the_tool_list(tmp_path):
    async with Client(build_server(build_service(make_settings(tmp_path)))) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    said = tools["generate_image"].input_schema["properties"]["model"]["description"]
    priced = [(model.price("singapore"), model) for model in MODELS if model.price("singapore") is not None]
    cheapest = min(price.amount for price, _ in priced)
    names = [model.id for price, model in priced if price.amount == cheapest]

    assert any(re.search(rf"Cheapest: {re.escape(name)} {cheapest}\b", said) for name in names)
    used = [line for line in CONVERSATIONS["Which model is the cheapest?"].lines if line.startswith("generate_image")]
    assert any(name in used[0] for name in names)


async def test_what_an_image_costs_outside_beijing_is_in_the_tool_list(tmp_path):
    async with Client(build_server(build_service(make_settings(tmp_path)))) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    prices = [region.price for model in MODELS for region in model.regions if region.price]
    amounts = sorted(price.amount for price in prices if price.currency == "USD")

    assert f"({amounts[0]} to {amounts[-1]} USD)" in tools["generate_image"].description


@pytest.mark.parametrize(("n", "most"), [(1, 1000), (4, 2000)])
async def test_the_median_result_is_small(tmp_path, n, most):
    # As long as the folders that people have by default.
    home = tmp_path / "Users" / "firstname.lastname@company.example" / "OneDrive - Company" / "Pictures" / "wan-mcp"
    prompts = [
        "a flower shop at dawn, with wide windows and a cat, in the style of an old postcard",
        "花店的早晨，猫在窗边",
    ]
    texts, structured = [], []
    with FakeService(duration=0.0, pending=0.0) as service:
        settings = make_settings(tmp_path, service, WAN_MCP_OUTPUT_DIR=str(home))
        async with Client(build_server(quick_service(settings))) as client:
            for prompt in prompts:
                for model in ("wan2.6-t2i", "wan2.7-image", "wan2.5-t2i-preview"):
                    answer = await client.call_tool("generate_image", {"prompt": prompt, "model": model, "n": n})
                    assert len(facts(answer)["images"]) == n
                    texts.append(len(answer.content[0].text.encode()))
                    structured.append(len(json.dumps(answer.structured_content, ensure_ascii=False).encode()))

    assert statistics.median(texts) < most
    assert statistics.median(structured) < most
    assert max(texts) < most * 1.2


def test_every_next_step_that_an_agent_may_read_can_be_made_as_it_stands():
    page = (PAGE.parent / "errors.md").read_text(encoding="utf-8").replace("\\", "")
    known = {
        "get_task": {"task_id", "wait_seconds"},
        "list_tasks": {"remote", "status", "limit", "cursor", "since", "until", "costs"},
        "download_image": {"task_id", "index", "url", "output_dir", "filename", "format", "max_side"},
        "view_image": {"task_id", "index", "path"},
        "cancel_task": {"task_id"},
    }
    steps = [match[0] for match in _NEXT.finditer(page)]

    assert len(steps) > 20
    for step in steps:
        tool, arguments = read_next_step(step)
        assert set(arguments) <= known[tool], step
