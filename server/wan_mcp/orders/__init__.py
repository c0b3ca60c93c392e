"""Orders: placed, followed, collected. Only this package brings the service, the ledger and the files together."""

from wan_mcp.orders.context import OrderContext, Timings
from wan_mcp.orders.service import OrderService
from wan_mcp.orders.worker.collect import CollectSummary

__all__ = ["CollectSummary", "OrderContext", "OrderService", "Timings"]
