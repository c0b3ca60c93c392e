"""
Edits of JSON as people write it: only the characters of what changes, everything else as it was.

No library does this in Python without a helper in another language, so it is done here: the text is parsed for
positions, one piece of it is replaced, and the result is read again by the caller.
"""

import json
import re

from wan_mcp.hosts.jsonc import Item, Node, NotJsonError, decode, look_up, parse
from wan_mcp.hosts.values import MISSING, Missing, Path, as_mapping, nest

_BLANK = " \t\r\n"
_INDENT = re.compile(r"[ \t]*")


def find(text: str, path: Path) -> object:
    """
    Give the value at a path, or MISSING.

    Raises:
        NotJsonError: the text is no JSON, or the path is ambiguous.
    """
    node = look_up(parse(text).root, path)
    return MISSING if isinstance(node, Missing) else decode(text, node)


def put(text: str, path: Path, value: object) -> str:
    """
    Set the value at a path; objects are filled name by name, and what they hold besides stays.

    Raises:
        NotJsonError: the text is no JSON, or something on the path is no object.
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


def append(text: str, path: Path, value: object) -> str:
    """
    Add an element at the end of the array at a path; the array is made if there is none.

    Raises:
        NotJsonError: the text is no JSON, or there is something else than an array.
    """
    node = look_up(parse(text).root, path)
    if isinstance(node, Missing):
        return put(text, path, [value])
    if node.kind != "array":
        raise NotJsonError(f"{'.'.join(path)} is no array")
    return _insert(text, node, None, value)


def drop(text: str, path: Path) -> str:
    """
    Remove the member at a path, if it is there.

    Raises:
        NotJsonError: the text is no JSON.
    """
    box = look_up(parse(text).root, path[:-1])
    if isinstance(box, Missing):
        return text
    for index, item in enumerate(box.items):
        if item.key == path[-1]:
            return _remove(text, box, index)
    return text


def drop_element(text: str, path: Path, index: int) -> str:
    """Remove an element of the array at a path."""
    box = look_up(parse(text).root, path)
    return text if isinstance(box, Missing) else _remove(text, box, index)


def _begin(text: str, value: object) -> str:
    """Write the first value into a text that holds nothing but blanks and comments."""
    newline = _newline(text)
    lead = text if text.strip() else ""
    if lead and not lead.endswith("\n"):
        lead += newline
    return lead + _render(value, "", "  ", newline) + newline


def _add(text: str, root: Node, path: Path, value: object) -> str:
    """Add the value, with the objects on the way to it that do not exist."""
    for depth in range(len(path) - 1, -1, -1):
        box = look_up(root, path[:depth])
        if isinstance(box, Missing):
            continue
        if box.kind != "object":
            where = ".".join(path[:depth])
            raise NotJsonError(f"{where} is no object" if where else "it does not begin with an object")
        return _insert(text, box, path[depth], nest(path[depth + 1 :], value))
    raise NotJsonError("it does not begin with an object")


def _replace(text: str, node: Node, value: object) -> str:
    indent = _line_indent(text, node.start)
    written = _render(value, indent, _unit(text, None), _newline(text))
    return text[: node.start] + written + text[node.end :]


def _insert(text: str, box: Node, key: str | None, value: object) -> str:
    """Add an item at the end of an object or an array, in the manner of its neighbours."""
    inner = text[box.start + 1 : box.end - 1]
    newline = _newline(text)
    label = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
    if box.items and "\n" not in inner:
        return _insert_inline(text, box, label + json.dumps(value, ensure_ascii=False))
    unit = _unit(text, box)
    indent = _item_indent(text, box, unit)
    item = newline + indent + label + _render(value, indent, unit, newline)
    if not box.items and not inner.strip():
        closing = newline + _line_indent(text, box.start)
        return text[: box.start + 1] + item + closing + text[box.end - 1 :]
    # After the comments that follow the last item, so that they stay where they belong.
    place = box.start + 1 + len(inner.rstrip(_BLANK))
    if "\n" not in text[place : box.end - 1]:
        item += newline + _line_indent(text, box.start)
    return _splice(text, box, place, item)


def _insert_inline(text: str, box: Node, item: str) -> str:
    inner = text[box.start + 1 : box.end - 1]
    return _splice(text, box, box.start + 1 + len(inner.rstrip(_BLANK)), " " + item)


def _splice(text: str, box: Node, place: int, item: str) -> str:
    """Put an item behind the last one, with the comma between them, and one after it if the last one had one."""
    if not box.items:
        return text[:place] + item + text[place:]
    last = box.items[-1]
    if last.comma is not None:
        body = item.rstrip(_BLANK)
        return text[:place] + body + "," + item[len(body) :] + text[place:]
    end = last.node.end
    return text[:end] + "," + text[end:place] + item + text[place:]


def _remove(text: str, box: Node, index: int) -> str:
    """Remove an item with its comma, and the line it stood on if nothing else is there."""
    item = box.items[index]
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
    comma = box.items[index - 1].comma if index > 0 else None
    if item.comma is None and comma is not None:
        text = text[:comma] + text[comma + 1 :]
    return text


def _render(value: object, indent: str, unit: str, newline: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", newline + indent)


def _newline(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def _line_indent(text: str, at: int) -> str:
    match = _INDENT.match(text, text.rfind("\n", 0, at) + 1)
    return match.group() if match else ""


def _begins_line(text: str, item: Item) -> bool:
    return not text[text.rfind("\n", 0, item.start) + 1 : item.start].strip(_BLANK)


def _item_indent(text: str, box: Node, unit: str) -> str:
    """Give the indentation of the last item that begins a line, or of one step more than the box."""
    for item in reversed(box.items):
        if "\n" in text[box.start : item.start] and _begins_line(text, item):
            return _line_indent(text, item.start)
    return _line_indent(text, box.start) + unit


def _unit(text: str, box: Node | None) -> str:
    """Give one step of indentation: that of the box if it shows one, else the one of the whole text."""
    for each in (box, parse(text).root):
        if each is None:
            continue
        outer = _line_indent(text, each.start)
        for item in each.items:
            inner = _line_indent(text, item.start)
            if "\n" in text[each.start : item.start] and inner.startswith(outer) and inner != outer:
                return inner[len(outer) :]
    return "  "
