"""The two streams of a command: results on stdout, everything said to a person on stderr."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from wan_mcp.cli.exits import printable
from wan_mcp.log import mask
from wan_mcp_tools.shared.ports import Report

_PAUSE = 5.0
"""Seconds between two lines of progress where nobody watches."""


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command writes."""

    out: TextIO
    err: TextIO

    def say(self, text: str) -> None:
        """Write a result."""
        self.out.write(text + "\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """Write a remark."""
        self.err.write(printable(mask(text)) + "\n")
        self.err.flush()

    @contextmanager
    def progress(self) -> Generator[Report]:
        """Show a wait: one moving line on a terminal, a line now and then elsewhere."""
        if not self.err.isatty():
            yield _PlainProgress(self).report
            return
        # Only here is the library of any use, and it costs a tenth of a second to import.
        from rich.console import Console as RichConsole  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        with RichConsole(file=self.err).status(Text("Starting")) as status:

            async def report(_gone: float, _expected: float | None, sentence: str) -> None:
                status.update(Text(printable(mask(sentence))))

            yield report


class _PlainProgress:
    """Lines for a log: each new sentence, but none sooner than some seconds after the one before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""
        self._said_at = -_PAUSE

    async def report(self, gone: float, _expected: float | None, sentence: str) -> None:
        """Take the progress of a wait."""
        if sentence == self._said or self._said_at <= gone < self._said_at + _PAUSE:
            return
        self._said, self._said_at = sentence, gone
        self._console.note(sentence)


def standard_console() -> Console:
    """Give the console of this process."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and getattr(sys.stdout, "errors", "") == "strict":
        # A prompt in Chinese must not end a listing on a terminal that has no such letters.
        reconfigure(errors="backslashreplace")
    return Console(sys.stdout, sys.stderr)
