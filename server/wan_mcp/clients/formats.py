"""
What the formats of configuration files have in common: the data in them, and how they are read and edited.

`jsonc` and `toml` each offer the functions of `ConfigFormat`.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Protocol, cast


class InvalidConfigError(ValueError):
    """Raised when a text is not in its format, or cannot be edited safely; the message says where or why."""


class Missing(Enum):
    """Says that there is no value, which is not the same as a null."""

    MISSING = "missing"


MISSING = Missing.MISSING

KeyPath = tuple[str, ...]
"""The names that lead to a value, from the outside in."""


class ConfigFormat(Protocol):
    """
    How the text of one kind of file is read and edited.

    Every function raises InvalidConfigError where the text is not in the format, or allows no safe edit.
    """

    def load(self, text: str) -> object:
        """Give all data of a text; of an empty text, an empty mapping."""
        ...

    def find(self, text: str, path: KeyPath) -> object:
        """Give the value at a path, or MISSING."""
        ...

    def put(self, text: str, path: KeyPath, value: Mapping[str, object]) -> str:
        """Fill the object at a path name by name; what it holds besides stays. Gives the new text."""
        ...

    def drop(self, text: str, path: KeyPath) -> str:
        """Remove what stands at a path, if anything does. Gives the new text."""
        ...


def as_mapping(value: object) -> Mapping[str, object] | None:
    """Give a value as a mapping, or None if it is something else."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def as_list(value: object) -> list[object]:
    """Give a value as a list, an empty one if it is something else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def nest(path: KeyPath, value: object) -> object:
    """Put a value into mappings, one for each name of the path."""
    for name in reversed(path):
        value = {name: value}
    return value


def overlay(old: object, new: object) -> object:
    """Lay new data over old: mappings name by name, anything else as a whole."""
    before, after = as_mapping(old), as_mapping(new)
    if before is None or after is None:
        return new
    return {**before, **{name: overlay(before.get(name, MISSING), value) for name, value in after.items()}}


def without(data: object, path: KeyPath) -> object:
    """Give the data without what stands at the path."""
    mapping = as_mapping(data)
    if mapping is None or not path or path[0] not in mapping:
        return data
    if len(path) == 1:
        return {name: value for name, value in mapping.items() if name != path[0]}
    return {**mapping, path[0]: without(mapping[path[0]], path[1:])}


def prune(data: object, path: KeyPath) -> object:
    """Give the data without the empty mappings that lead to the path."""
    for depth in range(len(path), 0, -1):
        found: object = data
        for name in path[:depth]:
            found = (as_mapping(found) or {}).get(name)
        if as_mapping(found) is not None and not found:
            data = without(data, path[:depth])
    return data
