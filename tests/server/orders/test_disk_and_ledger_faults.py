"""Disks that fail and ledgers that cannot be written: nothing that was paid for is lost or ordered twice."""

import shutil
import sqlite3
import time
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace

import anyio
import pytest

from fakes.clock import HurriedClock, ShiftedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import QUICK, get, leftovers, make_settings, order, running_service, saved_files, submit
from fakes.orders import accepted, claim
from wan_mcp.app import build_context, build_service
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

PAUSE = 0.07
"""Seconds before what the ledger has refused is tried again."""
SOON = 15.0
"""Some times the seconds that a call may take at a locked ledger; by itself the lock does not end."""


def ledger_of(settings):
    return settings.state_dir / "ledger.sqlite3"


@contextmanager
def locked(settings):
    """Hold the ledger as another program would."""
    with closing(sqlite3.connect(ledger_of(settings), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def rows_of(settings):
    with closing(sqlite3.connect(ledger_of(settings))) as other:
        return other.execute("SELECT task_id, stage, status FROM orders").fetchall()


@asynccontextmanager
async def service_by(clock, settings, **changes):
    service = build_service(settings, context=build_context(settings, clock=clock), timings=replace(QUICK, **changes))
    async with service.running():
        yield service


@pytest.mark.parametrize("protocol", ["async", "sync"])
async def test_a_picture_that_cannot_be_written_is_kept_and_saved_when_the_cause_is_gone(tmp_path, protocol):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_PROTOCOL=protocol)
        pictures = settings.output_dir
        async with running_service(settings) as service:
            pending = await order(service, wait=0.1)
            await until(lambda: dashscope.tasks)
            if pictures.exists():
                shutil.rmtree(pictures)
            pictures.write_text("in the way")
            dashscope.advance(120)

            task = await get(service, pending.local_id)
            assert task.status is TaskStatus.SUCCEEDED
            assert task.settled
            assert task.task_id == (pending.local_id if protocol == "sync" else rows_of(settings)[0][0])
            assert task.images == ()
            [failed] = task.failed_images
            assert (failed.index, failed.code) == (1, "Storage")
            assert str(pictures) in failed.message
            assert failed.url.startswith(f"http://{dashscope.image_host}/")

            pictures.unlink()
            await until(lambda: saved_files(settings))
            done = await get(service, task.task_id)
    assert [image.path for image in done.images] == [str(path) for path in saved_files(settings)]
    assert done.failed_images == ()
    assert len(dashscope.creates) == len(saved_files(settings)) == 1
    assert not leftovers(settings)


async def test_a_picture_that_could_not_be_written_is_saved_by_the_next_process(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
            shutil.rmtree(settings.output_dir, ignore_errors=True)
            settings.output_dir.write_text("in the way")
            dashscope.advance(120)
            assert (await get(service, task.task_id)).failed_images

        settings.output_dir.unlink()
        async with running_service(settings):
            await until(lambda: saved_files(settings))
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_an_id_that_comes_while_the_ledger_is_locked_is_recorded_afterwards(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "held")
        settings, clock = make_settings(tmp_path, dashscope), HurriedClock()
        async with (
            running_service(settings, clock=clock, retry_step=PAUSE) as service,
            anyio.create_task_group() as group,
        ):
            tasks = []

            @group.start_soon
            async def place():
                tasks.append(await order(service))

            await until(lambda: dashscope.creates)
            with locked(settings):
                dashscope.release()
                await until(lambda: PAUSE in clock.sleeping)
                assert not tasks
            await until(lambda: tasks)

    [task] = tasks
    [(task_id, stage, status)] = rows_of(settings)
    assert (task.task_id, stage, status) == (task_id, "CLOSED", "SUCCEEDED")
    assert [task["id"] for task in dashscope.tasks] == [task_id]
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_an_id_is_told_to_nobody_before_it_is_written_down(tmp_path):
    with FakeService(duration=60) as dashscope:
        dashscope.script("create", "held")
        settings, clock = make_settings(tmp_path, dashscope), HurriedClock()
        async with (
            running_service(settings, clock=clock, retry_step=PAUSE) as service,
            anyio.create_task_group() as group,
        ):
            told = []

            @group.start_soon
            async def place():
                told.append(await submit(service, wait=30))

            await until(lambda: dashscope.creates)
            with locked(settings):
                dashscope.release()
                await until(lambda: PAUSE in clock.sleeping)
                clock.advance(30)
                await until(lambda: told)
                [task] = told
                seen = await get(service, task.local_id, wait=0)
                assert task.task_id == seen.task_id == task.local_id
            named = await submit(service)

    assert [named.task_id] == [task["id"] for task in dashscope.tasks] == [row[0] for row in rows_of(settings)]


async def test_a_wait_ends_in_time_while_the_ledger_is_locked_and_says_why(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "held")
        settings, clock = make_settings(tmp_path, dashscope), HurriedClock()
        async with (
            running_service(settings, clock=clock, retry_step=PAUSE) as service,
            anyio.create_task_group() as group,
        ):
            answers = []

            @group.start_soon
            async def place():
                answers.append(await order(service, wait=30))

            await until(lambda: dashscope.creates)
            with locked(settings):
                dashscope.release()
                await until(lambda: PAUSE in clock.sleeping)
                clock.advance(30)
                await until(lambda: answers)
            [task] = answers
            assert task.status is TaskStatus.PENDING
            assert task.problem.code == "LedgerLocked"

            assert (await get(service, task.local_id)).status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_nothing_is_ordered_while_the_ledger_is_locked_and_the_caller_hears_it_in_time(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            await order(service, "the first")
            with locked(settings):
                started = time.monotonic()
                with pytest.raises(LedgerError, match="Nothing was ordered") as raised:
                    await order(service, "the second", wait=0.5)
                assert time.monotonic() - started < SOON
                assert raised.value.code == "LedgerLocked"
            await anyio.sleep(0.3)
    assert len(dashscope.creates) == len(rows_of(settings)) == 1


async def test_a_question_that_meets_a_locked_ledger_is_answered_in_time(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service)
            await until(lambda: not service._worker.orders())
            with locked(settings):
                started = time.monotonic()
                with pytest.raises(LedgerError, match="locked by another program"):
                    await get(service, task.task_id, wait=0)
                assert time.monotonic() - started < SOON
            assert await get(service, task.task_id, wait=0) == task


async def test_an_order_that_is_followed_here_is_told_of_even_while_the_ledger_is_locked_or_gone(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
            with locked(settings):
                for any_id in (task.task_id, task.local_id):
                    seen = await get(service, any_id, wait=0)
                    assert seen.task_id == task.task_id
                    assert not seen.settled
            ledger_of(settings).unlink()
            assert (await get(service, task.local_id, wait=0)).task_id == task.task_id
            assert len(dashscope.tasks) == 1


async def test_a_short_lock_only_makes_an_order_wait(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            await order(service, "the first")
            async with anyio.create_task_group() as group:
                with locked(settings):
                    tasks = []

                    @group.start_soon
                    async def place():
                        tasks.append(await order(service, "the second"))

                    await anyio.sleep(1)
                await until(lambda: tasks)
    assert tasks[0].status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == 2


@pytest.mark.parametrize("how", ["deleted", "moved away with its folder"])
async def test_an_order_under_way_outlives_its_ledger(tmp_path, how):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
            if how == "deleted":
                ledger_of(settings).unlink()
            else:
                settings.state_dir.rename(tmp_path / "elsewhere")
            dashscope.advance(120)
            await until(lambda: saved_files(settings))

            done = await get(service, task.task_id)
            assert done.status is TaskStatus.SUCCEEDED
            assert [image.path for image in done.images] == [str(path) for path in saved_files(settings)]
    assert [(row[0], row[1]) for row in rows_of(settings)] == [(task.task_id, "CLOSED")]
    assert len(dashscope.creates) == 1


async def test_an_order_under_way_outlives_damage_to_its_ledger(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await submit(service)
            ledger_of(settings).write_bytes(b"\xaa" * 20_000)
            with pytest.raises(LedgerError, match="damaged") as raised:
                await order(service, "another")
            assert str(ledger_of(settings)) in raised.value.message
            assert "Nothing was ordered" in raised.value.message

            ledger_of(settings).rename(tmp_path / "damaged")
            dashscope.advance(120)
            await until(lambda: saved_files(settings))
            done = await get(service, task.task_id)
    assert done.status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_a_clock_that_is_set_back_an_hour_in_mid_task_delays_nothing(tmp_path):
    clock = ShiftedClock()
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with service_by(clock, settings) as service:
            task = await submit(service)
            clock.shift = -3600
            dashscope.duration = 0.1
            dashscope.advance(120)
            done = await get(service, task.task_id)
            another = await order(service, "another")
    assert done.status is another.status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == len(saved_files(settings)) == 2


async def test_orders_of_a_silent_process_are_taken_over_even_if_the_clock_is_set_back_meanwhile(tmp_path):
    clock = ShiftedClock()
    with FakeService(duration=0.0) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        ledger = open_sqlite_ledger(ledger_of(settings), clock)
        task = dashscope.create_foreign()
        await accepted(ledger, task.task_id, worker_id="silent", lease=20.0, folder=str(settings.output_dir))
        async with service_by(clock, settings, lease=20.0):
            await anyio.sleep(0.4)
            assert not saved_files(settings)
            clock.shift = -3600
            await until(lambda: saved_files(settings))
        await ledger.close()


async def test_an_order_that_comes_back_before_its_worker_noticed_the_loss_is_worked_on(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings, lease=0.0, renew_interval=60.0) as service:
            task = await submit(service)
            ledger = open_sqlite_ledger(ledger_of(settings), ShiftedClock())
            assert await claim(ledger, "another process") == [task.local_id]
            await ledger.leases.release("another process")
            await ledger.close()
            dashscope.advance(120)

            assert (await get(service, task.task_id)).images
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_a_process_that_slept_through_its_leases_goes_on_with_its_orders(tmp_path):
    with FakeService(duration=0.3) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        # Leases that end at once and are never renewed, as those of a computer whose lid was closed.
        async with (
            running_service(settings, lease=0.0, renew_interval=60.0) as service,
            anyio.create_task_group() as group,
        ):
            for number in range(3):
                group.start_soon(order, service, f"a flower shop {number}")
    assert len(dashscope.creates) == len(saved_files(settings)) == 3
    assert {row[1:] for row in rows_of(settings)} == {("CLOSED", "SUCCEEDED")}


async def test_two_processes_with_leases_that_never_last_still_make_one_file_of_each_order(tmp_path):
    with FakeService(duration=0.4) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with (
            running_service(settings, lease=0.3, renew_interval=60.0) as service,
            running_service(settings, lease=0.3, renew_interval=60.0),
        ):
            for number in range(3):
                await submit(service, f"a flower shop {number}")
            await until(lambda: {row[1] for row in rows_of(settings)} == {"CLOSED"})
    assert len(dashscope.creates) == len(saved_files(settings)) == 3
    assert {row[1:] for row in rows_of(settings)} == {("CLOSED", "SUCCEEDED")}
    assert not leftovers(settings)
