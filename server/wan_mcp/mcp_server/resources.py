"""What hosts can read beside the tools: models, tasks, images, and the view that MCP Apps show beside an order."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources import FunctionResource
from mcp.types import Resource, ResourceTemplate

from wan_mcp.web import inline_page
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.description import describe_model, list_models
from wan_mcp_tools.catalogue.model import format_amount
from wan_mcp_tools.domain.errors import AppError, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.principals import current_principal
from wan_mcp_tools.domain.requests import InputImage, InputSource
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task
from wan_mcp_tools.domain.usage import Amounts, Quota, UsageReport, Use
from wan_mcp_tools.results import describe_error, image_result, task_result

MakeGalleryLink = Callable[[], dict[str, str]]
"""Gives the current principal's link to the gallery, and when it ends."""

SCHEME = "wan://"
MODELS, MODEL, USAGE, GALLERY = "wan://models", "wan://models/{id}", "wan://usage", "wan://gallery"
TASK, IMAGE = "wan://tasks/{task_id}", "wan://images/{id}"
VIEW_URI = "ui://wan/view.html"

MOST_IMAGE_BYTES = 750_000
"""In base64 a million characters: some hosts refuse what has more than 1 MiB, others end the connection at 10."""

CALLER_ERRORS = (NotFoundError, RequestRefusedError)
"""What the caller can correct; the rest is a failure of ours or of the service."""

_JSON = "application/json"
_NOTHING: list[str] = []

RESOURCES = (
    Resource(
        uri=MODELS,
        name="models",
        title="Models and prices",
        description="Every model in a line: what it draws, its regions, what an image costs there, and the cheapest.",
        mime_type=_JSON,
    ),
    Resource(
        uri=USAGE,
        name="usage",
        title="Your use and limits",
        description="What you have ordered in the last 24 hours and 30 days, what goes on now, and your limits.",
        mime_type=_JSON,
    ),
    Resource(
        uri=GALLERY,
        name="gallery",
        title="All your pictures in the browser",
        description="How to open it; where people sign in, a link for the person: it works once, within 5 minutes.",
        mime_type=_JSON,
    ),
)
"""What can be read without knowing an id."""

_OPEN_LINK = "Show the person this url as it is: it opens their gallery, once."
_OPEN_HERE = "Run `wan-mcp gallery` on the machine that this server runs on: it opens the person's browser."

TEMPLATES = (
    ResourceTemplate(
        uri_template=MODEL,
        name="model",
        title="One model",
        description="All that a model can do: sizes, lengths, parameters; price and rate limits of each region.",
        mime_type=_JSON,
    ),
    ResourceTemplate(
        uri_template=TASK,
        name="task",
        title="One task",
        description=(
            "A task as it is now, with the paths or urls of its saved images: what get_task answers without waiting. "
            "Its order has what was ordered: the arguments of generate_image, and the list price of one image."
        ),
        mime_type=_JSON,
    ),
    ResourceTemplate(
        uri_template=IMAGE,
        name="image",
        title="A saved image",
        description=(
            "An image of a task by the id task_id-index, e.g. 0385dc79-5ff8-4d82-bcb6-7cf0ad4b7f52-1. The file's own "
            "bytes if they are at most 750 kB; of a larger file a JPEG of at most 1024 pixels and 500 kB, and then "
            "_meta says reduced=true. _meta also has the path or url, width, height and bytes of the file itself."
        ),
    ),
)
"""What can be read by an id."""


async def read_resource(
    service: ImageService, uri: str, make_gallery_link: MakeGalleryLink | None = None
) -> ReadResourceContents | None:
    """
    Read one of these resources; None if the URI is none of theirs.

    That costs nothing; only a task that is new here is asked for at the service. `make_gallery_link` is there where
    people sign in.

    Raises:
        ResourceError: there is no such model, task or image, or it cannot be read; in our words.
    """
    if not uri.startswith(SCHEME):
        return None
    kind, _, rest = uri.removeprefix(SCHEME).partition("/")
    try:
        if (kind, rest) == ("gallery", ""):
            return _as_json(_describe_gallery(make_gallery_link))
        return await _read(service, kind, unquote(rest).strip())
    except AppError as error:
        # The SDK adds the URI and the code, -32602 for what does not exist.
        # Source: https://modelcontextprotocol.io/specification/2026-07-28/server/resources
        kind_of_error = ResourceNotFoundError if isinstance(error, CALLER_ERRORS) else ResourceError
        raise kind_of_error(describe_error(error)) from error


async def _read(service: ImageService, kind: str, name: str) -> ReadResourceContents | None:
    catalogue = service.catalogue
    match kind, name:
        case "models", "":
            return _as_json(list_models(catalogue))
        case "models", _:
            return _as_json(describe_model(catalogue.find(name), catalogue))
        case "usage", "":
            return _as_json(_describe_usage(await service.report_usage()))
        case "tasks", _ if name:
            return await _read_task(service, name)
        case "images", _ if name:
            return await _read_image(service, name)
        case _:
            return None


async def _read_task(service: ImageService, name: str) -> ReadResourceContents:
    task = await service.get(name, wait_seconds=0, report=None)
    facts = task_result(task).model_dump(mode="json", exclude_none=True)
    return _as_json(facts | {"order": _describe_order(task, service.catalogue)})


async def _read_image(service: ImageService, name: str) -> ReadResourceContents:
    task_id, _, index = name.rpartition("-")
    if not task_id or not (index.isascii() and index.isdigit() and len(index) < 4):  # noqa: PLR2004 - far more than one task has
        raise RequestRefusedError(
            f"{name[:80]!r} is not the id of an image.",
            "Write the task_id, a hyphen and the number of the image, as in wan://images/TASK_ID-1.",
        )
    picture = await service.read_image(task_id=task_id, index=int(index), most_bytes=MOST_IMAGE_BYTES)
    file = picture.file
    about = image_result(file).model_dump(mode="json", exclude_none=True) | {"reduced": picture.reduced}
    return ReadResourceContents(picture.data, picture.mime_type, about)


def _describe_order(task: Task, catalogue: Catalogue) -> dict[str, Any]:
    """Give what the answers of the tools leave out; of a task that was ordered elsewhere that is little."""
    order: dict[str, Any] = {"created_at": task.created_at.isoformat(timespec="seconds")}
    request = task.request
    if request is None:
        return order
    order["arguments"] = request.to_arguments()
    if not current_principal().is_local:
        # Of an order of the local user: a folder of the server.
        order["arguments"].pop("output_dir", None)
    if request.images:
        # What stands behind the address of a picture may be a signature.
        order["arguments"]["images"] = [_show_input(image) for image in request.images]
        order["inputs"] = [
            {"sha256": image.sha256, "changes": list(image.changes)} if image.sha256 else {"changes": []}
            for image in request.images
        ]
    models = {model.id: model for model in catalogue.models}
    price = models[request.model].price(request.region) if request.model in models else None
    if price is not None:
        order["price"] = {"amount": str(price.amount), "currency": price.currency, "as_of": price.as_of}
    return order


def _show_input(image: InputImage) -> str:
    """Give what the caller named; of a file to whoever has no part in the server's disk no more than its name."""
    if image.source is InputSource.FILE and not current_principal().is_local:
        return re.split(r"[\\/]", image.reference)[-1]
    return image.shown_reference


def _describe_gallery(make_link: MakeGalleryLink | None) -> dict[str, Any]:
    return {"how": _OPEN_HERE} if make_link is None else {**make_link(), "how": _OPEN_LINK}


def _describe_usage(usage: UsageReport) -> dict[str, Any]:
    """Give what was ordered and may be ordered; amounts are text, so that nothing is rounded."""
    described: dict[str, Any] = {
        "principal": usage.principal,
        "use": _describe_use(usage.use),
        "limits": _describe_quota(usage.quota),
        "server_limits": _describe_quota(usage.server_quota),
    }
    if usage.calls_per_minute:
        described["limits"]["calls_per_minute"] = usage.calls_per_minute
    if usage.server_use is not None:
        described["server_use"] = _describe_use(usage.server_use)
        described["principals"] = {name: _describe_use(use) for name, use in usage.others.items()}
    return described


def _describe_use(use: Use) -> dict[str, Any]:
    return {
        "images_24h": use.daily_images,
        "cost_24h": _describe_amounts(use.daily_cost),
        "cost_30d": _describe_amounts(use.monthly_cost),
        "open_orders": use.open_orders,
    } | ({} if use.frees_at is None else {"frees_at": use.frees_at.isoformat(timespec="seconds")})


def _describe_quota(quota: Quota) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "images_24h": quota.daily_images,
        "cost_24h": _describe_amounts(quota.daily_cost),
        "cost_30d": _describe_amounts(quota.monthly_cost),
        "open_orders": quota.open_orders,
    }
    return {name: limit for name, limit in limits.items() if limit}


def _describe_amounts(amounts: Amounts) -> dict[str, str]:
    return {currency: format_amount(amount) for currency, amount in amounts.items()}


def _as_json(facts: dict[str, Any]) -> ReadResourceContents:
    return ReadResourceContents(json.dumps(facts, ensure_ascii=False, separators=(",", ":")), _JSON)


def make_apps() -> Apps:
    """
    Make the MCP Apps extension with our view. The page is read from its files when a host asks for it, not before.

    Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
    """
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
            fn=partial(inline_page, "view.html"),
        )
    )
    return apps
