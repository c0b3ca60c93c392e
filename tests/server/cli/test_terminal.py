"""What is met at a real terminal: bars that leave nothing behind, lines that fit, Ctrl-C."""

import re
import sqlite3
import sys
from pathlib import Path

import pytest

from fakes.dashscope import FakeService
from fakes.stdio_client import environment
from fakes.terminal import Screen, TerminalProcess, measure

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
BARS = "━╸╺"
PROMPTS = (
    "a red fox",
    "花店里的红狐狸在雪地里奔跑天空中有五彩的极光",
    "an owl 👨‍👩‍👧 at night",
    "a red fox",
    "e\u0301te\u0301",
)


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS), encoding="utf-8")
    return str(path)


def run(folder: Path, *arguments: str, columns: int = 80, term: str = "xterm", **variables: str) -> Screen:
    env = environment(folder, **variables)
    with TerminalProcess(*arguments, env=env, columns=columns, term=term) as process:
        screen = process.read_to_end()
        assert "Traceback" not in screen.text
        assert (process.returncode, screen.cursor_is_shown) == (0, True), screen.text
    return screen


@pytest.mark.parametrize("columns", [40, 80])
def test_no_bar_is_left_beside_the_lines_that_stay(tmp_path: Path, prompts: str, columns: int) -> None:
    with TerminalProcess("generate", "--prompts", prompts, env=environment(tmp_path), columns=columns) as process:
        screen = process.read_to_end()
    assert process.returncode == 0
    assert any(each in process.written for each in BARS), "there were bars"
    assert not set(BARS) & set(screen.text), screen.text
    assert screen.cursor_is_shown
    for number in range(1, len(PROMPTS) + 1):
        assert screen.text.count(f"{number}/5 ") == 1, screen.text
    assert len(re.findall(r"\.png", screen.text.replace("\n", ""))) == len(PROMPTS)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(tmp_path: Path, prompts: str) -> None:
    with TerminalProcess(
        "generate", "--prompts", prompts, "--show", env=environment(tmp_path), term="dumb"
    ) as process:
        screen = process.read_to_end()
    assert process.returncode == 0
    assert "\x1b" not in process.written
    assert not set(BARS) & set(process.written)
    assert screen.lines[0].startswith("No pictures are shown")
    for words in ("1/5 a red fox: saved", "3/5 an owl"):
        assert words in screen.text


def test_doctor_has_no_colours_where_the_terminal_has_none(tmp_path: Path) -> None:
    with TerminalProcess("doctor", env=environment(tmp_path), term="dumb") as process:
        process.read_to_end()
    assert "\x1b" not in process.written


def test_the_list_of_tasks_fits_the_terminal(tmp_path: Path, prompts: str) -> None:
    run(tmp_path, "generate", "--prompts", prompts, term="dumb", DASHSCOPE_REGION="sandbox")
    for columns in (24, 40, 80, 200):
        lines = run(tmp_path, "tasks", columns=columns).lines
        # No line was broken by the terminal.
        assert len(lines) == 1 + len(PROMPTS)
        assert max(map(measure, lines)) <= columns
        starts = {measure(line.partition(" SUCCEEDED")[0]) for line in lines[1:]}
        assert len(starts) == 1, "the columns stand below each other"
        if columns == 24:
            # What stands there for an id is understood.
            first = run(tmp_path, "get", lines[1].split()[0])
            assert first.text.endswith(".png")


def test_a_prompt_is_cut_by_what_is_seen_of_it_and_not_by_its_characters(tmp_path: Path) -> None:
    for prompt in ("花" * 60, "e\u0301" * 60, "x" * 60):
        run(tmp_path, "generate", prompt, term="dumb")
    table = run(tmp_path, "tasks", columns=140).lines
    ends = {measure(line) for line in table[1:]}
    # A wide letter may leave one column free.
    assert max(ends) - min(ends) <= 1
    assert max(ends) <= 140
    assert all(line.endswith("...") for line in table[1:])


def test_ctrl_c_names_an_order_that_is_being_sent_and_what_it_names_is_there(tmp_path: Path) -> None:
    with FakeService() as dashscope:
        dashscope.script("create", "held")
        env = environment(tmp_path, dashscope)
        with TerminalProcess("generate", "a red fox", env=env) as process:
            process.read_until("Sending the order")
            process.interrupt()
            process.read_until("may have reached the service")
            dashscope.release()
            screen = process.read_to_end()
        assert process.returncode == 130
        text = screen.text.replace("\n", " ")
        (named,) = set(re.findall(r"local-[0-9a-f]{32}", screen.text.replace("\n", "")))
        assert not set(BARS) & set(text)
        assert "wan-mcp collect fetches it" in text
        with sqlite3.connect(tmp_path / "state" / "ledger.sqlite3") as ledger:
            assert ledger.execute("SELECT local_id FROM orders").fetchall() == [(named,)]
        ledger.close()
        assert run(tmp_path, "get", named, "--wait-seconds", "40", **{k: env[k] for k in env if k != "PYTHONPATH"})
        assert len(dashscope.creates) == 1


def test_ctrl_c_before_anything_was_ordered_says_so(tmp_path: Path) -> None:
    run(tmp_path, "generate", "a red fox", term="dumb")
    with (
        sqlite3.connect(tmp_path / "state" / "ledger.sqlite3", isolation_level=None) as ledger,
        TerminalProcess("generate", "an owl", env=environment(tmp_path)) as process,
    ):
        ledger.execute("BEGIN IMMEDIATE")
        process.read_until("Writing the order down")
        process.interrupt()
        screen = process.read_to_end()
        ledger.execute("ROLLBACK")
    assert process.returncode == 130
    assert screen.lines == ["Stopped. Nothing was ordered."]
    ledger.close()
