"""Where tools, resources, prompts and tasks meet MCP."""

from wan_mcp.mcp_server.bounds import keep_in_bounds
from wan_mcp.mcp_server.resources import make_apps
from wan_mcp.mcp_server.server import WanServer
from wan_mcp.mcp_server.tasks import OrderTaskStore
from wan_mcp.mcp_server.tools import bind_tool

__all__ = ["OrderTaskStore", "WanServer", "bind_tool", "keep_in_bounds", "make_apps"]
