"""
What a person sees while waiting: a line for each order, on stderr.

On a terminal the lines move by themselves, also between two reports; elsewhere, and on a terminal that cannot move
its cursor, they are plain lines for a log.
"""

import os
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from wan_mcp.cli.terminal.output import can_move_cursor, printable, with_next_step
from wan_mcp.clock import Clock
from wan_mcp.log import redact
from wan_mcp_tools.domain.service import ProgressCallback, ProgressReport

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.table import Table

_LINE_INTERVAL = 5.0
"""Seconds between two lines about one order where nobody watches."""
_BAR_CELLS = 16
"""Cells of a bar."""
_MAX_FRACTION = 0.97
"""A bar is full only at the end."""
_FRAME_SECONDS = 0.25


class ProgressDisplay(Protocol):
    """Where the waits of a command are shown, each known by its number from 0."""

    def reporter(self, number: int) -> ProgressCallback:
        """Give what takes the reports of one wait."""
        ...

    def finish(self, number: int, words: str) -> None:
        """Say how one wait ended."""
        ...

    def note(self, text: str) -> None:
        """Write a remark beside what is shown."""
        ...


@dataclass(slots=True)
class Progress:
    """
    One wait: its label, and the last report of it.

    `started` and `ends` are on the monotonic clock; `ends` is None as long as nobody can say. A wait that has not
    begun has no `started`.
    """

    label: str
    state: str = ""
    started: float | None = None
    ends: float | None = None
    is_over: bool = False
    highest: float = 0.0

    def update(self, now: float, report: ProgressReport) -> bool:
        """Take a report; say whether the state is another."""
        state = describe_state(report)
        is_new = state != self.state
        self.state = state
        self.started = now if self.started is None else self.started
        self.ends = None if report.expected is None else now + max(0.0, report.expected - report.seconds)
        return is_new

    def fraction(self, now: float) -> float | None:
        """Give how much of the wait is behind, from 0 to 1; a bar never goes back, and is full only at the end."""
        if self.started is None or self.ends is None:
            return None
        gone, total = now - self.started, self.ends - self.started
        self.highest = max(self.highest, min(_MAX_FRACTION, gone / total if total else _MAX_FRACTION))
        return self.highest


def describe_state(report: ProgressReport, *, with_timing: bool = False) -> str:
    """Say in one line what is happening and what holds it up; the seconds of it are told by a clock that moves."""
    sentence = f"{report.state}, {report.timing}" if with_timing and report.timing else report.state
    if report.problem is not None:
        sentence += f". {with_next_step(report.problem.message, report.problem.next_step)}"
    return printable(redact(sentence)).replace("\n", " ")


def format_time(wait: Progress, now: float) -> str:
    """Tell how long a wait has lasted, and how long it may last in all."""
    if wait.started is None:
        return ""
    gone = now - wait.started
    if wait.ends is None or wait.ends <= now:
        return f"{gone:.0f} s"
    return f"{gone:.0f} s of about {wait.ends - wait.started:.0f} s"


@contextmanager
def show_progress(
    stream: TextIO, clock: Clock, labels: Sequence[str], *, environ: Mapping[str, str] = os.environ
) -> Generator[ProgressDisplay]:
    """Show waits until this is left; a single one needs no label."""
    waits = [Progress(label) for label in labels]
    if not can_move_cursor(stream, environ):
        yield _LineDisplay(stream, waits)
        return
    display = _LiveDisplay(waits, clock, _one_at_a_time(stream))
    with display.shown():
        yield display


def _one_at_a_time(stream: TextIO) -> "RichConsole":
    """
    Give a console of which one thread has hold until everything that it prints is written.

    The library's own works out where the cursor is, prints, and writes later; whoever draws in between leaves dead
    bars on the screen. The lock is taken before any other of the library, so nobody waits for each other.
    """
    # Only here is the library of any use, and it costs a tenth of a second to import.
    from rich.console import Console as RichConsole  # noqa: PLC0415

    lock = threading.RLock()

    class OneAtATime(RichConsole):
        def __enter__(self) -> "RichConsole":
            lock.acquire()
            return super().__enter__()

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, where: "TracebackType | None"
        ) -> None:
            try:
                super().__exit__(kind, error, where)
            finally:
                lock.release()

    return OneAtATime(file=stream)


class _LiveDisplay:
    """
    Bars on a terminal. They are drawn anew some times a second, by a thread of their own.

    Whatever else is written meanwhile, also to `sys.stderr`, goes through the same console, and whoever writes or
    draws has it alone.
    """

    def __init__(self, waits: Sequence[Progress], clock: Clock, console: "RichConsole") -> None:
        self._waits = waits
        self._clock = clock
        self._console = console
        self._live: Live | None = None
        self._is_over = threading.Event()

    @contextmanager
    def shown(self) -> Generator[None]:
        """Draw until this is left, and leave nothing of the bars on the screen."""
        from rich.live import Live  # noqa: PLC0415 - the same

        live = self._live = Live(
            console=self._console,
            get_renderable=lambda: self.draw(self._console.height),
            # Its own thread takes the locks the other way round.
            auto_refresh=False,
            transient=True,
            # stdout is for results, and may go elsewhere.
            redirect_stdout=False,
        )
        drawing = threading.Thread(target=self._draw_often, daemon=True)
        with self._console:
            live.start()
        drawing.start()
        try:
            yield
        finally:
            self._is_over.set()
            with self._console:
                # The thread may come once more, and finds nothing to draw.
                self._live = None
                live.stop()

    def refresh(self) -> None:
        """Draw anew."""
        with self._console:
            if self._live is not None:
                self._live.refresh()

    def _draw_often(self) -> None:
        while not self._is_over.wait(_FRAME_SECONDS):
            self.refresh()

    def reporter(self, number: int) -> ProgressCallback:
        wait = self._waits[number]

        async def show(report: ProgressReport) -> None:
            if wait.update(self._clock.monotonic(), report):
                self.refresh()

        return show

    def finish(self, number: int, words: str) -> None:
        wait = self._waits[number]
        wait.is_over = True
        if wait.label:
            self.note(f"{wait.label}: {words}")

    def note(self, text: str) -> None:
        from rich.text import Text  # noqa: PLC0415 - the same

        # The terminal breaks the lines: a command or a path is to be copied whole.
        self._console.print(Text(printable(redact(text))), soft_wrap=True)

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
        for wait in rows[: max(1, height - 2)]:
            fraction = wait.fraction(now)
            bar = ProgressBar(1.0, fraction or 0.0, width=_BAR_CELLS, pulse=fraction is None, animation_time=now)
            table.add_row(bar, Text(format_time(wait, now)), Text(wait.label), Text(wait.state))
        if len(self._waits) > 1:
            done = sum(wait.is_over for wait in self._waits)
            table.add_row("", "", Text(f"{done} of {len(self._waits)} done"), "")
        return table


class _LineDisplay:
    """
    Lines for a log.

    Of a single wait each new sentence, but none sooner than some seconds after the one before; of several only what
    has changed.
    """

    def __init__(self, stream: TextIO, waits: Sequence[Progress]) -> None:
        self._stream = stream
        self._waits = waits
        self._filter = _LineFilter()

    def reporter(self, number: int) -> ProgressCallback:
        wait = self._waits[number]

        async def show(report: ProgressReport) -> None:
            is_new = wait.update(0.0, report)
            line = describe_state(report, with_timing=True)
            if wait.label and is_new:
                self.note(f"{wait.label}: {wait.state}")
            elif not wait.label and self._filter.is_due(report.seconds, line):
                self.note(line)

        return show

    def finish(self, number: int, words: str) -> None:
        label = self._waits[number].label
        if label:
            self.note(f"{label}: {words}")

    def note(self, text: str) -> None:
        self._stream.write(printable(redact(text)) + "\n")
        self._stream.flush()


@dataclass(slots=True)
class _LineFilter:
    written: str = ""
    written_at: float = field(default=-_LINE_INTERVAL)

    def is_due(self, gone: float, sentence: str) -> bool:
        if sentence == self.written or self.written_at <= gone < self.written_at + _LINE_INTERVAL:
            return False
        self.written, self.written_at = sentence, gone
        return True
