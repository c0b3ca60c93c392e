"""Our tools as tools of the MCP SDK: schemas, hints, results, and every error in words."""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool as SdkTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, SkipValidation, ValidationError

from wan_mcp_tools.shared.errors import RequestRefusedError, WanError
from wan_mcp_tools.shared.ports import Preview, Report
from wan_mcp_tools.shared.tool import Answer, Arguments, Tool


class BoundTool(SdkTool):
    """One of our tools, as the SDK lists and calls it."""

    tool: SkipValidation[Tool] = Field(exclude=True)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:  # noqa: ANN401 - the SDK's signature
        """
        Call the tool.

        Raises:
            ToolError: whatever the caller can act on, in our words. Anything else is a fault of ours: the SDK logs
                it and tells the caller nothing but the tool's name.
        """
        del convert_result
        try:
            checked = read_arguments(self.tool, arguments)
            answer = await self.tool.run(checked, _reporter(context))
        except WanError as error:
            raise ToolError(str(error)) from error
        return _picture(answer) if isinstance(answer, Preview) else _facts(answer)


def bind(tool: Tool) -> BoundTool:
    """Make one of our tools known to the SDK."""
    return BoundTool(
        tool=tool,
        fn=tool.run,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        parameters=_plain_schema(tool.arguments),
        fn_metadata=FuncMetadata(
            arg_model=ArgModelBase, output_schema=_plain_schema(tool.result) if tool.result else None
        ),
        is_async=True,
        context_kwarg=None,
        icons=None,
        meta=None,
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads_only,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeats_safely,
            open_world_hint=tool.reaches_out,
        ),
    )


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


def _reporter(context: Context[Any, Any]) -> Report:
    async def report(progress: float, total: float | None, message: str) -> None:
        await context.report_progress(progress, total, message)

    return report


def _facts(answer: Answer) -> CallToolResult:
    facts = answer.result.model_dump(mode="json", exclude_none=True)
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=facts, is_error=answer.is_error
    )


def _picture(preview: Preview) -> CallToolResult:
    import base64  # noqa: PLC0415 - the only tool that shows pixels

    data = base64.b64encode(preview.data).decode("ascii")
    return CallToolResult(content=[ImageContent(type="image", data=data, mime_type=preview.mime_type)])


Schema = dict[str, Any]


def _plain_schema(model: type[BaseModel]) -> Schema:
    """Give a model's schema without titles, docstrings, `$ref` and null: some clients read none of these."""
    schema = model.model_json_schema()
    definitions: Mapping[str, Schema] = schema.pop("$defs", {})
    plain = _plain(schema, definitions)
    plain.pop("description", None)
    return plain


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
