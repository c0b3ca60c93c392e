"""What became of an order, as changes to its row."""

from wan_mcp.dashscope import TaskAnswer
from wan_mcp.ledger import ImageState, Order, OrderImage, Stage
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

DAY = 86_400.0
"""Seconds that the service keeps a task and its images."""
CANCELED = Problem("Canceled", "The task was cancelled before it began. It is not charged.")
"""Why a task is CANCELED, whoever has cancelled it."""


def is_over(order: Order, now: float) -> bool:
    """Say whether the day of a task is over by the time `now`."""
    return order.expires_at is not None and now > order.expires_at


def closed(problem: Problem, status: TaskStatus = TaskStatus.FAILED) -> dict[str, object]:
    """Give the changes that end an order with a reason."""
    return {
        "stage": Stage.CLOSED,
        "status": status,
        "error_code": problem.code,
        "error_message": problem.message,
    }


def image_records(answer: TaskAnswer, ordered: int = 0) -> tuple[OrderImage, ...]:
    """Give the images of an answer as the ledger keeps them; those ordered and not given are failures."""
    images = [
        OrderImage(
            image.index,
            ImageState.WAITING if image.url else ImageState.FAILED,
            url=image.url,
            code=image.code,
            message=image.message,
        )
        for image in answer.images
    ]
    given = len(images)
    for index in range(given + 1, ordered + 1 if given else 0):
        reason = f"The service gave {given} of {ordered} images. Only images that it gives are charged."
        images.append(OrderImage(index, ImageState.FAILED, code="NotDelivered", message=reason))
    return tuple(images)
