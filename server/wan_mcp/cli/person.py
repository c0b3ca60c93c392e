"""Whoever sits at the terminal, and what may be asked of them."""

import getpass
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import click

from wan_mcp_tools.domain.errors import MissingKeyError


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever sits at the terminal; nobody is asked where nobody is `present`."""

    present: bool
    ask_secret: Callable[[str], str]
    confirm: Callable[[str], bool]


def ask_key(person: Person, title: str, region: str) -> str:
    """
    Ask for a key.

    Raises:
        MissingKeyError: nobody is there, or nothing was typed.
    """
    advice = "Set DASHSCOPE_API_KEY, or use --key-file PATH, or try --region sandbox, which needs no key."
    if not person.present:
        raise MissingKeyError(f"There is no key for {region}, and nobody is here to be asked.", advice)
    key = person.ask_secret(f"Key of {region} for {title} (not shown; --region for another region): ").strip()
    if not key:
        raise MissingKeyError("No key was given, so nothing was changed.", advice)
    return key


def the_person() -> Person:
    """Look whether anybody sits at this terminal."""
    present = all(stream and stream.isatty() for stream in (sys.stdin, sys.stderr))
    return Person(present, _ask_secret, lambda question: click.confirm(question, default=True, err=True))


def _ask_secret(question: str) -> str:
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
