"""Processes with different keys on one ledger: each leaves alone what only another one can finish."""

import sqlite3
from contextlib import closing

import anyio
import pytest

from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import (
    HURRIED_WAIT,
    get,
    hurried_service,
    leftovers,
    make_settings,
    order,
    running_service,
    saved_files,
    submit,
)
from wan_mcp_tools.domain.tasks import TaskStatus

WITHOUT = {"DASHSCOPE_API_KEY": "", "DASHSCOPE_REGION": "beijing", "DASHSCOPE_HTTP_BASE_URL": ""}


def row_of(settings):
    with closing(sqlite3.connect(settings.state_dir / "ledger.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return dict(database.execute("SELECT * FROM orders").fetchone())


async def left_behind(settings, dashscope, prompt="a flower shop", **words):
    """Order, and end before the task does, which ends then."""
    dashscope.duration = 60.0
    async with running_service(settings) as service:
        task = await submit(service, prompt, **words)
    dashscope.advance(120)
    return task


async def test_an_order_of_a_region_without_a_key_here_is_left_alone_and_the_reason_told(tmp_path):
    with FakeService() as dashscope:
        settings = make_settings(tmp_path, dashscope)
        task = await left_behind(settings, dashscope)
        before = row_of(settings)
        async with running_service(make_settings(tmp_path, dashscope, **WITHOUT)) as service:
            await anyio.sleep(0.6)
            seen = await get(service, task.task_id, wait=0)

        assert row_of(settings) == before
        assert seen.status is TaskStatus.PENDING
        assert seen.problem.code == "MissingKey"
        assert "DASHSCOPE_API_KEY_SINGAPORE" in seen.problem.message

        async with running_service(settings):
            await until(lambda: saved_files(settings))
    assert len(dashscope.creates) == 1


async def test_a_process_with_the_key_finishes_while_one_without_it_runs(tmp_path):
    with FakeService() as dashscope:
        settings = make_settings(tmp_path, dashscope)
        await left_behind(settings, dashscope)
        async with running_service(make_settings(tmp_path, dashscope, **WITHOUT)):
            await anyio.sleep(0.3)
            async with running_service(settings):
                await until(lambda: row_of(settings)["stage"] == "CLOSED")
    assert len(saved_files(settings)) == 1


async def test_collecting_without_the_key_ends_at_once_and_says_what_is_missing(tmp_path):
    with FakeService() as dashscope:
        settings = make_settings(tmp_path, dashscope)
        task = await left_behind(settings, dashscope)
        async with running_service(make_settings(tmp_path, dashscope, **WITHOUT), take_over=False) as service:
            with anyio.fail_after(45):
                summary = await service.collect(None)
                await service.collect(None, wait=True)
    assert (summary.finished, summary.saved, summary.open) == (0, 0, 1)
    [problem] = summary.problems
    assert task.task_id in problem
    assert "DASHSCOPE_API_KEY_SINGAPORE" in problem


async def test_images_that_need_no_key_any_more_are_saved_without_one(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        settings.output_dir.parent.mkdir(exist_ok=True)
        async with hurried_service(settings, save_again=600.0) as service:
            dashscope.set_chance("image", 1.0, "error-500")
            assert (await order(service, wait=HURRIED_WAIT)).failed_images
        dashscope.faults.clear()
        async with running_service(make_settings(tmp_path, dashscope, **WITHOUT)):
            await until(lambda: saved_files(settings))
    assert not leftovers(settings)


async def test_a_task_that_the_service_does_not_know_under_another_key_is_given_back_and_not_given_up(tmp_path):
    with FakeService() as dashscope:
        settings = make_settings(tmp_path, dashscope)
        task = await left_behind(settings, dashscope)
        other = make_settings(tmp_path, dashscope, DASHSCOPE_API_KEY="sk-test-of-another-account")
        dashscope.set_chance("query", 1.0, "unknown")
        async with running_service(other, first_poll=0.02, save_again_most=60.0) as service:
            await until(lambda: dashscope.count_queries().total() >= 3)
            await until(lambda: not service._worker.orders())
            asked = dashscope.count_queries().total()
            await anyio.sleep(0.5)
            assert dashscope.count_queries().total() == asked
            seen = await get(service, task.task_id, wait=0)
        assert seen.status is TaskStatus.PENDING
        assert seen.problem.code == "OtherKey"
        assert row_of(settings)["stage"] == "OPEN"

        dashscope.faults.clear()
        async with running_service(settings):
            await until(lambda: saved_files(settings))


async def test_a_new_key_of_the_same_account_finishes_what_the_old_one_began(tmp_path):
    with FakeService() as dashscope:
        settings = make_settings(tmp_path, dashscope)
        await left_behind(settings, dashscope)
        async with running_service(make_settings(tmp_path, dashscope, DASHSCOPE_API_KEY="sk-test-the-new-one")):
            await until(lambda: saved_files(settings))


@pytest.mark.parametrize("stage", ["SENDING", "LOST"])
async def test_an_order_whose_answer_was_lost_is_not_looked_for_in_the_list_of_another_account(tmp_path, stage):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        await left_behind(settings, dashscope)
        with closing(sqlite3.connect(settings.state_dir / "ledger.sqlite3")) as database:
            database.execute(
                "UPDATE orders SET task_id = NULL, stage = ?, lost_at = sent_at, status = 'SUBMIT_UNKNOWN'", (stage,)
            )
            database.commit()
        dashscope.create_foreign(model="wan2.6-t2i", n=1)
        async with running_service(make_settings(tmp_path, dashscope, DASHSCOPE_API_KEY="sk-test-of-another")):
            await until(lambda: (row_of(settings)["stage"], row_of(settings)["owner"]) == ("LOST", None))
            await anyio.sleep(0.5)
        row = row_of(settings)
        assert (row["stage"], row["task_id"], row["owner"]) == ("LOST", None, None)
        assert not [each for each in dashscope.requests if each.path.endswith("/tasks/")]
