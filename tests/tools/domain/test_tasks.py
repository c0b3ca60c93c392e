"""What a task says of itself: whether it failed, and what a caller can do about it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from wan_mcp_tools.domain.errors import ErrorCode
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.tasks import (
    CopyRemark,
    FailedImage,
    NameChange,
    NameReason,
    Problem,
    RelativeFolder,
    SavedImage,
    Task,
    TaskStatus,
    describe_places,
)

UNSAVED = FailedImage(1, ErrorCode.STORAGE, "The disk is full.", "https://example.com/1.png")
REFUSED = FailedImage(1, "DataInspectionFailed", "It was refused.")


def make_task(status, *, task_id="t", settled=True, **facts):
    created_at = datetime(2026, 11, 27, tzinfo=UTC)
    return Task(task_id, "local-t", TaskStatus(status), "sandbox", settled, created_at, **facts)


def problem(code):
    return Problem(code, "It went wrong.")


@pytest.mark.parametrize(
    ("task", "action"),
    [
        (make_task("PENDING", task_id="local-t", settled=False), NextAction.WAIT_FOR_CONFIRMATION),
        (make_task("PENDING", settled=False), NextAction.WAIT_FOR_RESULT),
        (make_task("RUNNING", settled=False), NextAction.WAIT_FOR_RESULT),
        (make_task("SUCCEEDED", settled=False), NextAction.WAIT_FOR_FILES),
        (make_task("SUCCEEDED", settled=False, failed_images=(UNSAVED,)), NextAction.GET_LATER),
        (make_task("SUCCEEDED", failed_images=(REFUSED,)), None),
        (make_task("SUBMIT_UNKNOWN", settled=False, open=True), NextAction.WAIT_FOR_SEARCH),
        (make_task("SUBMIT_UNKNOWN", problem=problem(ErrorCode.ANSWER_LOST_FOR_GOOD)), NextAction.ORDER_AT_RISK),
        (make_task("SUBMIT_UNKNOWN", problem=problem("AnswerAmbiguous")), NextAction.COMPARE_CANDIDATES),
        (make_task("SUBMIT_UNKNOWN", problem=problem("AnswerLost")), NextAction.LIST_SERVICE_OR_ORDER_AT_RISK),
        (make_task("UNKNOWN"), NextAction.LIST_TASKS),
        (make_task("FAILED", problem=problem("InternalError")), None),
        (make_task("CANCELED"), None),
        (make_task("EXPIRED"), None),
    ],
)
def test_a_task_says_what_to_do_next(task, action):
    assert task.next_step == (action and NextStep(action, task_id=task.task_id))


@pytest.mark.parametrize(
    ("task", "failed"),
    [
        (make_task("FAILED"), True),
        (make_task("EXPIRED"), True),
        (make_task("UNKNOWN"), True),
        (make_task("SUBMIT_UNKNOWN"), True),
        (make_task("SUBMIT_UNKNOWN", open=True), False),
        (make_task("SUCCEEDED", failed_images=(UNSAVED,)), False),
        (make_task("CANCELED"), False),
        (make_task("RUNNING"), False),
    ],
)
def test_nothing_but_an_order_that_came_to_nothing_or_is_unclear_is_a_failure(task, failed):
    assert task.is_failure == failed


@pytest.mark.parametrize("code", ["DataInspectionFailed", "IPInfringementSuspect", "InappropriateContent"])
def test_the_services_inspection_is_known_by_its_codes(code):
    assert problem(code).is_refusal
    assert not problem("InternalError.Timeout").is_refusal


def test_an_image_can_be_fetched_again_where_its_next_step_says_so():
    step = NextStep(NextAction.FETCH_AGAIN, task_id="t", index=1, until=datetime(2026, 11, 28, tzinfo=UTC))
    assert FailedImage(1, ErrorCode.FILE_GONE, "It is gone.", next_step=step).can_fetch_again
    assert not UNSAVED.can_fetch_again


def saved(name, change=None, *, index=1, folder=None):
    return SavedImage(index, f"/pictures/{name}", 1280, 1280, 2345, name_change=change, wanted_folder=folder)


def changed(wanted, *reasons):
    return NameChange(wanted, reasons)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((saved("hero.png"),), ()),
        (
            (saved("hero.png", changed("hero.jpg", NameReason.ENDING)),),
            ("hero.jpg is saved as hero.png: the ending follows the picture's format.",),
        ),
        (
            (saved("hero-2.png", changed("hero.jpg", NameReason.TAKEN, NameReason.ENDING)),),
            ("hero.jpg is saved as hero-2.png: that name was taken, and the ending follows the picture's format.",),
        ),
        (
            (
                saved("a-1.png", changed("a-1.jpg", NameReason.ENDING)),
                saved("a-2-2.png", changed("a-2.jpg", NameReason.TAKEN, NameReason.ENDING), index=2),
            ),
            (
                "a-1.jpg is saved as a-1.png, and so on: the ending follows the picture's format, and that name was taken.",
            ),
        ),
        (
            (saved("a.png", folder="/site"), saved("b.png", folder="/site", index=2)),
            ("The folder /site is not an allowed one now, so what belongs there is saved in the image folder.",),
        ),
        (
            (replace(saved("a.jpg"), remarks=(CopyRemark.WHITE_BACKGROUND,)),),
            ("JPEG has no transparency, so transparent parts are white; webp and png keep it.",),
        ),
        (
            (replace(saved("a.png"), relative_folder=RelativeFolder("icons", "/pictures/icons")),),
            ("The relative folder icons is /pictures/icons.",),
        ),
    ],
)
def test_another_name_and_another_folder_than_were_asked_for_are_told_once_with_the_reason(images, words):
    assert describe_places(images) == words


def test_what_is_told_of_a_name_or_a_folder_is_one_short_line():
    image = saved("x" * 190 + ".png", changed("x" * 190 + "\n.jpg", NameReason.ENDING), folder="/a\nb" * 900)

    words = describe_places([image])

    assert len(" ".join(words)) < 600
    assert "\n" not in " ".join(words)


def test_the_name_of_a_file_is_told_whatever_system_it_lies_on():
    assert saved("hero.png").name == "hero.png"
    assert SavedImage(1, r"C:\pictures\hero.png", 1, 1, 1).name == "hero.png"
