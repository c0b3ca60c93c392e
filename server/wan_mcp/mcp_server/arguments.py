"""
The arguments of a call: the schema that clients see, and the one check that every call passes before any work begins.

What is too large is refused unread, what a client's program has added is passed over, and what does not fit is told
in words of ours: each name, what was given, and what fits.
"""

import json
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from wan_mcp.mcp_server.size_limits import is_too_large
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.tool import Arguments, Tool

Schema = dict[str, Any]

_BOUNDS = frozenset({"minimum", "maximum", "minLength", "maxLength", "maxItems"})
_LONGEST_ECHO = 60
"""Characters of a caller's value, or of a name, that an error repeats."""
_MOST_FAULTS = 6
"""Faults of a call that are told; the rest is counted."""
_MOST_CHARACTERS = 8_192
"""Of a text: a path or an address of the longest kind. A prompt is judged by the catalogue, up to the next bound."""
_MOST_PROMPT_CHARACTERS = 100_000

_BOOKKEEPING = frozenset({
    # Gemini CLI, https://github.com/google-gemini/gemini-cli
    "waitforprevious",
    # Antigravity
    "waitforprevioustools",
    "toolaction",
    "toolsummary",
    # Cline, https://github.com/cline/cline/issues/9684
    "taskprogress",
    # n8n, https://github.com/n8n-io/n8n/issues/21716
    "tool",
    "toolcallid",
    "sessionid",
    "action",
    "chatinput",
    # CrewAI, https://github.com/crewAIInc/crewAI/issues/4796
    "securitycontext",
    # OpenHands
    "securityrisk",
    # Letta
    "requestheartbeat",
    # Cursor
    "randomstring",
    # Frameworks that keep their state in the arguments
    "conversationid",
    "threadid",
})  # fmt: skip
"""What the programs of clients add to calls, and no person and no model can take out; in small letters only."""


@cache
def plain_schema(model: type[BaseModel]) -> Schema:
    """
    Give a model's schema without titles, docstrings, `$ref` and null: some clients read none of these.

    Unknown arguments are refused here all the same, but the schema does not say so: clients that check calls
    themselves would tell the model that something is unknown and not what, and never show it our answer. The tools
    that answer alike share one schema, which is not for changing.
    """
    schema = model.model_json_schema()
    definitions: Mapping[str, Schema] = schema.pop("$defs", {})
    plain = _plain(schema, definitions)
    plain.pop("description", None)
    plain.pop("additionalProperties", None)
    return plain


@cache
def host_schema(model: type[BaseModel]) -> Schema:
    """
    Give the schema of arguments as hosts see it: without bounds, by which some would refuse calls in their own words.

    It is not for changing.
    """
    schema = plain_schema(model)
    properties: Mapping[str, Schema] = schema["properties"]
    shown = {
        name: {key: value for key, value in shape.items() if key not in _BOUNDS} for name, shape in properties.items()
    }
    return schema | {"properties": shown}


def _plain(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" in schema:
        named = definitions[str(schema["$ref"]).rpartition("/")[2]]
        return _plain({key: value for key, value in named.items() if key != "description"}, definitions)
    choices: list[Schema] = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return _plain(choices[0] | rest, definitions)
    plain = {key: value for key, value in schema.items() if key != "title"}
    if "properties" in plain:
        named_parts: dict[str, Schema] = plain["properties"]
        plain["properties"] = {name: _plain(part, definitions) for name, part in named_parts.items()}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    return plain


def read_arguments(tool: Tool, given: Mapping[str, object]) -> Arguments:
    """
    Check the arguments of a call.

    Raises:
        RequestRefusedError: one is unknown, missing, too large or of the wrong type; the message names it, repeats
            what was given, and says what fits.
    """
    shapes: Mapping[str, Schema] = plain_schema(tool.arguments)["properties"]
    known = {name: value for name, value in given.items() if name in shapes}
    unknown = [name for name in given if name not in shapes and not is_bookkeeping(name, shapes)]
    excess = {name: problem for name, value in known.items() if (problem := _find_excess(value, shapes[name]))}
    misfits: dict[str, None] = {}
    try:
        arguments = tool.arguments.model_validate({n: value for n, value in known.items() if n not in excess})
    except ValidationError as error:
        told = (str(fault["loc"][0]) for fault in error.errors(include_url=False, include_context=False))
        misfits = dict.fromkeys(name for name in told if name not in excess)
    else:
        if not unknown and not excess:
            return arguments
    faults = [
        *(_explain_unknown(name, shapes) for name in unknown[:_MOST_FAULTS]),
        *(f"The argument {name!r} {problem}." for name, problem in excess.items()),
        *(_explain(name, known, shapes[name]) for name in misfits),
    ][:_MOST_FAULTS]
    untold = len(unknown) + len(excess) + len(misfits) - len(faults)
    more = f" And {untold} more do not fit." if untold else ""
    raise RequestRefusedError(f"{tool.name}: {' '.join(faults)}{more}", f"Its arguments are: {', '.join(shapes)}.")


def is_bookkeeping(name: str, known: Collection[str]) -> bool:
    """
    Say whether an unknown argument is one that the client's program has added: nobody could take it out.

    What is nearly one of the known names is a slip of somebody who wants something, so it is none of these.
    """
    letters = name.replace("_", "").lower()
    if not name.startswith("_") and letters not in _BOOKKEEPING:
        return False
    return not any(_is_near(letters, each.replace("_", "")) for each in known)


def _is_near(text: str, known: str) -> bool:
    """Say whether at most one letter in three is missing, added or another."""
    most = len(known) // 3
    return abs(len(text) - len(known)) <= most and _distance(text, known) <= most


def _distance(left: str, right: str) -> int:
    """Count the letters that are missing, added or others (Levenshtein)."""
    above = list(range(len(right) + 1))
    for row, letter in enumerate(left, start=1):
        line = [row]
        for column, other in enumerate(right, start=1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (letter != other)))
        above = line
    return above[-1]


def _find_excess(value: object, shape: Schema) -> str | None:
    """Say in a clause what is too large in a value, or cannot be sent as text; nothing else is judged here."""
    if isinstance(value, str) and _is_free_text(shape):
        most = _MOST_PROMPT_CHARACTERS if "maxLength" in shape else _MOST_CHARACTERS
        if len(value) > most:
            return f"has {len(value)} characters, and must be text of at most {shape.get('maxLength', most)}"
        half = _find_half_character(value)
        return f"has half a character at position {half} (an unpaired surrogate)" if half is not None else None
    return f"is too long to repeat, and must be {_describe(shape)}" if is_too_large(value, _MOST_CHARACTERS) else None


def _is_free_text(shape: Schema) -> bool:
    return shape["type"] == "string" and "enum" not in shape


def _find_half_character(text: str) -> int | None:
    """Give the position, counted from 1, of what no encoding of Unicode can express."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start + 1
    return None


def _explain_unknown(name: str, shapes: Collection[str]) -> str:
    import difflib  # noqa: PLC0415 - a start does not need this

    shown = name[:_LONGEST_ECHO]
    near = difflib.get_close_matches(shown, shapes, n=1) or [
        each for each in shapes if _is_near(shown.replace("_", "").lower(), each.replace("_", ""))
    ]
    return f"There is no argument {shown!r}" + (f"; did you mean {near[0]!r}?" if near else ".")


def _explain(name: str, given: Mapping[str, object], shape: Schema) -> str:
    if name not in given:
        return f"The argument {name!r} is missing."
    return f"The argument {name!r} is {_show(given[name])}, and must be {_describe(shape)}."


def _describe(shape: Schema) -> str:
    """Say in words what fits a schema: type, choices, bounds."""
    if shape["type"] == "boolean":
        return "true or false"
    if shape["type"] == "object":
        return "an object of names and values"
    if shape["type"] == "array":
        return "a list of texts, none of them blank"
    if shape["type"] == "string":
        return f"one of {', '.join(shape['enum'])}" if "enum" in shape else "text"
    kind = "a whole number" if shape["type"] == "integer" else "a number"
    match shape.get("minimum"), shape.get("maximum"):
        case None, None:
            return kind
        case least, None:
            return f"{kind}, {least} or more"
        case None, most:
            return f"{kind}, {most} at most"
        case least, most:
            return f"{kind} from {least} to {most}"


def _show(given: object) -> str:
    """Repeat a value as the caller wrote it, shortened; text that is no text stays readable."""
    if isinstance(given, str):
        return repr(given if len(given) <= _LONGEST_ECHO else given[:_LONGEST_ECHO] + "…")
    text = json.dumps(given, default=repr)
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"
