"""Where the prompts of a command come from: its argument, a file, or standard input."""

import sys
from pathlib import Path

import click

from wan_mcp_tools.domain.errors import RequestRefusedError

STDIN = "-"
"""What stands for standard input, as in other programs."""


def gather_prompts(prompt: str | None, file: str | None) -> list[str] | None:
    """
    Give the prompts of a list, or None where the command line has the one prompt itself.

    Raises:
        click.UsageError: none is given, or both ways are used.
        RequestRefusedError: the list cannot be read, or is empty.
    """
    if prompt is not None and file is not None:
        raise click.UsageError("Give PROMPT or --prompts FILE, not both.")
    source = STDIN if prompt == STDIN else file
    if source is not None:
        return _read(source)
    if prompt is None:
        raise click.UsageError("Give a PROMPT, or - to read prompts from standard input, or --prompts FILE.")
    return None


def split_prompts(text: str) -> list[str]:
    """Give the prompts of a list, one a line; blank lines and those that begin with # are left out."""
    # Only at line feeds: a prompt may have the other characters that Python takes for the end of a line.
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _read(source: str) -> list[str]:
    name = "Standard input" if source == STDIN else source
    try:
        data = _read_stdin() if source == STDIN else Path(source).expanduser().read_bytes()
    except OSError as error:
        raise RequestRefusedError(
            f"The prompts cannot be read from {name}: {error.strerror}.", "Name a text file, one prompt a line."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestRefusedError(
            f"{name} is no UTF-8 text (byte {error.start + 1}).", "Save it as UTF-8, one prompt a line."
        ) from error
    prompts = split_prompts(text)
    if not prompts:
        raise RequestRefusedError(f"{name} has no prompts.", "Write one a line; a line that begins with # is none.")
    return prompts


def _read_stdin() -> bytes:
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - None where it was closed
        return b""
    if sys.stdin.isatty():
        end = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
        click.echo(f"Write one prompt a line; {end} ends the list.", err=True)
    return sys.stdin.buffer.read()
