"""An order whose answer was lost is found again, or said to be unknown; it is never sent again."""

import anyio
import pytest

from fakes.clock import LONGEST, HurriedClock
from fakes.dashscope import FakeService
from fakes.order_service import (
    HURRIED_WAIT,
    end_search,
    get,
    hurried_service,
    make_settings,
    order,
    running_service,
    saved_files,
)
from fakes.orders import make_order
from wan_mcp.dashscope import TaskAnswer
from wan_mcp.dashscope.types import TaskImage
from wan_mcp.orders.worker.recover import matches_order
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.tasks import TaskStatus

NEW, OLD = "wan2.6-t2i", "wan2.5-t2i-preview"


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (NEW, "drop-after"),
        (NEW, "status-500-after"),
        (NEW, "html-200-after"),
        (NEW, "half-json-after"),
        (OLD, "drop-after"),
    ],
)
async def test_a_task_whose_answer_was_lost_is_found_and_saved(tmp_path, model, fault):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", fault)
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service, model=model, n=2)

    assert task.status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == 1
    assert len(saved_files(settings)) == len(task.images) == 2
    assert "found again" in " ".join(task.notes)


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_an_order_that_never_arrived_says_so_and_is_not_sent_again(tmp_path, model):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-before")
        clock = HurriedClock()
        async with (
            running_service(make_settings(tmp_path, dashscope), clock=clock) as service,
            anyio.create_task_group() as group,
        ):
            group.start_soon(end_search, dashscope, clock)
            task = await order(service, model=model)

            assert task.status is TaskStatus.SUBMIT_UNKNOWN
            assert task.settled
            assert task.problem is not None
            assert "not sent again" in task.problem.message
            assert len(dashscope.creates) == 1

            again = await order(service, model=model)
            assert again.deduplicated
            assert again.local_id == task.local_id
            fresh = await order(service, model=model, fresh=True)
            assert fresh.status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == 2


async def test_an_order_is_not_sent_while_another_of_its_kind_is_unanswered(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", {"kind": "slow-after", "seconds": 1.5})
        settings = make_settings(tmp_path, dashscope)
        async with (
            running_service(settings, submit_slot_seconds=30.0) as service,
            anyio.create_task_group() as group,
        ):
            for prompt in ("the first", "the second"):
                group.start_soon(order, service, prompt)

    first, second = dashscope.creates
    assert second.time - first.time > 1.4


async def test_a_task_of_another_program_with_other_parameters_is_not_taken_for_ours(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-before")
        clock = HurriedClock()
        async with (
            running_service(make_settings(tmp_path, dashscope), clock=clock) as service,
            anyio.create_task_group() as group,
        ):
            foreign = [
                dashscope.create_foreign(model=NEW, n=3, size="1280*1280"),
                dashscope.create_foreign(model=NEW, n=1, size="1104*1472"),
            ]
            group.start_soon(end_search, dashscope, clock)
            task = await order(service, model=NEW, n=1)

    assert task.status is TaskStatus.SUBMIT_UNKNOWN
    assert task.images == ()
    assert task.problem is not None
    assert not any(each.task_id in task.problem.message for each in foreign)


async def test_ours_is_chosen_among_tasks_with_other_parameters(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            dashscope.create_foreign(model=NEW, n=3, size="1280*1280")
            task = await order(service, model=NEW, n=1)

    assert task.status is TaskStatus.SUCCEEDED
    assert task.task_id == dashscope.creates[0].task_id


async def test_several_tasks_that_fit_are_all_saved_and_none_is_guessed(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            foreign = dashscope.create_foreign(model=NEW, n=1, size="1280*1280")
            task = await order(service, model=NEW, n=1)

            assert task.status is TaskStatus.SUBMIT_UNKNOWN
            assert task.problem is not None
            candidates = {dashscope.creates[0].task_id, foreign.task_id}
            assert all(str(each) in task.problem.message for each in candidates)
            for candidate in candidates:
                found = await get(service, str(candidate))
                assert found.status is TaskStatus.SUCCEEDED
                assert "whose they are" in " ".join(found.notes)
            listed = await service.list_tasks(status=None, limit=10, cursor=None, remote=True)
            assert candidates <= {each.task_id for each in listed.tasks}
    assert len(saved_files(settings)) == 2


async def test_where_the_result_repeats_the_prompt_the_prompt_decides(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            dashscope.create_foreign(model=OLD, n=1, size="1280*1280", prompt="somebody else's")
            task = await order(service, "ours", model=OLD, n=1)

    assert task.status is TaskStatus.SUCCEEDED
    assert task.task_id == dashscope.creates[0].task_id


async def test_a_lost_answer_of_the_synchronous_protocol_is_explained(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "drop-after")
        async with running_service(make_settings(tmp_path, dashscope, WAN_MCP_PROTOCOL="sync")) as service:
            task = await order(service, model=NEW)

    assert task.status is TaskStatus.SUBMIT_UNKNOWN
    assert task.problem is not None
    assert "synchronous protocol" in task.problem.message
    assert len(dashscope.creates) == 1


async def test_a_refusal_ends_the_order_with_the_reason(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", {"kind": "error-400", "code": "Arrearage", "message": "Access denied."})
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service)

    assert task.status is TaskStatus.FAILED
    assert task.problem is not None
    assert task.problem.code == "Arrearage"
    assert len(dashscope.creates) == 1


async def test_a_rate_limit_is_waited_out_and_the_order_sent_again(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        limited = {"kind": "error-429", "code": "Throttling.RateQuota", "message": "too fast", "retry_after": 0.3}
        dashscope.script("create", limited, limited)
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service)

    assert task.status is TaskStatus.SUCCEEDED
    assert [record.fault for record in dashscope.creates] == ["error-429", "error-429", None]
    assert len(dashscope.creates) == 3


async def test_nothing_listening_is_tried_a_few_times_and_then_said(tmp_path):
    dashscope = FakeService().start()
    settings = make_settings(tmp_path, dashscope)
    dashscope.stop()
    async with running_service(settings) as service:
        task = await order(service)

    assert task.status is TaskStatus.FAILED
    assert task.problem is not None
    assert task.problem.code == "NotConnected"


@pytest.mark.parametrize("fault", ["error-500", "error-429", "html-502", "drop", "half-json", "reset"])
async def test_three_troubles_in_a_row_while_asking_do_not_lose_the_task(tmp_path, fault):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("query", fault, fault, fault)
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service)

    assert task.status is TaskStatus.SUCCEEDED


async def test_a_status_word_never_seen_before_means_that_the_task_goes_on(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("query", "status-word", "unknown", "status-word")
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service)

    assert task.status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize("fault", ["cut", "error-500", "html-200", "wrong-bytes", "drop"])
async def test_an_image_that_fails_twice_is_fetched_the_third_time(tmp_path, fault):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("image", fault, fault)
        settings = make_settings(tmp_path, dashscope)
        async with hurried_service(settings) as service:
            task = await order(service, wait=HURRIED_WAIT)

            assert task.status is TaskStatus.SUCCEEDED
            done = await get(service, task.task_id, wait=HURRIED_WAIT)
    assert len(done.images) == len(saved_files(settings)) == 1


@pytest.mark.parametrize("fault", ["endless", "redirect-private"])
async def test_an_image_that_must_not_be_fetched_is_named_and_comes_when_the_cause_is_gone(tmp_path, fault):
    with FakeService(duration=0.1) as dashscope:
        dashscope.set_chance("image", 1.0, fault)
        settings = make_settings(tmp_path, dashscope, WAN_MCP_MAX_IMAGE_BYTES="2000000")
        async with running_service(settings) as service:
            task = await order(service)

            assert task.images == ()
            assert task.failed_images[0].url is not None
            dashscope.set_chance("image", 0.0)
            with anyio.fail_after(LONGEST):
                while not task.images:
                    await anyio.sleep(0.1)
                    task = await get(service, task.task_id, wait=0)
    assert len(task.images) == len(saved_files(settings)) == 1


def finished(count, size):
    images = tuple(
        TaskImage(number, url=f"https://dashscope-a.oss-x.aliyuncs.com/{number}.png") for number in range(count)
    )
    return TaskAnswer("t-1", TaskStatus.SUCCEEDED, images, size=size)


@pytest.mark.parametrize(
    ("words", "count", "size", "fits"),
    [
        ({"model": "wan2.7-image"}, 1, "2048*2048", True),
        ({"model": "wan2.7-image"}, 1, "1440*2560", False),
        ({"model": "wan2.7-image", "images": ["a.png"]}, 1, "1488*2816", True),
        ({"model": "wan2.7-image", "images": ["a.png"]}, 1, "1024*1024", False),
        ({"model": "wan2.6-image", "images": ["a.png"]}, 1, "1472*1104", True),
        ({"model": "wan2.6-image", "images": ["a.png"]}, 1, "2048*2048", False),
        ({"model": "qwen-image-3.0", "images": ["a.png"]}, 1, "1024*1024", True),
        ({"model": "wan2.7-image", "n": 4}, 3, "2048*2048", False),
        ({"model": "wan2.7-image", "n": 6, "options": {"enable_sequential": True}}, 4, "2048*2048", True),
        ({"model": "wan2.7-image", "n": 6, "options": {"enable_sequential": True}}, 7, "2048*2048", False),
        ({"model": "wan2.6-image", "n": 3, "options": {"enable_interleave": True}}, 2, "1280*1280", True),
    ],
)
def test_a_task_fits_an_order_by_its_size_and_count_as_far_as_the_order_settles_them(words, count, size, fits):
    request = Catalogue().make_request(prompt="x", **words)
    lost = make_order(request=request, model=request.model, protocol="async", images_ordered=request.n)
    assert matches_order(finished(count, size), lost) is fits
