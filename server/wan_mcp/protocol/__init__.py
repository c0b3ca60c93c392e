"""Where tools, resources and prompts meet MCP."""

from wan_mcp.protocol.apps import add_orders, make_apps
from wan_mcp.protocol.orders_as_tasks import OrdersAsTasks
from wan_mcp.protocol.server import WanServer
from wan_mcp.protocol.tools import bind

__all__ = ["OrdersAsTasks", "WanServer", "add_orders", "bind", "make_apps"]
