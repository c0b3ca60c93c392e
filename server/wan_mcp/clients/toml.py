"""
TOML, read and edited: a new table goes to the end of the file, a known one is changed where it stands.

Source: https://toml.io/en/v1.0.0
"""

import re
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError

from wan_mcp.clients.formats import MISSING, InvalidConfigError, KeyPath, as_mapping, nest, overlay, prune, without

_LONE_NEWLINE = re.compile(r"(?<!\r)\n")
_HEADER = re.compile(r"\s*\[")


def load(text: str) -> dict[str, object]:
    """
    Read a text.

    Raises:
        InvalidConfigError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfigError(str(error)) from error
    except RecursionError as error:
        raise InvalidConfigError("it is nested too deep") from error


def find(text: str, path: KeyPath) -> object:
    """
    Give the value at a path, or MISSING.

    Raises:
        InvalidConfigError: the text is no TOML.
    """
    value: object = load(text)
    for name in path:
        mapping = as_mapping(value)
        if mapping is None or name not in mapping:
            return MISSING
        value = mapping[name]
    return value


def put(text: str, path: KeyPath, value: Mapping[str, object]) -> str:
    """
    Set the table at a path; it is filled name by name, and what it holds besides stays.

    Raises:
        InvalidConfigError: the text is no TOML, or its form allows no safe edit.
    """
    wanted = overlay(load(text), nest(path, value))
    if wanted == load(text):
        return text
    if find(text, path) is MISSING:
        longer = _append(text, path, value)
        if _holds(longer, wanted):
            return longer
    edited = _edit(text, path, lambda container: _fill(container, {path[-1]: value}))
    return _check(text, path, edited, wanted)


def drop(text: str, path: KeyPath) -> str:
    """
    Remove what stands at a path, if anything does.

    Raises:
        InvalidConfigError: the text is no TOML, or its form allows no safe edit.
    """
    if find(text, path) is MISSING:
        return text
    wanted = without(load(text), path)
    edited = _edit(text, path, lambda container: container.pop(path[-1]))
    # A list of servers that was never written by itself goes with its last server.
    return _check(text, path, edited, wanted if _holds(edited, wanted) else prune(wanted, path[:-1]))


def _append(text: str, path: KeyPath, value: Mapping[str, object]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    document = tomlkit.document()
    outer: Any = document
    for name in path[:-1]:
        outer.append(name, tomlkit.table(is_super_table=True))
        outer = outer[name]
    outer.append(path[-1], _table(value))
    gap = "" if not text.strip() else newline if text.endswith("\n") else newline * 2
    return text + gap + tomlkit.dumps(document).replace("\n", newline)


def _table(value: Mapping[str, object]) -> Any:  # noqa: ANN401 - the library's own loose types
    table = tomlkit.table()
    for name, member in value.items():
        mapping = as_mapping(member)
        table.append(name, member if mapping is None else _table(mapping))
    return table


def _edit(text: str, path: KeyPath, change: Callable[[MutableMapping[str, Any]], object]) -> str:
    """Edit the table that holds the last name of the path."""
    try:
        document = tomlkit.parse(text)
        change(_walk(document, path[:-1]))
        return _keep_newlines(text, tomlkit.dumps(document))
    except (TOMLKitError, TypeError, ValueError, KeyError) as error:
        raise InvalidConfigError(f"{'.'.join(path)} cannot be edited in the form it has there") from error


def _walk(document: Any, path: KeyPath) -> MutableMapping[str, Any]:  # noqa: ANN401 - the library's own loose types
    for name in path:
        document = document[name]
    return cast("MutableMapping[str, Any]", document)


def _fill(container: MutableMapping[str, Any], value: Mapping[str, object]) -> None:
    for name, member in value.items():
        mapping = as_mapping(member)
        if name not in container:
            container[name] = member if mapping is None else dict(mapping)
        elif mapping is not None and isinstance(container[name], MutableMapping):
            _fill(container[name], mapping)
        elif container[name] != member:
            container[name] = member


def _keep_newlines(text: str, edited: str) -> str:
    return _LONE_NEWLINE.sub("\r\n", edited) if "\r\n" in text and not _LONE_NEWLINE.search(text) else edited


def _holds(text: str, wanted: object) -> bool:
    try:
        return load(text) == wanted
    except InvalidConfigError:
        return False


def _check(text: str, path: KeyPath, edited: str, wanted: object) -> str:
    """Give the edited text if it means what it should and every line of others is still there, in order."""
    rest = iter(edited.splitlines())
    kept = all(line in rest for line in _lines_of_others(text, path))
    if not kept or not _holds(edited, wanted):
        raise InvalidConfigError(f"{'.'.join(path)} cannot be edited there without touching what others wrote")
    return edited


def _lines_of_others(text: str, path: KeyPath) -> list[str]:
    """Give the lines outside of the table at the path; a line that names it, or holds the whole list, may change."""
    whole_list = re.compile(rf"""\s*["']?{re.escape(path[0])}["']?\s*=""")
    lines: list[str] = []
    ours = False
    for line in text.splitlines():
        if _HEADER.match(line):
            ours = path[-1] in line
        if line.strip() and not ours and path[-1] not in line and not whole_list.match(line):
            lines.append(line)
    return lines
