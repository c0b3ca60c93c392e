"""
The variables that a client hands to its server: what stood there, what is set here, what was asked for.

A key belongs to one region. When the default region changes, the key that stood under the plain name keeps its region
by taking the name that says so, instead of becoming the key of the new one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wan_mcp.settings import SETTING_ROWS, Settings, expand_name, read_settings
from wan_mcp.settings.access import BASE_URL, KEY, KEY_FILE, WORKSPACE
from wan_mcp.settings.values import Values
from wan_mcp_tools.catalogue.regions import SANDBOX, find_region
from wan_mcp_tools.domain.errors import SettingsError

REGION, OUTPUT_DIR, ENV_FILE = "DASHSCOPE_REGION", "WAN_MCP_OUTPUT_DIR", "WAN_MCP_ENV_FILE"
SECRETS = frozenset(name for row in SETTING_ROWS if row.secret for name in expand_name(row.name))

_ALL = tuple(name for row in SETTING_ROWS for name in expand_name(row.name))
_OF_ONE_REGION = (KEY, WORKSPACE, BASE_URL)
_REFERENCE = re.compile(r"\$\{[^}]+\}|\$[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for beside the environment; None is no wish."""

    region: str | None = None
    workspace_id: str | None = None
    output_dir: Path | None = None
    key_file: Path | None = None
    env_file: Path | None = None


def gather(environ: Mapping[str, str], wishes: Wishes, before: Mapping[str, str]) -> dict[str, str]:
    """
    Give the variables of an entry.

    `before` is what the entry held; it stays where nothing newer is known. The order is that of the settings'
    table.

    Raises:
        RequestRefusedError: there is no such region.
    """
    here = _carry(environ)
    region = wishes.region or here.get(REGION) or before.get(REGION)
    there = dict(before)
    if region is not None:
        region = find_region(region).name
        there = _keep_region(there, there.get(REGION) or "singapore", region)
        here = _keep_region(here, here.get(REGION) or region, region)
    if region == SANDBOX.name:
        here = {name: text for name, text in here.items() if name not in (SECRETS - {f"{KEY}_SANDBOX"}) | {KEY_FILE}}
    asked = _ask_for(wishes, region)
    if KEY in here or _file_has_key(asked | here, region):
        there.pop(KEY_FILE, None)
        there.pop(KEY, None)
    if KEY in here:
        here.pop(KEY_FILE, None)
    if KEY_FILE in asked:
        here.pop(KEY, None)
    if KEY_FILE in asked or KEY_FILE in here:
        there.pop(KEY, None)
    found = {**there, **here, **asked}
    known = {name: found[name] for name in _ALL if name in found}
    return {**known, **{name: text for name, text in found.items() if name not in known}}


def lacks_key(variables: Mapping[str, str]) -> str | None:
    """
    Give the region that these variables leave without a key, or None if a server could order with them.

    A value that the client fills in, such as `${input:key}`, counts as a key.

    Raises:
        SettingsError: a server could not start with them, or not use its region.
    """
    settings = check(variables)
    access = settings.regions[settings.default_region]
    if access.problem is not None:
        raise SettingsError(access.problem)
    names = (KEY, f"{KEY}_{access.region.upper()}")
    referred = any(is_reference(variables.get(name, "")) for name in names)
    return None if access.api_key is not None or referred else access.region


def check(variables: Mapping[str, str]) -> Settings:
    """
    Read the variables as the server will.

    Raises:
        SettingsError: they cannot be used.
    """
    return read_settings({name: text for name, text in variables.items() if not is_reference(text)})


def is_reference(text: str) -> bool:
    """Tell a value that the client fills in from one that stands for itself."""
    return _REFERENCE.fullmatch(text.strip()) is not None


def _carry(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the settings of this environment, with the paths that depend on the folder made whole."""
    values = Values(environ, {})
    found = {name: text for name in _ALL if (text := values.text(name)) is not None}
    for name in SECRETS & set(found):
        if values.credential(name) is None:
            del found[name]
    for name in (KEY_FILE, ENV_FILE):
        if name in found:
            found[name] = _whole(Path(found[name]))
    return found


def _ask_for(wishes: Wishes, region: str | None) -> dict[str, str]:
    asked: dict[str, str] = {}
    if wishes.region is not None and region is not None:
        asked[REGION] = region
    if wishes.workspace_id is not None:
        asked[WORKSPACE] = wishes.workspace_id
    for name, path in ((OUTPUT_DIR, wishes.output_dir), (KEY_FILE, wishes.key_file), (ENV_FILE, wishes.env_file)):
        if path is not None:
            asked[name] = _whole(path)
    return asked


def _whole(path: Path) -> str:
    return str(path.expanduser().absolute())


def _keep_region(variables: dict[str, str], own: str, region: str) -> dict[str, str]:
    """Rename what belongs to the region that was the default, if another one takes its place."""
    own = find_region(own).name
    if own == region:
        return variables
    moved = {name: f"{name}_{own.upper()}" for name in _OF_ONE_REGION}
    kept = {moved.get(name, name): text for name, text in variables.items() if name not in (KEY_FILE, REGION)}
    # What already had the long name is the stronger one.
    kept |= {name: variables[name] for name in moved.values() if name in variables}
    return {**kept, REGION: region}


def _file_has_key(variables: Mapping[str, str], region: str | None) -> bool:
    """Tell whether the settings file that is named holds the key of the region."""
    path = variables.get(ENV_FILE)
    if path is None:
        return False
    settings = read_settings({ENV_FILE: path, **({REGION: region} if region else {})})
    access = settings.regions[settings.default_region]
    return access.api_key is not None and not access.in_process
