"""Every command, configuration and link of the documentation is one that works."""

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from wan_mcp.cli.main import cli as commands
from wan_mcp.settings import SETTING_ROWS, expand_name, read_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / ".github").glob("*.md")))
SETTINGS = {name for row in SETTING_ROWS for name in expand_name(row.name)}
ELSEWHERE = {"claude", "curl", "codex", "gemini", "qwen", "code", "uvx", "uv", "pipx", "docker", "python3", "openssl"}
"""Programs of others; what stands behind a wan-mcp in their lines is checked all the same."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language and its text."""

    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.text.splitlines()[0][:40] if self.text else ''}"


def blocks(*languages: str) -> list[Block]:
    found = [
        Block(page.name, language, text)
        for page in PAGES
        for language, text in re.findall(
            r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]
    return [block for block in found if block.language in languages]


def lines(block: Block) -> list[str]:
    text = block.text.replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def steps(line: str) -> list[list[str]]:
    """Give the programs that a line of the shell calls, each with its arguments, without variables set for one."""
    words = shlex.split(line, comments=True)
    found: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", "|", ";"):
            found.append([])
        else:
            found[-1].append(word)
    return [step for step in (_without_settings(each) for each in found) if step]


def _without_settings(words: list[str]) -> list[str]:
    while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0], re.DOTALL):
        words = words[1:]
    return words


def check_own_command(words: list[str]) -> None:
    """Let click read the words; nothing is run."""
    context = click.Context(commands, info_name="wan-mcp")
    name, command, rest = commands.resolve_command(context, words) if words else (None, None, [])
    if command is not None:
        command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("block", blocks("sh", "bash"), ids=str)
def test_every_command_exists_with_its_options(block):
    for line in lines(block):
        for words in steps(line):
            program, *rest = words
            if "wan-mcp" in (Path(word).name for word in words) and "pip" not in program:
                at = [Path(word).name for word in words].index("wan-mcp")
                if program in ELSEWHERE and words[at - 1] not in ("--", "wan-mcp", "run"):
                    continue
                check_own_command([word for word in words[at + 1 :] if word not in (">", "/dev/null")])
            elif program == "bash":
                assert (ROOT / rest[0]).is_file(), line
            elif program.endswith("/python"):
                for word in rest:
                    assert not word.startswith("tests/") or (ROOT / word).exists(), line
                    assert not word.startswith(("bench/", "release/")) or (ROOT / word).exists(), line
            else:
                assert program in ELSEWHERE | {"cat", "cd", "curl", "git", "export", "node", "printf"}, (
                    f"{program!r} in {line!r}"
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_sentence_names_exists(page):
    for words in re.findall(r"`wan-mcp ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
        assert words.split()[0] in commands.commands, words


@pytest.mark.parametrize("block", blocks("sh", "bash", "dotenv"), ids=str)
def test_every_setting_that_is_given_exists_and_is_accepted(block, tmp_path):
    for line in lines(block):
        given = dict(re.findall(r"(?:^|\s)((?:DASHSCOPE|WAN_MCP)_[A-Z0-9_]+)=('[^']*'|\S*)", line))
        given.pop("WAN_MCP_REWRITE", None)
        assert set(given) <= SETTINGS, line
        values = {name: value.strip("'\"") for name, value in given.items() if "FILE" not in name}
        read_settings({"WAN_MCP_STATE_DIR": str(tmp_path), "WAN_MCP_OUTPUT_DIR": str(tmp_path)} | values)


@pytest.mark.parametrize("block", blocks("json", "jsonc"), ids=str)
def test_every_configuration_is_json_with_settings_that_exist(block):
    document = json.loads(re.sub(r"^\s*//.*$", "", block.text, flags=re.MULTILINE))
    for env in _environments(document):
        assert set(env) <= SETTINGS


@pytest.mark.parametrize("block", [*blocks("toml"), None], ids=str)
def test_every_configuration_in_toml_is_read(block):
    if block is not None:
        for env in _environments(tomllib.loads(block.text)):
            assert set(env) <= SETTINGS


def _environments(value: object) -> list[dict]:
    if isinstance(value, dict):
        found = [value["env"]] if isinstance(value.get("env"), dict) else []
        return found + [env for part in value.values() for env in _environments(part)]
    if isinstance(value, list):
        return [env for part in value for env in _environments(part)]
    return []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            assert not path or (page.parent / path).exists(), target
            linked = (page.parent / path) if path else page
            if anchor and linked.suffix == ".md":
                titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}, (
                    target
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`((?:server|tools|tests|bench|docs|release|\.ci|\.github)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), f"{name} in {page.name}"


def test_the_page_of_the_architecture_names_every_package_and_no_file_that_is_not_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        folder = None
        for name in re.findall(r"`([\w./-]+)`", line):
            if name.startswith(("server/", "tools/", "tests/")):
                folder = (ROOT / name).parent
            elif name.endswith(".py"):
                assert folder is not None, f"{name} stands in no folder: {line}"
                assert (folder / name).exists(), f"{name} in: {line}"
    for root in ("server/wan_mcp", "tools/wan_mcp_tools"):
        for path in (ROOT / root).iterdir():
            is_named_there = (path / "__init__.py").exists() or (root.endswith("wan_mcp") and path.suffix == ".py")
            if is_named_there and path.name != "__init__.py":
                assert path.name in text, f"{root}/{path.name} is not named"


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+)\. ", text, re.MULTILINE) == [*map(str, range(1, 12))]
    for row in text[text.index("| promise |") :].splitlines()[2:]:
        found = re.search(r"`([\w/]+\.py)::(test_\w+)` \|$", row)
        assert found, row
        tests = (ROOT / "tests" / found[1]).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {found[2]}\(", tests, re.MULTILINE), row


def test_every_client_that_can_be_configured_has_its_row_on_the_page_of_hosts():
    from wan_mcp.clients import CLIENTS

    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| `([a-z-]+)` \|", page, re.MULTILINE)
    assert {name: title for title, name in rows if title != "host"} == {
        client.id: {"codex": "Codex CLI"}.get(client.id, client.title) for client in CLIENTS
    }


def test_every_option_of_a_client_is_explained_on_the_page_of_hosts():
    from wan_mcp.clients import CLIENTS

    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    for client in CLIENTS:
        for option, choice in client.options.items():
            (member,) = choice.members
            assert re.search(rf"^\| `--{option}` \| `{member} = ", page, re.MULTILINE), option


def test_the_words_that_make_the_sandbox_misbehave_are_those_of_its_page():
    from wan_mcp.sandbox.tasks import Outcome, read_outcome

    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(sandbox:[a-z]+)` \|", page, re.MULTILINE)
    source = (ROOT / "server" / "wan_mcp" / "sandbox" / "tasks.py").read_text(encoding="utf-8")
    assert set(listed) == set(re.findall(r"sandbox:[a-z]+", source))
    assert all(read_outcome(f"A fox, {word.upper()}") != Outcome() for word in listed)
