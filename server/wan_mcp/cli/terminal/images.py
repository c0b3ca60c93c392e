"""
Pictures in a terminal, for `--show`: which terminals take them, and the codes that make them draw.

Sources: https://sw.kovidgoyal.net/kitty/graphics-protocol/, https://iterm2.com/documentation-images.html and
https://vt100.net/docs/vt3xx-gp/chapter14.html
"""

import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, TextIO

import anyio.to_thread

from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import describe_error
from wan_mcp.clock import Clock
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageProtocol(StrEnum):
    """The ways in which terminals take pictures."""

    KITTY = "kitty"
    ITERM2 = "iTerm2"
    SIXEL = "sixel"


class Terminal(Record):
    """How a terminal takes pictures, and the size in pixels of one of its character cells."""

    protocol: ImageProtocol
    cell_width: int = 10
    cell_height: int = 20


_ANSWER_SECONDS = 1.0
"""For an answer of the terminal; every one in use gives one, and over a slow line it takes a part of a second."""
_ATTRIBUTES = "\x1b[c"
"""
The question for the primary device attributes; a 4 among them means sixel.

Source: https://vt100.net/docs/vt510-rm/DA1.html and https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
"""
_SIXEL_ATTRIBUTE = "4"
_MAX_ANSWER = 256
_PROTOCOL_OF_PROGRAM: Mapping[str, ImageProtocol] = {
    "iTerm.app": ImageProtocol.ITERM2,
    "WezTerm": ImageProtocol.ITERM2,
    "mintty": ImageProtocol.ITERM2,
    "ghostty": ImageProtocol.KITTY,
}
_TERMS_WITHOUT_IMAGES = ("dumb", "unknown", "linux")

_COLUMNS, _ROWS = 40, 16
"""The most room that a picture takes, in cells."""
_CHUNK = 4096
"""Characters of base64 in one of kitty's commands."""
_COLOURS = 255
_BAND = 6
"""Rows of pixels that one line of sixels draws."""
_RUN = re.compile(r"(.)\1{3,}")


async def prepare_terminal(console: Console, environ: Mapping[str, str]) -> Terminal | None:
    """Find out how the terminal takes pictures, and say so if it does not."""
    terminal = await anyio.to_thread.run_sync(partial(detect_terminal, console.err, environ, console.clock))
    if terminal is None:
        why = "this terminal takes none (kitty, iTerm2 and sixel are known)"
        console.note(f"No pictures are shown: {why if console.err.isatty() else 'stderr is no terminal'}.")
    return terminal


async def encode_task_images(
    service: ImageService, task: Task, terminal: Terminal, console: Console
) -> dict[int, str]:
    """Give the saved images of a task as codes for the terminal, by their index."""
    pictures: dict[int, str] = {}
    for image in task.images:
        try:
            preview = await service.draw_preview(task_id=task.task_id, index=image.index, path=None)
        except AppError as error:
            console.note(f"Image {image.index} cannot be shown: {describe_error(error)}")
            continue
        pictures[image.index] = await anyio.to_thread.run_sync(encode_image, preview.data, terminal)
    return pictures


def detect_terminal(stream: TextIO, environ: Mapping[str, str], clock: Clock) -> Terminal | None:
    """
    Tell how the terminal behind a stream takes pictures; None if it does not, or is no terminal.

    May ask the terminal and then takes up to a second: call it in a thread.
    """
    if not stream.isatty() or environ.get("TERM") in _TERMS_WITHOUT_IMAGES:
        return None
    protocol = protocol_by_environment(environ)
    if protocol is None and sys.platform == "win32":
        # There the console cannot be asked without taking it from the person's typing.
        protocol = ImageProtocol.SIXEL if environ.get("WT_SESSION") else None
    elif protocol is None:
        protocol = ImageProtocol.SIXEL if _SIXEL_ATTRIBUTE in _query_attributes(stream, clock) else None
    if protocol is None:
        return None
    cell = _measure_cell(stream)
    return Terminal(protocol, *cell) if cell else Terminal(protocol)


def protocol_by_environment(environ: Mapping[str, str]) -> ImageProtocol | None:
    """Tell from the environment how the terminal takes pictures; None if that does not tell."""
    term = environ.get("TERM", "")
    # Inside of a multiplexer the variables are those of the terminal around it, which gets no picture through.
    if environ.get("TMUX") or environ.get("STY") or term.startswith(("screen", "tmux")):
        return None
    if "kitty" in term or "ghostty" in term:
        return ImageProtocol.KITTY
    if environ.get("LC_TERMINAL") == "iTerm2":
        return ImageProtocol.ITERM2
    return _PROTOCOL_OF_PROGRAM.get(environ.get("TERM_PROGRAM", ""))


def parse_attributes(answer: str) -> tuple[str, ...]:
    """Read the primary device attributes: `ESC [ ? 62 ; 4 c` gives 62 and 4."""
    _, found, rest = answer.rpartition("\x1b[?")
    return tuple(rest.removesuffix("c").split(";")) if found and rest.endswith("c") else ()


def encode_image(data: bytes, terminal: Terminal) -> str:
    """Give the codes that draw an encoded picture, small enough for a few rows of the terminal."""
    import PIL.Image  # noqa: PLC0415 - only whoever looks at pictures waits for it

    with PIL.Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_COLUMNS * terminal.cell_width, _ROWS * terminal.cell_height))
    match terminal.protocol:
        case ImageProtocol.KITTY:
            return _encode_kitty(_encode_png(picture))
        case ImageProtocol.ITERM2:
            return _encode_iterm2(_encode_png(picture), picture.width)
        case ImageProtocol.SIXEL:
            return _encode_sixel(picture)


def _encode_png(picture: "Image") -> bytes:
    encoded = BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


def _encode_kitty(png: bytes) -> str:
    """Transmit and show at once; with q=2 the terminal types no answer into the shell."""
    text = b64encode(png).decode()
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    last = len(chunks) - 1
    return "".join(
        f"\x1b_G{'a=T,f=100,q=2,' if number == 0 else 'q=2,'}m={int(number < last)};{chunk}\x1b\\"
        for number, chunk in enumerate(chunks)
    )


def _encode_iterm2(png: bytes, width: int) -> str:
    arguments = f"inline=1;size={len(png)};width={width}px;preserveAspectRatio=1"
    return f"\x1b]1337;File={arguments}:{b64encode(png).decode()}\a"


def _encode_sixel(picture: "Image") -> str:
    indexed = picture.quantize(_COLOURS)
    palette = indexed.getpalette() or []
    pixels = indexed.tobytes()
    used = sorted(set(pixels))
    registers = "".join(
        f"#{colour};2;" + ";".join(str(round(part * 100 / 255)) for part in palette[3 * colour : 3 * colour + 3])
        for colour in used
    )
    bands = "-".join(_encode_bands(pixels, indexed.width, indexed.height))
    return f'\x1bP0;1q"1;1;{indexed.width};{indexed.height}{registers}{bands}\x1b\\'


def _encode_bands(pixels: bytes, width: int, height: int) -> Iterator[str]:
    """Give each six rows of pixels as a line: of every colour in them a layer, whose characters are six bits."""
    for top in range(0, height, _BAND):
        layers: dict[int, bytearray] = {}
        for row in range(min(_BAND, height - top)):
            start = (top + row) * width
            for column, colour in enumerate(pixels[start : start + width]):
                if colour not in layers:
                    layers[colour] = bytearray(width)
                layers[colour][column] |= 1 << row
        yield "$".join(f"#{colour}{_shorten_runs(layer)}" for colour, layer in layers.items())


def _shorten_runs(layer: bytearray) -> str:
    text = bytes(63 + bits for bits in layer).decode("ascii").rstrip("?")
    return _RUN.sub(lambda run: f"!{len(run[0])}{run[1]}", text)


if sys.platform == "win32":

    def _query_attributes(stream: TextIO, clock: Clock) -> tuple[str, ...]:
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

    def _query_attributes(stream: TextIO, clock: Clock) -> tuple[str, ...]:
        try:
            terminal = os.open(os.ttyname(stream.fileno()), os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return ()
        try:
            return parse_attributes(_query(terminal, clock)) if _is_in_foreground(terminal) else ()
        except (OSError, termios.error):
            return ()
        finally:
            os.close(terminal)

    def _query(terminal: int, clock: Clock) -> str:
        before = termios.tcgetattr(terminal)
        answer = b""
        try:
            # The answer must neither be echoed nor wait for a line to end.
            tty.setcbreak(terminal, termios.TCSADRAIN)
            os.write(terminal, _ATTRIBUTES.encode())
            ends = clock.monotonic() + _ANSWER_SECONDS
            while not parse_attributes(answer.decode("latin-1")) and len(answer) < _MAX_ANSWER:
                readable, _, _ = select.select([terminal], [], [], max(0.0, ends - clock.monotonic()))
                if not readable:
                    break
                answer += os.read(terminal, 1)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        return answer.decode("latin-1")

    def _is_in_foreground(terminal: int) -> bool:
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
