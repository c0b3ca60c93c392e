"""
The life of an order: every change of its state, as a function from the order to the order as it is then.

Nothing here reads a clock, writes a row or asks the service. `TRANSITIONS` says which stage may follow which.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from wan_mcp.dashscope import TaskAnswer, TaskImage
from wan_mcp.ledger import DAY, ImageState, Order, OrderImage, Origin, Stage
from wan_mcp_tools.domain.errors import ErrorCode, LinkExpiredError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

TRANSITIONS: Mapping[Stage, frozenset[Stage]] = {
    Stage.QUEUED: frozenset({Stage.QUEUED, Stage.SENDING, Stage.CLOSED}),
    Stage.SENDING: frozenset({Stage.QUEUED, Stage.OPEN, Stage.LOST, Stage.CLOSED}),
    Stage.LOST: frozenset({Stage.LOST, Stage.OPEN, Stage.CLOSED}),
    # A task that was taken for this order's can turn out to be another's.
    Stage.OPEN: frozenset({Stage.OPEN, Stage.LOST, Stage.CLOSED}),
    # An answer that comes after the order was given up is good news all the same.
    Stage.CLOSED: frozenset({Stage.CLOSED, Stage.OPEN, Stage.LOST}),
}
"""The stages that an order of a stage may be in after a change."""

NOT_SENT = Problem(
    ErrorCode.NOT_SENT,
    "The server stopped before the order was sent. Nothing was ordered and nothing will be charged. Order again.",
)
CANCELED_UNSENT = Problem(ErrorCode.CANCELED, "The order was cancelled before it was sent. Nothing is charged.")
CANCELED = Problem(ErrorCode.CANCELED, "The task was cancelled before it began. It is not charged.")
"""Why a task is CANCELED, whoever has cancelled it."""
TASK_FAILED = Problem(
    ErrorCode.TASK_FAILED, "The service could not make the picture and gave no reason. It is not charged."
)
EXPIRED = Problem(
    ErrorCode.EXPIRED,
    "The service keeps a task and its images for 24 hours, and they are over. Nothing of it was saved.",
)
NO_IMAGES = Problem(
    ErrorCode.NO_IMAGES,
    "The service says that the task has succeeded, but names no image that can be read. It is asked again.",
)
ANSWER_NOT_FOUND = Problem(
    ErrorCode.ANSWER_LOST,
    "The order was sent and its answer was lost. The service lists no task that could be it, so it was most likely "
    "never created. It is not sent again by itself.",
)
ANSWER_LOST_FOR_GOOD = Problem(
    ErrorCode.ANSWER_LOST_FOR_GOOD,
    "It was ordered by the synchronous protocol, which gives no task id: if its answer is lost, it cannot be found "
    "again. It may have been charged, and is not repeated by itself. The asynchronous protocol has no such gap.",
)
RECOVERED = (
    "The answer to this order was lost; the task was found again by its model, time, size and number of images. "
    "If another program orders with the same account at the same moment, look whether the picture is yours."
)


# --- from the request to the answer --------------------------------------------------------------------------


def placed(
    request: ImageRequest,
    *,
    local_id: str,
    account: str,
    wire_model: str,
    protocol: str,
    fingerprint: str,
    folder: str,
    principal: str,
    cost: int,
    currency: str | None,
    worker_id: str,
    awaited_until: float,
    now: float,
) -> Order:
    """Give a request as an order of a principal that is about to be written down."""
    return Order(
        local_id=local_id,
        origin=Origin.ORDERED,
        region=request.region,
        account=account,
        stage=Stage.QUEUED,
        status=TaskStatus.PENDING,
        created_at=now,
        model=request.model,
        wire_model=wire_model,
        protocol=protocol,
        request=request,
        fingerprint=fingerprint,
        images_ordered=request.n,
        folder=folder,
        worker_id=worker_id,
        awaited_until=awaited_until,
        awaited_by=worker_id,
        principal=principal,
        cost=cost,
        currency=currency,
    )


def sending(order: Order, *, clock_offset: float | None) -> Order:
    """Give an order whose creating request is about to leave."""
    return _move(order, Stage.SENDING, clock_offset=clock_offset)


def requeued(order: Order) -> Order:
    """Give an order that was certainly not created and is sent again."""
    return _move(order, Stage.QUEUED, sent_at=None)


def accepted(order: Order, answer: TaskAnswer, *, now: float) -> Order:
    """Give an order that the service has answered: with a task, or by the synchronous protocol with images."""
    order = _move(
        order,
        Stage.OPEN,
        accepted_at=now,
        expires_at=now + DAY,
        request_id=answer.request_id,
        error_code=None,
        error_message=None,
    )
    if answer.task_id is not None:
        return replace(order, task_id=answer.task_id, status=TaskStatus.PENDING)
    images = make_images(answer.images, ordered=count_expected(order))
    return replace(order, status=answer.status, finished_at=now, images=images, notes=_note_count(order, answer))


def lost(order: Order, problem: Problem | None, *, now: float) -> Order:
    """Give an order that was sent and whose answer did not come; its task is searched for."""
    order = _move(order, Stage.LOST, status=TaskStatus.SUBMIT_UNKNOWN, lost_at=now)
    return _with_problem(order, problem) if problem else order


def lost_for_good(order: Order, reason: str, *, now: float | None = None) -> Order:
    """Give an order of the synchronous protocol whose answer did not come: there is nothing to search for."""
    problem = Problem(ANSWER_LOST_FOR_GOOD.code, f"{reason} {ANSWER_LOST_FOR_GOOD.message}".strip())
    return replace(closed(order, problem, TaskStatus.SUBMIT_UNKNOWN), lost_at=order.lost_at if now is None else now)


# --- a lost order and its task -------------------------------------------------------------------------------


def found(order: Order, task_id: str, *, now: float) -> Order:
    """Give a lost order with the one task that can be its own."""
    order = _move(order, Stage.OPEN, task_id=task_id, notes=(*order.notes, RECOVERED), error_code=None)
    return replace(order, **_known_of_found(order, now), error_message=None)


def candidate(order: Order, task_id: str, *, local_id: str, now: float) -> Order:
    """Give a task that may be a lost order's own as an order of its own."""
    note = (
        f"This may be the picture of the order {order.local_id}, whose answer was lost. The service does not "
        "tell of tasks that fit it whose they are."
    )
    return Order(
        local_id=local_id,
        task_id=task_id,
        origin=Origin.RECOVERED,
        region=order.region,
        account=order.account,
        stage=Stage.OPEN,
        created_at=now,
        model=order.model,
        wire_model=order.wire_model,
        protocol=order.protocol,
        folder=order.folder,
        principal=order.principal,
        notes=(note,),
        **_known_of_found(order, now),
    )


def ambiguous(order: Order, task_ids: Sequence[str]) -> Order:
    """Give a lost order of which several tasks can be its own."""
    problem = Problem(
        ErrorCode.ANSWER_AMBIGUOUS,
        "The order was sent and its answer was lost. Several tasks may be it, and their pictures are saved: "
        f"{', '.join(task_ids)}. It is not sent again by itself.",
    )
    return closed(order, problem, TaskStatus.SUBMIT_UNKNOWN)


def not_found(order: Order) -> Order:
    """Give a lost order that no task of the service can be."""
    return closed(order, ANSWER_NOT_FOUND, TaskStatus.SUBMIT_UNKNOWN)


def displaced(order: Order) -> Order:
    """Give an order whose task turned out to be another order's: it is lost again, and searched for anew."""
    return _move(
        order,
        Stage.LOST,
        status=TaskStatus.SUBMIT_UNKNOWN,
        task_id=None,
        accepted_at=None,
        finished_at=None,
        expires_at=None,
        duration=None,
        actual_prompt=None,
        error_code=None,
        error_message=None,
        notes=(),
        worker_id=None,
        lease_until=0.0,
        delivered_at=None,
        images=(),
    )


def adopted(
    task_id: str,
    *,
    local_id: str,
    region: str,
    account: str,
    status: TaskStatus,
    model: str | None,
    wire_model: str | None,
    folder: str,
    principal: str,
    created_at: float,
    now: float,
) -> Order:
    """Give a task that only the service knew as an order of whoever has asked for it."""
    return Order(
        local_id=local_id,
        task_id=task_id,
        origin=Origin.ADOPTED,
        region=region,
        account=account,
        stage=Stage.OPEN,
        status=status,
        created_at=created_at,
        model=model,
        wire_model=wire_model,
        folder=folder,
        principal=principal,
        accepted_at=now,
        expires_at=now + DAY,
    )


# --- from the task to its images -----------------------------------------------------------------------------


def running(order: Order, status: TaskStatus) -> Order:
    """Give an order whose task goes on in another state."""
    return _move(order, Stage.OPEN, status=status)


def succeeded(
    order: Order,
    answer: TaskAnswer,
    images: tuple[OrderImage, ...],
    *,
    duration: float | None,
    expires_at: float,
    now: float,
) -> Order:
    """Give an order whose task has ended with images; their links live until `expires_at`."""
    return _move(
        order,
        Stage.OPEN,
        status=TaskStatus.SUCCEEDED,
        finished_at=now,
        request_id=order.request_id or answer.request_id,
        duration=duration,
        actual_prompt=answer.actual_prompt,
        expires_at=expires_at,
        images=images,
        notes=_note_count(order, answer),
    )


def failed(order: Order, answer: TaskAnswer, *, now: float) -> Order:
    """Give an order whose task has failed."""
    return _ended(closed(order, answer.problem or TASK_FAILED), answer, now)


def canceled(order: Order, answer: TaskAnswer, *, now: float) -> Order:
    """Give an order whose task was cancelled, as the service says."""
    return _ended(closed(order, CANCELED, TaskStatus.CANCELED), answer, now)


def canceled_here(order: Order, *, now: float) -> Order:
    """Give an order that is cancelled by us, before it was sent or while its task was PENDING."""
    problem = CANCELED_UNSENT if order.stage is Stage.QUEUED else CANCELED
    return replace(closed(order, problem, TaskStatus.CANCELED), finished_at=now)


def expired(order: Order) -> Order:
    """Give an order whose day is over with nothing saved."""
    return closed(order, EXPIRED, TaskStatus.EXPIRED)


def with_image(order: Order, image: OrderImage) -> Order:
    """Give an order with one of its images changed."""
    return replace(order, images=tuple(image if known.index == image.index else known for known in order.images))


def with_notes(order: Order, notes: Iterable[str]) -> Order:
    """Give an order of which something more is said."""
    return replace(order, notes=tuple(dict.fromkeys((*order.notes, *notes))))


def images_tried(order: Order, images: Sequence[OrderImage], *, is_delivered: bool, now: float) -> Order:
    """
    Give an order after every image was tried: it ends when none is left to try.

    `is_delivered` says that a call waits for the images and gets them with this.
    """
    order = replace(order, images=tuple(images))
    if not all(image.state.is_final for image in images):
        return order
    if all(image.state is ImageState.FAILED for image in images):
        gone = next((image for image in images if image.code == EXPIRED.code), None)
        first = gone or images[0]
        problem = Problem(first.code or ErrorCode.FAILED, first.message or "No image could be made.")
        return closed(order, problem, TaskStatus.EXPIRED if gone else TaskStatus.FAILED)
    order = _move(order, Stage.CLOSED)
    return replace(order, delivered_at=now) if is_delivered else order


# --- the end, and who works on it ----------------------------------------------------------------------------


def closed(order: Order, problem: Problem, status: TaskStatus = TaskStatus.FAILED) -> Order:
    """Give an order that ends with a reason."""
    return _with_problem(_move(order, Stage.CLOSED, status=status), problem)


def not_sent(order: Order) -> Order:
    """Give an order that nobody sends any more: its server ended while it stood in line."""
    return closed(order, NOT_SENT)


def released(order: Order) -> Order:
    """Give an order that is left to another worker."""
    return replace(order, worker_id=None, lease_until=0.0)


def is_over(order: Order, now: float) -> bool:
    """Say whether the day of a task is over by the time `now`."""
    return order.expires_at is not None and now > order.expires_at


def is_settled(order: Order) -> bool:
    """Say whether waiting longer changes nothing for a caller."""
    if order.stage is Stage.CLOSED or order.status is TaskStatus.UNKNOWN:
        return True
    if order.stage is not Stage.OPEN or order.status is not TaskStatus.SUCCEEDED or not order.images:
        # A task that was found is asked for once, even if it is said to have ended.
        return False
    return all(image.state.is_final or image.state is ImageState.UNSAVED for image in order.images)


def count_expected(order: Order) -> int:
    """Count the images that a finished order must have; of a set its model decides that."""
    is_counted_by_model = order.request is not None and order.request.is_counted_by_model
    return 0 if is_counted_by_model else order.images_ordered


# --- one image -----------------------------------------------------------------------------------------------


def make_images(images: Sequence[TaskImage], *, ordered: int = 0) -> tuple[OrderImage, ...]:
    """Give the images of an answer as the ledger keeps them; those ordered and not given are failures."""
    made = [
        OrderImage(
            image.index,
            ImageState.WAITING if image.url else ImageState.FAILED,
            url=image.url,
            code=image.code,
            message=image.message,
        )
        for image in images
    ]
    given = len(made)
    for index in range(given + 1, ordered + 1 if given else 0):
        reason = f"The service gave {given} of {ordered} images. Only images that it gives are charged."
        made.append(OrderImage(index, ImageState.FAILED, code=ErrorCode.NOT_DELIVERED, message=reason))
    return tuple(made)


def image_publishing(image: OrderImage, *, path: str, sha256: str) -> OrderImage:
    """Give an image whose checked bytes are about to get their name."""
    return replace(image, state=ImageState.PUBLISHING, path=path, sha256=sha256)


def image_saved(image: OrderImage, *, width: int, height: int, size: int) -> OrderImage:
    """Give an image that is the file at its path; sides in pixels, `size` in bytes."""
    return replace(
        image,
        state=ImageState.SAVED,
        # The link is a secret for a day, and the image is a file now.
        url=None,
        width=width,
        height=height,
        bytes=size,
        code=None,
        message=None,
    )


def image_unsaved(image: OrderImage, problem: Problem) -> OrderImage:
    """Give an image that could not be fetched or written; this is tried again as long as its link lives."""
    return replace(image, state=ImageState.UNSAVED, code=problem.code, message=problem.message, path=None)


def image_given_up(image: OrderImage) -> OrderImage:
    """Give an image whose link is over and that was never saved."""
    why = "" if is_link_over(image) or not image.message else f" The last attempt to save it: {image.message}"
    message = f"The link to the image is over, and it was never saved.{why} Order again if it is still wanted."
    return replace(image, state=ImageState.FAILED, url=None, code=EXPIRED.code, message=message)


def is_link_over(image: OrderImage) -> bool:
    """Say whether an image could not be fetched because its link is over: the task may name a new one."""
    return image.state is ImageState.UNSAVED and image.code == LinkExpiredError.default_code


# --- shared --------------------------------------------------------------------------------------------------


def _move(order: Order, stage: Stage, **changes: Any) -> Order:  # noqa: ANN401 - values of the order's fields
    """Give an order in another stage, or the same."""
    if stage not in TRANSITIONS[order.stage]:
        raise ValueError(f"an order that is {order.stage} cannot become {stage}")
    return replace(order, stage=stage, **changes)


def _with_problem(order: Order, problem: Problem) -> Order:
    return replace(order, error_code=problem.code, error_message=problem.message)


def _ended(order: Order, answer: TaskAnswer, now: float) -> Order:
    return replace(order, finished_at=now, request_id=order.request_id or answer.request_id)


def _note_count(order: Order, answer: TaskAnswer) -> tuple[str, ...]:
    """Give the notes of an order, with one on images that the answer has beyond those that were ordered, or lacks."""
    read = len(answer.images)
    count = order.images_ordered
    made = sum(image.url is not None for image in answer.images)
    if 0 < made < count and not count_expected(order):
        return (*order.notes, f"The model made {made} of at most {count} images, and no more are charged.")
    if not answer.surplus:
        return order.notes
    ordered = f"{count} {'was' if count == 1 else 'were'} ordered" if count else f"no order has more than {read}"
    note = f"The answer of the service names {read + answer.surplus} images, and {ordered}: {read} of them are kept."
    return (*order.notes, note)


def _known_of_found(order: Order, now: float) -> dict[str, Any]:
    return {
        "status": TaskStatus.RUNNING,
        "accepted_at": order.sent_at,
        "expires_at": (order.sent_at or now) + DAY,
    }
