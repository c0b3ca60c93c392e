"""What a page is told of a task beside what a model reads."""

from datetime import UTC, datetime

import pytest

from wan_mcp_tools.domain.errors import ErrorCode
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.tasks import FailedImage, Problem, Task, TaskStatus
from wan_mcp_tools.results import task_facts, task_result

END = datetime(2026, 11, 28, tzinfo=UTC)
UNSAVED = FailedImage(1, "Storage", "The disk is full.", "https://example.com/1.png")


def make_task(status, *, settled=True, **facts):
    return Task("t", "local-t", TaskStatus(status), "sandbox", settled, datetime(2026, 11, 27, tzinfo=UTC), **facts)


@pytest.mark.parametrize(
    ("waits", "task"),
    [
        (True, make_task("PENDING", settled=False)),
        (True, make_task("RUNNING", settled=False)),
        (True, make_task("SUCCEEDED", settled=False)),
        (True, make_task("SUBMIT_UNKNOWN", settled=False, open=True)),
        (False, make_task("SUCCEEDED")),
        (False, make_task("SUCCEEDED", failed_images=(UNSAVED,))),
        (False, make_task("SUBMIT_UNKNOWN")),
        (False, make_task("FAILED")),
        (False, make_task("UNKNOWN")),
        (False, make_task("EXPIRED")),
    ],
)
def test_a_page_asks_again_exactly_where_a_model_is_told_to_wait(waits, task):
    assert task_facts(task).get("is_waiting", False) == waits
    assert ("wait_seconds=" in (task_result(task).next_step or "")) == waits


def test_images_that_are_paid_for_and_not_saved_are_a_fact():
    assert task_facts(make_task("SUCCEEDED", failed_images=(UNSAVED,)))["is_unsaved"]
    assert "is_unsaved" not in task_facts(make_task("SUCCEEDED"))


@pytest.mark.parametrize(("code", "refused"), [("DataInspectionFailed", True), ("InternalError", False)])
def test_a_refusal_of_the_services_inspection_is_a_fact(code, refused):
    assert ("is_refusal" in task_facts(make_task("FAILED", problem=Problem(code, "It failed.")))) == refused


def test_a_file_that_can_be_fetched_again_is_told_to_a_page_in_plain_words():
    step = NextStep(NextAction.FETCH_AGAIN, task_id="t", index=1, until=END)
    gone = FailedImage(1, ErrorCode.FILE_GONE, "The file was moved or deleted.", next_step=step)
    lost = FailedImage(2, ErrorCode.FILE_GONE, "The file was moved or deleted.")
    task = make_task("SUCCEEDED", failed_images=(gone, lost))

    assert task_facts(task)["failed_images"] == [
        {"index": 1, "code": "FileGone", "message": gone.message, "can_fetch_again": True},
        {"index": 2, "code": "FileGone", "message": lost.message, "can_fetch_again": False},
    ]
    assert "download_image with task_id=t and index=1" in task_result(task).failed_images[0].message


@pytest.mark.parametrize(
    "facts",
    [
        {"deduplicated": True},
        {"saved_elsewhere": True},
        {"problem": Problem("Queued", "It waits.", NextStep(NextAction.GET_TASK, task_id="t"))},
    ],
)
def test_a_page_is_told_of_no_tool_and_of_no_argument(facts):
    task = make_task("RUNNING", settled=False, **facts)
    told, plain = task_result(task).message, task_facts(task)["message"]

    assert plain
    assert not {"fresh", "download_image", "get_task"} & set(plain.replace("=", " ").split())
    assert len(plain) < len(told)


def test_a_task_that_is_done_and_told_in_plain_words_needs_no_more():
    assert task_facts(make_task("SUCCEEDED", notes=("The seed was chosen here.",))) == {}
