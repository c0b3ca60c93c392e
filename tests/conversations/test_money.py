"""What counts for the operator's limit, asked of running servers: the sandbox does not, and nothing makes it begin anew."""

import pytest
from mcp import Client

from fakes.clock import ShiftedClock, until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service, saved_files
from fakes.stdio_client import facts, words
from wan_mcp.app import build_server
from wan_mcp.ledger import DAY


def _client(settings, clock=None):
    return Client(build_server(quick_service(settings, clock=clock)))


async def _order(client, prompt, **more):
    return await client.call_tool("generate_image", {"prompt": prompt, "wait_seconds": 30, **more})


async def test_the_sandbox_counts_for_nothing_and_is_not_counted_against(tmp_path):
    with FakeService(duration=0.1) as service:
        settings = make_settings(tmp_path, service, WAN_MCP_DAILY_IMAGE_LIMIT="3")
        async with _client(settings) as client:
            for number in range(3):
                answer = await _order(client, f"a free heron {number}", region="sandbox", n=2)
                assert facts(answer)["region"] == "sandbox"
            assert len(facts(await _order(client, "a red fox", n=3))["images"]) == 3

            refused = await _order(client, "a blue fox")
            assert _code(refused) == "DailyImageLimit"
            assert "3 images were ordered in the last 24 hours" in words(refused)
            assert facts(await _order(client, "a free otter", region="sandbox"))["status"] == "SUCCEEDED"
        # A server that is started again counts what the one before has ordered.
        async with _client(settings) as client:
            assert _code(await _order(client, "a blue fox")) == "DailyImageLimit"
            assert facts(await _order(client, "a free swan", region="sandbox"))["status"] == "SUCCEEDED"

        assert len(service.creates) == 1


def _code(answer):
    assert answer.is_error, answer.structured_content
    return answer.meta["wan-mcp/code"]


def _lose(settings, how):
    match how:
        case "deleted":
            settings.ledger_path.unlink()
        case "moved away":
            settings.ledger_path.rename(settings.state_dir / "old.sqlite3")
        case "moved away with its folder":
            settings.state_dir.rename(settings.state_dir.with_name("elsewhere"))
        case _:
            empty = settings.state_dir / "empty"
            empty.touch()
            empty.replace(settings.ledger_path)


@pytest.mark.parametrize("how", ["deleted", "moved away", "moved away with its folder", "replaced"])
async def test_a_ledger_that_goes_under_a_running_server_is_told_of_and_nothing_that_costs_money_is_ordered(
    tmp_path, how
):
    with FakeService(duration=0.1) as service:
        settings = make_settings(tmp_path, service, WAN_MCP_DAILY_IMAGE_LIMIT="9")
        async with _client(settings) as client:
            facts(await _order(client, "of an earlier run", n=4))
        async with _client(settings) as client:
            facts(await _order(client, "a red fox", n=4))
            _lose(settings, how)
            for prompt in ("a blue fox", "a grey fox"):
                refused = await _order(client, prompt, n=4)
                assert _code(refused) == "LedgerReplaced"
                text = words(refused)
                assert str(settings.ledger_path) in text
                assert "Nothing was ordered" in text
                assert "put the file back" in text
            assert facts(await _order(client, "a free heron", region="sandbox"))["status"] == "SUCCEEDED"
        assert len(service.creates) == 2

        async with _client(settings) as client:
            assert facts(await _order(client, "a blue fox", n=4))["status"] == "SUCCEEDED"


async def test_a_ledger_that_is_put_back_counts_again_after_a_new_start(tmp_path):
    with FakeService(duration=0.1) as service:
        settings = make_settings(tmp_path, service, WAN_MCP_DAILY_IMAGE_LIMIT="4")
        async with _client(settings) as client:
            facts(await _order(client, "a red fox", n=4))
            kept = settings.ledger_path.rename(tmp_path / "kept.sqlite3")
            assert (await _order(client, "a blue fox")).is_error
        kept.replace(settings.ledger_path)
        async with _client(settings) as client:
            assert _code(await _order(client, "a blue fox")) == "DailyImageLimit"

        assert len(service.creates) == 1


async def test_what_is_under_way_while_its_ledger_goes_is_saved_and_joined_and_not_paid_twice(tmp_path):
    with FakeService(duration=60) as service:
        settings = make_settings(tmp_path, service)
        async with _client(settings) as client:
            task = facts(await client.call_tool("submit_task", {"prompt": "a red fox"}))
            settings.ledger_path.unlink()
            service.advance(120)
            await until(lambda: saved_files(settings))
            same = facts(await _order(client, "a red fox"))

        assert same["task_id"] == task["task_id"]
        assert [image["path"] for image in same["images"]] == [str(path) for path in saved_files(settings)]
        assert len(service.creates) == 1


@pytest.mark.parametrize("shift", [DAY + 60, 400 * DAY, -400 * DAY])
async def test_a_clock_that_is_set_does_not_begin_the_limit_anew(tmp_path, shift):
    clock = ShiftedClock()
    with FakeService(duration=0.1) as service:
        settings = make_settings(tmp_path, service, WAN_MCP_DAILY_IMAGE_LIMIT="2")
        async with _client(settings, clock) as client:
            facts(await _order(client, "a red fox", n=2))
            clock.shift = shift
            refused = await _order(client, "a blue fox")
            assert _code(refused) == "DailyImageLimit"
            free = await client.call_tool("submit_task", {"prompt": "a free heron", "region": "sandbox"})
            assert facts(free)["region"] == "sandbox"

        assert len(service.creates) == 1
