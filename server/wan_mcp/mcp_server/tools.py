"""Our tools as tools of the MCP SDK: hints, results, and every error in words."""

import json
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool as SdkTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import Field, SkipValidation

from wan_mcp.mcp_server.apps import view_of
from wan_mcp.mcp_server.arguments import read_arguments
from wan_mcp.mcp_server.schemas import plain_schema
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.service import Preview, Report
from wan_mcp_tools.tool import Answer, Tool

CODE, RETRYABLE = "wan-mcp/code", "wan-mcp/retryable"
"""What the `_meta` of a refusal holds."""


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
            answer = await self.tool.run(checked, _reporter(context))
        except AppError as error:
            return as_refusal(error)
        return _picture(answer) if isinstance(answer, Preview) else as_result(answer)


def bind(tool: Tool) -> BoundTool:
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
        meta=view_of(tool.name),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads_only,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeats_safely,
            open_world_hint=tool.reaches_out,
        ),
    )


def _reporter(context: Context[Any, Any]) -> Report:
    async def report(progress: float, total: float | None, message: str) -> None:
        await context.report_progress(progress, total, message)

    return report


def as_result(answer: Answer) -> CallToolResult:
    """Give facts to programs, and the same as text to models."""
    facts = answer.result.model_dump(mode="json", exclude_none=True)
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=facts, is_error=answer.is_error
    )


def as_refusal(error: AppError) -> CallToolResult:
    """Give an error in words, and for programs its code and whether the same call may succeed later."""
    facts: dict[str, Any] = {CODE: error.code, RETRYABLE: error.retryable}
    return CallToolResult.model_validate(
        {"content": [TextContent(type="text", text=str(error))], "isError": True, "_meta": facts}
    )


def _picture(preview: Preview) -> CallToolResult:
    import base64  # noqa: PLC0415 - the only tool that shows pixels

    data = base64.b64encode(preview.data).decode("ascii")
    return CallToolResult(content=[ImageContent(type="image", data=data, mime_type=preview.mime_type)])
