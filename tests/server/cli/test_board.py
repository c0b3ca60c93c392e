"""What is seen while waiting."""

import io

import pytest
from rich.console import Console as RichConsole

from wan_mcp.cli.board import Wait, shorten, show_board, tell_time

SENTENCES = {
    "The service draws, 12 s since the order, usually about 25 s in all": "The service draws",
    "In the queue of the service, 0 s since the order, perhaps about 60 s in all": "In the queue of the service",
    "Sending the order, 3 s so far": "Sending the order",
    "The service draws, 40 s since the order, longer than the usual 25 s": "The service draws",
    "The picture is drawn and is being saved": "The picture is drawn and is being saved",
    "The service draws, 5 s since the order, usually about 9 s in all. The disk is full, wait 5 s.": (
        "The service draws. The disk is full, wait 5 s."
    ),
    "Queued, before \x1b[2J sk-0123456789abcdef": "Queued, before  [2J sk-***",
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_seconds_of_a_sentence_give_way_to_a_clock_that_moves(sentence: str) -> None:
    assert shorten(sentence) == SENTENCES[sentence]


def test_time_moves_between_two_reports() -> None:
    wait = Wait("")
    assert tell_time(wait, 100.0) == ""
    wait.hear(100.0, 0.0, None, "Writing the order down")
    assert tell_time(wait, 103.0) == "3 s"
    wait.hear(104.0, 4.0, 30.0, "RUNNING")
    assert [tell_time(wait, now) for now in (104.0, 105.0, 129.0)] == [
        "4 s of about 30 s",
        "5 s of about 30 s",
        "29 s of about 30 s",
    ]
    assert tell_time(wait, 131.0) == "31 s"


def test_the_second_call_of_a_wait_goes_on_where_the_first_ended() -> None:
    wait = Wait("")
    wait.hear(100.0, 0.0, 40.0, "Sending the order")
    wait.hear(110.0, 0.0, 30.0, "PENDING")
    assert tell_time(wait, 115.0) == "15 s of about 40 s"


def test_a_bar_never_goes_back_and_is_not_full_before_the_end() -> None:
    wait = Wait("")
    assert wait.share(0.0) is None
    wait.hear(0.0, 0.0, 10.0, "PENDING")
    assert wait.share(5.0) == 0.5
    wait.hear(5.0, 5.0, 50.0, "PENDING")
    assert wait.share(6.0) == 0.5
    assert wait.share(1000.0) < 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Hand:
    """A clock that is set by hand."""

    now_is = 0.0

    def monotonic(self) -> float:
        return self.now_is


async def test_a_terminal_has_a_bar_for_each_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream, clock = Terminal(), Hand()
    with show_board(stream, clock, ["1/3 fox", "2/3 owl", "3/3 hen"]) as board:
        await board.report(0)(0.0, 20.0, "RUNNING, usually about 20 s")
        await board.report(1)(0.0, None, "PENDING")
        clock.now_is = 10.0
        table = board.draw(24)
        drawn = _text(table)
        assert "10 s of about 20 s" in drawn
        assert "1/3 fox" in drawn
        assert "2/3 owl" in drawn
        assert "3/3 hen" not in drawn, "it has not begun"
        assert "0 of 3 done" in drawn
        board.end(0, "saved")
        drawn = _text(board.draw(24))
    assert "1/3 fox" not in drawn
    assert "1 of 3 done" in drawn
    # How each ended stays on the screen, above the bars.
    assert "1/3 fox: saved" in stream.getvalue()


async def test_no_more_bars_are_drawn_than_the_terminal_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    labels = [f"{number}/40 owl" for number in range(1, 41)]
    with show_board(Terminal(), Hand(), labels) as board:
        for number in range(40):
            await board.report(number)(0.0, 20.0, "RUNNING")
        lines = _text(board.draw(12)).rstrip().splitlines()
    assert len(lines) == 11
    assert "0 of 40 done" in lines[-1]


async def test_one_order_has_one_line_that_needs_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    clock = Hand()
    with show_board(Terminal(), clock, [""]) as board:
        await board.report(0)(0.0, 20.0, "RUNNING, usually about 20 s")
        clock.now_is = 7.0
        (line,) = _text(board.draw(24)).rstrip().splitlines()
        board.end(0, "saved")
    assert line.strip("━╸╺ ") == "7 s of about 20 s  RUNNING"


def _text(renderable: object) -> str:
    console = RichConsole(file=io.StringIO(), width=100)
    console.print(renderable)
    return console.file.getvalue()
