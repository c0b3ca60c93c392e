"""
What a person sees while waiting: a line for each order, on stderr.

On a terminal the lines move by themselves, also between two reports; elsewhere they are plain lines for a log.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from wan_mcp.cli.exits import printable
from wan_mcp.cli.wording import in_commands
from wan_mcp.clock import Clock
from wan_mcp.log import mask
from wan_mcp_tools.domain.service import Report

if TYPE_CHECKING:
    from rich.table import Table

_PAUSE = 5.0
"""Seconds between two lines about one order where nobody watches."""
_BAR = 16
"""Cells of a bar."""
_ALMOST = 0.97
_LEAST_ROWS = 3

_FIGURES = re.compile(r",[^,.]*?\b\d+ s\b[^,.]*")


class Board(Protocol):
    """Where the waits of a command are told of, by their number from 0."""

    def report(self, number: int) -> Report:
        """Give the reporter of one wait."""
        ...

    def end(self, number: int, words: str) -> None:
        """Say how one wait ended."""
        ...


@dataclass(slots=True)
class Wait:
    """
    One wait: what it is called, and the last that was heard of it.

    `started` and `ends` are on the monotonic clock; `ends` is None as long as nobody can say. A wait that has not
    begun has no `started`.
    """

    label: str
    state: str = ""
    started: float | None = None
    ends: float | None = None
    is_over: bool = False
    furthest: float = 0.0

    def hear(self, now: float, gone: float, expected: float | None, sentence: str) -> bool:
        """Take a report; say whether the state is another."""
        state = shorten(sentence)
        is_new = state != self.state
        self.state = state
        self.started = now if self.started is None else self.started
        self.ends = None if expected is None else now + max(0.0, expected - gone)
        return is_new

    def share(self, now: float) -> float | None:
        """Give how much of the wait is behind, from 0 to 1; a bar never goes back, and is full only at the end."""
        if self.started is None or self.ends is None:
            return None
        gone, total = now - self.started, self.ends - self.started
        self.furthest = max(self.furthest, min(_ALMOST, gone / total if total else _ALMOST))
        return self.furthest


def shorten(sentence: str) -> str:
    """Leave the seconds out of a report's sentence: they are told by a clock that moves."""
    state, separator, trouble = sentence.partition(". ")
    return printable(mask(in_commands(_FIGURES.sub("", state) + separator + trouble))).replace("\n", " ")


def tell_time(wait: Wait, now: float) -> str:
    """Say how long a wait has lasted, and how long it may last in all."""
    if wait.started is None:
        return ""
    gone = now - wait.started
    if wait.ends is None or wait.ends <= now:
        return f"{gone:.0f} s"
    return f"{gone:.0f} s of about {wait.ends - wait.started:.0f} s"


@contextmanager
def show_board(stream: TextIO, clock: Clock, labels: Sequence[str]) -> Generator[Board]:
    """Show waits until this is left; a single one needs no label."""
    waits = [Wait(label) for label in labels]
    if not stream.isatty():
        yield _PlainBoard(stream, waits)
        return
    # Only here is the library of any use, and it costs a tenth of a second to import.
    from rich.console import Console as RichConsole  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    console = RichConsole(file=stream)
    board = _MovingBoard(waits, clock, console.print)
    live = Live(
        console=console,
        get_renderable=lambda: board.draw(console.height),
        refresh_per_second=4,
        transient=True,
        # stdout is for results, and may go elsewhere.
        redirect_stdout=False,
    )
    board.refresh = live.refresh
    with live:
        yield board


class _MovingBoard:
    """Bars on a terminal. They are drawn from another thread, some times a second."""

    def __init__(self, waits: Sequence[Wait], clock: Clock, write: "_Write") -> None:
        self._waits = waits
        self._clock = clock
        self._write = write
        self.refresh = _do_nothing

    def report(self, number: int) -> Report:
        wait = self._waits[number]

        async def report(gone: float, expected: float | None, sentence: str) -> None:
            if wait.hear(self._clock.monotonic(), gone, expected, sentence):
                self.refresh()

        return report

    def end(self, number: int, words: str) -> None:
        from rich.text import Text  # noqa: PLC0415 - the same

        wait = self._waits[number]
        wait.is_over = True
        if wait.label:
            self._write(Text(f"{wait.label}: {words}"))

    def draw(self, height: int) -> "Table":
        """Draw the waits that have begun and are not over, as many as fit, and how many there are."""
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - the same
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        now = self._clock.monotonic()
        rows = [wait for wait in self._waits if wait.started is not None and not wait.is_over]
        table = Table.grid(padding=(0, 1), expand=False)
        for name in ("bar", "time", "label", "state"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for wait in rows[: max(_LEAST_ROWS, height - 2)]:
            share = wait.share(now)
            bar = ProgressBar(1.0, share or 0.0, width=_BAR, pulse=share is None, animation_time=now)
            table.add_row(bar, Text(tell_time(wait, now)), Text(wait.label), Text(wait.state))
        if len(self._waits) > 1:
            done = sum(wait.is_over for wait in self._waits)
            table.add_row("", "", Text(f"{done} of {len(self._waits)} done"), "")
        return table


class _PlainBoard:
    """
    Lines for a log.

    Of a single wait each new sentence, but none sooner than some seconds after the one before; of several only what
    has changed.
    """

    def __init__(self, stream: TextIO, waits: Sequence[Wait]) -> None:
        self._stream = stream
        self._waits = waits
        self._single = _Sparse()

    def report(self, number: int) -> Report:
        wait = self._waits[number]

        async def report(gone: float, expected: float | None, sentence: str) -> None:
            is_new = wait.hear(0.0, gone, expected, sentence)
            if wait.label and is_new:
                self._write(f"{wait.label}: {wait.state}")
            elif not wait.label and self._single.is_due(gone, sentence):
                self._write(sentence)

        return report

    def end(self, number: int, words: str) -> None:
        label = self._waits[number].label
        if label:
            self._write(f"{label}: {words}")

    def _write(self, text: str) -> None:
        self._stream.write(printable(mask(text)) + "\n")
        self._stream.flush()


@dataclass(slots=True)
class _Sparse:
    said: str = ""
    said_at: float = field(default=-_PAUSE)

    def is_due(self, gone: float, sentence: str) -> bool:
        if sentence == self.said or self.said_at <= gone < self.said_at + _PAUSE:
            return False
        self.said, self.said_at = sentence, gone
        return True


class _Write(Protocol):
    def __call__(self, text: object, /) -> None: ...


def _do_nothing() -> None:
    """Stand for the display until it is there."""
