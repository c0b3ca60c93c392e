"""What is seen while waiting."""

import io
import sys
import threading
from functools import partial

import anyio
import pytest
from rich.console import Console as RichConsole

from fakes.terminal import Screen
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.progress import Progress, describe_state, format_time, show_progress
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.service import ProgressReport
from wan_mcp_tools.domain.tasks import Problem


def make_report(state: str, seconds: float = 0.0, expected: float | None = None, **facts) -> ProgressReport:
    return ProgressReport(seconds, expected, state, **facts)


def test_the_seconds_of_a_report_give_way_to_a_clock_that_moves() -> None:
    report = make_report("The service draws", timing="12 s since the order, usually about 25 s in all")
    assert describe_state(report) == "The service draws"
    line = "The service draws, 12 s since the order, usually about 25 s in all"
    assert describe_state(report, with_timing=True) == line


def test_what_holds_an_order_up_is_told_with_what_can_be_typed() -> None:
    problem = Problem("LedgerDamaged", "The ledger is damaged.", NextStep(NextAction.REPLACE_LEDGER))
    told = describe_state(make_report("Sending the order", timing="3 s so far", problem=problem))
    assert told.startswith(
        "Sending the order. The ledger is damaged. Move the file away (keep it) and call again; wan-mcp"
    )


def test_a_key_and_commands_of_terminals_are_not_shown() -> None:
    assert describe_state(make_report("Queued, before \x1b[2J sk-0123456789abcdef")) == "Queued, before  [2J sk-***"


def test_time_moves_between_two_reports() -> None:
    wait = Progress("")
    assert format_time(wait, 100.0) == ""
    wait.update(100.0, make_report("Writing the order down"))
    assert format_time(wait, 103.0) == "3 s"
    wait.update(104.0, make_report("RUNNING", 4.0, 30.0))
    assert [format_time(wait, now) for now in (104.0, 105.0, 129.0)] == [
        "4 s of about 30 s",
        "5 s of about 30 s",
        "29 s of about 30 s",
    ]
    assert format_time(wait, 131.0) == "31 s"


def test_the_second_call_of_a_wait_goes_on_where_the_first_ended() -> None:
    wait = Progress("")
    wait.update(100.0, make_report("Sending the order", 0.0, 40.0))
    wait.update(110.0, make_report("PENDING", 0.0, 30.0))
    assert format_time(wait, 115.0) == "15 s of about 40 s"


def test_a_bar_never_goes_back_and_is_not_full_before_the_end() -> None:
    wait = Progress("")
    assert wait.fraction(0.0) is None
    wait.update(0.0, make_report("PENDING", 0.0, 10.0))
    assert wait.fraction(5.0) == 0.5
    wait.update(5.0, make_report("PENDING", 5.0, 50.0))
    assert wait.fraction(6.0) == 0.5
    assert wait.fraction(1000.0) < 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ManualClock:
    """A clock that is set by hand."""

    time = 0.0

    def monotonic(self) -> float:
        return self.time


async def test_a_terminal_has_a_bar_for_each_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream, clock = Terminal(), ManualClock()
    with show_progress(stream, clock, ["1/3 fox", "2/3 owl", "3/3 hen"]) as display:
        await display.reporter(0)(make_report("RUNNING", 0.0, 20.0, timing="usually about 20 s"))
        await display.reporter(1)(make_report("PENDING"))
        clock.time = 10.0
        table = display.draw(24)
        drawn = _text(table)
        assert "10 s of about 20 s" in drawn
        assert "1/3 fox" in drawn
        assert "2/3 owl" in drawn
        assert "3/3 hen" not in drawn, "it has not begun"
        assert "0 of 3 done" in drawn
        display.finish(0, "saved")
        drawn = _text(display.draw(24))
    assert "1/3 fox" not in drawn
    assert "1 of 3 done" in drawn
    # How each ended stays on the screen, above the bars.
    assert "1/3 fox: saved" in stream.getvalue()


async def test_no_more_bars_are_drawn_than_the_terminal_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    labels = [f"{number}/40 owl" for number in range(1, 41)]
    with show_progress(Terminal(), ManualClock(), labels) as display:
        for number in range(40):
            await display.reporter(number)(make_report("RUNNING", 0.0, 20.0))
        lines = _text(display.draw(12)).rstrip().splitlines()
    assert len(lines) == 11
    assert "0 of 40 done" in lines[-1]


async def test_one_order_has_one_line_that_needs_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock = ManualClock()
    with show_progress(Terminal(), clock, [""]) as display:
        await display.reporter(0)(make_report("RUNNING", 0.0, 20.0, timing="usually about 20 s"))
        clock.time = 7.0
        (line,) = _text(display.draw(24)).rstrip().splitlines()
        display.finish(0, "saved")
    assert line.strip("━╸╺ ") == "7 s of about 20 s  RUNNING"


class SlowTerminal(Terminal):
    """Lets another thread go on before it writes, once it `is_slow`."""

    is_slow = False

    def write(self, text: str) -> int:
        if self.is_slow:
            threading.Event().wait(0.0005)
        return super().write(text)


@pytest.fixture
def _threads_change_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_threads_change_often")
@pytest.mark.parametrize("height", ["100", "4"])
def test_whoever_writes_and_draws_at_the_same_time_leaves_no_bar_behind(
    monkeypatch: pytest.MonkeyPatch, height: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", height)
    stream = SlowTerminal()
    labels = [f"{number}/30 owl" for number in range(1, 31)]

    with show_progress(stream, ManualClock(), labels) as display:

        async def begin() -> None:
            for number in range(30):
                await display.reporter(number)(make_report("RUNNING", 0.0, 20.0))

        def finish(numbers: range) -> None:
            for number in numbers:
                display.finish(number, "saved")

        def draw() -> None:
            for _ in range(30):
                display.refresh()

        def warn() -> None:
            for number in range(20):
                print(f"warning {number}", file=sys.stderr)

        anyio.run(begin)
        stream.is_slow = True
        works = (partial(finish, range(15)), partial(finish, range(15, 30)), draw, draw, warn)
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    screen = Screen(60, int(height))
    screen.feed(stream.getvalue().replace("\n", "\r\n"))
    expected = [*(f"{label}: saved" for label in labels), *(f"warning {number}" for number in range(20))]
    assert sorted(screen.lines) == sorted(expected)
    assert screen.cursor_is_shown


async def test_a_remark_while_bars_are_shown_stands_above_them_and_is_not_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    console = Console(io.StringIO(), stream)
    remark = "See it with: wan-mcp get " + "0" * 36
    with console.progress() as report:
        await report(make_report("RUNNING", 0.0, 20.0))
        console.note(remark + "\x1b[2J sk-0123456789abcdef")
    console.note("after it")
    assert remark + " [2J sk-***\n" in stream.getvalue()
    screen = Screen(40)
    screen.feed(stream.getvalue().replace("\n", "\r\n"))
    assert "".join(screen.lines) == remark + " [2J sk-***after it"


@pytest.mark.parametrize("term", ["dumb", "DUMB", "unknown", ""])
async def test_a_terminal_that_takes_plain_lines_alone_gets_no_other(term: str) -> None:
    stream = Terminal()
    console = Console(io.StringIO(), stream, environ={"TERM": term})
    with console.progress_of(["1/1 owl"]) as display:
        await display.reporter(0)(make_report("RUNNING", 0.0, 20.0))
        console.note("A remark.")
        display.finish(0, "saved")
    assert stream.getvalue() == "1/1 owl: RUNNING\nA remark.\n1/1 owl: saved\n"


def _text(renderable: object) -> str:
    console = RichConsole(file=io.StringIO(), width=100)
    console.print(renderable)
    return console.file.getvalue()
