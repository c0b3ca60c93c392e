"""Finding out how a terminal takes pictures: from the environment where that tells, else by asking the terminal."""

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from wan_mcp.cli.graphics import Graphics, Screen
from wan_mcp.clock import Clock

_PATIENCE = 1.0
"""Seconds for an answer; every terminal in use gives one, and over a slow line it takes a part of a second."""
_ATTRIBUTES = "\x1b[c"
"""
The question for the primary device attributes; a 4 among them means sixel.

Source: https://vt100.net/docs/vt510-rm/DA1.html and https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
"""
_SIXEL = "4"
_LONGEST = 256

_PROGRAMS: Mapping[str, Graphics] = {
    "iTerm.app": Graphics.ITERM2,
    "WezTerm": Graphics.ITERM2,
    "mintty": Graphics.ITERM2,
    "ghostty": Graphics.KITTY,
}
_NEVER = ("dumb", "linux")


def find_screen(stream: TextIO, environ: Mapping[str, str], clock: Clock) -> Screen | None:
    """
    Tell how the terminal behind a stream takes pictures; None if it does not, or is no terminal.

    May ask the terminal and then takes up to a second: call it in a thread.
    """
    if not stream.isatty() or environ.get("TERM") in _NEVER:
        return None
    graphics = guess_graphics(environ)
    if graphics is None and sys.platform == "win32":
        # There the console cannot be asked without taking it from the person's typing.
        graphics = Graphics.SIXEL if environ.get("WT_SESSION") else None
    elif graphics is None:
        graphics = Graphics.SIXEL if _SIXEL in _ask_attributes(stream, clock) else None
    if graphics is None:
        return None
    cell = _measure_cell(stream)
    return Screen(graphics, *cell) if cell else Screen(graphics)


def guess_graphics(environ: Mapping[str, str]) -> Graphics | None:
    """Tell from the environment how the terminal takes pictures; None if that does not tell."""
    term = environ.get("TERM", "")
    # Inside of a multiplexer the variables are those of the terminal around it, which gets no picture through.
    if environ.get("TMUX") or environ.get("STY") or term.startswith(("screen", "tmux")):
        return None
    if "kitty" in term or "ghostty" in term:
        return Graphics.KITTY
    if environ.get("LC_TERMINAL") == "iTerm2":
        return Graphics.ITERM2
    return _PROGRAMS.get(environ.get("TERM_PROGRAM", ""))


def read_attributes(answer: str) -> tuple[str, ...]:
    """Read the primary device attributes: `ESC [ ? 62 ; 4 c` gives 62 and 4."""
    _, found, rest = answer.rpartition("\x1b[?")
    return tuple(rest.removesuffix("c").split(";")) if found and rest.endswith("c") else ()


if sys.platform == "win32":

    def _ask_attributes(stream: TextIO, clock: Clock) -> tuple[str, ...]:
        del stream, clock
        return ()

    def _measure_cell(stream: TextIO) -> tuple[int, int] | None:
        del stream
        return None

else:
    import fcntl
    import select
    import struct
    import termios
    import tty

    def _ask_attributes(stream: TextIO, clock: Clock) -> tuple[str, ...]:
        try:
            terminal = os.open(os.ttyname(stream.fileno()), os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return ()
        try:
            return read_attributes(_ask(terminal, clock)) if _is_in_front(terminal) else ()
        except (OSError, termios.error):
            return ()
        finally:
            os.close(terminal)

    def _ask(terminal: int, clock: Clock) -> str:
        before = termios.tcgetattr(terminal)
        answer = b""
        try:
            # The answer must neither be echoed nor wait for a line to end.
            tty.setcbreak(terminal, termios.TCSADRAIN)
            os.write(terminal, _ATTRIBUTES.encode())
            ends = clock.monotonic() + _PATIENCE
            while not read_attributes(answer.decode("latin-1")) and len(answer) < _LONGEST:
                readable, _, _ = select.select([terminal], [], [], max(0.0, ends - clock.monotonic()))
                if not readable:
                    break
                answer += os.read(terminal, 1)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        return answer.decode("latin-1")

    def _is_in_front(terminal: int) -> bool:
        """Whether we may read what is typed: a job in the background would be stopped for it."""
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            # It is no terminal that controls jobs.
            return True

    def _measure_cell(stream: TextIO) -> tuple[int, int] | None:
        """Give the pixels of a character cell, where the terminal says it."""
        try:
            size = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return None
        rows, columns, width, height = struct.unpack("HHHH", size)
        return (width // columns, height // rows) if rows <= height and 0 < columns <= width and rows else None
