"""
The entry of one server in a client's file: what it says, and how it gets into the text and out again.

Sources: https://modelcontextprotocol.io/docs/develop/connect-local-servers for the common form,
https://code.visualstudio.com/docs/copilot/reference/mcp-configuration for VS Code's `inputs`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import field

from wan_mcp.clients import jsonc
from wan_mcp.clients.credentials import find_inputs
from wan_mcp.clients.environment import read_variables
from wan_mcp.clients.formats import (
    MISSING,
    ConfigFormat,
    InvalidConfigError,
    as_list,
    as_mapping,
    nest,
    overlay,
    prune,
    without,
)
from wan_mcp.clients.launch import LaunchCommand
from wan_mcp.clients.registry import Client
from wan_mcp_tools.domain.record import Record

_REMOTE_SERVER = frozenset(
    {
        "url", "httpUrl", "serverUrl", "tcp", "headers", "headersHelper", "requestInit",
        "http_headers", "env_http_headers", "http_headers_helper", "bearer_token", "bearer_token_env_var",
        "auth", "authProviderType", "oauth", "oauth_resource", "scopes", "targetAudience", "targetServiceAccount",
    }
)  # fmt: skip
"""
Names in an entry that belong to a server elsewhere, not to one that the client starts.

Codex refuses to start with one of them beside a command. Sources: https://developers.openai.com/codex/config-reference,
https://geminicli.com/docs/tools/mcp-server, https://code.claude.com/docs/en/mcp, https://opencode.ai/docs/mcp-servers/
"""

_TRANSPORTS = ("type", "transport", "transportType")
_STARTED_BY_CLIENT = ("stdio", "local")
_OTHER_FORM = {True: ("args", "env"), False: ("environment",)}
"""What the entries of the other kind of clients have, by whether command and arguments are one list."""

_INPUTS = "inputs"


class Entry(Record):
    """
    An entry as it shall be.

    `value` is laid over what stands there; `removed` are the names to take out of it, and `removed_variables` those
    to take out of its variables. `inputs` are the ids of the secrets that the client asks for, with what it shows.
    """

    value: Mapping[str, object]
    removed: tuple[str, ...] = ()
    removed_variables: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])


class Edit(Record):
    """The text as it shall be, and our entry before and after; None where there is none."""

    text: str
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None


def make_entry(
    client: Client,
    launch: LaunchCommand,
    variables: Mapping[str, str],
    previous: Mapping[str, object] | None = None,
    options: Sequence[str] = (),
) -> Entry:
    """
    Make the entry of a server that is started so, with these variables.

    `previous` is what stands there, `options` are those of the client that were chosen.
    """
    old = previous or {}
    kind = {"type": client.transport} if client.transport else {}
    command: dict[str, object] = {"command": launch.command, "args": list(launch.args)}
    if client.one_command:
        command = {"command": [launch.command, *launch.args]}
    value: dict[str, object] = {**kind, **command, client.variables: dict(variables)}
    if not variables and client.variables not in old:
        del value[client.variables]
    for option in options:
        value |= client.options[option].members
    return Entry(
        value,
        removed=tuple(
            name for name, member in old.items() if name not in value and _is_foreign(client, name, member)
        ),
        removed_variables=tuple(name for name in read_variables(old, client.variables) if name not in variables),
        inputs=find_inputs(variables) if client.prompts else {},
    )


def _is_foreign(client: Client, name: str, member: object) -> bool:
    """Tell whether a member has no meaning beside a command that the client starts, or is an error there."""
    if name in _TRANSPORTS:
        return member not in _STARTED_BY_CLIENT
    return name in _REMOTE_SERVER or name in _OTHER_FORM[client.one_command]


def read_entry(client: Client, text: str, name: str) -> Mapping[str, object] | None:
    """
    Give the entry of this name, or None.

    Raises:
        ValueError: the text is not in the client's format, or says what no client could mean.
    """
    config = _format_of(client)
    servers = config.find(text, client.servers)
    found = config.find(text, (*client.servers, name))
    where = ".".join(client.servers)
    if servers is not MISSING and as_mapping(servers) is None:
        raise InvalidConfigError(f"{where} in it is no list of servers by name")
    if found is MISSING:
        return None
    entry = as_mapping(found)
    if entry is None:
        raise InvalidConfigError(f"{where}.{name} in it is no description of a server")
    return entry


def put_entry(client: Client, text: str, name: str, entry: Entry) -> Edit:
    """
    Put an entry into a text.

    Raises:
        ValueError: that cannot be done without touching what is not ours.
    """
    config = _format_of(client)
    before = read_entry(client, text, name)
    path = (*client.servers, name)
    removed = [(*path, each) for each in entry.removed] + [
        (*path, client.variables, each) for each in entry.removed_variables
    ]
    new, wanted = text, config.load(text)
    for each in removed:
        new, wanted = config.drop(new, each), without(wanted, each)
    new, wanted = config.put(new, path, entry.value), overlay(wanted, nest(path, entry.value))
    if client.prompts:
        new, wanted = _add_inputs(new, wanted, entry)
    after = read_entry(client, new, name)
    _check_meaning(config, new, wanted)
    return Edit(new, before, after)


def remove_entry(client: Client, text: str, name: str) -> Edit:
    """
    Take an entry out of a text.

    Raises:
        ValueError: that cannot be done without touching what is not ours.
    """
    config = _format_of(client)
    before = read_entry(client, text, name)
    path = (*client.servers, name)
    new, wanted = config.drop(text, path), without(config.load(text), path)
    if client.prompts:
        new, wanted = _drop_inputs(new, wanted, before)
    if config.find(new, client.servers) is MISSING:
        wanted = prune(wanted, client.servers)
    _check_meaning(config, new, wanted)
    return Edit(new, before, None)


def render_snippet(
    client: Client, name: str, launch: LaunchCommand, variables: Mapping[str, str], options: Sequence[str] = ()
) -> str:
    """Write what a client's file would hold if there were nothing else in it."""
    return put_entry(client, "", name, make_entry(client, launch, variables, options=options)).text


def render_entry(client: Client, name: str, entry: object) -> str:
    """Write an entry for a person's eyes, as the client's file has it."""
    if client.format == "JSON":
        return json.dumps(entry, indent=2, ensure_ascii=False)
    return _format_of(client).put("", (*client.servers, name), as_mapping(entry) or {})


def client_may_refuse(client: Client, text: str) -> bool:
    """Tell whether a text has comments or trailing commas that its client does not read."""
    return client.plain_json and client.format == "JSON" and jsonc.parse(text).extended


def _format_of(client: Client) -> ConfigFormat:
    if client.format == "TOML":
        from wan_mcp.clients import toml  # noqa: PLC0415 - only one client needs the library

        return toml
    return jsonc


def _check_meaning(config: ConfigFormat, text: str, wanted: object) -> None:
    # The edit was made on characters; what it means is read back before anybody relies on it.
    if config.load(text) != wanted:
        raise InvalidConfigError("the edit would have changed more than our entry")


def _inputs_of(data: object) -> list[object]:
    return as_list((as_mapping(data) or {}).get(_INPUTS))


def _input_ids(data: object) -> list[object]:
    return [(as_mapping(each) or {}).get("id") for each in _inputs_of(data)]


def _add_inputs(text: str, data: object, entry: Entry) -> tuple[str, object]:
    for each, shown in entry.inputs.items():
        if each in _input_ids(data):
            continue
        element = {"type": "promptString", "id": each, "description": shown, "password": True}
        text = jsonc.append(text, (_INPUTS,), element)
        data = overlay(data, {_INPUTS: [*_inputs_of(data), element]})
    return text, data


def _drop_inputs(text: str, data: object, before: Mapping[str, object] | None) -> tuple[str, object]:
    """Take out the inputs that only the removed entry referred to."""
    for each in find_inputs(read_variables(before)):
        ids = _input_ids(data)
        if each not in ids or f"${{input:{each}}}" in text:
            continue
        index = ids.index(each)
        text = jsonc.drop_element(text, (_INPUTS,), index)
        inputs = _inputs_of(data)
        data = overlay(data, {_INPUTS: [*inputs[:index], *inputs[index + 1 :]]})
    return text, data
