"""The service's client. It knows the wire and nothing of the ledger, the image files or the tools."""

from wan_mcp.dashscope.client import DashScope
from wan_mcp.dashscope.image_addresses import check_input_url, read_link_end
from wan_mcp.dashscope.requests import is_task_id
from wan_mcp.dashscope.responses import MOST_IMAGES
from wan_mcp.dashscope.types import (
    CreateOrder,
    EncodedOrder,
    ListedTask,
    Sink,
    TaskAnswer,
    TaskImage,
    TaskListing,
    Timeouts,
)

__all__ = [
    "MOST_IMAGES",
    "CreateOrder",
    "DashScope",
    "EncodedOrder",
    "ListedTask",
    "Sink",
    "TaskAnswer",
    "TaskImage",
    "TaskListing",
    "Timeouts",
    "check_input_url",
    "is_task_id",
    "read_link_end",
]
