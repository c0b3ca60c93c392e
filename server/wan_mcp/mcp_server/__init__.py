"""Where tools, resources and prompts meet MCP."""

from wan_mcp.mcp_server.apps import make_apps
from wan_mcp.mcp_server.orders_as_tasks import OrdersAsTasks
from wan_mcp.mcp_server.server import WanServer
from wan_mcp.mcp_server.tools import bind

__all__ = ["OrdersAsTasks", "WanServer", "bind", "make_apps"]
