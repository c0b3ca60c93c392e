"""The formats of configuration files, behind one set of functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wan_mcp.hosts import jsonc, jsonc_edits
from wan_mcp.hosts.values import Path


class UnreadableError(ValueError):
    """Raised when a file is not in its format; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Format:
    """
    How the text of one kind of file is read and edited.

    `find` gives MISSING where nothing stands. `put` fills the object at a path and keeps what else it holds.
    """

    name: str
    load: Callable[[str], object]
    find: Callable[[str, Path], object]
    put: Callable[[str, Path, Mapping[str, object]], str]
    drop: Callable[[str, Path], str]
    dump: Callable[[Path, Mapping[str, object]], str]


def _load_json(text: str) -> object:
    document = jsonc.parse(text)
    return {} if document.root is None else jsonc.decode(text, document.root)


def _dump_json(path: Path, value: Mapping[str, object]) -> str:
    return jsonc_edits.put("", path, value)


JSON = Format("JSON", _load_json, jsonc_edits.find, jsonc_edits.put, jsonc_edits.drop, _dump_json)
"""Plain JSON and JSON with comments alike: a comment that is there stays there."""


def _load_toml(text: str) -> object:
    from wan_mcp.hosts import toml_edits  # noqa: PLC0415 - only one client needs the library

    return toml_edits.load(text)


def _find_toml(text: str, path: Path) -> object:
    from wan_mcp.hosts import toml_edits  # noqa: PLC0415 - the same

    return toml_edits.find(text, path)


def _put_toml(text: str, path: Path, value: Mapping[str, object]) -> str:
    from wan_mcp.hosts import toml_edits  # noqa: PLC0415 - the same

    return toml_edits.put(text, path, value)


def _drop_toml(text: str, path: Path) -> str:
    from wan_mcp.hosts import toml_edits  # noqa: PLC0415 - the same

    return toml_edits.drop(text, path)


def _dump_toml(path: Path, value: Mapping[str, object]) -> str:
    return _put_toml("", path, value)


TOML = Format("TOML", _load_toml, _find_toml, _put_toml, _drop_toml, _dump_toml)
