"""What survives a restart: every order, its task and its images. The only place that speaks SQL."""

from wan_mcp.ledger.port import Dispatch, Ledger, Limit, Slot
from wan_mcp.ledger.records import (
    ImageState,
    NewOrder,
    Order,
    OrderImage,
    Origin,
    Placement,
    Stage,
)
from wan_mcp.ledger.sqlite import SqliteLedger

__all__ = [
    "Dispatch",
    "ImageState",
    "Ledger",
    "Limit",
    "NewOrder",
    "Order",
    "OrderImage",
    "Origin",
    "Placement",
    "Slot",
    "SqliteLedger",
    "Stage",
]
