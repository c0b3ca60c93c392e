"""The settings with where each came from and all that is wrong with them: for a person who looks for a mistake."""

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from wan_mcp.settings.key_format import describe_key
from wan_mcp.settings.settings import Settings, check_values, find_env_file, read_values
from wan_mcp.settings.table import SETTING_ROWS, SettingRow, expand_name
from wan_mcp.settings.values import ProblemCode, SettingProblem, Values
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

_LONGEST_SHOWN = 80
_LOGIN = re.compile(r"//[^/@\s]*@")


class SettingOrigin(Record):
    """One setting that is set: its value as it may be shown, never a key, and in words where it came from."""

    name: str
    shown: str
    source: str


class SettingsReport(Record):
    """
    The settings, whatever is wrong with them.

    `settings` has the defaults in place of what was refused, and is None where the settings file cannot be read.
    `unset` counts the settings that hold by default. `secrets` are the keys, so that they can be kept out of texts.
    """

    settings: Settings | None
    problems: tuple[SettingProblem, ...] = ()
    origins: tuple[SettingOrigin, ...] = ()
    unset: int = 0
    secrets: tuple[str, ...] = field(default=(), repr=False)


def examine_settings(environ: Mapping[str, str], *, env_file: Path | None = None) -> SettingsReport:
    """Read the settings as `read_settings` does; what that would raise is told."""
    path = find_env_file(environ, env_file)
    try:
        values = read_values(environ, path)
    except SettingsError as error:
        values = Values(environ, {})
        problem = SettingProblem(None, ProblemCode.FILE, error.message.removesuffix("."), error.advice)
        return SettingsReport(None, (problem,), _find_origins(values, None), secrets=_find_secrets(values, None))
    settings = check_values(values, path)
    refused = {problem.name for problem in values.problems}
    return SettingsReport(
        settings,
        tuple(values.problems),
        tuple(origin for origin in _find_origins(values, path) if origin.name not in refused),
        unset=sum(1 for row in SETTING_ROWS if not any(values.sources(name) for name in expand_name(row.name))),
        secrets=_find_secrets(values, settings),
    )


def _find_origins(values: Values, path: Path | None) -> tuple[SettingOrigin, ...]:
    words = ("from the environment", f"from {path}")
    origins: list[SettingOrigin] = []
    for row in SETTING_ROWS:
        for name in expand_name(row.name):
            found = values.sources(name)
            if not found:
                continue
            source = words[found[0]] + (f", which wins over {path}" if len(found) > 1 else "")
            origins.append(SettingOrigin(name, _show(row, values, name), source))
    return tuple(origins)


def _show(row: SettingRow, values: Values, name: str) -> str:
    text = values.text(name) or ""
    if row.secret:
        return "a placeholder" if values.holds_placeholder(name) else describe_key(text)
    text = _LOGIN.sub("//***@", text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _find_secrets(values: Values, settings: Settings | None) -> tuple[str, ...]:
    named = [values.text(name) for row in SETTING_ROWS if row.secret for name in expand_name(row.name)]
    regions = settings.regions.values() if settings is not None else ()
    # A key may also have come from a file.
    read = [access.api_key.get_secret_value() for access in regions if access.api_key and not access.in_process]
    if settings is not None and settings.storage is not None and settings.storage.secret_access_key is not None:
        read.append(settings.storage.secret_access_key.get_secret_value())
    if settings is not None and settings.secret_key is not None:
        read.append(settings.secret_key.get_secret_value())
    return tuple(dict.fromkeys(secret for secret in (*named, *read) if secret))
