"""The studio: orders pictures, follows them, and collects them."""

from wan_mcp.studio.collecting import CollectSummary
from wan_mcp.studio.news import News
from wan_mcp.studio.parts import Parts
from wan_mcp.studio.studio import WorkingStudio
from wan_mcp.studio.timings import Timings

__all__ = ["CollectSummary", "News", "Parts", "Timings", "WorkingStudio"]
