"""The streams of a command: results on stdout, everything said to a person on stderr, questions at the terminal."""

import getpass
import os
import sys
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import click

from wan_mcp.cli.terminal.output import printable, terminal_width
from wan_mcp.cli.terminal.progress import ProgressDisplay, show_progress
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.log import redact
from wan_mcp_tools.domain.errors import MissingKeyError
from wan_mcp_tools.domain.service import ProgressCallback


@dataclass(slots=True)
class Console:
    """Where a command writes. While a wait is shown, what it writes to stderr goes through the display of it."""

    out: TextIO
    err: TextIO
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _display: ProgressDisplay | None = field(default=None, init=False)

    @property
    def width(self) -> int | None:
        """The columns of the terminal that results go to; None if they go to none."""
        return terminal_width(self.out)

    def print(self, text: str) -> None:
        """Write a result."""
        self.out.write(text + "\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """Write a remark."""
        if self._display is not None:
            self._display.note(text)
            return
        self.err.write(printable(redact(text)) + "\n")
        self.err.flush()

    def draw(self, codes: str) -> None:
        """Write what is a picture to the terminal: control codes of our own making, passed on as they are."""
        self.err.write(codes + "\n")
        self.err.flush()

    @contextmanager
    def progress_of(self, labels: Sequence[str]) -> Generator[ProgressDisplay]:
        """Show several waits, or a single one without a label."""
        with show_progress(self.err, self.clock, labels, environ=self.environ) as display:
            self._display = display
            try:
                yield display
            finally:
                self._display = None

    @contextmanager
    def progress(self) -> Generator[ProgressCallback]:
        """Show a wait: one moving line on a terminal, a line now and then elsewhere."""
        with self.progress_of(("",)) as display:
            yield display.reporter(0)


def standard_console(clock: Clock | None = None, environ: Mapping[str, str] | None = None) -> Console:
    """Give the console of this process; `environ` says what its terminal is."""
    return Console(sys.stdout, sys.stderr, clock or SystemClock(), os.environ if environ is None else environ)


def can_ask() -> bool:
    """Tell whether anybody sits at this terminal who could answer."""
    return all(stream and stream.isatty() for stream in (sys.stdin, sys.stderr))


def confirm(question: str, *, default: bool = True) -> bool:
    """Ask a question whose usual answer is yes, or no."""
    return click.confirm(question, default=default, err=True)


def ask_secret(question: str) -> str:
    """
    Ask for what must not be shown while it is typed.

    Raises:
        MissingKeyError: the terminal would show it.
    """
    with warnings.catch_warnings():
        # Where the echo cannot be switched off, the library would read the key in the open.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(question, stream=sys.stderr)
        except getpass.GetPassWarning as error:
            raise MissingKeyError(
                "This terminal would show the key while it is typed.",
                "Set DASHSCOPE_API_KEY, or use --key-file PATH.",
            ) from error
