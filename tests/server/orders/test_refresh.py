"""Who asks without waiting is told how things stand now, also by a process that has just begun."""

import time

import pytest

from fakes.clock import SlowedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import get, make_settings, order, running_service, saved_files, submit
from wan_mcp.orders.refresh import REFRESH_SECONDS
from wan_mcp_tools.domain.errors import NotCancelableError
from wan_mcp_tools.domain.tasks import TaskStatus

STARTING = {"start_delay": 1.0}
"""As long as a real process leaves to its first answers."""
SOON = 15.0
"""Ten times the seconds that an answer is waited for at most, and half of those after which a request is given up."""


def slowed_service(settings, **timings):
    """Run a service to which ten seconds are one: what it does in time it also does in time on a busy machine."""
    return running_service(settings, clock=SlowedClock(), **{"lease": 60.0} | timings)


async def listed(service):
    page = await service.list_tasks(status=None, limit=10, cursor=None, remote=False)
    return {task.task_id: task.status for task in page.tasks}


async def refusal(service, task_id):
    with pytest.raises(NotCancelableError) as refused:
        await service.cancel(task_id)
    return str(refused.value)


async def test_a_process_that_has_just_begun_tells_of_the_end_of_an_earlier_ones_task(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
        dashscope.advance(60)
        async with slowed_service(settings, **STARTING) as service:
            told = await get(service, task.task_id, wait=0)

    assert told.status is TaskStatus.SUCCEEDED
    assert [image.path for image in told.images] == [str(path) for path in saved_files(settings)]


async def test_a_process_that_has_just_begun_lists_tasks_as_they_are(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            made = [(await submit(service, f"picture {number}")).task_id for number in range(3)]
        dashscope.advance(60)
        async with slowed_service(settings, **STARTING) as service:
            told = await listed(service)

    assert told == dict.fromkeys(made, TaskStatus.SUCCEEDED)


async def test_who_does_not_wait_is_answered_as_soon_as_the_service_has_been_asked(tmp_path):
    with FakeService(pending=60) as dashscope:
        async with slowed_service(make_settings(tmp_path, dashscope), first_poll=100.0) as service:
            task = await submit(service)
            seconds = []
            for number in range(1, 6):
                before, started = dashscope.count_queries()[task.task_id], time.monotonic()
                told = await get(service, task.task_id, wait=0)
                seconds.append(time.monotonic() - started)
                assert told.status is TaskStatus.PENDING
                assert dashscope.count_queries()[task.task_id] - before == 1, number

    # A busy machine holds up one answer or another: a slowed one waits for ten times the seconds.
    assert min(seconds) < 10 * REFRESH_SECONDS


@pytest.mark.parametrize("restarted", [False, True])
async def test_who_does_not_wait_is_answered_in_time_however_slowly_the_service_speaks(tmp_path, restarted):
    with FakeService(pending=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, first_poll=100.0) as service:
            task = await submit(service)
            dashscope.set_chance("query", 1.0, "hang")
            started = time.monotonic()
            if not restarted:
                await get(service, task.task_id, wait=0)
                assert 1.0 < time.monotonic() - started < SOON
        if restarted:
            async with running_service(settings, **STARTING) as service:
                started = time.monotonic()
                assert (await get(service, task.task_id, wait=0)).status is TaskStatus.PENDING
                await listed(service)
                assert 1.0 < time.monotonic() - started < SOON


@pytest.mark.parametrize("ending", ["running", "moderated"])
async def test_a_task_that_another_process_follows_slowly_is_told_as_the_service_has_it(tmp_path, ending):
    with FakeService(pending=0.0, duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        if ending != "running":
            dashscope.script_endings(ending)
        async with running_service(settings, first_poll=100.0) as one, slowed_service(settings) as other:
            task = await submit(one)
            if ending != "running":
                dashscope.advance(120)
            told = await get(other, task.task_id, wait=0)
            again = await get(other, task.task_id, wait=0)

    assert told.status is again.status is (TaskStatus.RUNNING if ending == "running" else TaskStatus.FAILED)
    assert told.open is (ending == "running")


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_the_refusal_of_a_cancellation_says_is_written_down(tmp_path, restarted):
    with FakeService(pending=0.0, duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with slowed_service(settings, first_poll=100.0) as service:
            task = await submit(service)
            assert task.status is TaskStatus.PENDING
            if not restarted:
                said = await refusal(service, task.task_id)
                told = await listed(service)
        if restarted:
            async with slowed_service(settings, **STARTING, first_poll=100.0) as service:
                said = await refusal(service, task.task_id)
            # Who comes later reads it in the ledger, even if the service is out of reach.
            dashscope.set_chance("query", 1.0, "status-500")
            async with slowed_service(settings, **STARTING) as service:
                told = await listed(service)

    assert "has begun" in said
    assert told == {task.task_id: TaskStatus.RUNNING}


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_task_that_has_ended_unnoticed_is_not_said_to_have_begun(tmp_path, restarted):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with slowed_service(settings, first_poll=100.0) as service:
            task = await submit(service)
            dashscope.advance(60)
            if not restarted:
                said = await refusal(service, task.task_id)
        if restarted:
            async with slowed_service(settings, **STARTING) as service:
                said = await refusal(service, task.task_id)

    assert "is SUCCEEDED: it was charged and is saved; there is nothing to cancel." in said
    assert saved_files(settings)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_pending_task_is_cancelled_by_its_own_process_and_by_the_next(tmp_path, restarted):
    with FakeService(pending=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
            if not restarted:
                cancelled = await service.cancel(task.task_id)
                told = await listed(service)
        if restarted:
            async with slowed_service(settings, **STARTING) as service:
                cancelled = await service.cancel(task.task_id)
                told = await listed(service)

    assert cancelled.status is TaskStatus.CANCELED
    assert told == {task.task_id: TaskStatus.CANCELED}


async def test_an_order_of_the_same_picture_for_another_place_joins_and_says_where_the_files_are(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            first = await submit(service, filename="fox")
            again = await order(service, filename="red-fox", output_dir="animals")
            same = await order(service, filename="red-fox", output_dir="animals")
            await until(lambda: len(saved_files(settings)) == 2)

    assert again.task_id == first.task_id
    assert again.deduplicated
    assert again.saved_elsewhere
    assert [image.path for image in again.images] == [str(settings.output_dir / "fox.png")]
    # The result of the first was received by then.
    assert same.task_id != first.task_id
    assert len(dashscope.creates) == 2


async def test_an_order_joined_for_the_same_place_is_not_said_to_lie_elsewhere(tmp_path):
    with FakeService(duration=0.2) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            await submit(service, filename="fox", output_dir="animals")
            again = await order(service, filename="fox", output_dir="animals")

    assert again.deduplicated
    assert not again.saved_elsewhere
