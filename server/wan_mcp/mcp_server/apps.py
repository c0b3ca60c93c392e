"""
MCP Apps: the view that a host shows beside an order.

A tool names its view in `_meta`, which no model reads; its answers are the same for every client.
Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
"""

from functools import partial
from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import FunctionResource

from wan_mcp.web import assemble

VIEW_URI = "ui://wan/view.html"
_VIEWED = frozenset({"generate_image", "get_task"})
_NOTHING: list[str] = []


def view_of(tool: str) -> dict[str, Any] | None:
    """Give the `_meta` of a tool: its view, also under the flat key that older hosts read."""
    if tool not in _VIEWED:
        return None
    return {"ui": {"resourceUri": VIEW_URI}, "ui/resourceUri": VIEW_URI}


def make_apps() -> Apps:
    """Make the extension. The page is read from its files when a host asks for it, not before."""
    apps = Apps()
    apps.add_resource(
        FunctionResource(
            uri=VIEW_URI,
            name="view",
            title="Pictures in the conversation",
            description="Shows an order and its images. Made for hosts that support MCP Apps.",
            mime_type=APP_MIME_TYPE,
            meta={
                "ui": {
                    "csp": dict.fromkeys(
                        ("connectDomains", "resourceDomains", "frameDomains", "baseUriDomains"), _NOTHING
                    ),
                    "permissions": {"clipboardWrite": {}},
                    "prefersBorder": True,
                }
            },
            fn=partial(assemble, "view.html"),
        )
    )
    return apps
