"""The prompts: what a person may pick from a host's menu, and the text that the model is then given."""

from collections.abc import Callable

from wan_mcp_tools.prompts.picture import picture
from wan_mcp_tools.prompts.variations import variations
from wan_mcp_tools.prompts.wallpaper import wallpaper
from wan_mcp_tools.shared.ports import Studio
from wan_mcp_tools.shared.prompt import Prompt

PROMPTS: tuple[Callable[[Studio], Prompt], ...] = (picture, variations, wallpaper)
"""Every prompt, in the order of the menu."""
