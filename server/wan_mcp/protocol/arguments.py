"""The arguments of a call, checked, and what is wrong with them in words."""

import difflib
from collections.abc import Mapping

from pydantic import ValidationError

from wan_mcp_tools.shared.errors import RequestRefusedError
from wan_mcp_tools.shared.tool import Arguments, Tool


def read_arguments(tool: Tool, arguments: Mapping[str, object]) -> Arguments:
    """
    Check the arguments of a call.

    Raises:
        RequestRefusedError: one is unknown, missing or of the wrong type; the message names it and says what fits.
    """
    try:
        return tool.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        known = list(tool.arguments.model_fields)
        faults = [fault for fault in error.errors() if fault["type"] != "none_required"]
        found = [_fault(fault["type"], str(fault["loc"][0]), fault["msg"], known) for fault in faults]
        raise RequestRefusedError(
            f"{tool.name}: {' '.join(dict.fromkeys(found))}", f"Its arguments are: {', '.join(known)}."
        ) from None


def _fault(kind: str, name: str, message: str, known: list[str]) -> str:
    name = name[:60]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1)
        return f"There is no argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else ".")
    if kind == "missing":
        return f"The argument {name!r} is missing."
    return f"The argument {name!r} does not fit: {message.removeprefix('Value error, ')}."
