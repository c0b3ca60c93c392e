"""What hosts can read beside the tools: models, tasks and images."""

import json
from typing import Any
from urllib.parse import unquote

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.types import Resource, ResourceTemplate

from wan_mcp.mcp_server.faults import as_resource_error
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.description import describe_model, list_models
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.tasks import Task
from wan_mcp_tools.results import task_result

SCHEME = "wan://"
MODELS, MODEL = "wan://models", "wan://models/{id}"
TASK, IMAGE = "wan://tasks/{task_id}", "wan://images/{id}"

MOST_IMAGE_BYTES = 750_000
"""In base64 a million characters: some hosts refuse what has more than 1 MiB, others end the connection at 10."""

_JSON = "application/json"

RESOURCES = (
    Resource(
        uri=MODELS,
        name="models",
        title="Models and prices",
        description="Every model in a line: what it draws, its regions, what an image costs there, and the cheapest.",
        mime_type=_JSON,
    ),
)
"""What can be read without knowing an id."""

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
            "A task as it is now, with the paths of its saved images: what get_task answers without waiting. Its "
            "order has what was ordered: the arguments of generate_image, and the list price of one image."
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
            "_meta says reduced=true. _meta also has the path, width, height and bytes of the file itself."
        ),
    ),
)
"""What can be read by an id."""


class Shelf:
    """Reads these resources. That costs nothing; only a task that is new here is asked for at the service."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    async def read(self, uri: str) -> ReadResourceContents | None:
        """
        Read a resource; None if it is none of these.

        Raises:
            ResourceError: there is no such model, task or image, or it cannot be read; in our words.
        """
        if not uri.startswith(SCHEME):
            return None
        kind, _, rest = uri.removeprefix(SCHEME).partition("/")
        try:
            return await self._read(kind, unquote(rest).strip())
        except AppError as error:
            raise as_resource_error(error) from error

    async def _read(self, kind: str, name: str) -> ReadResourceContents | None:
        match kind, name:
            case "models", "":
                return self._list_models()
            case "models", _:
                return self._read_model(name)
            case "tasks", _ if name:
                return await self._read_task(name)
            case "images", _ if name:
                return await self._read_image(name)
            case _:
                return None

    def _list_models(self) -> ReadResourceContents:
        return _as_json(list_models(self._service.catalogue))

    def _read_model(self, name: str) -> ReadResourceContents:
        catalogue = self._service.catalogue
        return _as_json(describe_model(catalogue.find(name), catalogue))

    async def _read_task(self, name: str) -> ReadResourceContents:
        task = await self._service.get(name, wait_seconds=0, report=None)
        facts = task_result(task).model_dump(mode="json", exclude_none=True)
        return _as_json(facts | {"order": _describe_order(task, self._service.catalogue)})

    async def _read_image(self, name: str) -> ReadResourceContents:
        task_id, _, index = name.rpartition("-")
        if not task_id or not (index.isascii() and index.isdigit() and len(index) < 4):  # noqa: PLR2004 - far more than one task has
            raise RequestRefusedError(
                f"{name[:80]!r} is not the id of an image.",
                "Write the task_id, a hyphen and the number of the image, as in wan://images/TASK_ID-1.",
            )
        picture = await self._service.picture(task_id=task_id, index=int(index), most_bytes=MOST_IMAGE_BYTES)
        file = picture.file
        about = {
            "path": file.path,
            "width": file.width,
            "height": file.height,
            "bytes": file.bytes,
            "reduced": picture.reduced,
        }
        return ReadResourceContents(picture.data, picture.mime_type, about)


def _describe_order(task: Task, catalogue: Catalogue) -> dict[str, Any]:
    """Give what the answers of the tools leave out; of a task that was ordered elsewhere that is little."""
    order: dict[str, Any] = {"created_at": task.created_at.isoformat(timespec="seconds")}
    request = task.request
    if request is None:
        return order
    order["arguments"] = request.to_dict()
    models = {model.id: model for model in catalogue.models}
    price = models[request.model].price(request.region) if request.model in models else None
    if price is not None:
        order["price"] = {"amount": str(price.amount), "currency": price.currency, "as_of": price.as_of}
    return order


def _as_json(facts: dict[str, Any]) -> ReadResourceContents:
    return ReadResourceContents(json.dumps(facts, ensure_ascii=False, separators=(",", ":")), _JSON)
