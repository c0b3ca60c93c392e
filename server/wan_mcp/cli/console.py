"""The two streams of a command: results on stdout, everything said to a person on stderr."""

import sys
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from wan_mcp.cli.board import Board, show_board
from wan_mcp.cli.exits import printable
from wan_mcp.cli.wording import in_commands
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.log import mask
from wan_mcp_tools.domain.service import Report


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command writes."""

    out: TextIO
    err: TextIO
    clock: Clock = field(default_factory=SystemClock)

    def say(self, text: str) -> None:
        """Write a result."""
        self.out.write(text + "\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """Write a remark."""
        self.err.write(printable(mask(in_commands(text))) + "\n")
        self.err.flush()

    def draw(self, codes: str) -> None:
        """Write what is a picture to the terminal: control codes of our own making, passed on as they are."""
        self.err.write(codes + "\n")
        self.err.flush()

    def board(self, labels: Sequence[str]) -> AbstractContextManager[Board]:
        """Show several waits, or a single one without a label."""
        return show_board(self.err, self.clock, labels)

    @contextmanager
    def progress(self) -> Generator[Report]:
        """Show a wait: one moving line on a terminal, a line now and then elsewhere."""
        with self.board(("",)) as board:
            yield board.report(0)


def standard_console(clock: Clock | None = None) -> Console:
    """Give the console of this process."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and getattr(sys.stdout, "errors", "") == "strict":
        # A prompt in Chinese must not end a listing on a terminal that has no such letters.
        reconfigure(errors="backslashreplace")
    return Console(sys.stdout, sys.stderr, clock or SystemClock())
