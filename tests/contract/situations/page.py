"""The table of docs/errors.md: read, and written anew row by row."""

import os
from collections.abc import Sequence
from pathlib import Path

from contract.situations.situation import Situation, Told

PAGE = Path(__file__).resolve().parents[3] / "docs" / "errors.md"
START, END = "<!-- table: situations -->\n", "<!-- end -->"
HEADINGS = ("about", "situation", "code", "what the agent reads", "can repeating help?", "charged?")


def read_rows() -> dict[str, tuple[str, ...]]:
    """Give the rows of the page by their situations."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    lines = rest.partition(END)[0].splitlines()[2:]
    rows = [tuple(line.strip().removeprefix("| ").removesuffix(" |").split(" | ")) for line in lines]
    return {row[1]: row for row in rows}


def make_row(situation: Situation, told: Told) -> tuple[str, ...]:
    """Give the row of a situation."""
    words = told.words.replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")
    return (situation.about, situation.title, told.code, words, situation.repeat, situation.charged)


def rewrite(situation: Situation, told: Told, order: Sequence[Situation]) -> None:
    """Put one row into the page. Several processes may do so at once, and others read it meanwhile."""
    import fcntl  # not there on Windows, where nobody writes the page

    folder = os.open(PAGE.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        rows = read_rows() | {situation.title: make_row(situation, told)}
        kept = [rows[each.title] for each in order if each.title in rows]
        lines = [HEADINGS, tuple("---" for _ in HEADINGS), *kept]
        table = "".join(f"| {' | '.join(row)} |\n" for row in lines)
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        new = PAGE.with_suffix(".new")
        new.write_text(f"{before}{START}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")
        new.replace(PAGE)
    finally:
        os.close(folder)
