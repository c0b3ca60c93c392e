"""Servers side by side on one PostgreSQL database: what one of them does, the others know."""

import time

import pytest

from fakes.clock import LONGEST
from fakes.cutting_proxy import open_proxy
from fakes.dashscope import FakeService
from fakes.order_service import get, make_settings, running_service, saved_files, submit
from wan_mcp_tools.domain.tasks import TaskStatus

LOOKS_SELDOM = {"ledger_interval": 300.0, "wait_interval": 300.0}


@pytest.fixture
def proxy(postgres_url):
    with open_proxy(postgres_url) as proxy:
        yield proxy


async def test_servers_on_one_database_share_their_orders(tmp_path, postgres_url):
    with FakeService(duration=0.3) as dashscope:
        here, there = (
            make_settings(
                tmp_path, dashscope, WAN_MCP_LEDGER_URL=postgres_url, WAN_MCP_STATE_DIR=str(tmp_path / name)
            )
            for name in ("here", "there")
        )
        async with running_service(here) as first, running_service(there) as second:
            task = await submit(first)
            seen = await get(second, task.task_id)
            again = await get(first, task.task_id)
    assert seen.status is again.status is TaskStatus.SUCCEEDED
    assert [image.path for image in seen.images] == [image.path for image in again.images]
    assert len(dashscope.creates) == len(saved_files(here)) == 1
    assert not here.ledger_path.exists()


async def test_an_order_in_a_database_whose_server_is_gone_is_finished_by_the_next(tmp_path, postgres_url):
    with FakeService(duration=0.5) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_LEDGER_URL=postgres_url)
        async with running_service(settings, take_over=False) as service:
            task = await submit(service)
        async with running_service(settings) as service:
            done = await get(service, task.task_id)
    assert done.status is TaskStatus.SUCCEEDED
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_a_call_on_another_server_hears_of_the_saved_file_at_once(tmp_path, postgres_url):
    with FakeService(duration=0.5) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_LEDGER_URL=postgres_url)
        async with (
            running_service(settings, **LOOKS_SELDOM) as first,
            running_service(settings, take_over=False, **LOOKS_SELDOM) as second,
        ):
            task = await submit(first)
            seen = await get(second, task.task_id)
            ended = await second._ledger.orders.get(task.task_id)
    assert seen.status is TaskStatus.SUCCEEDED
    assert time.time() - ended.finished_at < 5.0
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_another_server_takes_up_at_once_what_one_that_ends_leaves(tmp_path, postgres_url):
    with FakeService(duration=0.5) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_LEDGER_URL=postgres_url)
        async with running_service(settings, lease=600.0, **LOOKS_SELDOM) as second:
            async with running_service(settings, take_over=False, lease=600.0, **LOOKS_SELDOM) as first:
                task = await submit(first)
            began = time.monotonic()
            done = await get(second, task.task_id)
    assert done.status is TaskStatus.SUCCEEDED
    assert time.monotonic() - began < LONGEST / 2
    assert len(dashscope.creates) == len(saved_files(settings)) == 1


async def test_a_call_on_another_server_finds_the_file_where_nothing_is_told(tmp_path, proxy):
    proxy.keeps_notices = True
    with FakeService(duration=0.5) as dashscope:
        settings = make_settings(tmp_path, dashscope, WAN_MCP_LEDGER_URL=proxy.url)
        async with running_service(settings) as first, running_service(settings, take_over=False) as second:
            task = await submit(first)
            seen = await get(second, task.task_id)
    assert seen.status is TaskStatus.SUCCEEDED
