"""
JSON as people write it: with comments and trailing commas, read so that every part knows where it stands.

Source: https://code.visualstudio.com/docs/languages/json#_json-with-comments
"""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from wan_mcp.hosts.values import MISSING, Missing

_GAP = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*"')
_SCALAR = re.compile(r"(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.+-])")
_DEEPEST = 100


class NotJsonError(ValueError):
    """Raised when a text is no JSON, even with comments; the message says where."""


@dataclass(frozen=True, slots=True)
class Node:
    """
    A value and where it stands: `text[start:end]`.

    An object and an array have items.
    """

    kind: Literal["object", "array", "scalar"]
    start: int
    end: int
    items: tuple["Item", ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A member of an object, or an element of an array (then it has no key); `comma` is where its comma stands."""

    start: int
    key: str | None
    node: Node
    comma: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """
    A whole text.

    `root` is None where there is nothing but blanks and comments. `loose` says that a reader of plain JSON would
    refuse it: there are comments or trailing commas.
    """

    text: str
    root: Node | None
    loose: bool


@lru_cache(maxsize=2)
def parse(text: str) -> Document:
    """
    Read a text. One edit asks for the same text many times, and some clients keep megabytes in their file.

    Raises:
        NotJsonError: it is no JSON with comments.
    """
    reader = _Reader(text)
    reader.skip()
    root = None
    if reader.at < len(text):
        root = reader.read_value(0)
        reader.skip()
        if reader.at < len(text):
            raise reader.complain("something follows the end of the JSON")
    return Document(text, root, reader.loose)


def decode(text: str, node: Node) -> object:
    """Give the value of a node; of a name that stands twice, the last."""
    if node.kind == "object":
        return {item.key or "": decode(text, item.node) for item in node.items}
    if node.kind == "array":
        return [decode(text, item.node) for item in node.items]
    return json.loads(text[node.start : node.end])


def look_up(node: Node | None, path: tuple[str, ...]) -> Node | Missing:
    """
    Find the node at a path of names.

    Raises:
        NotJsonError: a name of the path stands twice, so that programs disagree on which one counts.
    """
    for name in path:
        if node is None or node.kind != "object":
            return MISSING
        found = [item.node for item in node.items if item.key == name]
        if len(found) > 1:
            raise NotJsonError(f"it names {name!r} twice in one object, and programs differ in which one counts")
        if not found:
            return MISSING
        node = found[0]
    return MISSING if node is None else node


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    loose: bool = field(default=False)

    def complain(self, trouble: str) -> NotJsonError:
        line = self.text.count("\n", 0, self.at) + 1
        column = self.at - (self.text.rfind("\n", 0, self.at) + 1) + 1
        return NotJsonError(f"line {line}, column {column}: {trouble}")

    def skip(self) -> None:
        match = _GAP.match(self.text, self.at)
        if match is not None and match.end() > self.at:
            self.loose = self.loose or "/" in match.group()
            self.at = match.end()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def read_value(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.complain(f"it is nested more than {_DEEPEST} deep")
        if self.peek() == "{":
            return self.read_items("object", "}", depth)
        if self.peek() == "[":
            return self.read_items("array", "]", depth)
        match = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
        if match is None:
            raise self.complain("a value is expected" if self.peek() else "the text ends too early")
        self.at = match.end()
        return Node("scalar", match.start(), match.end())

    def read_items(self, kind: Literal["object", "array"], closing: str, depth: int) -> Node:
        start = self.at
        self.at += 1
        items: list[Item] = []
        while True:
            self.skip()
            if self.peek() == closing:
                self.loose = self.loose or bool(items)  # the comma of the last item is a trailing one
                break
            items.append(self.read_item(kind, depth))
            if items[-1].comma is None:
                break
        if self.peek() != closing:
            raise self.complain(f"a comma or {closing} is expected" if self.peek() else "the text ends too early")
        self.at += 1
        return Node(kind, start, self.at, tuple(items))

    def read_item(self, kind: Literal["object", "array"], depth: int) -> Item:
        start, key = self.at, None
        if kind == "object":
            key = self.read_key()
        node = self.read_value(depth + 1)
        self.skip()
        if self.peek() != ",":
            return Item(start, key, node, None)
        self.at += 1
        return Item(start, key, node, self.at - 1)

    def read_key(self) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise self.complain("a name in double quotes is expected" if self.peek() else "the text ends too early")
        self.at = match.end()
        self.skip()
        if self.peek() != ":":
            raise self.complain("a colon is expected")
        self.at += 1
        self.skip()
        return str(json.loads(match.group()))
