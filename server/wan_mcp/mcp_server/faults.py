"""Errors of requests that are no tool calls, where an answer has no room for them."""

from mcp import MCPError
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from wan_mcp_tools.domain.errors import AppError, NotFoundError, RequestRefusedError


def as_request_error(error: AppError) -> MCPError:
    """Give an error of a prompt or of a completion: -32602 where the caller can correct it, else -32603."""
    code = INVALID_PARAMS if _is_the_callers(error) else INTERNAL_ERROR
    return MCPError(code, str(error), {"code": error.code, "retryable": error.retryable})


def as_resource_error(error: AppError) -> ResourceError:
    """
    Give an error of a resource; the SDK adds the URI and the code, -32602 for what does not exist.

    Source: https://modelcontextprotocol.io/specification/2026-07-28/server/resources
    """
    return ResourceNotFoundError(str(error)) if _is_the_callers(error) else ResourceError(str(error))


def _is_the_callers(error: AppError) -> bool:
    return isinstance(error, (NotFoundError, RequestRefusedError))
