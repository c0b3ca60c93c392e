"""Plain data as configuration files hold it."""

from collections.abc import Mapping
from enum import Enum
from typing import cast


class Missing(Enum):
    """Says that there is no value, which is not the same as a null."""

    MISSING = "missing"


MISSING = Missing.MISSING

Path = tuple[str, ...]
"""The names that lead to a value, from the outside in."""


def as_mapping(value: object) -> Mapping[str, object] | None:
    """Give a value as a mapping, or None if it is something else."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def as_list(value: object) -> list[object]:
    """Give a value as a list, an empty one if it is something else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def nest(path: Path, value: object) -> object:
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


def without(data: object, path: Path) -> object:
    """Give the data without what stands at the path."""
    mapping = as_mapping(data)
    if mapping is None or not path or path[0] not in mapping:
        return data
    if len(path) == 1:
        return {name: value for name, value in mapping.items() if name != path[0]}
    return {**mapping, path[0]: without(mapping[path[0]], path[1:])}


def prune(data: object, path: Path) -> object:
    """Give the data without the empty mappings that lead to the path."""
    for depth in range(len(path), 0, -1):
        found: object = data
        for name in path[:depth]:
            found = (as_mapping(found) or {}).get(name)
        if as_mapping(found) is not None and not found:
            data = without(data, path[:depth])
    return data
