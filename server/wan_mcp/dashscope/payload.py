"""
The JSON of an answer, read leniently and made harmless where it enters.

What the service writes may hold bytes that are no text, raw control characters, half characters, numbers without
end, nesting without end, and the key that it was sent. None of it may keep an image from being read.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from wan_mcp_tools.domain.text import well_formed

LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes. No answer of the service is larger, unless images themselves stand in it."""
LARGEST_WITH_IMAGES = 64 * 1024 * 1024
LONG_ANSWER = 65_536
"""Bytes. What is longer is read in a thread: it may take a while."""

_MOST_VALUES_BESIDE_IMAGES = 100_000
"""In an answer that is larger than any without images: each value takes memory, images are a few long texts."""
_LONGEST_TEXT = 20_000
"""Characters. Only an image in the place of its address is longer."""
_DEEPEST = 100
_LONGEST_NUMBER = 18
_LARGEST_INTEGER = 10**18
_SHORTEST_KEY = 6
_DIGITS = re.compile(r"[0-9]{1,18}")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_NOT_YET = " \t\r\n\ufeff\u200b\0"
"""What may stand before the first brace."""
_IMAGE_DATA = re.compile(r"\s*(?:(?i:data):[^,]{0,200},|iVBORw0KGgo|/9j/|UklGR)")
"""How an image in the place of its address begins: with `data:`, or as a PNG, a JPEG or a WebP in base64."""
_IMAGE_IN_JSON = re.compile(rb'"\s*(?:(?i:data):[^,"]{0,200},|iVBORw0KGgo|/9j/|UklGR)')
_UNSEEN = (
    r"[\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    r"\ufe00-\ufe0f\ufeff]*"
)


class KnownKeys:
    """The keys of the settings, which are kept out of everything that others write."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = sorted({key for key in keys if len(key) >= _SHORTEST_KEY}, key=len, reverse=True)
        self._spellings = re.compile("|".join(map(_spell, self._keys)) or r"(?!)", re.IGNORECASE)

    def hide(self, text: str) -> str:
        """Put an ellipsis in the place of each key, also of one with unseen characters inside or escaped ones."""
        for key in self._keys:
            text = text.replace(key, "…")
        if self._keys and len(self._keys[-1]) <= len(text) <= 2 * _LONGEST_TEXT:
            text = self._spellings.sub("…", text)
        return text


def parse_object(content: bytes | None, keys: KnownKeys) -> Mapping[str, object] | None:
    """
    Read a JSON object; None for anything else. What follows the object is not looked at.

    Every text in it is well-formed, of bounded length, and without the keys.
    """
    if not content or _has_too_many_values(content):
        return None
    text = content.decode(json.detect_encoding(content), "replace")
    start = len(text) - len(text.lstrip(_NOT_YET))

    def read_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: _clean(value, keys) if isinstance(value, str) else value for name, value in members}

    # Not strict: then texts may hold raw tabs and line breaks.
    decoder = json.JSONDecoder(object_pairs_hook=read_members, parse_int=_read_integer, strict=False)
    try:
        try:
            value, _ = decoder.raw_decode(text, start)
        except RecursionError:
            value, _ = decoder.raw_decode(_leave_out_deepest(text[start:]))
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def find_bound(content: bytes | bytearray) -> int:
    """Say how many bytes an answer may have in all that has begun like this: more only if an image stands in it."""
    return LARGEST_WITH_IMAGES if _IMAGE_IN_JSON.search(content) else LARGEST_ANSWER


def is_image_data(text: str) -> bool:
    """Tell whether a text is an image itself and not its address."""
    return _IMAGE_DATA.match(text) is not None


# JSON of which nothing is certain: each function gives the wanted type, or nothing.


def as_object(value: object) -> Mapping[str, object]:
    """Give a JSON object; anything else is an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def iterate_objects(value: object) -> Iterator[Mapping[str, object]]:
    """Give the objects of a JSON array one by one; an object alone is one of its own, anything else has none."""
    if isinstance(value, dict):
        yield cast("Mapping[str, object]", value)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            if isinstance(item, dict):
                yield cast("Mapping[str, object]", item)


def as_text(value: object) -> str | None:
    """Give a text that is not empty."""
    return value if isinstance(value, str) and value.strip() else None


def as_integer(value: object) -> int | None:
    """Give a whole number of at least zero, also one that came as a text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # Python counts True as 1, and whole numbers without end would not fit a float later.
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_INTEGER
    return value if isinstance(value, int) and fits else None


def _clean(text: str, keys: KnownKeys) -> str:
    if len(text) <= _LONGEST_TEXT or is_image_data(text):
        return keys.hide(well_formed(text))
    # A key that the cut goes through is hidden first.
    return keys.hide(well_formed(text[: 2 * _LONGEST_TEXT]))[:_LONGEST_TEXT]


def _read_integer(digits: str) -> int | None:
    """Read a whole number; None for one that is longer than any that is meant."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER else None


def _has_too_many_values(content: bytes) -> bool:
    if len(content) <= LARGEST_ANSWER:
        return False
    return sum(content.count(sign) for sign in (b",", b"[", b"{")) > _MOST_VALUES_BESIDE_IMAGES


def _leave_out_deepest(text: str) -> str:
    """Put null in the place of whatever is nested deeper than anything that is read."""
    kept: list[str] = []
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == _DEEPEST:
                kept.append(text[begin : token.start()])
        elif token[0] in "]}":
            if depth == _DEEPEST:
                kept.append("null")
                begin = token.end()
            depth -= 1
    # What is still open at the end has no end: there is nothing left to read.
    return "".join(kept) + (text[begin:] if depth < _DEEPEST else "")


def _spell(key: str) -> str:
    """Give the pattern of a key as it may be spelled: with unseen characters inside, or with escaped ones."""
    return _UNSEEN.join(
        rf"(?:{re.escape(sign)}|%(?:25)*{ord(sign):02x}|\\+u00{ord(sign):02x}|&#(?:x0*{ord(sign):x}|0*{ord(sign)});)"
        for sign in key
    )
