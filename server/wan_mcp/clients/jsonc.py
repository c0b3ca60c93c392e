"""
JSON as people write it, with comments and trailing commas: read, and edited without touching anything else.

No library does this in Python without a helper in another language, so it is done here: the text is parsed for
positions, one piece of it is replaced, and the result is read again by the caller.

Source: https://code.visualstudio.com/docs/languages/json#_json-with-comments
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from wan_mcp.clients.formats import MISSING, InvalidConfigError, KeyPath, Missing, as_mapping, nest
from wan_mcp_tools.domain.record import Record

_SPACE_AND_COMMENTS = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*"')
_SCALAR = re.compile(r"(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.+-])")
_BLANK = " \t\r\n"
_INDENT = re.compile(r"[ \t]*")
_MAX_DEPTH = 100


class Node(Record):
    """
    A value and where it stands: `text[start:end]`.

    An object and an array have items.
    """

    kind: Literal["object", "array", "scalar"]
    start: int
    end: int
    items: tuple["Item", ...] = ()


class Item(Record):
    """A member of an object, or an element of an array (then it has no key); `comma` is where its comma stands."""

    start: int
    key: str | None
    node: Node
    comma: int | None


class Document(Record):
    """
    A whole text.

    `root` is None where there is nothing but blanks and comments. `extended` says that a reader of plain JSON would
    refuse it: there are comments or trailing commas.
    """

    root: Node | None
    extended: bool


@lru_cache(maxsize=2)
def parse(text: str) -> Document:
    """
    Read a text. One edit asks for the same text many times, and some clients keep megabytes in their file.

    Raises:
        InvalidConfigError: it is no JSON with comments.
    """
    reader = _Reader(text)
    reader.skip()
    root = None
    if reader.at < len(text):
        root = reader.read_value(0)
        reader.skip()
        if reader.at < len(text):
            raise reader.error("something follows the end of the JSON")
    return Document(root, reader.extended)


def decode(text: str, node: Node) -> object:
    """Give the value of a node; of a name that stands twice, the last."""
    if node.kind == "object":
        return {item.key or "": decode(text, item.node) for item in node.items}
    if node.kind == "array":
        return [decode(text, item.node) for item in node.items]
    return json.loads(text[node.start : node.end])


def look_up(node: Node | None, path: KeyPath) -> Node | Missing:
    """
    Find the node at a path of names.

    Raises:
        InvalidConfigError: a name of the path stands twice, so that programs disagree on which one counts.
    """
    for name in path:
        if node is None or node.kind != "object":
            return MISSING
        found = [item.node for item in node.items if item.key == name]
        if len(found) > 1:
            raise InvalidConfigError(
                f"it names {name!r} twice in one object, and programs differ in which one counts"
            )
        if not found:
            return MISSING
        node = found[0]
    return MISSING if node is None else node


def load(text: str) -> object:
    """
    Give all data of a text; of one without any, an empty mapping.

    Raises:
        InvalidConfigError: the text is no JSON.
    """
    root = parse(text).root
    return {} if root is None else decode(text, root)


def find(text: str, path: KeyPath) -> object:
    """
    Give the value at a path, or MISSING.

    Raises:
        InvalidConfigError: the text is no JSON, or the path is ambiguous.
    """
    node = look_up(parse(text).root, path)
    return MISSING if isinstance(node, Missing) else decode(text, node)


def put(text: str, path: KeyPath, value: object) -> str:
    """
    Set the value at a path; objects are filled name by name, and what they hold besides stays.

    Raises:
        InvalidConfigError: the text is no JSON, or something on the path is no object.
    """
    root = parse(text).root
    if root is None:
        return _begin(text, nest(path, value))
    node = look_up(root, path)
    if isinstance(node, Missing):
        return _add(text, root, path, value)
    members = as_mapping(value)
    if members is None or node.kind != "object":
        same = decode(text, node) == value and type(decode(text, node)) is type(value)
        return text if same else _replace(text, node, value)
    for name, member in members.items():
        text = put(text, (*path, name), member)
    return text


def append(text: str, path: KeyPath, value: object) -> str:
    """
    Add an element at the end of the array at a path; the array is made if there is none.

    Raises:
        InvalidConfigError: the text is no JSON, or there is something else than an array.
    """
    node = look_up(parse(text).root, path)
    if isinstance(node, Missing):
        return put(text, path, [value])
    if node.kind != "array":
        raise InvalidConfigError(f"{'.'.join(path)} is no array")
    return _insert(text, node, None, value)


def drop(text: str, path: KeyPath) -> str:
    """
    Remove the member at a path, if it is there.

    Raises:
        InvalidConfigError: the text is no JSON.
    """
    container = look_up(parse(text).root, path[:-1])
    if isinstance(container, Missing):
        return text
    for index, item in enumerate(container.items):
        if item.key == path[-1]:
            return _remove(text, container, index)
    return text


def drop_element(text: str, path: KeyPath, index: int) -> str:
    """Remove an element of the array at a path."""
    container = look_up(parse(text).root, path)
    return text if isinstance(container, Missing) else _remove(text, container, index)


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    extended: bool = False

    def error(self, reason: str) -> InvalidConfigError:
        line = self.text.count("\n", 0, self.at) + 1
        column = self.at - (self.text.rfind("\n", 0, self.at) + 1) + 1
        return InvalidConfigError(f"line {line}, column {column}: {reason}")

    def skip(self) -> None:
        match = _SPACE_AND_COMMENTS.match(self.text, self.at)
        if match is not None and match.end() > self.at:
            self.extended = self.extended or "/" in match.group()
            self.at = match.end()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def read_value(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self.error(f"it is nested more than {_MAX_DEPTH} deep")
        if self.peek() == "{":
            return self.read_items("object", "}", depth)
        if self.peek() == "[":
            return self.read_items("array", "]", depth)
        match = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
        if match is None:
            raise self.error("a value is expected" if self.peek() else "the text ends too early")
        self.at = match.end()
        return Node("scalar", match.start(), match.end())

    def read_items(self, kind: Literal["object", "array"], closing: str, depth: int) -> Node:
        start = self.at
        self.at += 1
        items: list[Item] = []
        while True:
            self.skip()
            if self.peek() == closing:
                self.extended = self.extended or bool(items)  # the comma of the last item is a trailing one
                break
            items.append(self.read_item(kind, depth))
            if items[-1].comma is None:
                break
        if self.peek() != closing:
            raise self.error(f"a comma or {closing} is expected" if self.peek() else "the text ends too early")
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
            raise self.error("a name in double quotes is expected" if self.peek() else "the text ends too early")
        self.at = match.end()
        self.skip()
        if self.peek() != ":":
            raise self.error("a colon is expected")
        self.at += 1
        self.skip()
        return str(json.loads(match.group()))


def _begin(text: str, value: object) -> str:
    """Write the first value into a text that holds nothing but blanks and comments."""
    newline = _newline(text)
    lead = text if text.strip() else ""
    if lead and not lead.endswith("\n"):
        lead += newline
    return lead + _render(value, "", "  ", newline) + newline


def _add(text: str, root: Node, path: KeyPath, value: object) -> str:
    """Add the value, with the objects on the way to it that do not exist."""
    for depth in range(len(path) - 1, -1, -1):
        container = look_up(root, path[:depth])
        if isinstance(container, Missing):
            continue
        if container.kind != "object":
            where = ".".join(path[:depth])
            raise InvalidConfigError(f"{where} is no object" if where else "it does not begin with an object")
        return _insert(text, container, path[depth], nest(path[depth + 1 :], value))
    raise InvalidConfigError("it does not begin with an object")


def _replace(text: str, node: Node, value: object) -> str:
    indent = _line_indent(text, node.start)
    written = _render(value, indent, _indent_step(text, None), _newline(text))
    return text[: node.start] + written + text[node.end :]


def _insert(text: str, container: Node, key: str | None, value: object) -> str:
    """Add an item at the end of an object or an array, laid out as its neighbours are."""
    inner = text[container.start + 1 : container.end - 1]
    newline = _newline(text)
    label = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
    if container.items and "\n" not in inner:
        return _insert_inline(text, container, label + json.dumps(value, ensure_ascii=False))
    step = _indent_step(text, container)
    indent = _item_indent(text, container, step)
    item = newline + indent + label + _render(value, indent, step, newline)
    if not container.items and not inner.strip():
        closing = newline + _line_indent(text, container.start)
        return text[: container.start + 1] + item + closing + text[container.end - 1 :]
    # After the comments that follow the last item, so that they stay where they belong.
    place = container.start + 1 + len(inner.rstrip(_BLANK))
    if "\n" not in text[place : container.end - 1]:
        item += newline + _line_indent(text, container.start)
    return _splice(text, container, place, item)


def _insert_inline(text: str, container: Node, item: str) -> str:
    inner = text[container.start + 1 : container.end - 1]
    return _splice(text, container, container.start + 1 + len(inner.rstrip(_BLANK)), " " + item)


def _splice(text: str, container: Node, place: int, item: str) -> str:
    """Put an item behind the last one, with the comma between them, and one after it if the last one had one."""
    if not container.items:
        return text[:place] + item + text[place:]
    last = container.items[-1]
    if last.comma is not None:
        body = item.rstrip(_BLANK)
        return text[:place] + body + "," + item[len(body) :] + text[place:]
    end = last.node.end
    return text[:end] + "," + text[end:place] + item + text[place:]


def _remove(text: str, container: Node, index: int) -> str:
    """Remove an item with its comma, and the line it stood on if nothing else is there."""
    item = container.items[index]
    end = item.node.end if item.comma is None else item.comma + 1
    start = item.start
    before = len(text[:start].rstrip(" \t"))
    if text[before - 1 : before] == "\n" and text[end : end + 1] in ("", "\r", "\n"):
        start = before - (2 if text[before - 2 : before] == "\r\n" else 1)
    elif index > 0:
        start = before
    else:
        end += len(text[end:]) - len(text[end:].lstrip(" \t"))
    text = text[:start] + text[end:]
    comma = container.items[index - 1].comma if index > 0 else None
    if item.comma is None and comma is not None:
        text = text[:comma] + text[comma + 1 :]
    return text


def _render(value: object, indent: str, step: str, newline: str) -> str:
    return json.dumps(value, indent=step, ensure_ascii=False).replace("\n", newline + indent)


def _newline(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def _line_indent(text: str, at: int) -> str:
    match = _INDENT.match(text, text.rfind("\n", 0, at) + 1)
    return match.group() if match else ""


def _begins_line(text: str, item: Item) -> bool:
    return not text[text.rfind("\n", 0, item.start) + 1 : item.start].strip(_BLANK)


def _item_indent(text: str, container: Node, step: str) -> str:
    """Give the indentation of the last item that begins a line, or of one step more than the container."""
    for item in reversed(container.items):
        if "\n" in text[container.start : item.start] and _begins_line(text, item):
            return _line_indent(text, item.start)
    return _line_indent(text, container.start) + step


def _indent_step(text: str, container: Node | None) -> str:
    """Give one step of indentation: that of the container if it shows one, else the one of the whole text."""
    for each in (container, parse(text).root):
        if each is None:
            continue
        outer = _line_indent(text, each.start)
        for item in each.items:
            inner = _line_indent(text, item.start)
            if "\n" in text[each.start : item.start] and inner.startswith(outer) and inner != outer:
                return inner[len(outer) :]
    return "  "
