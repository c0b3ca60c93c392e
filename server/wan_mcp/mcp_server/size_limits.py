"""
How large a request may be, and how large an error: a check around everything that a client can ask for.

The arguments of tools and prompts are checked apart, and answered in words for models and people.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, ErrorData
from pydantic import ValidationError

from wan_mcp_tools.domain.text import cut_middle

_MOST_CHARACTERS = 4_096
"""Of a text in the parameters of a request: names, ids, addresses, cursors, what was typed of a value."""
_MOST_TOKEN_CHARACTERS = 512
"""Of the token that every report of progress repeats."""
_MOST_BITS = 128
"""Of a whole number: some forty digits, more than anything here counts."""
_MOST_DEPTH, _MOST_PARTS = 8, 500
"""Of lists and objects: how deep they are nested, and how many values and names they hold in all."""
_MOST_ERROR_BYTES, _MOST_DATA_BYTES = 1_500, 300
"""Of an error's words, and of each text in its data."""

_OWN_GATES = {"tools/call": "arguments", "prompts/get": "arguments", "tasks/update": "inputResponses"}
"""The parameter of a method that is bounded where it is read, or is not read at all."""

Context = ServerRequestContext[Any, Any]


async def limit_sizes(ctx: Context, call_next: CallNext) -> HandlerResult:
    """
    Refuse a request that is too large, and keep every error short and in words; for `middleware`.

    What a client says of itself when it connects is passed on as it is; nothing repeats it.
    """
    if ctx.method == "initialize":
        return await call_next(ctx)
    if ctx.method == "prompts/get":
        ctx = replace(ctx, params=as_texts(ctx.params))
    try:
        check_size(ctx.method, ctx.params)
        return shorten_failure(await call_next(ctx))
    except MCPError as error:
        short = shorten_error(error.error)
        if short == error.error:
            raise
        raise MCPError.from_error_data(short) from error
    except ValidationError:
        # The SDK tells these without their values.
        raise
    except Exception as error:
        logging.getLogger(__name__).exception("The request %.60r raised", ctx.method)
        raise MCPError(INTERNAL_ERROR, "That is a fault of wan-mcp; its log has the details.") from error


def as_texts(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Give the parameters of a prompt with arguments that are well-formed text, as the protocol has them."""
    read = dict(params or {})
    if isinstance(read.get("arguments"), dict):
        given = cast("dict[str, object]", read["arguments"])
        texts = {name: _as_text(value) for name, value in given.items()}
        read["arguments"] = {name: text for name, text in texts.items() if text is not None}
    return read


def _as_text(value: object) -> str | None:
    """Give a value as text, or None for null and what is too large to be shown."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return None if value is None or is_too_large(value, _MOST_CHARACTERS) else json.dumps(value, ensure_ascii=False)


def check_size(method: str, params: Mapping[str, Any] | None) -> None:
    """
    Check the size of what a request says.

    Raises:
        MCPError: something is too large; the message names the parameter.
    """
    for name, value in (params or {}).items():
        if name == "_meta":
            meta = cast("dict[str, object]", value if isinstance(value, dict) else {})
            if is_too_large(meta.get("progressToken"), _MOST_TOKEN_CHARACTERS):
                raise MCPError(INVALID_PARAMS, "The progressToken is too large.")
        elif name != _OWN_GATES.get(method) and is_too_large(value, _MOST_CHARACTERS):
            raise MCPError(INVALID_PARAMS, f"The parameter {name[:60]!r} of {method[:60]} is too large.")


def is_too_large(value: object, most_characters: int) -> bool:
    """Say whether a value of JSON holds too long a text or number, too many values, or is nested too deep."""
    left, parts = [(value, 1)], 0
    while left:
        part, depth = left.pop()
        parts += 1
        if depth > _MOST_DEPTH or parts > _MOST_PARTS:
            return True
        match part:
            case str() if len(part) > most_characters:
                return True
            case int() if part.bit_length() > _MOST_BITS:
                return True
            case list():
                left += [(each, depth + 1) for each in cast("list[object]", part)]
            case dict():
                pairs = cast("dict[object, object]", part).items()
                left += [(each, depth + 1) for pair in pairs for each in pair]
            case _:
                pass
    return False


def shorten_error(error: ErrorData) -> ErrorData:
    """Give an error of the protocol in at most two thousand bytes; what repeats the request is cut."""
    return ErrorData(
        code=error.code, message=cut_middle(error.message, _MOST_ERROR_BYTES), data=_shorten_data(error.data)
    )


def _shorten_data(data: Any) -> Any:  # noqa: ANN401 - the protocol's own type
    if isinstance(data, str):
        return cut_middle(data, _MOST_DATA_BYTES)
    if isinstance(data, dict):
        members = cast("dict[str, object]", data)
        data = {
            name: cut_middle(value, _MOST_DATA_BYTES) if isinstance(value, str) else value
            for name, value in members.items()
        }
    return None if is_too_large(data, _MOST_DATA_BYTES) else data


def shorten_failure(result: HandlerResult) -> HandlerResult:
    """Give a tool's answer with words of at most two thousand bytes where it tells of a failure without facts."""
    if not isinstance(result, dict) or not result.get("isError") or "structuredContent" in result:
        return result
    content = cast("list[dict[str, Any]]", result.get("content", []))
    short = [
        block | {"text": cut_middle(block["text"], _MOST_ERROR_BYTES)} if block.get("type") == "text" else block
        for block in content
    ]
    return result | {"content": short}
