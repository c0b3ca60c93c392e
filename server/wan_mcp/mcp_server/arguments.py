"""The arguments of a call, checked, and what is wrong with them in words."""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from wan_mcp.mcp_server.schemas import plain_schema
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.tool import Arguments, Tool

_ECHO = 60


def read_arguments(tool: Tool, arguments: Mapping[str, object]) -> Arguments:
    """
    Check the arguments of a call.

    Raises:
        RequestRefusedError: one is unknown, missing or of the wrong type; the message names it, repeats what was
            given, and says what fits.
    """
    try:
        return tool.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        shapes: Mapping[str, dict[str, Any]] = plain_schema(tool.arguments)["properties"]
        found: dict[str, None] = {}
        for fault in error.errors(include_url=False, include_context=False):
            name = str(fault["loc"][0])
            found[_explain(fault["type"], name, arguments.get(name), shapes)] = None
        raise RequestRefusedError(
            f"{tool.name}: {' '.join(found)}", f"Its arguments are: {', '.join(shapes)}."
        ) from None


def _explain(kind: str, name: str, given: object, shapes: Mapping[str, Mapping[str, Any]]) -> str:
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name[:_ECHO], shapes, n=1)
        return f"There is no argument {name[:_ECHO]!r}" + (f"; did you mean {near[0]!r}?" if near else ".")
    if kind == "missing":
        return f"The argument {name!r} is missing."
    return f"The argument {name!r} is {_show(given)}, and must be {_describe(shapes[name])}."


def _describe(shape: Mapping[str, Any]) -> str:
    """Say in words what fits a schema: type, choices, bounds."""
    if shape["type"] == "boolean":
        return "true or false"
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
        return repr(given if len(given) <= _ECHO else given[:_ECHO] + "…")
    try:
        text = json.dumps(given)
    except (ValueError, RecursionError):
        # Python prints no whole number of more than a few thousand digits, and no list a thousand deep.
        return "too long to repeat"
    return text if len(text) <= _ECHO else text[:_ECHO] + "…"
