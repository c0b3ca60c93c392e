"""Ordering, following, collecting: on the fake service over real HTTP."""

import os

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
from wan_mcp_tools.domain.errors import DailyLimitError, MissingKeyError
from wan_mcp_tools.domain.tasks import TaskStatus


@pytest.mark.parametrize("model", ["wan2.6-t2i", "wan2.7-image", "wan2.5-t2i-preview", "wan2.2-t2i-flash"])
async def test_an_order_ends_as_one_verified_file(tmp_path, model):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service, model=model)

    assert task.status is TaskStatus.SUCCEEDED
    assert [image.path for image in task.images] == [str(path) for path in saved_files(settings)]
    assert len(dashscope.creates) == 1
    assert not leftovers(settings)
    assert not dashscope.authorization_at_image_host


async def test_the_synchronous_protocol_gives_a_file_under_a_local_id(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_PROTOCOL="sync")
        async with running_service(settings) as service:
            task = await order(service, n=2)

            assert task.task_id.startswith("local-")
            assert (await get(service, task.task_id)).images == task.images
    assert len(saved_files(settings)) == 2
    assert len(dashscope.creates) == 1


async def test_submitting_answers_with_the_services_id_before_the_picture_is_done(tmp_path):
    with FakeService(duration=60) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await submit(service)

            assert not task.task_id.startswith("local-")
            assert not task.settled
            dashscope.advance(120)
            assert (await get(service, task.task_id)).status is TaskStatus.SUCCEEDED


async def test_an_expired_wait_answers_with_the_id_and_the_file_comes_all_the_same(tmp_path):
    with FakeService(duration=60) as dashscope:
        settings = make_settings(tmp_path, dashscope)
        async with running_service(settings) as service:
            task = await order(service, wait=0.3)
            assert task.status in (TaskStatus.PENDING, TaskStatus.RUNNING)

            await until(lambda: dashscope.tasks)
            dashscope.advance(120)
            done = await get(service, task.local_id)
    assert done.status is TaskStatus.SUCCEEDED
    assert len(saved_files(settings)) == 1


async def test_a_caller_hears_of_its_order_when_it_is_written_down_and_before_it_is_sent(tmp_path):
    with FakeService() as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            heard = []

            def note(task):
                heard.append((task.task_id, task.local_id, task.deduplicated, len(dashscope.creates)))

            async def ask():
                request = service.catalogue.make_request(prompt="a red fox")
                return await service.order(
                    request, wait_seconds=30, until_accepted=True, fresh=False, report=None, placed=note
                )

            task = await ask()
            assert heard == [(task.local_id, task.local_id, False, 0)]
            # One that is there already is told as such.
            again = await ask()
            assert again.local_id == task.local_id
            assert heard[1:] == [(task.task_id, task.local_id, True, 1)]


async def test_a_caller_hears_of_no_order_that_is_refused(tmp_path):
    heard = []
    async with running_service(make_settings(tmp_path, DASHSCOPE_REGION="singapore")) as service:
        request = service.catalogue.make_request(prompt="a red fox")
        with pytest.raises(MissingKeyError):
            await service.order(
                request, wait_seconds=30, until_accepted=True, fresh=False, report=None, placed=heard.append
            )
    assert heard == []


async def test_without_a_key_the_answer_names_the_setting_and_nothing_is_written_down(tmp_path):
    settings = make_settings(tmp_path, DASHSCOPE_REGION="beijing")
    async with running_service(settings) as service:
        with pytest.raises(MissingKeyError, match="DASHSCOPE_API_KEY"):
            await order(service)
    assert not (settings.state_dir / "ledger.sqlite3").exists()


@pytest.mark.parametrize(
    "prompt",
    [
        "a red fox ",
        "  a red fox",
        "a  red\tfox",
        "a red\nfox",
        "a red\u00a0fox",
        "a\u3000red fox",
        "a red\u200b fox",
        "\ufeffa red fox",
        "a r\u00aded fox",
    ],
)
async def test_blanks_and_signs_that_nobody_sees_make_no_other_order(tmp_path, prompt):
    with FakeService(duration=0.1) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            await submit(service, "a red fox")
            await submit(service, prompt)
            await submit(service, "a blue fox")

    assert len(dashscope.creates) == 2


async def test_trouble_that_is_over_is_not_told_with_the_picture(tmp_path):
    with FakeService(duration=0.3) as dashscope:
        dashscope.script("query", *["error-429"] * 3)
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service)
            again = await get(service, task.task_id)

    assert (task.status, task.problem) == (TaskStatus.SUCCEEDED, None)
    assert again.problem is None


async def test_the_limit_holds_although_the_ledger_is_deleted_under_the_running_server(tmp_path, caplog):
    with FakeService(duration=0.1) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_DAILY_IMAGE_LIMIT="2")
        async with running_service(settings) as service:
            await order(service, n=2)
            (settings.state_dir / "ledger.sqlite3").unlink()
            with pytest.raises(DailyLimitError):
                await order(service, "another")

    assert len(dashscope.creates) == 1
    assert any("deleted, moved away or replaced" in record.message for record in caplog.records)


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_a_server_says_at_its_start_who_else_may_write_where_only_its_user_should(tmp_path, caplog):
    settings = make_settings(tmp_path)
    for folder in (settings.output_dir, settings.state_dir):
        folder.mkdir()
        folder.chmod(0o777)
    settings.ledger_path.touch()
    settings.ledger_path.chmod(0o660)
    # Opened first, the ledger would take the rights of others away by itself.
    async with running_service(settings, start_delay=60.0):
        with anyio.fail_after(45):
            while len(caplog.records) < 3:
                await anyio.sleep(0.02)

    said = [record.getMessage().partition(". ")[0] for record in caplog.records]
    assert said == [
        f"{settings.output_dir} can be written to by everybody",
        f"{settings.state_dir} can be written to by everybody",
        f"{settings.ledger_path} can be written to by its group",
    ]


async def test_a_server_says_nothing_of_folders_that_are_its_users_alone(tmp_path, caplog):
    settings = make_settings(tmp_path)
    async with hurried_service(settings) as service:
        await order(service, wait=HURRIED_WAIT, model="wan2.2-t2i-flash", size="512*512")
    async with running_service(settings):
        await anyio.sleep(0.2)

    assert caplog.records == []


async def test_an_order_of_the_synchronous_protocol_is_told_under_our_id_at_once(tmp_path):
    with FakeService() as dashscope:
        dashscope.script("create", "held")
        settings = make_settings(tmp_path, dashscope, WAN_MCP_PROTOCOL="sync")
        async with running_service(settings) as service:
            task = await submit(service)
            assert (task.task_id, task.status) == (task.local_id, TaskStatus.PENDING)
            await until(lambda: dashscope.creates)
            dashscope.release()
            done = await get(service, task.local_id)
    assert done.status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == 1
