"""Pictures in a terminal: their codes, decoded again as the terminal would, and which terminals take them."""

import base64
import io
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from wan_mcp.cli.terminal.images import (
    ImageProtocol,
    Terminal,
    detect_terminal,
    encode_image,
    parse_attributes,
    protocol_by_environment,
)
from wan_mcp.clock import SystemClock


def painted(width: int = 300, height: int = 200) -> PIL.Image.Image:
    """Four quarters in four colours."""
    picture = PIL.Image.new("RGB", (width, height), (255, 0, 0))
    picture.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    picture.paste((0, 0, 255), (0, height // 2, width // 2, height))
    picture.paste((255, 255, 255), (width // 2, height // 2, width, height))
    return picture


def encoded(picture: PIL.Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def corners(picture: PIL.Image.Image) -> list[tuple[int, ...]]:
    right, bottom = picture.width - 3, picture.height - 3
    return [picture.getpixel(at) for at in ((2, 2), (right, 2), (2, bottom), (right, bottom))]


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def test_kitty_gets_a_png_in_pieces_and_answers_nothing() -> None:
    noise = PIL.Image.effect_noise((400, 300), 80).convert("RGB")
    codes = encode_image(encoded(noise), Terminal(ImageProtocol.KITTY))
    commands = re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", codes)
    assert len(commands) > 2
    assert "".join(f"\x1b_G{control};{data}\x1b\\" for control, data in commands) == codes
    assert commands[0][0] == "a=T,f=100,q=2,m=1"
    assert {control for control, _ in commands[1:-1]} == {"q=2,m=1"}
    assert commands[-1][0] == "q=2,m=0"
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in commands)
    shown = PIL.Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in commands))))
    assert (shown.format, shown.size) == ("PNG", (400, 300))


def test_a_small_picture_is_one_command() -> None:
    codes = encode_image(encoded(painted(20, 20)), Terminal(ImageProtocol.KITTY))
    assert codes.startswith("\x1b_Ga=T,f=100,q=2,m=0;")
    assert codes.count("\x1b_G") == 1


def test_iterm2_gets_a_png_with_its_length_and_width() -> None:
    codes = encode_image(encoded(painted()), Terminal(ImageProtocol.ITERM2))
    found = re.fullmatch("\x1b]1337;File=inline=1;size=(\\d+);width=(\\d+)px;preserveAspectRatio=1:(.*)\x07", codes)
    data = base64.b64decode(found[3])
    assert len(data) == int(found[1])
    shown = PIL.Image.open(io.BytesIO(data))
    assert (shown.width, corners(shown)) == (int(found[2]), COLOURS)


def decode_sixel(codes: str) -> PIL.Image.Image:
    """Draw sixels as a VT340 does."""
    body = re.fullmatch('\x1bP0;1q"1;1;(\\d+);(\\d+)(.*)\x1b\\\\', codes)
    picture = PIL.Image.new("RGB", (int(body[1]), int(body[2])), (1, 2, 3))
    palette: dict[int, tuple[int, ...]] = {}
    colour, column, top = 0, 0, 0
    for token in re.findall(r"#\d+(?:;\d+)*|!\d+[?-~]|[?-~]|\$|-", body[3]):
        if token[0] == "#":
            numbers = [int(each) for each in token[1:].split(";")]
            colour = numbers[0]
            if len(numbers) > 1:
                palette[colour] = tuple(round(part * 255 / 100) for part in numbers[2:])
        elif token == "$":
            column = 0
        elif token == "-":
            column, top = 0, top + 6
        else:
            count = int(token[1:-1]) if token[0] == "!" else 1
            bits = ord(token[-1]) - 63
            for row in range(6):
                if bits >> row & 1:
                    picture.paste(palette[colour], (column, top + row, column + count, top + row + 1))
            column += count
    return picture


@pytest.mark.parametrize("size", [(300, 200), (299, 197), (8, 5), (400, 1)])
def test_sixels_draw_every_pixel_of_the_picture(size: tuple[int, int]) -> None:
    codes = encode_image(encoded(painted(*size)), Terminal(ImageProtocol.SIXEL))
    shown = decode_sixel(codes)
    assert shown.size == size
    assert (1, 2, 3) not in {colour for _, colour in shown.getcolors(1 << 20)}
    if min(size) > 5:
        assert corners(shown) == COLOURS


def test_sixels_are_close_to_a_picture_of_many_colours() -> None:
    source = PIL.Image.radial_gradient("L").resize((200, 200))
    picture = PIL.Image.merge("RGB", (source, source.rotate(90), source.transpose(PIL.Image.Transpose.TRANSPOSE)))
    shown = decode_sixel(encode_image(encoded(picture), Terminal(ImageProtocol.SIXEL)))
    difference = sum(abs(a - b) for a, b in zip(picture.tobytes(), shown.tobytes(), strict=True))
    assert difference / len(picture.tobytes()) < 6


@pytest.mark.parametrize(
    ("screen", "size"),
    [(Terminal(ImageProtocol.SIXEL), (320, 320)), (Terminal(ImageProtocol.SIXEL, 4, 8), (128, 128))],
)
def test_a_picture_takes_a_few_rows_of_the_terminal(screen: Terminal, size: tuple[int, int]) -> None:
    shown = decode_sixel(encode_image(encoded(painted(1024, 1024)), screen))
    assert shown.size == size


def test_a_small_picture_is_not_made_larger() -> None:
    shown = decode_sixel(encode_image(encoded(painted(30, 20)), Terminal(ImageProtocol.SIXEL)))
    assert shown.size == (30, 20)


# --- which terminals take pictures --------------------------------------------------------------------------

needs_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudoterminals there")

XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "graphics"),
    [
        ({"TERM": "xterm-kitty"}, ImageProtocol.KITTY),
        ({"TERM": "xterm-ghostty"}, ImageProtocol.KITTY),
        (XTERM | {"TERM_PROGRAM": "ghostty"}, ImageProtocol.KITTY),
        (XTERM | {"TERM_PROGRAM": "iTerm.app"}, ImageProtocol.ITERM2),
        (XTERM | {"LC_TERMINAL": "iTerm2"}, ImageProtocol.ITERM2),
        (XTERM | {"TERM_PROGRAM": "WezTerm"}, ImageProtocol.ITERM2),
        (XTERM | {"TERM_PROGRAM": "Apple_Terminal"}, None),
        (XTERM, None),
        ({}, None),
        # The variables of the terminal outside reach the inside of a multiplexer; its pictures do not.
        ({"TERM": "tmux-256color", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux,1,0"}, None),
        ({"TERM": "screen.xterm-256color", "TERM_PROGRAM": "iTerm.app"}, None),
    ],
)
def test_some_terminals_are_known_by_their_environment(
    environ: dict[str, str], graphics: ImageProtocol | None
) -> None:
    assert protocol_by_environment(environ) is graphics


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
    assert parse_attributes(answer) == attributes


def test_a_stream_that_is_no_terminal_shows_nothing() -> None:
    assert detect_terminal(io.StringIO(), {"TERM": "xterm-kitty"}, SystemClock()) is None


FIND = """
import sys
from wan_mcp.cli.terminal.images import detect_terminal
from wan_mcp.clock import SystemClock
print(detect_terminal(sys.stderr, {"TERM": sys.argv[1]}, SystemClock()))
"""

SHOW = """
import sys
from fakes.memory_service import MemoryService
from wan_mcp.cli.main import cli
from wan_mcp.cli.command import CommandContext

service = MemoryService()
context = CommandContext({"TERM": sys.argv[1]}, service.open, service.clock)
cli.main(["generate", "a red fox", "--show"], prog_name="wan-mcp", obj=context)
"""


class SimulatedTerminal:
    """A terminal of the test: it answers the question for its attributes once."""

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
        (b"\x1b[?62;4;22c", Terminal(ImageProtocol.SIXEL)),
        (b"typed ahead\x1b[?62;4c", Terminal(ImageProtocol.SIXEL)),
        (b"\x1b[?1;2c", None),
        (None, None),
    ],
    ids=["sixel", "typed-ahead", "none", "silent"],
)
def test_other_terminals_are_asked_whether_they_know_sixels(answer: bytes | None, found: Terminal | None) -> None:
    out, written, code = SimulatedTerminal(answer).run(FIND, "xterm-256color")
    assert (out, code) == (f"{found}\n", 0)
    assert written == "\x1b[c", "neither is the answer echoed"


@needs_terminals
@pytest.mark.parametrize("term", ["linux", "xterm-kitty"])
def test_what_is_known_is_not_asked(term: str) -> None:
    _, written, code = SimulatedTerminal(b"\x1b[?62;4c").run(FIND, term)
    assert (written, code) == ("", 0)


@needs_terminals
def test_the_size_of_a_cell_is_taken_from_the_terminal() -> None:
    out, _, _ = SimulatedTerminal(None, cells=(24, 80, 80 * 18, 24 * 36)).run(FIND, "xterm-kitty")
    assert out == f"{Terminal(ImageProtocol.KITTY, 18, 36)}\n"


@needs_terminals
def test_show_draws_the_picture_on_the_terminal_and_leaves_stdout_to_the_path() -> None:
    out, written, code = SimulatedTerminal(b"\x1b[?62;4c").run(SHOW, "xterm-256color")
    assert (out, code) == ("/pictures/task-1-1.png\n", 0)
    assert re.search('\x1bP0;1q"1;1;400;200#', written)
    assert written.endswith("\x1b\\\r\n")


@needs_terminals
def test_show_says_in_a_line_that_a_terminal_cannot() -> None:
    out, written, code = SimulatedTerminal(b"\x1b[?1;2c").run(SHOW, "xterm-256color")
    assert (out, code) == ("/pictures/task-1-1.png\n", 0)
    assert "No pictures are shown: this terminal takes none (kitty, iTerm2 and sixel are known)." in written
    assert "\x1bP" not in written
