"""
How each region is reached: address, key, workspace.

Source: https://www.alibabacloud.com/help/en/model-studio/base-url
"""

import re
from pathlib import Path

from pydantic import SecretStr

from wan_mcp.settings.record import RegionAccess
from wan_mcp.settings.shapes import PLAN_KEY
from wan_mcp.settings.urls import check_base_url, region_of_host
from wan_mcp.settings.values import Values
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, Region

KEY, KEY_FILE = "DASHSCOPE_API_KEY", "DASHSCOPE_API_KEY_FILE_PATH"
WORKSPACE, BASE_URL = "DASHSCOPE_WORKSPACE_ID", "DASHSCOPE_HTTP_BASE_URL"

_WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST_KEY = 4096


def read_regions(values: Values, default_region: str) -> dict[str, RegionAccess]:
    """Give the access to every region, usable or not; the default one has the names without suffix too."""
    return {region.name: _read_region(values, region, default_region) for region in REGIONS}


def names_of(setting: str, region: Region, default_region: str) -> tuple[str, ...]:
    """Name the variables that hold a setting of a region, the strongest first."""
    own = f"{setting}_{region.name.upper()}"
    return (own, setting) if region.name == default_region else (own,)


def _read_region(values: Values, region: Region, default_region: str) -> RegionAccess:
    override, url_problem = _read_override(values, region, names_of(BASE_URL, region, default_region))
    workspace = _read_workspace(values, names_of(WORKSPACE, region, default_region))
    if region is SANDBOX:
        return _sandbox(values, override, workspace, url_problem, default_region)
    key, key_setting, key_problem = _read_key(values, region, default_region, own_host=override is None)
    base_url = override
    if override is None and url_problem is None:
        base_url = _own_url(region, workspace)
        if base_url is None:
            setting = names_of(WORKSPACE, region, default_region)[-1]
            url_problem = f"{region.title} answers only at a workspace's own address: set {setting}."
    problems = [problem for problem in (key_problem, url_problem) if problem]
    return RegionAccess(
        region=region.name,
        base_url=base_url,
        api_key=SecretStr(key) if key else None,
        workspace_id=workspace,
        key_setting=key_setting,
        problem=" ".join(problems) or None,
    )


def _sandbox(
    values: Values, override: str | None, workspace: str | None, problem: str | None, default_region: str
) -> RegionAccess:
    names = names_of(KEY, SANDBOX, default_region)
    # A key without a suffix is meant for the service: the sandbox in this process has no use for it.
    readable = names if override else names[:1]
    found = [(name, key) for name in readable if (key := values.credential(name))]
    key_setting, key = found[0] if found else (names[0], "sk-sandbox")
    return RegionAccess(
        region=SANDBOX.name,
        base_url=override or ("http://sandbox.invalid/api/v1" if problem is None else None),
        api_key=SecretStr(key),
        workspace_id=workspace,
        key_setting=key_setting,
        in_process=override is None and problem is None,
        problem=problem,
    )


def _own_url(region: Region, workspace: str | None) -> str | None:
    if workspace and region.workspace_host:
        return f"https://{region.workspace_host.format(workspace=workspace)}/api/v1"
    return f"https://{region.shared_host}/api/v1" if region.shared_host else None


def _read_override(values: Values, region: Region, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Give the address that replaces the region's own, or why it must not be used."""
    for name in names:
        text = values.text(name)
        if text is None:
            continue
        url, trouble = check_base_url(text)
        if url is None:
            values.refuse(name, trouble)
            return None, f"{name} {trouble}"
        owner = region_of_host(url)
        if owner is not None and owner is not region:
            # A key sent to another region's host would be refused there with a riddle, or worse, be noted.
            return None, (
                f"{name} is an address of {owner.title}, and here it stands for {region.title}."
                f" Set DASHSCOPE_REGION={owner.name}, or use {BASE_URL}_{owner.name.upper()}."
            )
        return url, None
    return None, None


def _read_workspace(values: Values, names: tuple[str, ...]) -> str | None:
    for name in names:
        text = values.credential(name)
        if text is None:
            continue
        # It becomes part of a host name: nothing else may get in.
        if _WORKSPACE_ID.fullmatch(text):
            return text
        values.refuse(name, f"is {text!r}. Use the workspace's id, such as llm-… or ws-…, not its address.")
        return None
    return None


def _read_key(
    values: Values, region: Region, default_region: str, *, own_host: bool
) -> tuple[str | None, str, str | None]:
    """Give the key, the variable it came from or belongs in, and what is wrong with it."""
    names = names_of(KEY, region, default_region)
    for name in names:
        key = values.credential(name)
        if key is not None:
            return key, name, _key_problem(key, name, region, own_host=own_host)
    if region.name == default_region and (path := values.text(KEY_FILE)) is not None:
        key, problem = _read_key_file(path)
        if key is not None:
            problem = _key_problem(key, KEY_FILE, region, own_host=own_host)
        return key, KEY_FILE, problem
    for name in names:
        if values.holds_placeholder(name):
            return None, name, f"{name} still holds a placeholder: write the key of {region.title} there."
    return None, names[-1], None


def _read_key_file(path: str) -> tuple[str | None, str | None]:
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig") as file:
            key = file.read(_LONGEST_KEY).strip()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        return None, f"{KEY_FILE} names {path}, which cannot be read: {reason}."
    return (key, None) if key else (None, f"{KEY_FILE} names {path}, which is empty.")


def _key_problem(key: str, name: str, region: Region, *, own_host: bool) -> str | None:
    if own_host and key.startswith(PLAN_KEY):
        return (
            f"The key in {name} belongs to a token or coding plan (it begins with {PLAN_KEY}), and such keys"
            f" order no images. Create a pay-as-you-go key for {region.title} in the Model Studio console."
        )
    if not all("!" <= character <= "~" for character in key) or key[0] in "\"'":
        return f"{name} holds more than a key: blanks, quotes or letters that no key has. Write the key alone."
    return None
