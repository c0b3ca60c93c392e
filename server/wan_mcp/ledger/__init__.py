"""What survives a restart: every order, its task and its images. Its SQL stands here alone."""

from wan_mcp.ledger.database import FREE_ORDERS
from wan_mcp.ledger.ledger import Ledger
from wan_mcp.ledger.limits import LONGEST_LINE
from wan_mcp.ledger.listings import SeenTask, SharedListing
from wan_mcp.ledger.quotas import to_millionths
from wan_mcp.ledger.records import (
    DAY,
    Backlog,
    Dispatch,
    Eligibility,
    ImageState,
    Order,
    OrderImage,
    OrderLimits,
    Origin,
    Placement,
    RateLimit,
    Slot,
    Stage,
    Upload,
    is_local_id,
    new_local_id,
)
from wan_mcp.ledger.totals import OrderSum

__all__ = [
    "DAY",
    "FREE_ORDERS",
    "LONGEST_LINE",
    "Backlog",
    "Dispatch",
    "Eligibility",
    "ImageState",
    "Ledger",
    "Order",
    "OrderImage",
    "OrderLimits",
    "OrderSum",
    "Origin",
    "Placement",
    "RateLimit",
    "SeenTask",
    "SharedListing",
    "Slot",
    "Stage",
    "Upload",
    "is_local_id",
    "new_local_id",
    "to_millionths",
]
