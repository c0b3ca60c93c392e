"""Where tools, resources, prompts and tasks meet MCP."""

from wan_mcp.mcp_server.resources import make_apps
from wan_mcp.mcp_server.server import WanServer
from wan_mcp.mcp_server.size_limits import limit_sizes
from wan_mcp.mcp_server.tasks import OrderTaskStore

__all__ = ["OrderTaskStore", "WanServer", "limit_sizes", "make_apps"]
