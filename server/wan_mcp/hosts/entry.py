"""
What a client's file says of one server.

Sources: https://modelcontextprotocol.io/docs/develop/connect-local-servers for the common form,
https://code.visualstudio.com/docs/copilot/reference/mcp-configuration for VS Code's `inputs`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from wan_mcp.hosts.environment import SECRETS, is_reference
from wan_mcp.hosts.launch import Launch
from wan_mcp.hosts.table import Host
from wan_mcp.hosts.values import as_list, as_mapping
from wan_mcp.log import mask
from wan_mcp.settings.access import KEY

SAMPLE_KEY = "sk-your-key"

_REMOTE = ("url", "httpUrl", "serverUrl", "headers")
_SECRET_NAME = re.compile(r"(?i)key|token|secret|password|credential|auth")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    An entry as it shall be.

    `value` is laid over what stands there; `gone` are the names to take out of it, and `gone_variables` those to
    take out of its variables. `prompts` are the ids of the secrets that the client asks for, with what it shows.
    """

    value: Mapping[str, object]
    gone: tuple[str, ...] = ()
    gone_variables: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict[str, str])


def make_entry(
    host: Host, launch: Launch, variables: Mapping[str, str], before: Mapping[str, object] | None = None
) -> Entry:
    """Make the entry of a server that is started so, with these variables; `before` is what stands there."""
    old = before or {}
    kind = {"type": "stdio"} if host.typed else {}
    value = {**kind, "command": launch.command, "args": list(launch.args), "env": dict(variables)}
    if not variables and "env" not in old:
        del value["env"]
    return Entry(
        value,
        gone=tuple(name for name in _REMOTE if name in old),
        gone_variables=tuple(name for name in read_variables(old) if name not in variables),
        prompts=find_prompts(variables) if host.prompts else {},
    )


def let_host_prompt(variables: Mapping[str, str], region: str, secrets: frozenset[str]) -> dict[str, str]:
    """Replace secrets by references that the client fills in; the id says whose key it is."""
    return {
        name: f"${{input:{prompt_id(name, region)}}}" if name in secrets & SECRETS else text
        for name, text in variables.items()
    }


def prompt_id(variable: str, region: str) -> str:
    """Name the input for a variable: the key of one region is never offered as the key of another."""
    own = variable.removeprefix(f"{KEY}_").lower() if variable != KEY else region
    return f"dashscope-api-key-{own}"


def find_prompts(variables: Mapping[str, str]) -> dict[str, str]:
    """Give the ids of our inputs that the variables refer to, each with what the client shows."""
    prompts: dict[str, str] = {}
    for text in variables.values():
        match = re.fullmatch(r"\$\{input:(dashscope-api-key-([a-z]+))\}", text)
        if match is not None:
            prompts[match.group(1)] = f"Alibaba Cloud Model Studio API key ({match.group(2)})"
    return prompts


def read_variables(entry: Mapping[str, object] | None) -> dict[str, str]:
    """Give the variables of an entry that are texts."""
    found = as_mapping((entry or {}).get("env")) or {}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def forwards_key(entry: Mapping[str, object] | None) -> bool:
    """
    Tell whether the client passes the key of its own environment on.

    Source: `env_vars` in https://developers.openai.com/codex/mcp
    """
    return KEY in as_list((entry or {}).get("env_vars"))


def hide_secrets(value: object) -> object:
    """Give an entry fit for the eyes of others: what looks secret, by its name or by itself, is hidden."""
    mapping = as_mapping(value)
    if mapping is not None:
        return {name: _hide(name, member) for name, member in mapping.items()}
    if isinstance(value, str):
        return mask(value)
    elements = as_list(value)
    # An option of a command may be followed by its value, or have it behind a sign of equality.
    return [_hide_argument(before, each) for before, each in pairwise(("", *elements))] if elements else value


def _hide(name: str, member: object) -> object:
    plain = name.endswith("_PATH") or (isinstance(member, str) and (not member or is_reference(member)))
    if isinstance(member, str) and _SECRET_NAME.search(name) and not plain and member != SAMPLE_KEY:
        return "***"
    return hide_secrets(member)


def _hide_argument(before: object, argument: object) -> object:
    if not isinstance(argument, str):
        return hide_secrets(argument)
    option, equals, text = argument.partition("=")
    if equals and "://" not in option:
        return f"{option}={_hide(option, text)}"
    is_value = isinstance(before, str) and before.startswith("-") and not argument.startswith("-")
    return _hide(before if is_value and isinstance(before, str) else "", argument)
