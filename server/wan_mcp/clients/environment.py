"""
The variables that a client hands to its server: what stood there, what is set here, what was asked for.

A key belongs to one region. When the default region changes, the key that stood under the plain name keeps its region
by taking the name that says so, instead of becoming the key of the new one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from wan_mcp.clients.formats import as_mapping
from wan_mcp.settings import SETTING_ROWS, Settings, expand_name, read_settings
from wan_mcp.settings.files import full_path
from wan_mcp.settings.region_access import BASE_URL, KEY, KEY_FILE, WORKSPACE
from wan_mcp.settings.values import Values
from wan_mcp_tools.catalogue.regions import SANDBOX, find_region
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

REGION, OUTPUT_DIR, ENV_FILE = "DASHSCOPE_REGION", "WAN_MCP_OUTPUT_DIR", "WAN_MCP_ENV_FILE"
SECRETS = frozenset(name for row in SETTING_ROWS if row.secret for name in expand_name(row.name))

_ALL = tuple(name for row in SETTING_ROWS for name in expand_name(row.name))
_OF_ONE_REGION = (KEY, WORKSPACE, BASE_URL)
_REFERENCE = re.compile(r"\$\{[^}]+\}|\$[A-Za-z_]\w*|\{(?:env|file):[^}]+\}")


class RequestedVariables(Record):
    """What the person asked for on the command line; None where nothing was asked for."""

    region: str | None = None
    workspace_id: str | None = None
    output_dir: Path | None = None
    key_file: Path | None = None
    env_file: Path | None = None


def read_variables(entry: Mapping[str, object] | None, member: str = "env") -> dict[str, str]:
    """Give the variables of an entry that are texts; `member` is what the client calls them."""
    found = as_mapping((entry or {}).get(member)) or {}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def merge_variables(
    environ: Mapping[str, str], requested: RequestedVariables, previous: Mapping[str, str]
) -> dict[str, str]:
    """
    Give the variables of an entry.

    `previous` is what the entry held; it stays where nothing newer is known. The order is that of the settings'
    table.

    Raises:
        RequestRefusedError: there is no such region.
    """
    current = _read_environment(environ)
    region = requested.region or current.get(REGION) or previous.get(REGION)
    kept = dict(previous)
    if region is not None:
        region = find_region(region).name
        kept = _change_default_region(kept, kept.get(REGION) or "singapore", region)
        current = _change_default_region(current, current.get(REGION) or region, region)
    if region == SANDBOX.name:
        refused = (SECRETS - {f"{KEY}_SANDBOX"}) | {KEY_FILE}
        current = {name: text for name, text in current.items() if name not in refused}
    asked = _name_variables(requested, region)
    if KEY in current or _env_file_has_key(asked | current, region):
        kept.pop(KEY_FILE, None)
        kept.pop(KEY, None)
    if KEY in current:
        current.pop(KEY_FILE, None)
    if KEY_FILE in asked:
        current.pop(KEY, None)
    if KEY_FILE in asked or KEY_FILE in current:
        kept.pop(KEY, None)
    found = {**kept, **current, **asked}
    known = {name: found[name] for name in _ALL if name in found}
    return {**known, **{name: text for name, text in found.items() if name not in known}}


def region_without_key(variables: Mapping[str, str]) -> str | None:
    """
    Give the region that these variables leave without a key, or None if a server could order with them.

    A value that the client fills in, such as `${input:key}`, counts as a key.

    Raises:
        SettingsError: a server could not start with them, or not use its region.
    """
    settings = read_as_settings(variables)
    access = settings.regions[settings.default_region]
    if access.problem is not None:
        raise SettingsError(access.problem)
    names = (KEY, f"{KEY}_{access.region.upper()}")
    referred = any(is_reference(variables.get(name, "")) for name in names)
    return None if access.api_key is not None or referred else access.region


def read_as_settings(variables: Mapping[str, str]) -> Settings:
    """
    Read the variables as the server will.

    Raises:
        SettingsError: they cannot be used.
    """
    return read_settings({name: text for name, text in variables.items() if not is_reference(text)})


def is_reference(text: str) -> bool:
    """Tell a value that the client fills in from one that stands for itself."""
    return _REFERENCE.fullmatch(text.strip()) is not None


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the settings of this environment, with the paths that depend on the folder made absolute."""
    values = Values(environ, {})
    found = {name: text for name in _ALL if (text := values.text(name)) is not None}
    for name in SECRETS & set(found):
        if values.credential(name) is None:
            del found[name]
    for name in (KEY_FILE, ENV_FILE):
        if name in found:
            found[name] = str(full_path(Path(found[name])))
    return found


def _name_variables(requested: RequestedVariables, region: str | None) -> dict[str, str]:
    named: dict[str, str] = {}
    if requested.region is not None and region is not None:
        named[REGION] = region
    if requested.workspace_id is not None:
        named[WORKSPACE] = requested.workspace_id
    paths = ((OUTPUT_DIR, requested.output_dir), (KEY_FILE, requested.key_file), (ENV_FILE, requested.env_file))
    for name, path in paths:
        if path is not None:
            named[name] = str(full_path(path))
    return named


def _change_default_region(variables: dict[str, str], old: str, new: str) -> dict[str, str]:
    """Rename what belongs to the region that was the default, if another one takes its place."""
    old = find_region(old).name
    if old == new:
        return variables
    renamed = {name: f"{name}_{old.upper()}" for name in _OF_ONE_REGION}
    result = {renamed.get(name, name): text for name, text in variables.items() if name not in (KEY_FILE, REGION)}
    # What already had the long name is the stronger one.
    result |= {name: variables[name] for name in renamed.values() if name in variables}
    return {**result, REGION: new}


def _env_file_has_key(variables: Mapping[str, str], region: str | None) -> bool:
    """Tell whether the settings file that is named holds the key of the region."""
    path = variables.get(ENV_FILE)
    if path is None:
        return False
    settings = read_settings({ENV_FILE: path, **({REGION: region} if region else {})})
    access = settings.regions[settings.default_region]
    return access.api_key is not None and not access.in_process
