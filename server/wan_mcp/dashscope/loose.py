"""Reading JSON of which nothing is certain: each function gives the wanted type, or nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

_DIGITS = re.compile(r"[0-9]{1,18}")
_LARGEST = 10**18


def read_map(value: object) -> Mapping[str, object]:
    """Give a JSON object; anything else is an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def read_maps(value: object) -> Sequence[Mapping[str, object]]:
    """Give the objects of a JSON array; anything else has none."""
    if not isinstance(value, list):
        return ()
    return [cast("Mapping[str, object]", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def read_text(value: object) -> str | None:
    """Give a text that is not empty."""
    return value if isinstance(value, str) and value.strip() else None


def read_whole(value: object) -> int | None:
    """Give a whole number of at least zero, also one that came as a text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # Python counts True as 1, and whole numbers without end would not fit a float later.
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
    return value if isinstance(value, int) and fits else None
