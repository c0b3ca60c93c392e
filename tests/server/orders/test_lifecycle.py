"""Every change of an order, and the stages that may follow one another."""

from dataclasses import replace

import pytest

from fakes.orders import make_order, make_request
from wan_mcp.dashscope import TaskAnswer, TaskImage
from wan_mcp.ledger import DAY, ImageState, OrderImage, Origin, Stage
from wan_mcp.orders import lifecycle
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

NOW = 1_000_000.0
URL = "https://images/1.png"
TASK = TaskAnswer("task-1", TaskStatus.PENDING, request_id="request-1")
PICTURE = TaskAnswer(None, TaskStatus.SUCCEEDED, images=(TaskImage(1, URL),), request_id="request-1")
BROKEN = TaskAnswer("task-1", TaskStatus.FAILED, problem=Problem("InternalError", "No."), request_id="request-2")
WAITING = OrderImage(1, ImageState.WAITING, url=URL)
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/1.png")
GONE = OrderImage(1, ImageState.FAILED, code="Expired", message="The link is over.")
REFUSED = OrderImage(1, ImageState.FAILED, code="DataInspectionFailed", message="No.")
UNSAVED = OrderImage(1, ImageState.UNSAVED, url=URL, code="Storage", message="The disk is full.")

QUEUED = make_order()
SENDING = replace(QUEUED, stage=Stage.SENDING, sent_at=NOW - 5)
LOST = replace(SENDING, stage=Stage.LOST, status=TaskStatus.SUBMIT_UNKNOWN, error_code="AnswerLost", lost_at=NOW - 1)
OPEN = replace(QUEUED, stage=Stage.OPEN, task_id="task-1", accepted_at=NOW - 3, images=(WAITING,))
GIVEN_UP = replace(LOST, stage=Stage.CLOSED)

CHANGES = {
    "is about to be sent": (
        QUEUED,
        lambda order: lifecycle.sending(order, clock_offset=0.5),
        {"stage": Stage.SENDING, "clock_offset": 0.5},
    ),
    "stands in line again": (SENDING, lifecycle.requeued, {"stage": Stage.QUEUED, "sent_at": None}),
    "is accepted with a task": (
        SENDING,
        lambda order: lifecycle.accepted(order, TASK, now=NOW),
        {
            "stage": Stage.OPEN,
            "status": TaskStatus.PENDING,
            "task_id": "task-1",
            "accepted_at": NOW,
            "expires_at": NOW + DAY,
            "request_id": "request-1",
        },
    ),
    "is accepted with its image": (
        SENDING,
        lambda order: lifecycle.accepted(order, PICTURE, now=NOW),
        {
            "stage": Stage.OPEN,
            "status": TaskStatus.SUCCEEDED,
            "accepted_at": NOW,
            "finished_at": NOW,
            "expires_at": NOW + DAY,
            "request_id": "request-1",
            "images": (WAITING,),
        },
    ),
    "is accepted after it was given up": (
        GIVEN_UP,
        lambda order: lifecycle.accepted(order, TASK, now=NOW),
        {
            "stage": Stage.OPEN,
            "status": TaskStatus.PENDING,
            "task_id": "task-1",
            "accepted_at": NOW,
            "expires_at": NOW + DAY,
            "request_id": "request-1",
            "error_code": None,
        },
    ),
    "is lost with a reason": (
        SENDING,
        lambda order: lifecycle.lost(order, Problem("AnswerLost", "Cut off."), now=NOW),
        {
            "stage": Stage.LOST,
            "status": TaskStatus.SUBMIT_UNKNOWN,
            "lost_at": NOW,
            "error_code": "AnswerLost",
            "error_message": "Cut off.",
        },
    ),
    "is lost with its process": (
        SENDING,
        lambda order: lifecycle.lost(order, None, now=NOW),
        {"stage": Stage.LOST, "status": TaskStatus.SUBMIT_UNKNOWN, "lost_at": NOW},
    ),
    "is lost for good by the synchronous protocol": (
        SENDING,
        lambda order: lifecycle.lost_for_good(order, "Cut off.", now=NOW),
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.SUBMIT_UNKNOWN,
            "lost_at": NOW,
            "error_code": "AnswerLostForGood",
            "error_message": f"Cut off. {lifecycle.ANSWER_LOST_FOR_GOOD.message}",
        },
    ),
    "is found": (
        LOST,
        lambda order: lifecycle.found(order, "task-1", now=NOW),
        {
            "stage": Stage.OPEN,
            "status": TaskStatus.RUNNING,
            "task_id": "task-1",
            "accepted_at": NOW - 5,
            "expires_at": NOW - 5 + DAY,
            "notes": (lifecycle.RECOVERED,),
            "error_code": None,
        },
    ),
    "has several candidates": (
        LOST,
        lambda order: lifecycle.ambiguous(order, ["task-1", "task-2"]),
        {
            "stage": Stage.CLOSED,
            "error_code": "AnswerAmbiguous",
            "error_message": (
                "The order was sent and its answer was lost. Several tasks may be it, and their pictures are saved: "
                "task-1, task-2. It is not sent again by itself."
            ),
        },
    ),
    "is not found": (
        LOST,
        lifecycle.not_found,
        {"stage": Stage.CLOSED, "error_message": lifecycle.ANSWER_NOT_FOUND.message},
    ),
    "loses its task to another order": (
        replace(OPEN, worker_id="me", lease_until=NOW, notes=("found",), delivered_at=NOW, actual_prompt="a fox"),
        lifecycle.displaced,
        {
            "stage": Stage.LOST,
            "status": TaskStatus.SUBMIT_UNKNOWN,
            "task_id": None,
            "accepted_at": None,
            "notes": (),
            "worker_id": None,
            "lease_until": 0.0,
            "delivered_at": None,
            "actual_prompt": None,
            "images": (),
        },
    ),
    "runs": (OPEN, lambda order: lifecycle.running(order, TaskStatus.RUNNING), {"status": TaskStatus.RUNNING}),
    "succeeds": (
        replace(OPEN, images=()),
        lambda order: lifecycle.succeeded(
            order,
            replace(TASK, actual_prompt="a red fox"),
            (WAITING,),
            duration=20.0,
            expires_at=NOW + 60,
            now=NOW,
        ),
        {
            "status": TaskStatus.SUCCEEDED,
            "finished_at": NOW,
            "request_id": "request-1",
            "duration": 20.0,
            "actual_prompt": "a red fox",
            "expires_at": NOW + 60,
            "images": (WAITING,),
        },
    ),
    "fails": (
        OPEN,
        lambda order: lifecycle.failed(order, BROKEN, now=NOW),
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.FAILED,
            "finished_at": NOW,
            "request_id": "request-2",
            "error_code": "InternalError",
            "error_message": "No.",
        },
    ),
    "is cancelled at the service": (
        OPEN,
        lambda order: lifecycle.canceled(order, TASK, now=NOW),
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.CANCELED,
            "finished_at": NOW,
            "request_id": "request-1",
            "error_code": "Canceled",
            "error_message": lifecycle.CANCELED.message,
        },
    ),
    "is cancelled in line": (
        QUEUED,
        lambda order: lifecycle.canceled_here(order, now=NOW),
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.CANCELED,
            "finished_at": NOW,
            "error_code": "Canceled",
            "error_message": lifecycle.CANCELED_UNSENT.message,
        },
    ),
    "expires": (
        OPEN,
        lifecycle.expired,
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.EXPIRED,
            "error_code": "Expired",
            "error_message": lifecycle.EXPIRED.message,
        },
    ),
    "is never sent": (
        QUEUED,
        lifecycle.not_sent,
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.FAILED,
            "error_code": "NotSent",
            "error_message": lifecycle.NOT_SENT.message,
        },
    ),
    "is left to another worker": (
        replace(OPEN, worker_id="me", lease_until=NOW),
        lifecycle.released,
        {"worker_id": None, "lease_until": 0.0},
    ),
    "is saved and received": (
        OPEN,
        lambda order: lifecycle.images_tried(order, [SAVED], is_delivered=True, now=NOW),
        {"stage": Stage.CLOSED, "images": (SAVED,), "delivered_at": NOW},
    ),
    "is saved and not received": (
        OPEN,
        lambda order: lifecycle.images_tried(order, [SAVED], is_delivered=False, now=NOW),
        {"stage": Stage.CLOSED, "images": (SAVED,)},
    ),
    "has an image that is tried again": (
        OPEN,
        lambda order: lifecycle.images_tried(order, [UNSAVED], is_delivered=True, now=NOW),
        {"images": (UNSAVED,)},
    ),
    "has images that all failed": (
        OPEN,
        lambda order: lifecycle.images_tried(order, [REFUSED], is_delivered=True, now=NOW),
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.FAILED,
            "images": (REFUSED,),
            "error_code": "DataInspectionFailed",
            "error_message": "No.",
        },
    ),
    "has images whose links are over": (
        OPEN,
        lambda order: lifecycle.images_tried(order, [GONE], is_delivered=True, now=NOW),
        {
            "stage": Stage.CLOSED,
            "status": TaskStatus.EXPIRED,
            "images": (GONE,),
            "error_code": "Expired",
            "error_message": "The link is over.",
        },
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_order_that(change):
    before, make, changes = CHANGES[change]

    assert make(before) == replace(before, **changes)


FOLLOWERS = {
    Stage.QUEUED: {Stage.QUEUED, Stage.SENDING, Stage.CLOSED},
    Stage.SENDING: {Stage.QUEUED, Stage.OPEN, Stage.LOST, Stage.CLOSED},
    Stage.LOST: {Stage.LOST, Stage.OPEN, Stage.CLOSED},
    Stage.OPEN: {Stage.OPEN, Stage.LOST, Stage.CLOSED},
    Stage.CLOSED: {Stage.CLOSED, Stage.OPEN, Stage.LOST},
}
MOVES = {
    Stage.QUEUED: lifecycle.requeued,
    Stage.SENDING: lambda order: lifecycle.sending(order, clock_offset=None),
    Stage.LOST: lambda order: lifecycle.lost(order, None, now=NOW),
    Stage.OPEN: lambda order: lifecycle.accepted(order, TASK, now=NOW),
    Stage.CLOSED: lifecycle.expired,
}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("before", Stage)
def test_no_order_goes_where_it_cannot_have_come_from(before, stage):
    order = replace(QUEUED, stage=before)

    if stage in FOLLOWERS[before]:
        assert MOVES[stage](order).stage is stage
    else:
        with pytest.raises(ValueError, match="cannot become"):
            MOVES[stage](order)


def test_a_candidate_of_a_lost_order_is_an_order_of_its_own_that_was_not_ordered_here():
    candidate = lifecycle.candidate(LOST, "task-2", local_id="local-2", now=NOW)

    assert (candidate.local_id, candidate.task_id, candidate.origin) == ("local-2", "task-2", Origin.RECOVERED)
    assert (candidate.stage, candidate.status, candidate.images_ordered) == (Stage.OPEN, TaskStatus.RUNNING, 0)
    assert candidate.folder == LOST.folder
    assert LOST.local_id in candidate.notes[0]


def test_images_that_the_service_did_not_give_are_failures_and_none_at_all_is_no_answer():
    made = lifecycle.make_images((TaskImage(1, URL), TaskImage(2, None, "Refused", "No.")), ordered=3)

    assert [(image.state, image.code) for image in made] == [
        (ImageState.WAITING, None),
        (ImageState.FAILED, "Refused"),
        (ImageState.FAILED, "NotDelivered"),
    ]
    assert lifecycle.make_images((), ordered=3) == ()


@pytest.mark.parametrize("option", ["enable_sequential", "enable_interleave"])
def test_of_a_set_the_model_decides_how_many_images_there_are_and_none_is_missing(option):
    request = make_request(n=12, options={option: True})
    order = replace(SENDING, request=request, images_ordered=12)
    answer = replace(PICTURE, images=tuple(TaskImage(index, URL) for index in range(1, 7)))
    accepted = lifecycle.accepted(order, answer, now=NOW)

    assert [image.index for image in accepted.images] == [1, 2, 3, 4, 5, 6]
    assert accepted.notes == ("The model made 6 of at most 12 images, and no more are charged.",)
    plain = lifecycle.accepted(replace(order, request=make_request(n=12)), answer, now=NOW)
    assert [image.code for image in plain.images[6:]] == ["NotDelivered"] * 6
    assert plain.notes == ()
    whole = lifecycle.accepted(replace(order, images_ordered=6), answer, now=NOW)
    assert whole.notes == ()


def test_the_link_of_an_image_is_kept_until_it_is_a_file():
    publishing = lifecycle.image_publishing(WAITING, path="/pictures/1.png", sha256="digest")
    saved = lifecycle.image_saved(publishing, width=8, height=6, size=400)

    assert (publishing.state, publishing.url, publishing.path) == (ImageState.PUBLISHING, URL, "/pictures/1.png")
    assert (saved.state, saved.url, saved.sha256) == (ImageState.SAVED, None, "digest")
    assert (saved.width, saved.height, saved.bytes) == (8, 6, 400)


def test_an_image_that_is_given_up_says_why_it_was_not_saved():
    given_up = lifecycle.image_given_up(UNSAVED)

    assert (given_up.state, given_up.code, given_up.url) == (ImageState.FAILED, "Expired", None)
    assert "The disk is full." in given_up.message
