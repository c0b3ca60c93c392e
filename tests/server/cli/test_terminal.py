"""What is met at a real terminal: bars that leave nothing behind, lines that fit, Ctrl-C."""

import re
import sqlite3
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from fakes.dashscope import FakeService
from fakes.orders import CLOSED, make_order, make_request
from fakes.stdio_client import environment
from fakes.terminal import Screen, TerminalProcess, measure
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp.cli.terminal.task_output import format_tasks
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import ImageState, OrderImage
from wan_mcp.ledger.backends.sqlite import SqliteDatabase
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.tasks import Task, TaskStatus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
BARS = "━╸╺"
PROMPTS = (
    "a red fox",
    "花店里的红狐狸在雪地里奔跑天空中有五彩的极光",
    "an owl 👨‍👩‍👧 at night",
    "a red fox",
    "e\u0301te\u0301",
)


def make_task(prompt: str) -> Task:
    name = str(uuid.uuid4())
    return Task(
        task_id=name,
        local_id=f"local-{name}",
        status=TaskStatus.SUCCEEDED,
        region="sandbox",
        settled=True,
        created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        model="wan2.6-t2i",
        request=make_request(prompt),
    )


def fill_ledger(folder: Path, *prompts: str) -> None:
    """Write down a finished order for each prompt."""
    picture = folder / "a.png"
    picture.write_bytes(b"a picture")
    orders = [
        make_order(
            task_id=str(uuid.uuid4()),
            request=make_request(prompt),
            created_at=1_767_323_040.0 + number,
            images=(OrderImage(1, ImageState.SAVED, path=str(picture)),),
            **CLOSED,
        )
        for number, prompt in enumerate(prompts)
    ]

    async def write() -> None:
        database = SqliteDatabase(folder / "state" / "ledger.sqlite3", SystemClock())
        await database.write(lambda tx: [insert_order(tx, order) for order in orders])
        await database.close()

    anyio.run(write)


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


def test_no_bar_is_left_beside_the_lines_that_stay(tmp_path: Path, prompts: str) -> None:
    # In a narrow one lines are broken, which a display that counts rows has to know.
    with (
        FakeService(duration=2.0) as dashscope,
        TerminalProcess(
            "generate", "--prompts", prompts, env=environment(tmp_path, dashscope), columns=40
        ) as process,
    ):
        screen = process.read_to_end()
    assert process.returncode == 0
    assert any(each in process.written for each in BARS), "there were bars"
    assert not set(BARS) & set(screen.text), screen.text
    assert screen.cursor_is_shown
    for number in range(1, len(PROMPTS) + 1):
        assert screen.text.count(f"{number}/5 ") == 1, screen.text
    assert len(re.findall(r"\.png", screen.text.replace("\n", ""))) == len(PROMPTS)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(tmp_path: Path, prompts: str) -> None:
    with (
        FakeService(duration=0.5) as dashscope,
        TerminalProcess(
            "generate", "--prompts", prompts, "--show", env=environment(tmp_path, dashscope), term="dumb"
        ) as process,
    ):
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


def test_the_list_of_tasks_fits_the_terminal(tmp_path: Path) -> None:
    fill_ledger(tmp_path, *PROMPTS)
    lines = run(tmp_path, "tasks", columns=24).lines
    # No line was broken by the terminal.
    assert len(lines) == 1 + len(PROMPTS)
    assert max(map(measure, lines)) <= 24
    # What stands there for an id is understood.
    context = CommandContext(environment(tmp_path))
    done = CliRunner().invoke(cli, ["get", lines[1].split()[0]], obj=context)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'a.png'}\n")


@pytest.mark.parametrize("columns", [24, 40, 80, 200])
def test_the_list_of_tasks_fits_in_any_width(columns: int) -> None:
    lines = format_tasks([make_task(prompt) for prompt in PROMPTS], columns)
    assert max(map(measure, lines)) <= columns
    starts = {measure(line.partition(" SUCCEEDED")[0]) for line in lines[1:]}
    assert len(starts) == 1, "the columns stand below each other"


def test_a_prompt_is_cut_by_what_is_seen_of_it_and_not_by_its_characters() -> None:
    table = format_tasks([make_task(prompt) for prompt in ("花" * 60, "e\u0301" * 60, "x" * 60)], 140)
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
        done = CliRunner().invoke(cli, ["get", named, "--wait-seconds", "40"], obj=CommandContext(env))
        assert done.exit_code == 0, done.output
        assert len(dashscope.creates) == 1


def test_ctrl_c_before_anything_was_ordered_says_so(tmp_path: Path) -> None:
    fill_ledger(tmp_path, "a red fox")
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
