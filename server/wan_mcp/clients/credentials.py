"""
The key of an entry: where it comes from, how it is referred to, and how it is kept from the eyes of others.

It comes from the environment, a file, the client's own question, or a person.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from wan_mcp.clients.environment import (
    ENV_FILE,
    REGION,
    SECRETS,
    RequestedVariables,
    is_reference,
    merge_variables,
    read_as_settings,
    read_variables,
    region_without_key,
)
from wan_mcp.clients.files import write_secret
from wan_mcp.clients.formats import as_list, as_mapping
from wan_mcp.clients.registry import Client
from wan_mcp.log import redact
from wan_mcp.settings.files import full_path
from wan_mcp.settings.region_access import KEY, KEY_FILE
from wan_mcp_tools.catalogue.regions import SANDBOX, find_region
from wan_mcp_tools.domain.record import Record

EXAMPLE_KEY = "sk-your-key"

AskKey = Callable[[str], str]
"""Takes the title of a region and gives its key; raises where nobody can be asked."""

_SECRET_NAME = re.compile(r"(?i)key|token|secret|password|credential|auth")


class NewKeyFile(Record):
    """A file that is still to be written, with the key for it."""

    path: Path
    key: str

    def __repr__(self) -> str:
        return f"NewKeyFile({self.path})"

    def write(self) -> None:
        """
        Write the file, for its owner only.

        Raises:
            StorageError: the folder refuses.
        """
        write_secret(self.path, self.key)


class ServerVariables(Record):
    """The variables of an entry, with a key or a way to one; and the key file to write first, if there is one."""

    variables: Mapping[str, str]
    new_key_file: NewKeyFile | None = None

    def __repr__(self) -> str:
        return f"ServerVariables({', '.join(self.variables)})"


def resolve_variables(
    client: Client,
    environ: Mapping[str, str],
    requested: RequestedVariables,
    previous: Mapping[str, object] | None,
    ask: AskKey,
) -> ServerVariables:
    """
    Find the variables of an entry, and ask for the key only if nothing else has one.

    `previous` is the entry that stands there.

    Raises:
        SettingsError: the variables cannot be used.
        AppError: what `ask` raises.
    """
    old = read_variables(previous, client.variables)
    path = full_path(requested.key_file) if requested.key_file is not None else None
    if path is not None and not path.exists():
        return _resolve_with_new_key_file(environ, replace(requested, key_file=None), old, path, ask)
    variables = merge_variables(environ, requested, old)
    region = _region_of(variables)
    if client.prompts:
        changed = frozenset(name for name in SECRETS if name in variables and variables[name] != old.get(name))
        variables = _refer_to_inputs(variables, region, changed)
    if region_without_key(variables) is None or _forwards_key(previous):
        return ServerVariables(variables)
    if client.prompts:
        return ServerVariables({**variables, KEY: f"${{input:{_input_id(KEY, region)}}}"})
    variables = {KEY: ask(find_region(region).title), **variables}
    region_without_key(variables)
    return ServerVariables(variables)


def example_variables(client: Client, environ: Mapping[str, str], requested: RequestedVariables) -> dict[str, str]:
    """
    Give the variables of an entry that is only shown: where a key would stand, something stands for it.

    Raises:
        AppError: what was requested cannot be used.
    """
    variables = merge_variables(environ, requested, {})
    region = _region_of(variables)
    key_sources = {KEY, f"{KEY}_{region.upper()}", KEY_FILE, ENV_FILE}
    if region != SANDBOX.name and not key_sources & set(variables):
        variables = {KEY: EXAMPLE_KEY, **variables}
    if client.prompts:
        return _refer_to_inputs(variables, region, SECRETS)
    return {name: EXAMPLE_KEY if name in SECRETS else text for name, text in variables.items()}


def holds_secret(variables: Mapping[str, str]) -> bool:
    """Tell whether a key stands in the variables, and not just the way to one."""
    return any(name in SECRETS and not is_reference(text) for name, text in variables.items())


def find_inputs(variables: Mapping[str, str]) -> dict[str, str]:
    """Give the ids of our inputs that the variables refer to, each with what the client shows."""
    inputs: dict[str, str] = {}
    for text in variables.values():
        match = re.fullmatch(r"\$\{input:(dashscope-api-key-([a-z]+))\}", text)
        if match is not None:
            inputs[match.group(1)] = f"Alibaba Cloud Model Studio API key ({match.group(2)})"
    return inputs


def redact_value(value: object) -> object:
    """Give an entry fit for the eyes of others: what looks secret, by its name or by itself, is hidden."""
    mapping = as_mapping(value)
    if mapping is not None:
        return {name: _hide(name, member) for name, member in mapping.items()}
    if isinstance(value, str):
        return redact(value)
    elements = as_list(value)
    # An option of a command may be followed by its value, or have it behind a sign of equality.
    return [_hide_argument(before, each) for before, each in pairwise(("", *elements))] if elements else value


def _resolve_with_new_key_file(
    environ: Mapping[str, str], requested: RequestedVariables, old: Mapping[str, str], path: Path, ask: AskKey
) -> ServerVariables:
    variables = merge_variables(environ, requested, old)
    if region_without_key(variables) is not None:
        variables = {**variables, KEY: ask(find_region(_region_of(variables)).title)}
        region_without_key(variables)
    settings = read_as_settings(variables)
    access = settings.regions[settings.default_region]
    key = access.api_key.get_secret_value() if access.api_key is not None else ""
    if access.in_process or not key:
        return ServerVariables(variables)
    names = (KEY, f"{KEY}_{access.region.upper()}")
    rest = {name: text for name, text in variables.items() if name not in names}
    return ServerVariables({KEY_FILE: str(path), **rest}, NewKeyFile(path, key))


def _region_of(variables: Mapping[str, str]) -> str:
    return find_region(variables.get(REGION, "singapore")).name


def _forwards_key(entry: Mapping[str, object] | None) -> bool:
    """
    Tell whether the client passes the key of its own environment on.

    Source: `env_vars` in https://developers.openai.com/codex/mcp
    """
    return KEY in as_list((entry or {}).get("env_vars"))


def _refer_to_inputs(variables: Mapping[str, str], region: str, secrets: frozenset[str]) -> dict[str, str]:
    """Replace secrets by references that the client fills in; the id says whose key it is."""
    return {
        name: f"${{input:{_input_id(name, region)}}}" if name in secrets & SECRETS else text
        for name, text in variables.items()
    }


def _input_id(variable: str, region: str) -> str:
    """Name the input for a variable: the key of one region is never offered as the key of another."""
    own = variable.removeprefix(f"{KEY}_").lower() if variable != KEY else region
    return f"dashscope-api-key-{own}"


def _hide(name: str, member: object) -> object:
    plain = name.endswith("_PATH") or (isinstance(member, str) and (not member or is_reference(member)))
    if isinstance(member, str) and _SECRET_NAME.search(name) and not plain and member != EXAMPLE_KEY:
        return "***"
    return redact_value(member)


def _hide_argument(before: object, argument: object) -> object:
    if not isinstance(argument, str):
        return redact_value(argument)
    option, equals, text = argument.partition("=")
    if equals and "://" not in option:
        return f"{option}={_hide(option, text)}"
    is_value = isinstance(before, str) and before.startswith("-") and not argument.startswith("-")
    return _hide(before if is_value and isinstance(before, str) else "", argument)
