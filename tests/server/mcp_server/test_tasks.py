"""What becomes of each kind of order as a task, on a service that answers whatever it is told to."""

from datetime import UTC, datetime, timedelta

import pytest
from mcp.types import CallToolRequestParams

from wan_mcp.mcp_server.tasks import OrderTaskStore, poll_interval
from wan_mcp.mcp_server.tasks_extension import Cancelled, Completed, TaskStoreError, UnknownTaskError, Working
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import LedgerError, NotConnectedError, NotFoundError
from wan_mcp_tools.domain.tasks import FailedImage, Problem, Task, TaskStatus

CREATED = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def _order(status, **facts):
    known = {"task_id": "t", "local_id": "local-1", "region": "sandbox", "settled": False, "open": True}
    return Task(status=status, created_at=CREATED, **known | facts)


class OneTaskService:
    """Knows one task, or raises one error; `left` is what it has learned."""

    default_wait_seconds = 45.0
    catalogue = Catalogue(default_region="sandbox", keyed_regions=frozenset({"sandbox"}))

    def __init__(self, task=None, *, error=None, left=None):
        self.task, self.error, self.left = task, error, left
        self.orders = []

    async def _answer(self):
        if self.error is not None:
            raise self.error
        return self.task

    async def order(self, request, **how):
        self.orders.append(how)
        return await self._answer()

    async def get(self, task_id, **_):
        return await self._answer()

    async def peek(self, task_id):
        return await self._answer()

    async def cancel(self, task_id):
        return await self._answer()

    async def seconds_left(self, task):
        return self.left


async def _get(task, **how):
    return await OrderTaskStore(OneTaskService(task, **how)).get("t")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (TaskStatus.PENDING, "Waiting at the service."),
        (TaskStatus.RUNNING, "Running at the service."),
        (TaskStatus.SUCCEEDED, "Done; the images are being saved."),
    ],
)
async def test_an_order_under_way_works_and_says_how(status, words):
    told = await _get(_order(status))

    assert isinstance(told, Working)
    assert told.message == words


async def test_an_order_whose_answer_was_lost_works_as_long_as_it_is_looked_for():
    looked_for = await _get(_order(TaskStatus.SUBMIT_UNKNOWN))
    given_up = await _get(_order(TaskStatus.SUBMIT_UNKNOWN, settled=True, open=False))

    assert isinstance(looked_for, Working)
    assert "not sent again" in looked_for.message
    assert isinstance(given_up, Completed)
    assert given_up.result.is_error


async def test_what_holds_an_order_up_is_told():
    held = _order(TaskStatus.PENDING, problem=Problem("NotConnected", "There is no way to the service."))

    assert "There is no way to the service." in (await _get(held)).message


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.UNKNOWN])
async def test_an_order_that_came_to_nothing_is_completed_with_an_error(status):
    told = await _get(_order(status, settled=True, open=False))

    assert isinstance(told, Completed)
    assert told.result.is_error
    assert told.result.structured_content["status"] == status


async def test_a_cancelled_order_is_a_cancelled_task():
    assert isinstance(await _get(_order(TaskStatus.CANCELED, settled=True, open=False)), Cancelled)


async def test_images_that_cannot_be_saved_yet_are_told_as_the_tool_tells_them():
    unsaved = (FailedImage(1, "Storage", "The disk is full.", "https://example.com/1.png"),)
    end = CREATED + timedelta(hours=20)
    told = await _get(_order(TaskStatus.SUCCEEDED, settled=True, open=True, failed_images=unsaved, expires_at=end))

    assert isinstance(told, Completed)
    assert told.result.structured_content["failed_images"][0]["code"] == "Storage"
    assert told.lifetime == timedelta(hours=20)


async def test_a_task_answers_under_the_id_it_was_asked_for():
    store = OrderTaskStore(OneTaskService(_order(TaskStatus.RUNNING)))

    assert (await store.get("local-1")).task_id == "local-1"
    assert (await store.get("t")).task_id == "t"


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(None, 3), (0.2, 1), (7.5, 7.5), (300, 30), (0, 2), (-4, 2), (-20, 5), (-9_000, 30)],
)
def test_the_first_question_comes_when_it_should_be_done_and_then_every_few_seconds(left, seconds):
    assert poll_interval(left) == timedelta(seconds=seconds)


async def test_what_is_left_is_told_to_people_too():
    told = await _get(_order(TaskStatus.RUNNING), left=12.3)

    assert told.message == "Running at the service, usually done in about 12 s."
    assert told.poll_interval == timedelta(seconds=12.3)


async def test_the_service_gets_less_than_a_second_before_the_client_is_told():
    service = OneTaskService(_order(TaskStatus.PENDING))
    await OrderTaskStore(service).create(
        CallToolRequestParams(name="generate_image", arguments={"prompt": "x", "wait_seconds": 300, "fresh": True})
    )

    assert service.orders[0]["wait_seconds"] < 1
    assert service.orders[0]["fresh"] is True


async def test_only_the_tool_that_waits_for_an_order_becomes_a_task():
    service = OneTaskService(_order(TaskStatus.PENDING))

    assert await OrderTaskStore(service).create(CallToolRequestParams(name="submit_task", arguments={})) is None
    assert not service.orders


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotFoundError("Nobody knows it.", "Look."), UnknownTaskError),
        (NotConnectedError("There is no way there.", "Wait."), TaskStoreError),
        (LedgerError("It is locked.", "Wait."), TaskStoreError),
    ],
)
async def test_an_error_is_told_in_our_words(error, told):
    store = OrderTaskStore(OneTaskService(error=error))
    for attempt in (store.get("t"), store.cancel("t"), store.update("t", {})):
        with pytest.raises(TaskStoreError) as raised:
            await attempt
        assert type(raised.value) is told
        assert str(raised.value) == str(error)
