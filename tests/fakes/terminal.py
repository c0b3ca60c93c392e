"""
A terminal for commands: a real pseudo-terminal, and a screen that shows what they have written to it.

    with TerminalProcess("generate", "a red fox", env=environment(tmp_path), columns=80) as process:
        screen = process.read_to_end()
    assert process.returncode == 0
    assert screen.lines == [...]
"""

import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
import unicodedata
from collections.abc import Mapping
from typing import Self

_LONGEST = 60.0
"""Seconds after which a command is ended."""
_PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r|\n)|(.)", re.DOTALL)


class Screen:
    """
    What stands on a terminal of so many columns and rows, with what has left it at the top.

    It knows the commands that a line-wise display needs, and stops at any other.
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows
        self._cells: list[list[str]] = [[]]
        self._row = self._column = 0
        self.cursor_is_shown = True

    @property
    def lines(self) -> list[str]:
        """The lines, without blanks at their ends, and without empty ones at the end of all."""
        lines = ["".join(cell for cell in row).rstrip() for row in self._cells]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def feed(self, text: str) -> None:
        for arguments, command, move, letter in _PIECE.findall(text):
            if move == "\r":
                self._column = 0
            elif move == "\n":
                self._go_down()
            elif letter:
                self._put(letter)
            else:
                self._obey(arguments, command)

    def _obey(self, arguments: str, command: str) -> None:
        match command, arguments:
            case "A", _:
                highest = max(0, len(self._cells) - self.rows)
                self._row = max(highest, self._row - int(arguments or 1))
            case "K", "2":
                self._cells[self._row] = []
            case "m", _:
                pass
            case (("h" | "l"), "?25"):
                self.cursor_is_shown = command == "h"
            case _:
                raise AssertionError(f"the screen does not know ESC [ {arguments} {command}")

    def _put(self, letter: str) -> None:
        width = measure(letter)
        if width and self._column + width > self.columns:
            self._column = 0
            self._go_down()
        row = self._cells[self._row]
        row += " " * (self._column + width - len(row))
        if not width:
            row[max(0, self._column - 1)] += letter
            return
        row[self._column] = letter
        if width > 1:
            row[self._column + 1] = ""
        self._column += width

    def _go_down(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append([])


def measure(text: str) -> int:
    """Give the columns of a text, by the tables of Unicode that Python brings."""
    return sum(
        0 if unicodedata.category(each) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


class TerminalProcess:
    """A command at a pseudo-terminal, which is its stdin, stdout and stderr."""

    def __init__(
        self, *arguments: str, env: Mapping[str, str], columns: int = 80, rows: int = 24, term: str = "xterm"
    ) -> None:
        self._arguments = arguments
        self._env = {**env, "TERM": term, "PATH": os.environ["PATH"]}
        self._size = rows, columns
        self.written = ""

    def __enter__(self) -> Self:
        import fcntl
        import pty
        import termios

        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wan_mcp", *self._arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=self._env,
            start_new_session=True,
        )
        os.close(theirs)
        self._ends = time.monotonic() + _LONGEST
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    @property
    def screen(self) -> Screen:
        rows, columns = self._size
        screen = Screen(columns, rows)
        screen.feed(self.written)
        return screen

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def read_until(self, words: str) -> None:
        """Read until these words were written."""
        while words not in self.written:
            assert self._read(), f"{words!r} is not in {self.written!r}"

    def read_to_end(self) -> Screen:
        """Read until the command has ended; give what is on the screen then."""
        while self._read():
            pass
        self.process.wait(max(0.1, self._ends - time.monotonic()))
        return self.screen

    def _read(self) -> bool:
        left = self._ends - time.monotonic()
        assert left > 0, f"the command does not end: {self.written!r}"
        if not select.select([self._ours], [], [], left)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            # What Linux says when nobody has the other side any more.
            return False
        self._pending = getattr(self, "_pending", b"") + data
        try:
            self.written += self._pending.decode()
        except UnicodeDecodeError:
            # A letter has come in parts.
            return True
        self._pending = b""
        return bool(data)
