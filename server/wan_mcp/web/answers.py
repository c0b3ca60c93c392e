"""What the gallery is told and asks for: orders, their inputs and costs as JSON, and the requests of its buttons."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import (
    Cost,
    CostReport,
    ImageCount,
    describe_cost,
    estimate,
    estimate_made,
    format_cost,
    make_report,
)
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.domain.errors import ErrorCode, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.principals import current_principal, name_principal
from wan_mcp_tools.domain.requests import ImageRequest, InputImage, InputSource
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import SavedImage, Task
from wan_mcp_tools.results import task_facts, task_result

JsonObject = dict[str, Any]


def make_edit(task: Task, index: int, prompt: str, catalogue: Catalogue) -> ImageRequest:
    """
    Ask for a change of one of a task's saved images: by its own model and seed if that takes pictures.

    What was free stays free: a change of an image of the sandbox is ordered there.

    Raises:
        NotFoundError: the task has no such image.
        RequestRefusedError: the change cannot be ordered.
    """
    if not any(image.index == index for image in task.images):
        raise NotFoundError(f"This order has no image {index}.", code=ErrorCode.TASK_NOT_FOUND)
    asked: JsonObject = {"prompt": prompt, "images": [f"{task.task_id}#{index}"]}
    request = task.request
    if request is not None and catalogue.find(request.model).inputs is not None:
        asked |= {"model": request.model, "seed": request.seed, "region": task.region}
    if task.region == SANDBOX.name:
        asked["region"] = task.region
    return catalogue.make_request(**asked)


def describe_input(number: int, given: InputImage) -> JsonObject:
    """Give what an order was made from: a short name, and whether there is a thumbnail of it."""
    name = given.reference
    if given.source is InputSource.URL:
        # What stands behind the host may be a secret, and is never fetched.
        name = urlsplit(name).hostname or "a web address"
    elif given.source is InputSource.FILE:
        name = re.split(r"[\\/]", name)[-1]
    return {"number": number, "name": name, "has_thumbnail": given.source is not InputSource.URL}


def describe_order(task: Task, catalogue: Catalogue) -> JsonObject:
    """Give an order: the task as the tools tell it, in plain words, the request, and what it costs."""
    order: JsonObject = {
        "id": task.local_id,
        "created_at": task.created_at.timestamp(),
        "is_open": task.open,
        "task": task_result(task).model_dump(mode="json", exclude_none=True) | task_facts(task),
        # Of images that are missing in between, the others keep their number.
        "image_indexes": [image.index for image in task.images],
    }
    is_shared = not current_principal().is_local
    if is_shared and current_principal().sees is None:
        order["person"] = name_principal(task.principal)
    if is_shared and task.images:
        order["task"]["images"] = [_describe_shared(image) for image in task.images]
    if task.updated_at is not None:
        order["updated_at"] = task.updated_at.timestamp()
    if task.actual_prompt:
        order["actual_prompt"] = task.actual_prompt
    request = task.request
    if request is None:
        return order
    order["request"] = request.to_arguments()
    if is_shared:
        order["request"].pop("output_dir", None)
        order["request"].pop("images", None)
    if request.images:
        order["inputs"] = [describe_input(number, given) for number, given in enumerate(request.images, 1)]
    order["cost_again"] = describe_cost(estimate([request], catalogue))
    made = len(task.images) + sum(
        image.url is not None or image.code == ErrorCode.FILE_GONE for image in task.failed_images
    )
    if task.open and not made:
        order["cost"] = describe_cost(estimate([request], catalogue))
    elif made:
        order["cost"] = describe_cost(estimate_made(request, made, catalogue))
    return order


def _describe_shared(image: SavedImage) -> JsonObject:
    """Give a saved image to who has no part in the disk that it lies on."""
    return {
        "name": image.name,
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
    }


def describe_costs(report: CostReport, catalogue: Catalogue) -> JsonObject:
    """Give the sums of a report: of all, by day, and by model."""

    def sum_up(key: Callable[[ImageCount], str]) -> list[JsonObject]:
        groups: dict[str, list[ImageCount]] = {}
        for line in report.lines:
            if line.count.charged:
                groups.setdefault(key(line.count), []).append(line.count)
        return [
            {"name": name, "images": part.charged.images, "cost": _cost_facts(part.charged)}
            for name, counts in groups.items()
            for part in (make_report(counts, catalogue, since=report.since, until=report.until),)
        ]

    return {
        "images": report.charged.images,
        "cost": _cost_facts(report.charged),
        "unclear_images": report.unclear,
        "days": sum_up(lambda count: count.day.isoformat()),
        "models": sorted(sum_up(_name_model), key=lambda row: -row["images"]),
    }


def read_query(parameters: Mapping[str, str]) -> OrderQuery:
    """
    Read what a page asks for.

    Raises:
        RequestRefusedError: a value is none that a page sends.
    """
    try:
        return OrderQuery(
            text=parameters.get("text") or None,
            state=OrderState(parameters["state"]) if parameters.get("state") else None,
            model=parameters.get("model") or None,
            region=parameters.get("region") or None,
            since=float(parameters["since"]) if parameters.get("since") else None,
            until=float(parameters["until"]) if parameters.get("until") else None,
        )
    except ValueError as error:
        raise RequestRefusedError(f"The filter cannot be read: {error}.", "Reload the page.") from error


def _cost_facts(cost: Cost) -> JsonObject:
    return {"text": describe_cost(cost), "amount": format_cost(cost), "is_estimate": bool(cost.amounts)}


def _name_model(count: ImageCount) -> str:
    return f"{count.model or 'unknown model'} · {count.region}"
