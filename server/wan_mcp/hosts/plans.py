"""From the text of a client's file to the text that it shall have, and nothing else changed."""

from collections.abc import Mapping
from dataclasses import dataclass

from wan_mcp.hosts import jsonc, jsonc_edits
from wan_mcp.hosts.entry import Entry, find_prompts, read_variables
from wan_mcp.hosts.formats import JSON, Format
from wan_mcp.hosts.table import Host
from wan_mcp.hosts.values import MISSING, as_list, as_mapping, nest, overlay, prune, without

_INPUTS = ("inputs",)


class CannotEditError(ValueError):
    """Raised when a text cannot be edited as wished; the message says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """The text as it shall be, and our entry before and after; None where there is none."""

    text: str
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None


def read_entry(host: Host, text: str, name: str) -> Mapping[str, object] | None:
    """
    Give the entry of this name, or None.

    Raises:
        CannotEditError: the text is not in the client's format, or says what no client could mean.
    """
    try:
        servers = host.format.find(text, host.servers)
        found = host.format.find(text, (*host.servers, name))
    except ValueError as error:
        raise CannotEditError(str(error)) from error
    where = ".".join(host.servers)
    if servers is not MISSING and as_mapping(servers) is None:
        raise CannotEditError(f"{where} in it is no list of servers by name")
    if found is MISSING:
        return None
    entry = as_mapping(found)
    if entry is None:
        raise CannotEditError(f"{where}.{name} in it is no description of a server")
    return entry


def plan_entry(host: Host, text: str, name: str, entry: Entry) -> Change:
    """
    Put an entry into a text.

    Raises:
        CannotEditError: that cannot be done without touching what is not ours.
    """
    before = read_entry(host, text, name)
    path = (*host.servers, name)
    gone = [(*path, each) for each in entry.gone] + [(*path, "env", each) for each in entry.gone_variables]
    try:
        new = text
        wanted = host.format.load(text)
        for each in gone:
            new, wanted = host.format.drop(new, each), without(wanted, each)
        new, wanted = host.format.put(new, path, entry.value), overlay(wanted, nest(path, entry.value))
        if host.prompts:
            new, wanted = _add_inputs(new, wanted, entry)
        return _checked(host.format, Change(new, before, read_entry(host, new, name)), wanted)
    except ValueError as error:
        raise CannotEditError(str(error)) from error


def plan_removal(host: Host, text: str, name: str) -> Change:
    """
    Take an entry out of a text.

    Raises:
        CannotEditError: that cannot be done without touching what is not ours.
    """
    before = read_entry(host, text, name)
    path = (*host.servers, name)
    try:
        new, wanted = host.format.drop(text, path), without(host.format.load(text), path)
        if host.prompts:
            new, wanted = _drop_inputs(new, wanted, before)
        if host.format.find(new, host.servers) is MISSING:
            wanted = prune(wanted, host.servers)
        return _checked(host.format, Change(new, before, None), wanted)
    except ValueError as error:
        raise CannotEditError(str(error)) from error


def is_loose(host: Host, text: str) -> bool:
    """Tell whether a text has comments or trailing commas that its client does not read."""
    return host.plain and host.format is JSON and jsonc.parse(text).loose


def _checked(form: Format, change: Change, wanted: object) -> Change:
    # The edit was made on characters; what it means is read back before anybody relies on it.
    if form.load(change.text) != wanted:
        raise CannotEditError("the edit would have changed more than our entry")
    return change


def _ids(data: object) -> list[object]:
    inputs = as_list((as_mapping(data) or {}).get(_INPUTS[0]))
    return [(as_mapping(each) or {}).get("id") for each in inputs]


def _add_inputs(text: str, data: object, entry: Entry) -> tuple[str, object]:
    for each, shown in entry.prompts.items():
        if each in _ids(data):
            continue
        element = {"type": "promptString", "id": each, "description": shown, "password": True}
        text = jsonc_edits.append(text, _INPUTS, element)
        inputs = as_list((as_mapping(data) or {}).get(_INPUTS[0]))
        data = overlay(data, {_INPUTS[0]: [*inputs, element]})
    return text, data


def _drop_inputs(text: str, data: object, before: Mapping[str, object] | None) -> tuple[str, object]:
    """Take out the inputs that only the removed entry referred to."""
    for each in find_prompts(read_variables(before)):
        ids = _ids(data)
        if each not in ids or f"${{input:{each}}}" in text:
            continue
        index = ids.index(each)
        text = jsonc_edits.drop_element(text, _INPUTS, index)
        inputs = as_list((as_mapping(data) or {}).get(_INPUTS[0]))
        data = overlay(data, {_INPUTS[0]: [*inputs[:index], *inputs[index + 1 :]]})
    return text, data
