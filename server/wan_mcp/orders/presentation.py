"""An order as others see it: as a task of the tools, and as the facts beside an image."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from types import MappingProxyType

from wan_mcp.clock import utc
from wan_mcp.ledger import ImageState, Order, OrderImage, Stage
from wan_mcp.orders.lifecycle import is_settled
from wan_mcp.orders.live_orders import RETRIED, LiveProblem
from wan_mcp.storage.names import find_name_change, is_object, is_relative, make_stem, show_path
from wan_mcp_tools.domain.errors import ErrorCode, RequestRefusedError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import FailedImage, Problem, RelativeFolder, SavedImage, Task, TaskStatus

_LONGEST_KIND = 22
"""Characters of an address that holds an image: what kind it is, and no more."""
_PARAMETERS = frozenset({"size", "n", "negative_prompt", "seed", "prompt_extend", "watermark", "options"})


def to_task(
    order: Order,
    *,
    deduplicated: bool = False,
    saved_elsewhere: bool = False,
    live_problem: LiveProblem | None = None,
    gone: Mapping[int, FailedImage] = MappingProxyType({}),
) -> Task:
    """
    Give an order as a task.

    `live_problem` is what holds it up now; `gone` tells, by index, of saved images whose files are no longer there.
    """
    problem = Problem(order.error_code, order.error_message or "") if order.error_code else None
    is_done = order.status is TaskStatus.SUCCEEDED and is_settled(order)
    if problem is None and live_problem is not None and not is_done:
        problem = live_problem.to_problem()
    return Task(
        task_id=order.best_id,
        local_id=order.local_id,
        status=order.status,
        region=order.region,
        model=order.model,
        settled=is_settled(order),
        created_at=utc(order.created_at),
        request=order.request,
        images=tuple(
            to_saved_image(image, order)
            for image in order.images
            if image.state is ImageState.SAVED and image.index not in gone
        ),
        failed_images=tuple(
            gone[image.index] if image.index in gone else _to_failed_image(image)
            for image in order.images
            if image.index in gone or image.state in (ImageState.UNSAVED, ImageState.FAILED)
        ),
        actual_prompt=order.actual_prompt,
        expires_at=utc(order.expires_at) if order.expires_at else None,
        problem=problem,
        notes=order.notes,
        deduplicated=deduplicated,
        saved_elsewhere=saved_elsewhere,
        open=order.stage is not Stage.CLOSED,
        updated_at=utc(_find_last_step(order)),
        relative_folder=find_relative_folder(
            order.request.output_dir if order.request else None, PurePath(order.folder) if order.folder else None
        ),
        principal=order.principal,
    )


def to_saved_image(image: OrderImage, order: Order) -> SavedImage:
    """Give an image of an order that is a file as the tools show it."""
    path = image.path or ""
    is_key = is_object(Path(path))
    return SavedImage(
        image.index,
        show_path(path),
        image.width or 0,
        image.height or 0,
        image.bytes or 0,
        name_change=find_name_change(
            order.request.filename if order.request else None,
            PurePath(path).name,
            index=image.index,
            count=count_images(order),
        ),
        # The key of an object is no name for a person.
        other_name=f"{name_image(order, image.index)}{PurePath(path).suffix}" if is_key else None,
    )


def find_relative_folder(output_dir: str | None, folder: PurePath | None) -> RelativeFolder | None:
    """Give what a caller's folder means if it is a relative one; `folder` is the path that was found for it."""
    if output_dir is None or folder is None or not is_relative(output_dir):
        return None
    return RelativeFolder(output_dir.strip(), str(folder))


def count_images(order: Order) -> int:
    """Count the images that an order has or is to have."""
    return max(len(order.images), order.images_ordered)


def name_image(order: Order, index: int) -> str:
    """Name an image of an order by what was asked for, without its extension."""
    request = order.request
    make_name = partial(
        make_stem,
        prompt=(request.prompt if request else None) or order.actual_prompt or "image",
        created_at=utc(order.created_at),
        order_id=order.best_id,
        index=index,
        count=count_images(order),
    )
    try:
        return make_name(filename=request.filename if request else None)
    except RequestRefusedError:
        # It was legal when the order came; a paid picture is not lost for a name.
        return make_name(filename=None)


def describe_image(order: Order, image: OrderImage, now: float) -> dict[str, object]:
    """Give what a person may want to know of an image later, for the file beside it; nothing secret."""
    parameters = order.request.to_dict() if order.request else {}
    known = {
        "prompt": parameters.get("prompt"),
        "actual_prompt": order.actual_prompt,
        "model": order.model,
        "region": order.region,
        "parameters": {name: value for name, value in parameters.items() if name in _PARAMETERS},
        "inputs": describe_inputs(order.request) if order.request and order.request.images else None,
        "index": image.index,
        "task_id": order.task_id,
        "local_id": order.local_id,
        "request_id": order.request_id,
        "ordered_at": utc(order.created_at).isoformat(),
        "finished_at": utc(order.finished_at).isoformat() if order.finished_at else None,
        "saved_at": utc(now).isoformat(),
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
        "sha256": image.sha256,
    }
    return {name: value for name, value in known.items() if value is not None}


def describe_inputs(request: ImageRequest) -> list[dict[str, str]]:
    """Give what an order was made from: what the caller named, without what may be secret of it, and the digest."""
    return [
        {"reference": image.shown_reference} | ({"sha256": image.sha256} if image.sha256 else {})
        for image in request.images
    ]


def _find_last_step(order: Order) -> float:
    """Give the time of the last step that has a date of its own."""
    later = (order.sent_at, order.lost_at, order.accepted_at, order.finished_at)
    return max([order.created_at, *(moment for moment in later if moment is not None)])


def _shorten_data(url: str | None) -> str | None:
    """Leave out of an address the image that it may hold itself: an answer is short."""
    return f"{url[:_LONGEST_KIND]}…" if url is not None and url.startswith("data:") else url


def _to_failed_image(image: OrderImage) -> FailedImage:
    if image.state is ImageState.UNSAVED:
        message = f"{image.message or ''} {RETRIED}".strip()
        return FailedImage(image.index, image.code or ErrorCode.FAILED, message, _shorten_data(image.url))
    return FailedImage(image.index, image.code or ErrorCode.FAILED, image.message or "", None)


def hide_path(image: SavedImage) -> SavedImage:
    """Give an image without its folder, and what is told of folders."""
    return replace(image, path=image.name, wanted_folder=None, relative_folder=None)


def hide_paths(task: Task) -> Task:
    """Give a task without the folders of its images."""
    return replace(task, images=tuple(map(hide_path, task.images)), relative_folder=None)
