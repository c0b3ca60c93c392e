"""
How each region is reached: address, key, workspace; and what addresses look like.

Source: https://www.alibabacloud.com/help/en/model-studio/base-url
"""

import hashlib
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from wan_mcp.settings.files import read_secret_file
from wan_mcp.settings.key_format import PLAN_KEY, find_fault, is_placeholder
from wan_mcp.settings.values import ProblemCode, Values
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, Region
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

KEY, KEY_FILE = "DASHSCOPE_API_KEY", "DASHSCOPE_API_KEY_FILE_PATH"
WORKSPACE, BASE_URL = "DASHSCOPE_WORKSPACE_ID", "DASHSCOPE_HTTP_BASE_URL"
_WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_API_PATH = "/api/v1"
_ALLOWED_URLS = "Use https://HOST/api/v1, or http only for this machine (localhost, 127.0.0.1, [::1])."


class RegionAccess(Record):
    """
    How one region is reached.

    `base_url` ends in `/api/v1`; it is None where the region has no shared host and no workspace was set.
    `in_process` says that the region is the sandbox inside this process. `key_setting` names the variable
    that holds the key, for messages. `problem` says why the region cannot be used as it is set, and what to
    change; it is None where nothing stands in the way but perhaps a missing key.
    """

    region: str
    base_url: str | None
    api_key: SecretStr | None
    workspace_id: str | None
    key_setting: str
    in_process: bool = False
    problem: str | None = None

    @property
    def account(self) -> str:
        """
        A short name for the key that tells accounts apart and cannot be turned back.

        A key has far more than 100 bits of chance, so a one-way digest of it reveals nothing.
        """
        if self.api_key is None:
            return "none"
        key = self.api_key.get_secret_value().encode()
        return hashlib.blake2b(key, digest_size=6, person=b"wan-mcp/account").hexdigest()


def read_regions(values: Values, default_region: str) -> dict[str, RegionAccess]:
    """Give the access to every region, usable or not; the default one has the names without suffix too."""
    return {region.name: _read_region(values, region, default_region) for region in REGIONS}


def parse_base_url(text: str) -> str:
    """
    Read the address that stands in for a region's own, and give it without a slash at its end.

    Raises:
        ValueError: it cannot be one; the message is a predicate of the setting.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("is no URL") from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or a password")
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise ValueError(f"is {text!r}, which is no web address")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"is {text!r}: over plain http the key could be read on its way")
    if parts.query or parts.fragment or not parts.path.rstrip("/").endswith(_API_PATH):
        raise ValueError(f"is {text!r}, which does not end in {_API_PATH}")
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own and nothing else's."""
    from ipaddress import ip_address  # noqa: PLC0415 - most starts need no address arithmetic

    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def region_of_host(url: str) -> Region | None:
    """Find the region that a service address belongs to; None for anybody else's address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    for region in REGIONS:
        if region.workspace_host is None:
            continue
        if host == region.shared_host or host.endswith(region.workspace_host.removeprefix("{workspace}")):
            return region
        if any(host == brand or host.endswith(f".{brand}") for brand in region.brand_hosts):
            return region
    return None


def _list_names(setting: str, region: Region, default_region: str) -> tuple[str, ...]:
    """Name the variables that hold a setting of a region, the strongest first."""
    own = f"{setting}_{region.name.upper()}"
    return (own, setting) if region.name == default_region else (own,)


def _read_region(values: Values, region: Region, default_region: str) -> RegionAccess:
    override, url_problem = _read_override(values, region, _list_names(BASE_URL, region, default_region))
    workspace = _read_workspace(values, _list_names(WORKSPACE, region, default_region))
    if region is SANDBOX:
        return _read_sandbox(values, override, workspace, url_problem, default_region)
    key, key_setting, key_problem = _read_key(values, region, default_region, own_host=override is None)
    base_url = override
    if override is None and url_problem is None:
        base_url = _build_own_url(region, workspace)
        if base_url is None:
            setting = _list_names(WORKSPACE, region, default_region)[-1]
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


def _read_sandbox(
    values: Values, override: str | None, workspace: str | None, problem: str | None, default_region: str
) -> RegionAccess:
    names = _list_names(KEY, SANDBOX, default_region)
    # A key without a suffix is meant for the service: the sandbox in this process has no use for it.
    readable = names if override else names[:1]
    found = [(name, key) for name in readable if (key := values.credential(name))]
    for setting in (f"{name}_FILE" for name in readable):
        path = values.text(setting)
        if path is None or found:
            continue
        key, key_problem = _read_key_file(path, setting, SANDBOX)
        problem = problem or key_problem
        if key is not None:
            found.append((setting, key))
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


def _build_own_url(region: Region, workspace: str | None) -> str | None:
    if workspace and region.workspace_host:
        return f"https://{region.workspace_host.format(workspace=workspace)}{_API_PATH}"
    return f"https://{region.shared_host}{_API_PATH}" if region.shared_host else None


def _read_override(values: Values, region: Region, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Give the address that replaces the region's own, or why it must not be used."""
    for name in names:
        text = values.text(name)
        if text is None:
            continue
        try:
            url = parse_base_url(text)
        except ValueError as error:
            return None, str(values.refuse(name, ProblemCode.BASE_URL, str(error), _ALLOWED_URLS))
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
        text = values.identifier(name)
        if text is None:
            continue
        # It becomes part of a host name: nothing else may get in.
        if _WORKSPACE_ID.fullmatch(text):
            return text
        advice = "Use the workspace's id, such as llm-… or ws-…, not its address."
        values.refuse(name, ProblemCode.WORKSPACE, f"is {text!r}", advice)
        return None
    return None


def _read_key(
    values: Values, region: Region, default_region: str, *, own_host: bool
) -> tuple[str | None, str, str | None]:
    """Give the key, the variable it came from or belongs in, and what is wrong with it."""
    names = _list_names(KEY, region, default_region)
    for name in names:
        key = values.credential(name)
        if key is not None:
            return key, name, _key_problem(key, name, region, own_host=own_host)
    files = [f"{name}_FILE" for name in names] + ([KEY_FILE] if region.name == default_region else [])
    for setting in files:
        path = values.text(setting)
        if path is not None:
            key, problem = _read_key_file(path, setting, region)
            if key is not None:
                problem = _key_problem(key, setting, region, own_host=own_host)
            return key, setting, problem
    for name in names:
        if values.holds_placeholder(name):
            return None, name, f"{name} still holds a placeholder: write the key of {region.title} there."
    for setting in files:
        if values.is_unfilled(setting):
            problem = f"{setting} still holds a placeholder: write the path of a file with the key there."
            return None, setting, problem
    return None, names[-1], None


def _read_key_file(path: str, setting: str, region: Region) -> tuple[str | None, str | None]:
    """Give the key in a file, or why there is none."""
    try:
        key = read_secret_file(path)
    except SettingsError as error:
        return None, f"{setting}: {error}"
    except OSError as error:
        return None, f"{setting} names {path}, which cannot be read: {error.strerror}."
    if not key:
        return None, f"{setting} names {path}, which is empty."
    if is_placeholder(key):
        return (
            None,
            f"{setting} names {path}, which still holds a placeholder: write the key of {region.title} there.",
        )
    return key, None


def _key_problem(key: str, name: str, region: Region, *, own_host: bool) -> str | None:
    if own_host and key.startswith(PLAN_KEY):
        return (
            f"The key in {name} belongs to a token or coding plan (it begins with {PLAN_KEY}), and such keys"
            f" order no images. Create a pay-as-you-go key for {region.title} in the Model Studio console."
        )
    fault = find_fault(key, own_host=own_host)
    return None if fault is None else f"{name} {fault}. Write the key of {region.title} there, alone and whole."
