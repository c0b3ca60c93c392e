"""Moments in which two things happen at once, clocks that are set, and processes that are just ending."""

import sqlite3
from contextlib import closing

import anyio
import pytest

from fakes.clock import LONGEST, ShiftedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import get, leftovers, make_settings, order, running_service, saved_files, submit
from wan_mcp.app import build_service
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp_tools.domain.errors import AppError, NotCancelableError, NotConnectedError
from wan_mcp_tools.domain.tasks import TaskStatus

DAY = 86_400.0


def rows_of(settings):
    with closing(sqlite3.connect(settings.state_dir / "ledger.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM orders ORDER BY created_at")]


async def test_a_task_that_is_taken_over_after_the_clock_was_set_back_is_asked_for_at_once(tmp_path):
    clock = ShiftedClock()
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, clock=clock) as service:
            await submit(service)
        clock.shift = -3600
        dashscope.advance(120)
        async with running_service(settings, clock=clock):
            await until(lambda: saved_files(settings))
    [row] = rows_of(settings)
    assert row["duration"] is None or row["duration"] >= 0


@pytest.mark.parametrize("place", ["query", "image"])
async def test_trouble_under_a_clock_that_runs_a_day_ahead_gives_no_paid_picture_up(tmp_path, place):
    clock = ShiftedClock()
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, clock=clock, save_attempts=1) as service:
            task = await submit(service)
            dashscope.set_chance(place, 1.0, "error-500")
            clock.shift = DAY + 3600
            assert (await get(service, task.task_id, wait=45.0 if place == "image" else 1.0)).open
            clock.shift = 0.0
            dashscope.faults.clear()
            assert (await get(service, task.task_id)).images
    assert len(saved_files(settings)) == 1


async def test_trouble_that_lasts_a_day_past_the_end_of_a_task_ends_it(tmp_path):
    clock = ShiftedClock()
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, clock=clock) as service:
            dashscope.set_chance("query", 1.0, "error-500")
            task = await submit(service)
            clock.shift = 2 * DAY + 60
            assert (await get(service, task.task_id)).status is TaskStatus.EXPIRED


async def test_a_cancelled_task_is_told_as_cancelled_even_if_its_follower_hears_it_first(tmp_path):
    with FakeService(pending=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, first_poll=0.01) as service, anyio.create_task_group() as group:
            task = await submit(service)
            dashscope.script("cancel", "held")
            cancelled = []

            @group.start_soon
            async def cancel():
                cancelled.append(await service.cancel(task.task_id))

            # The answer to the cancelling comes late: by then the task was asked for again.
            await until(lambda: dashscope.tasks[0]["status"] == "CANCELED")
            asked = dashscope.count_queries().total()
            await until(lambda: dashscope.count_queries().total() >= asked + 1)
            await anyio.sleep(0.2)
            dashscope.release()
            await until(lambda: cancelled)
            assert cancelled[0].status is TaskStatus.CANCELED
            assert (await get(service, task.task_id)).status is TaskStatus.CANCELED
    assert [row["status"] for row in rows_of(settings)] == ["CANCELED"]


async def test_cancelling_what_is_cancelled_is_no_error_whoever_cancelled_it(tmp_path):
    with FakeService(pending=30.0) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        other = make_settings(tmp_path / "other", dashscope)
        async with running_service(settings) as service, running_service(other) as stranger:
            task, stopped = await submit(service), await submit(service, "another")
            told = [await service.cancel(task.task_id) for _ in range(3)]
            await get(stranger, stopped.task_id, wait=0)
            await stranger.cancel(stopped.task_id)
            told.append(await service.cancel(stopped.task_id))
        async with running_service(settings) as service:
            told.append(await service.cancel(task.task_id))

    assert [each.status for each in told] == [TaskStatus.CANCELED] * 5
    assert len({each.problem for each in told}) == 1
    assert dashscope.paid_images() == 0


async def test_an_order_that_is_just_being_sent_is_cancelled_as_soon_as_the_service_has_it(tmp_path):
    with FakeService(pending=60) as dashscope:
        dashscope.script("create", "held")
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service, anyio.create_task_group() as group:
            task = await submit(service, wait=0.1)
            await until(lambda: dashscope.tasks)
            cancelled = []

            @group.start_soon
            async def cancel():
                cancelled.append(await service.cancel(task.task_id))

            await anyio.sleep(0.2)
            assert not cancelled
            dashscope.release()
            await until(lambda: cancelled)
            assert cancelled[0].status is TaskStatus.CANCELED
            assert (await get(service, task.task_id)).status is TaskStatus.CANCELED
    assert task.task_id == task.local_id
    assert (len(dashscope.creates), dashscope.paid_images()) == (1, 0)


async def test_an_order_that_turns_out_to_be_throttled_is_cancelled_in_line(tmp_path):
    with FakeService() as dashscope:
        dashscope.script("create", *[{"kind": "error-429", "retry_after": 30}] * 3)
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, throttle_patience=60.0) as service:
            task = await submit(service, wait=0)
            cancelled = await service.cancel(task.task_id)
    assert cancelled.status is TaskStatus.CANCELED
    assert len(dashscope.creates) <= 1
    assert dashscope.paid_images() == 0


async def test_an_order_by_the_synchronous_protocol_that_is_under_way_is_not_waited_for_and_not_cancelled(tmp_path):
    with FakeService(duration=600) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_PROTOCOL="sync")
        async with running_service(settings) as service:
            task = await submit(service, wait=0.1)
            await until(lambda: dashscope.tasks)
            with anyio.fail_after(LONGEST), pytest.raises(NotCancelableError, match="knows no cancelling") as raised:
                await service.cancel(task.task_id)
            assert not raised.value.retryable
            dashscope.advance(1200)
            assert (await get(service, task.task_id)).images


async def test_a_task_that_is_cancelled_elsewhere_is_told_with_the_time_of_its_end(tmp_path):
    with FakeService(pending=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        other = make_settings(tmp_path / "other", dashscope)
        async with running_service(settings) as service, running_service(other) as stranger:
            task = await submit(service)
            await anyio.sleep(0.3)
            await get(stranger, task.task_id, wait=0)
            await stranger.cancel(task.task_id)
            seen = await get(service, task.task_id)
    assert seen.status is TaskStatus.CANCELED
    assert (seen.updated_at - task.updated_at).total_seconds() > 0.2


async def test_an_order_that_comes_while_the_server_ends_is_not_sent_and_says_so(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        service = build_service(settings)
        async with service.running():
            await service.stop()
            with pytest.raises(NotConnectedError, match="Nothing was ordered") as raised:
                await order(service)
        assert raised.value.code == "NotSent"
    assert dashscope.creates == []
    assert [(row["stage"], row["status"], row["error_code"]) for row in rows_of(settings)] == [
        ("CLOSED", "FAILED", "NotSent")
    ]


async def test_a_task_of_another_program_shows_its_own_state_before_it_was_looked_at(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        done = dashscope.create_foreign(model="wan2.6-t2i", n=1)
        dashscope.script_endings("failed")
        async with running_service(settings, take_over=False) as service:
            page = await service.list_tasks(status=None, limit=10, cursor=None, remote=True)
            assert {task.task_id: task.status for task in page.tasks} == {done.task_id: TaskStatus.SUCCEEDED}
            assert not page.tasks[0].settled
            assert any("wan-mcp collect" in note for note in page.notes)
            found = await service.list_tasks(status=TaskStatus.SUCCEEDED, limit=10, cursor=None, remote=False)
            assert len(found.tasks) == 1
        assert not saved_files(settings)
        async with running_service(settings, take_over=False) as service:
            summary = await service.collect(None)
            assert (summary.finished, summary.saved, summary.open) == (1, 1, 0)


async def test_a_state_folder_that_is_a_file_is_an_error_for_every_question(tmp_path):
    settings = make_settings(tmp_path)
    settings.state_dir.write_text("not a folder")
    async with running_service(settings) as service:
        for ask in (
            lambda: service.list_tasks(status=None, limit=1, cursor=None, remote=False),
            lambda: get(service, "local-0123", wait=0),
            lambda: order(service),
            lambda: service.collect(None),
        ):
            with pytest.raises(AppError, match="is a file, and the ledger needs a folder there") as raised:
                await ask()
            assert "WAN_MCP_STATE_DIR" in raised.value.advice
    assert settings.state_dir.read_text() == "not a folder"


async def test_orders_that_nobody_works_on_do_not_pile_up():
    live = LiveOrders()
    for number in range(100):
        live.get(f"order {number}").wake()
    assert not live._known


async def test_fifty_open_orders_at_a_start_are_all_saved_and_a_new_one_is_not_held_up(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_DAILY_IMAGE_LIMIT="0")
        async with running_service(settings, take_over=False) as service:
            for _ in range(50):
                dashscope.create_foreign(model="wan2.6-t2i", n=1)
            await service.list_tasks(status=None, limit=100, cursor=None, remote=True)
        async with running_service(settings) as service:
            assert (await order(service, "a new one")).images
            await until(lambda: len(saved_files(settings)) == 51)
    assert not leftovers(settings)
    assert set(dashscope.count_served().values()) == {1}
