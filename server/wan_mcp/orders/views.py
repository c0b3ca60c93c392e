"""An order of the ledger as the tools see it."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from wan_mcp.clock import utc
from wan_mcp.ledger import ImageState, Order, OrderImage, Stage
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import FailedImage, Problem, SavedImage, Task, TaskStatus


def is_settled(order: Order) -> bool:
    """Say whether waiting longer changes nothing for a caller."""
    if order.stage is Stage.CLOSED or order.status is TaskStatus.UNKNOWN:
        return True
    if order.stage is not Stage.OPEN or order.status is not TaskStatus.SUCCEEDED or not order.images:
        # A task that was found is asked for once, even if it is said to have ended.
        return False
    return all(image.state.is_settled or image.state is ImageState.UNSAVED for image in order.images)


def view(
    order: Order,
    *,
    joined: bool = False,
    elsewhere: bool = False,
    trouble: Problem | None = None,
    gone: Mapping[int, str] = MappingProxyType({}),
) -> Task:
    """Give an order as a task; `trouble` is what holds it up now, `gone` tells of files that are no longer there."""
    problem = Problem(order.error_code, order.error_message or "") if order.error_code else trouble
    return Task(
        task_id=order.best_id,
        local_id=order.local_id,
        status=order.status,
        region=order.region,
        model=order.model,
        settled=is_settled(order),
        created_at=utc(order.created_at),
        request=ImageRequest.from_dict(json.loads(order.request)) if order.request else None,
        images=tuple(
            _saved(image) for image in order.images if image.state is ImageState.SAVED and image.index not in gone
        ),
        failed_images=tuple(
            FailedImage(image.index, "FileGone", gone[image.index]) if image.index in gone else _failed(image)
            for image in order.images
            if image.index in gone or image.state in (ImageState.UNSAVED, ImageState.FAILED)
        ),
        actual_prompt=order.actual_prompt,
        expires_at=utc(order.expires_at) if order.expires_at else None,
        problem=problem,
        notes=order.notes,
        joined=joined,
        elsewhere=elsewhere,
        open=order.stage is not Stage.CLOSED,
        updated_at=utc(_last_step(order)),
    )


def _last_step(order: Order) -> float:
    """Give the time of the last step that has a date of its own."""
    later = (order.sent_at, order.lost_at, order.accepted_at, order.finished_at)
    return max([order.created_at, *(moment for moment in later if moment is not None)])


def _saved(image: OrderImage) -> SavedImage:
    return SavedImage(image.index, image.path or "", image.width or 0, image.height or 0, image.bytes or 0)


def _failed(image: OrderImage) -> FailedImage:
    url = image.url if image.state is ImageState.UNSAVED else None
    return FailedImage(image.index, image.code or "Failed", image.message or "", url)
