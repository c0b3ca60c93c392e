"""The search for a lost order among tasks that look like it: nothing paid is left out, and nothing is guessed."""

from dataclasses import replace

import anyio
import pytest

from campaigns.state_reader import StateReader
from campaigns.support import (
    LEGACY,
    NEW,
    TIMINGS,
    is_idle,
    make_line,
    make_report,
    open_pool,
    second_service,
    until_killed,
)
from fakes.clock import LONGEST, HurriedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, order, running_service, submit
from wan_mcp.app import build_context, build_service
from wan_mcp_tools.domain.tasks import TaskStatus


class Between:
    """Stands before a part of the service and lets something happen after one of its calls."""

    def __init__(self, part, call, event):
        self._part, self._call, self._event = part, call, event

    def __getattr__(self, name):
        method = getattr(self._part, name)
        if name != self._call:
            return method

        async def call(*values, **named):
            return await self._event(await method(*values, **named))

        return call

    async def __aenter__(self):
        await self._part.__aenter__()
        return self

    async def __aexit__(self, *reason):
        await self._part.__aexit__(*reason)


def a_service(settings, path, event, *, clock=None, **times):
    """Build a service in which something happens after a call, e.g. `dashscope.list_tasks`, of what it stands on."""
    context = build_context(settings, clock=clock)
    first, *names = path.split(".")
    part = getattr(context, first)
    if len(names) == 2:
        setattr(part, names[0], Between(getattr(part, names[0]), names[1], event))
    else:
        context = replace(context, **{first: Between(part, names[0], event)})
    return build_service(settings, context=context, timings=replace(TIMINGS, **times))


async def test_a_task_that_slips_to_the_next_page_while_the_pages_are_read_counts_once(tmp_path):
    async def twice(listing):
        return replace(listing, tasks=(*listing.tasks, *listing.tasks))

    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        service = a_service(make_settings(tmp_path, dashscope), "dashscope.list_tasks", twice)
        async with service.running():
            task = await order(service, model=NEW)

    assert task.status is TaskStatus.SUCCEEDED
    assert task.task_id == dashscope.creates[0].task_id


@pytest.mark.parametrize("zone", [8.0, 0.0])
async def test_a_lost_order_is_found_on_a_busy_account_whatever_the_zone_of_the_lists_filter(tmp_path, zone):
    with FakeService(duration=0.1, list_zone=zone) as dashscope:
        for number in range(620):
            dashscope.create_foreign(model=NEW, n=1, age=200.0 + number)
        dashscope.script("create", "drop-after")
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service, model=NEW)

    assert task.status is TaskStatus.SUCCEEDED
    assert task.task_id == dashscope.creates[0].task_id


ENOUGH_LOOKS = 6
"""After so many, a search that was to be led astray has been."""


@pytest.mark.parametrize("call", ["ledger.orders.list_unanswered", "dashscope.list_tasks"])
async def test_an_order_that_is_sent_during_a_search_is_not_taken_for_the_lost_one(tmp_path, call):
    """Whatever the search has just read, the other order begins then, is made at once and answered late."""
    looks, clock, looks_after = [], HurriedClock(), []

    with FakeService(duration=0.0) as dashscope:

        async def send_another(found):
            looks.append(dashscope.now())
            is_ripe = looks[-1] > looks[0] + TIMINGS.list_lag + 1.2
            if is_ripe and len(dashscope.creates) == 1:
                dashscope.script("create", "held")
                group.start_soon(lambda: submit(service, "another", model=NEW))
                await until(lambda: dashscope.tasks)
            elif len(dashscope.creates) == 2:
                # What was read before is judged by now.
                dashscope.release()
                looks_after.append(dashscope.now())
                if len(looks_after) == ENOUGH_LOOKS:
                    clock.advance(6.0)
            return found

        dashscope.script("create", "drop-before")
        service = a_service(make_settings(tmp_path, dashscope), call, send_another, clock=clock, search_grace=6.0)
        async with service.running(), anyio.create_task_group() as group:
            task = await order(service, "a lost one", model=NEW)
            await until(is_idle(tmp_path))

        report = make_report(dashscope, tmp_path)
    assert report.creates == 2
    assert task.status is TaskStatus.SUBMIT_UNKNOWN
    assert not report.broken, str(report)
    assert report.recovered == 0


async def test_a_lost_order_with_a_failed_image_is_not_given_up_with_the_good_one(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        dashscope.script_endings("partial")
        async with second_service(tmp_path, dashscope) as service:
            task = await order(service, model=NEW, n=2)
            assert task.status is TaskStatus.SUBMIT_UNKNOWN
            assert task.problem is not None
            assert dashscope.creates[0].task_id in task.problem.message
            await until(is_idle(tmp_path))

    assert dashscope.paid_images() == len(list(StateReader(tmp_path).pictures())) == 1


async def test_a_lost_order_waits_for_another_that_may_have_the_same_task(tmp_path):
    """The first task is made after the second order was sent, so by time alone it could be the second's."""
    with FakeService(duration=1.8) as dashscope, open_pool(tmp_path, dashscope) as pool:
        dashscope.script("create", "held-before", "drop-after")
        worker = pool.start()
        pool.send(worker, make_line(NEW, n=1))
        await until(lambda: dashscope.creates)
        pool.kill(worker)
        async with (
            second_service(tmp_path, dashscope, create_window=10.0) as service,
            anyio.create_task_group() as group,
        ):
            group.start_soon(lambda: submit(service, "the second", model=NEW, n=2))
            await until(lambda: len(dashscope.creates) == 2)
            dashscope.release()
            await until(is_idle(tmp_path))

        report = make_report(dashscope, tmp_path)
    assert not report.broken, str(report)
    assert report.recovered == 2
    assert report.files == 3


@pytest.mark.parametrize("place", ["list", "query"])
async def test_a_refusal_that_passes_does_not_end_the_search(tmp_path, place):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        refused = {"kind": "error-403", "code": "AccessDenied", "message": "no"}
        dashscope.script(place, refused, refused)
        async with second_service(tmp_path, dashscope, search_grace=LONGEST) as service:
            task = await order(service, model=NEW)

    assert task.status is TaskStatus.SUCCEEDED


async def test_a_refusal_that_stays_ends_the_search_when_its_time_is_over(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        dashscope.set_chance("list", 1.0, {"kind": "error-403", "code": "AccessDenied", "message": "no"})
        async with second_service(tmp_path, dashscope) as service:
            task = await order(service, model=NEW)

    assert task.status is TaskStatus.SUBMIT_UNKNOWN


async def test_a_legacy_result_that_does_not_repeat_the_prompt_is_not_guessed_at(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.set_chance("query", 1.0, "no-prompt")
        dashscope.script("create", "drop-after")
        async with second_service(tmp_path, dashscope) as service:
            foreign = dashscope.create_foreign(model=LEGACY, n=1, size="1280*1280", prompt="somebody else's")
            task = await order(service, model=LEGACY)

            assert task.status is TaskStatus.SUBMIT_UNKNOWN
            assert task.problem is not None
            assert foreign.task_id in task.problem.message
            await until(is_idle(tmp_path))
    assert len(list(StateReader(tmp_path).pictures())) == 2


async def test_a_task_without_its_prompt_is_given_to_neither_of_two_lost_orders(tmp_path):
    tasks = []

    async def order_one(service):
        tasks.append(await order(service, model=LEGACY, fresh=True))

    with FakeService(duration=0.1) as dashscope:
        dashscope.set_chance("query", 1.0, "no-prompt")
        dashscope.script("create", "drop-before", "drop-after")
        async with second_service(tmp_path, dashscope) as service:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(order_one, service)
            await until(is_idle(tmp_path))

    assert [task.status for task in tasks] == [TaskStatus.SUBMIT_UNKNOWN] * 2
    assert len(list(StateReader(tmp_path).pictures())) == 1


async def test_orders_whose_tasks_repeat_the_prompt_do_not_wait_for_one_another(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", {"kind": "slow-after", "held": True})
        async with (
            second_service(tmp_path, dashscope, submit_slot_seconds=60.0) as service,
            anyio.create_task_group() as group,
        ):
            for _ in range(2):
                group.start_soon(lambda: order(service, model=LEGACY, fresh=True))
            await until(lambda: len(dashscope.tasks) == 2)
            dashscope.release()


async def test_equal_orders_that_were_both_lost_get_one_task_each(tmp_path):
    with FakeService(duration=0.1) as dashscope, open_pool(tmp_path, dashscope) as pool:
        dashscope.script("create", "drop-after", "drop-after", "drop-after")
        async with (
            second_service(tmp_path, dashscope, submit_slot_seconds=0.05) as service,
            anyio.create_task_group() as group,
        ):
            for _ in range(3):
                group.start_soon(lambda: order(service, model=LEGACY, fresh=True))
        assert not pool.workers
        report = make_report(dashscope, tmp_path)

    # Equal on purpose, so here a prompt may be ordered more than once.
    report.duplicates.clear()
    assert not report.broken, str(report)
    assert (report.creates, report.recovered, report.files) == (3, 3, 3)
    assert report.ends == {"SUCCEEDED": 3}


@pytest.mark.parametrize("point", ["save_candidates", "save_candidates/after"])
async def test_a_process_killed_while_it_offers_all_that_fit_leaves_nothing_to_guess(tmp_path, point):
    with FakeService(duration=0.1) as dashscope, open_pool(tmp_path, dashscope) as pool:
        dashscope.script("create", {"kind": "drop-after", "held": True})
        worker = pool.start("--die", point)
        pool.send(worker, make_line(NEW))
        await until(lambda: dashscope.tasks)
        foreign = dashscope.create_foreign(model=NEW, n=2, size="1280*1280")
        dashscope.release()
        await until_killed(pool, worker)
        async with second_service(tmp_path, dashscope):
            await until(is_idle(tmp_path))

        report = make_report(dashscope, tmp_path)
    assert not report.broken, str(report)
    assert report.ends == {"SUBMIT_UNKNOWN/AnswerAmbiguous": 1}
    assert (report.recovered, report.unclear, report.files) == (0, 2, 4)
    (ours,) = (row for row in StateReader(tmp_path).orders().values() if row["origin"] == "ordered")
    assert foreign.task_id in ours["error_message"]
    assert str(dashscope.creates[0].task_id) in ours["error_message"]
