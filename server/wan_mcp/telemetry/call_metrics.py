"""
The metric of what clients ask for, and the name of the tool that is being called.

Source: https://github.com/open-telemetry/semantic-conventions-genai (mcp.server.operation.duration, in development)
"""

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.types import INVALID_PARAMS, CallToolResult
from opentelemetry.metrics import Meter
from pydantic import ValidationError

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
"""The bounds that the conventions name."""
_METHODS = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "tasks/get",
        "tasks/cancel",
        "tasks/update",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
    }
)
_OTHER = "_OTHER"
"""Stands for what a client made up: each new name would be a line of the metric for ever."""

_tool: ContextVar[str | None] = ContextVar("tool", default=None)


def current_tool() -> str | None:
    """Give the name of the tool whose call runs now."""
    return _tool.get()


def name_tool(tools: frozenset[str]) -> ServerMiddleware[Any]:
    """Make what keeps the name of the called tool for `current_tool`; for `middleware`."""

    async def note(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        token = _tool.set(_find_name(ctx, "tools/call", tools))
        try:
            return await call_next(ctx)
        finally:
            _tool.reset(token)

    return note


def measure_operations(
    meter: Meter,
    *,
    tools: frozenset[str],
    prompts: frozenset[str],
    transport: str,
    clock: Callable[[], float] = perf_counter,
) -> ServerMiddleware[Any]:
    """Make what measures how long each request takes; for `middleware`. `transport` is `pipe` or `tcp`."""
    duration = meter.create_histogram(
        "mcp.server.operation.duration",
        "s",
        "How long the server took for a request or a notification.",
        explicit_bucket_boundaries_advisory=_SECONDS,
    )

    async def measure(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        facts = {
            "mcp.method.name": ctx.method if ctx.method in _METHODS else _OTHER,
            "mcp.protocol.version": ctx.protocol_version,
            "network.transport": transport,
        }
        if ctx.method == "tools/call":
            facts |= {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": _find_name(ctx, ctx.method, tools) or _OTHER,
            }
        elif ctx.method == "prompts/get":
            facts["gen_ai.prompt.name"] = _find_name(ctx, ctx.method, prompts) or _OTHER
        began = clock()
        try:
            result = await call_next(ctx)
            if ctx.method == "tools/call" and _is_error(result):
                facts["error.type"] = "tool_error"
        except MCPError as error:
            facts |= {"error.type": str(error.error.code), "rpc.response.status_code": str(error.error.code)}
            raise
        except ValidationError:
            facts |= {"error.type": str(INVALID_PARAMS), "rpc.response.status_code": str(INVALID_PARAMS)}
            raise
        except Exception as error:
            facts["error.type"] = type(error).__qualname__
            raise
        finally:
            duration.record(clock() - began, facts)
        return result

    return measure


def _find_name(ctx: ServerRequestContext[Any, Any], method: str, known: frozenset[str]) -> str | None:
    name = ctx.params.get("name") if ctx.method == method and ctx.params else None
    return name if isinstance(name, str) and name in known else None


def _is_error(result: HandlerResult) -> bool:
    match result:
        case CallToolResult(is_error=True) | {"isError": True}:
            return True
        case _:
            return False
