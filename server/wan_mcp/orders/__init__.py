"""The service: orders pictures, follows them, and collects them."""

from wan_mcp.orders.collecting import CollectSummary
from wan_mcp.orders.news import News
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.service import OrderService
from wan_mcp.orders.timings import Timings

__all__ = ["CollectSummary", "News", "OrderService", "Parts", "Timings"]
