"""
MCP Apps: the view that a host shows beside an order, and what the view can read.

A tool names its view in `_meta`, which no model reads; its answers are the same for every client.
Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
"""

import json
from functools import partial
from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resources import FunctionResource

from wan_mcp.pages import assemble
from wan_mcp.protocol.faults import as_resource_error
from wan_mcp_tools.shared.errors import WanError
from wan_mcp_tools.shared.ports import Studio
from wan_mcp_tools.shared.tasks import Task

VIEW_URI = "ui://wan/view.html"
ORDER_URI = "wan://orders/{task_id}"
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


def add_orders(server: MCPServer[None], studio: Studio) -> None:
    """Let a view read what was ordered: the words and settings that the answers of the tools leave out."""

    @server.resource(
        ORDER_URI,
        name="order",
        title="What was ordered",
        description="The arguments of an order, as generate_image takes them, and the list price of one image.",
        mime_type="application/json",
    )
    async def read_order(task_id: str) -> str:  # pyright: ignore[reportUnusedFunction] - the decorator keeps it
        try:
            task = await studio.get(task_id, wait_seconds=0, report=None)
        except WanError as error:
            raise as_resource_error(error) from error
        return json.dumps(_order(task, studio), ensure_ascii=False, separators=(",", ":"))


def _order(task: Task, studio: Studio) -> dict[str, Any]:
    order: dict[str, Any] = {"task_id": task.task_id, "created_at": task.created_at.isoformat(timespec="seconds")}
    request = task.request
    if request is None:
        return order
    order["arguments"] = request.to_dict()
    models = {model.id: model for model in studio.offer.catalogue.models}
    price = models[request.model].price(request.region) if request.model in models else None
    if price is not None:
        order["price"] = {"amount": str(price.amount), "currency": price.currency, "as_of": price.as_of}
    return order
