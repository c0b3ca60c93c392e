"""Where tools, resources and prompts meet MCP."""

from wan_mcp.protocol.apps import make_apps
from wan_mcp.protocol.orders_as_tasks import OrdersAsTasks
from wan_mcp.protocol.server import WanServer
from wan_mcp.protocol.tools import bind

__all__ = ["OrdersAsTasks", "WanServer", "bind", "make_apps"]
