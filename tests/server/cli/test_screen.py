"""Finding out how a terminal takes pictures, and `--show` on a terminal that answers as it was told to."""

import io
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wan_mcp.cli.graphics import Graphics, Screen
from wan_mcp.cli.screen import find_screen, guess_graphics, read_attributes
from wan_mcp.clock import SystemClock

needs_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudoterminals there")

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "graphics"),
    [
        ({"TERM": "xterm-kitty"}, Graphics.KITTY),
        ({"TERM": "xterm-ghostty"}, Graphics.KITTY),
        (XTERM | {"TERM_PROGRAM": "ghostty"}, Graphics.KITTY),
        (XTERM | {"TERM_PROGRAM": "iTerm.app"}, Graphics.ITERM2),
        (XTERM | {"LC_TERMINAL": "iTerm2"}, Graphics.ITERM2),
        (XTERM | {"TERM_PROGRAM": "WezTerm"}, Graphics.ITERM2),
        (XTERM | {"TERM_PROGRAM": "Apple_Terminal"}, None),
        (XTERM, None),
        ({}, None),
        # The variables of the terminal outside reach the inside of a multiplexer; its pictures do not.
        ({"TERM": "tmux-256color", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux,1,0"}, None),
        ({"TERM": "screen.xterm-256color", "TERM_PROGRAM": "iTerm.app"}, None),
    ],
)
def test_some_terminals_are_known_by_their_environment(environ: dict[str, str], graphics: Graphics | None) -> None:
    assert guess_graphics(environ) is graphics


@pytest.mark.parametrize(
    ("answer", "attributes"),
    [
        ("\x1b[?62;4;22c", ("62", "4", "22")),
        ("typed\x1b[?1;2c", ("1", "2")),
        ("\x1b[?62;4", ()),
        ("c", ()),
        ("", ()),
    ],
)
def test_the_answer_of_a_terminal_is_read(answer: str, attributes: tuple[str, ...]) -> None:
    assert read_attributes(answer) == attributes


def test_a_stream_that_is_no_terminal_shows_nothing() -> None:
    assert find_screen(io.StringIO(), {"TERM": "xterm-kitty"}, SystemClock()) is None


FIND = """
import sys
from wan_mcp.cli.screen import find_screen
from wan_mcp.clock import SystemClock
print(find_screen(sys.stderr, {"TERM": sys.argv[1]}, SystemClock()))
"""

SHOW = """
import sys
from fakes.little_service import LittleService
from wan_mcp.cli.root import root
from wan_mcp.cli.shell import Shell

service = LittleService()
shell = Shell({"TERM": sys.argv[1]}, service.open, service.clock)
root.main(["generate", "a red fox", "--show"], prog_name="wan-mcp", obj=shell)
"""


class Played:
    """A terminal that is played by the test: it answers the question for its attributes once."""

    def __init__(self, answer: bytes | None, *, cells: tuple[int, int, int, int] | None = None) -> None:
        self.answer = answer
        self.cells = cells

    def run(self, script: str, *arguments: str) -> tuple[str, str, int]:
        """Give what a program wrote to stdout and to the terminal on its stderr, and how it ended."""
        import fcntl
        import pty
        import struct
        import termios

        ours, theirs = pty.openpty()
        if self.cells:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *self.cells))
        before = termios.tcgetattr(theirs)
        paths = os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "TERM": "xterm"},
        )
        written, answered, ends = b"", False, time.monotonic() + 20
        with process:
            while time.monotonic() < ends:
                if select.select([ours], [], [], 0.05)[0]:
                    written += os.read(ours, 65536)
                elif process.poll() is not None:
                    break
                if b"\x1b[c" in written and not answered:
                    answered = True
                    if self.answer:
                        os.write(ours, self.answer)
            out = process.stdout.read()
        assert termios.tcgetattr(theirs) == before, "the terminal is left as it was found"
        os.close(theirs)
        os.close(ours)
        return out, written.decode(), process.returncode


@needs_terminals
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"\x1b[?62;4;22c", Screen(Graphics.SIXEL)),
        (b"typed ahead\x1b[?62;4c", Screen(Graphics.SIXEL)),
        (b"\x1b[?1;2c", None),
        (None, None),
    ],
    ids=["sixel", "typed-ahead", "none", "silent"],
)
def test_other_terminals_are_asked_whether_they_know_sixels(answer: bytes | None, found: Screen | None) -> None:
    out, written, code = Played(answer).run(FIND, "xterm-256color")
    assert (out, code) == (f"{found}\n", 0)
    assert written == "\x1b[c", "neither is the answer echoed"


@needs_terminals
@pytest.mark.parametrize("term", ["dumb", "linux", "xterm-kitty"])
def test_what_is_known_is_not_asked(term: str) -> None:
    _, written, code = Played(b"\x1b[?62;4c").run(FIND, term)
    assert (written, code) == ("", 0)


@needs_terminals
def test_the_size_of_a_cell_is_taken_from_the_terminal() -> None:
    out, _, _ = Played(None, cells=(24, 80, 80 * 18, 24 * 36)).run(FIND, "xterm-kitty")
    assert out == f"{Screen(Graphics.KITTY, 18, 36)}\n"


@needs_terminals
def test_show_draws_the_picture_on_the_terminal_and_leaves_stdout_to_the_path() -> None:
    out, written, code = Played(b"\x1b[?62;4c").run(SHOW, "xterm-256color")
    assert (out, code) == ("/pictures/task-1-1.png\n", 0)
    assert re.search('\x1bP0;1q"1;1;400;200#', written)
    assert written.endswith("\x1b\\\r\n")


@needs_terminals
def test_show_says_in_a_line_that_a_terminal_cannot() -> None:
    out, written, code = Played(b"\x1b[?1;2c").run(SHOW, "xterm-256color")
    assert (out, code) == ("/pictures/task-1-1.png\n", 0)
    assert "No pictures are shown: this terminal takes none (kitty, iTerm2 and sixel are known)." in written
    assert "\x1bP" not in written
