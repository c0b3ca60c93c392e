"""The tools: what an agent may ask for, and the words for it. No input or output happens here."""

from collections.abc import Callable

from wan_mcp_tools.cancel_task import cancel_task
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.download_image import download_image
from wan_mcp_tools.generate_image import generate_image
from wan_mcp_tools.get_task import get_task
from wan_mcp_tools.list_tasks import list_tasks
from wan_mcp_tools.submit_task import submit_task
from wan_mcp_tools.tool import Tool
from wan_mcp_tools.view_image import view_image

TOOLS: tuple[Callable[[ImageService], Tool], ...] = (
    generate_image,
    submit_task,
    get_task,
    download_image,
    cancel_task,
    list_tasks,
    view_image,
)
"""Every tool, in the order in which a reader should meet it."""
