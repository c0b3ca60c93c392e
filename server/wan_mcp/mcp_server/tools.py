"""Our tools as tools of the MCP SDK: schemas, arguments, hints, results, and every error in words."""

import json
import logging
from collections.abc import Callable
from typing import Any

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from mcp.types import Tool as McpTool

from wan_mcp.mcp_server.arguments import host_schema, plain_schema, read_arguments
from wan_mcp.mcp_server.resources import VIEW_URI
from wan_mcp_tools.domain.errors import AppError, LedgerError, StorageError
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.principals import current_principal
from wan_mcp_tools.domain.service import Preview, ProgressCallback, ProgressReport
from wan_mcp_tools.results import describe_error, describe_progress
from wan_mcp_tools.tool import Answer, Tool

CODE, RETRYABLE = "wan-mcp/code", "wan-mcp/retryable"
"""What the `_meta` of an error holds."""
TASK_FACTS = "wan-mcp/task"
"""What the `_meta` of an answer that is a task holds: see `wan_mcp_tools.results.task_facts`."""

SEARCH_HINT = "anthropic/searchHint"
"""Claude Code and Qwen Code hide what tools are for until they are searched for, and search these words too."""

_log = logging.getLogger(__name__)

_TOOLS_WITH_VIEW = frozenset({"generate_image", "get_task"})


def describe_tool(tool: Tool) -> McpTool:
    """Give one of our tools as hosts list it."""
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=host_schema(tool.arguments),
        output_schema=plain_schema(tool.result) if tool.result else None,
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.read_only,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=tool.open_world,
        ),
        _meta=_tool_meta(tool),
    )


async def call_tool(
    tool: Tool, arguments: dict[str, Any], context: Context[Any, Any] | None, *, hide: Callable[[str], str] = str
) -> CallToolResult:
    """
    Call a tool; whatever the caller can act on is an answer too, and so is a fault of ours: the log has the rest.

    `hide` gives what is told of progress as the caller may read it.
    """
    try:
        checked = read_arguments(tool, arguments)
        answer = await tool.run(checked, _make_report(context, hide) if context is not None else None)
    except AppError as error:
        return as_error_result(error)
    except MCPError:
        raise
    except Exception:  # noqa: BLE001 - the SDK would tell the caller its words, whatever stands in them
        _log.exception("the tool %s has failed", tool.name)
        return as_error_result(_make_fault(tool.name))
    return _as_image(answer) if isinstance(answer, Preview) else as_result(answer)


def _make_fault(name: str) -> AppError:
    return AppError(
        f"{name} has failed by a fault of wan-mcp; its log has the details. What was ordered is not lost.",
        next_step=NextStep(NextAction.LIST_KNOWN_TASKS),
    )


def _tool_meta(tool: Tool) -> dict[str, Any]:
    """
    Give the `_meta` of a tool: what it is found by, and the view that a host shows beside its answers.

    Older hosts read the view's flat key.
    Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
    """
    meta: dict[str, Any] = {SEARCH_HINT: tool.search_hint}
    if tool.name in _TOOLS_WITH_VIEW:
        meta |= {"ui": {"resourceUri": VIEW_URI}, "ui/resourceUri": VIEW_URI}
    return meta


def _make_report(context: Context[Any, Any], hide: Callable[[str], str]) -> ProgressCallback:
    async def report(progress: ProgressReport) -> None:
        await context.report_progress(progress.seconds, progress.expected, hide(describe_progress(progress)))

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
    """
    Give an error in words, and for programs its code and whether the same call may succeed later.

    Of what is the operator's, a caller who shares no disk with the server is told in general words alone: the log has
    the others.
    """
    if isinstance(error, LedgerError | StorageError) and not current_principal().is_local:
        _log.warning("a call could not be answered: %s", error)
    facts: dict[str, Any] = {CODE: error.code, RETRYABLE: error.retryable}
    return CallToolResult.model_validate(
        {"content": [TextContent(type="text", text=describe_error(error))], "isError": True, "_meta": facts}
    )


def _as_image(preview: Preview) -> CallToolResult:
    import base64  # noqa: PLC0415 - the only tool that shows pixels

    data = base64.b64encode(preview.data).decode("ascii")
    return CallToolResult(content=[ImageContent(type="image", data=data, mime_type=preview.mime_type)])
