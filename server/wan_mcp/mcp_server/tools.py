"""Our tools as tools of the MCP SDK: schemas, arguments, hints, results, and every error in words."""

import difflib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool as SdkTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, SkipValidation, ValidationError

from wan_mcp.mcp_server.resources import VIEW_URI
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError
from wan_mcp_tools.domain.service import Preview, ProgressReport, ReportProgress
from wan_mcp_tools.results import describe_error, describe_progress
from wan_mcp_tools.tool import Answer, Arguments, Tool

CODE, RETRYABLE = "wan-mcp/code", "wan-mcp/retryable"
"""What the `_meta` of an error holds."""
TASK_FACTS = "wan-mcp/task"
"""What the `_meta` of an answer that is a task holds: see `wan_mcp_tools.results.task_facts`."""

_TOOLS_WITH_VIEW = frozenset({"generate_image", "get_task"})
_LONGEST_ECHO = 60
"""Characters of a caller's value that an error repeats."""

Schema = dict[str, Any]


class BoundTool(SdkTool):
    """One of our tools, as the SDK lists and calls it."""

    tool: SkipValidation[Tool] = Field(exclude=True)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:  # noqa: ANN401 - the SDK's signature
        """
        Call the tool; whatever the caller can act on is an answer too.

        Anything else that is raised is a fault of ours: the SDK logs it and tells the caller nothing but the tool's
        name.
        """
        del convert_result
        try:
            checked = read_arguments(self.tool, arguments)
            answer = await self.tool.run(checked, _make_report(context))
        except AppError as error:
            return as_error_result(error)
        return _as_image(answer) if isinstance(answer, Preview) else as_result(answer)


def bind_tool(tool: Tool) -> BoundTool:
    """Make one of our tools known to the SDK."""
    return BoundTool(
        tool=tool,
        fn=tool.run,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        parameters=plain_schema(tool.arguments),
        fn_metadata=FuncMetadata(
            arg_model=ArgModelBase, output_schema=plain_schema(tool.result) if tool.result else None
        ),
        is_async=True,
        context_kwarg=None,
        icons=None,
        meta=_view_meta(tool.name),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads_only,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeats_safely,
            open_world_hint=tool.reaches_out,
        ),
    )


def _view_meta(tool: str) -> dict[str, Any] | None:
    """
    Give the `_meta` of a tool, which no model reads: the view that a host shows beside its answers.

    Older hosts read the flat key.
    Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
    """
    if tool not in _TOOLS_WITH_VIEW:
        return None
    return {"ui": {"resourceUri": VIEW_URI}, "ui/resourceUri": VIEW_URI}


def _make_report(context: Context[Any, Any]) -> ReportProgress:
    async def report(progress: ProgressReport) -> None:
        await context.report_progress(progress.seconds, progress.expected, describe_progress(progress))

    return report


def as_result(answer: Answer) -> CallToolResult:
    """Give facts to programs, and the same as text to models; in `_meta` what our view needs besides."""
    result = answer.result.model_dump(mode="json", exclude_none=True)
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult.model_validate(
        {
            "content": [TextContent(type="text", text=text)],
            "structuredContent": result,
            "isError": answer.is_error,
            "_meta": {TASK_FACTS: answer.facts} if answer.facts else None,
        }
    )


def as_error_result(error: AppError) -> CallToolResult:
    """Give an error in words, and for programs its code and whether the same call may succeed later."""
    facts: dict[str, Any] = {CODE: error.code, RETRYABLE: error.retryable}
    return CallToolResult.model_validate(
        {"content": [TextContent(type="text", text=describe_error(error))], "isError": True, "_meta": facts}
    )


def _as_image(preview: Preview) -> CallToolResult:
    import base64  # noqa: PLC0415 - the only tool that shows pixels

    data = base64.b64encode(preview.data).decode("ascii")
    return CallToolResult(content=[ImageContent(type="image", data=data, mime_type=preview.mime_type)])


@cache
def plain_schema(model: type[BaseModel]) -> Schema:
    """
    Give a model's schema without titles, docstrings, `$ref` and null: some clients read none of these.

    The tools that answer alike share one, which is not for changing.
    """
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
        near = difflib.get_close_matches(name[:_LONGEST_ECHO], shapes, n=1)
        return f"There is no argument {name[:_LONGEST_ECHO]!r}" + (f"; did you mean {near[0]!r}?" if near else ".")
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
        return repr(given if len(given) <= _LONGEST_ECHO else given[:_LONGEST_ECHO] + "…")
    try:
        text = json.dumps(given)
    except (ValueError, RecursionError):
        # Python prints no whole number of more than a few thousand digits, and no list a thousand deep.
        return "too long to repeat"
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"
