"""What a caller is told when something does not go, before and after money could be spent; in both eras."""

import json

import anyio
import pytest
from mcp import Client

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service, saved_files
from fakes.stdio_client import ERAS, facts, words
from wan_mcp.app import build_server


def _server(settings):
    return build_server(quick_service(settings))


REFUSED = {
    "a misspelt argument": ({"prompt": "x", "negativ_prompt": "y"}, "negative_prompt"),
    "no prompt": ({}, "prompt"),
    "an empty prompt": ({"prompt": "  "}, "prompt"),
    "a prompt that the service would cut": ({"prompt": "字" * 2101}, "2101"),
    "an unknown model": ({"prompt": "x", "model": "wan9"}, "wan2.6-t2i"),
    "a model of another region": ({"prompt": "x", "model": "wanx2.0-t2i-turbo"}, "beijing"),
    "an absurd size": ({"prompt": "x", "size": "99999*1"}, "size"),
    "too many images": ({"prompt": "x", "n": 9}, "4"),
    "a seed out of range": ({"prompt": "x", "seed": -1}, "2147483647"),
    "a parameter that the model lacks": (
        {"prompt": "x", "model": "wan2.7-image", "negative_prompt": "y"},
        "negative_prompt",
    ),
    "an unknown region": ({"prompt": "x", "region": "atlantis"}, "singapore"),
    "a folder outside the allowed ones": ({"prompt": "x", "output_dir": "/etc"}, "WAN_MCP_ALLOWED_DIRS"),
    "a way out of the folder": ({"prompt": "x", "output_dir": "../.."}, "WAN_MCP_ALLOWED_DIRS"),
    "a file name with a folder": ({"prompt": "x", "filename": "../evil"}, "filename"),
    "a wait without end": ({"prompt": "x", "wait_seconds": 99999}, "3600"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_ordered_is_refused_before_anything_is_sent(tmp_path, case):
    arguments, hint = REFUSED[case]
    with FakeService() as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            text = words(await client.call_tool("generate_image", arguments))

        assert hint in text
        assert "pydantic" not in text
        assert not service.requests


@pytest.mark.parametrize("era", ERAS)
async def test_a_refusal_of_the_service_is_a_failure_in_our_words(tmp_path, era):
    with FakeService(duration=0.1) as service:
        async with Client(_server(make_settings(tmp_path, service)), mode=era) as client:
            answer = await client.call_tool("generate_image", {"prompt": "something forbidden"})

    assert answer.is_error
    told = answer.structured_content
    assert told["status"] == "FAILED"
    assert "inspection" in told["message"] or "refused" in told["message"]
    assert json.loads(answer.content[0].text) == told


@pytest.mark.parametrize("era", ERAS)
async def test_of_two_images_one_may_fail_and_the_other_is_there(tmp_path, era):
    with FakeService(duration=0.1) as service:
        service.script_endings("partial")
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings), mode=era) as client:
            told = facts(
                await client.call_tool("generate_image", {"prompt": "x", "model": "wan2.5-t2i-preview", "n": 2})
            )

    assert told["status"] == "SUCCEEDED"
    assert len(told["images"]) == len(told["failed_images"]) == 1
    assert [image["path"] for image in told["images"]] == [str(path) for path in saved_files(settings)]


async def test_an_image_whose_link_has_died_is_expired_and_said_so(tmp_path):
    with FakeService(duration=0.1) as service:
        service.set_chance("image", 1.0, "expired")
        async with Client(_server(make_settings(tmp_path, service))) as client:
            answer = await client.call_tool("generate_image", {"prompt": "x"})

    assert answer.is_error
    assert answer.structured_content["status"] == "EXPIRED"
    assert answer.structured_content["code"] == "Expired"
    assert len(service.creates) == 1


async def test_images_that_were_ordered_and_not_given_are_named(tmp_path):
    with FakeService(duration=0.1) as service:
        service.script_endings("partial")
        async with Client(_server(make_settings(tmp_path, service))) as client:
            told = facts(await client.call_tool("generate_image", {"prompt": "x", "model": "wan2.6-t2i", "n": 2}))

    assert len(told["images"]) == 1
    assert [image["code"] for image in told["failed_images"]] == ["NotDelivered"]


@pytest.mark.parametrize("tool", ["get_task", "cancel_task"])
async def test_a_service_that_is_silent_does_not_hold_a_call_up(tmp_path, tool):
    with FakeService() as service:
        service.set_chance("query", 1.0, "hang")
        settings = make_settings(tmp_path, service, WAN_MCP_WAIT_SECONDS="1")
        async with Client(_server(settings)) as client:
            # The service itself is given up after thirty seconds.
            with anyio.fail_after(25):
                text = words(await client.call_tool(tool, {"task_id": "0000-1111"}))

    assert "in time" in text or "no answer" in text


async def test_an_unknown_task_that_has_ended_is_told_with_its_images_at_once(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        foreign = service.create_foreign(model="wan2.6-t2i", n=1)
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings)) as client:
            told = facts(await client.call_tool("get_task", {"task_id": foreign.task_id, "wait_seconds": 30}))

    assert told["status"] == "SUCCEEDED"
    assert [image["path"] for image in told["images"]] == [str(path) for path in saved_files(settings)]


async def test_null_means_not_given(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            nothing = dict.fromkeys(
                ("negative_prompt", "model", "size", "n", "seed", "region", "fresh", "wait_seconds")
            )
            facts(await client.call_tool("generate_image", {"prompt": "x"} | nothing))
            facts(await client.call_tool("list_tasks", {"status": None, "limit": None, "cursor": "", "remote": None}))


async def test_prompts_in_any_script_become_legal_file_names(tmp_path):
    prompts = ["花店的早晨", "متجر الزهور", "💐💐💐", "../../etc/passwd", "CON", "a\u202eb", "x" * 2100]
    with FakeService(duration=0.0, pending=0.0) as service:
        settings = make_settings(tmp_path, service)
        async with Client(_server(settings)) as client:
            for prompt in prompts:
                facts(await client.call_tool("generate_image", {"prompt": prompt}))

    files = saved_files(settings)
    assert len(files) == len(prompts)
    assert {path.parent for path in files} == {settings.output_dir}


async def test_one_image_is_told_in_less_than_one_and_a_half_kilobytes(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            one = await client.call_tool("generate_image", {"prompt": "花" * 800, "model": "wan2.5-t2i-preview"})
            four = await client.call_tool("generate_image", {"prompt": "x", "n": 4})

    facts(one)
    assert len(one.model_dump_json(by_alias=True, exclude_none=True).encode()) < 1500
    assert len(one.content[0].text.encode()) < 1000
    assert len(four.content[0].text.encode()) < 2000


async def test_a_picture_is_shown_small_and_alone(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        made = facts(await client.call_tool("generate_image", {"prompt": "x", "size": "1440*1440"}))
        seen = await client.call_tool("view_image", {"path": made["images"][0]["path"]})
        outside = words(await client.call_tool("view_image", {"path": "/etc/hostname"}))

    assert seen.structured_content is None
    assert [block.type for block in seen.content] == ["image"]
    assert len(seen.content[0].data) < 700_000
    assert "WAN_MCP_ALLOWED_DIRS" in outside


async def test_the_daily_limit_is_told_and_nothing_is_sent(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        settings = make_settings(tmp_path, service, WAN_MCP_DAILY_IMAGE_LIMIT="3")
        async with Client(_server(settings)) as client:
            facts(await client.call_tool("generate_image", {"prompt": "x", "n": 2}))
            text = words(await client.call_tool("generate_image", {"prompt": "y", "n": 2}))
            facts(await client.call_tool("generate_image", {"prompt": "z", "n": 1}))

        assert "WAN_MCP_DAILY_IMAGE_LIMIT" in text
        assert len(service.creates) == 2


async def test_a_download_by_link_goes_to_allowed_hosts_only(tmp_path):
    with FakeService() as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            for url in ("http://169.254.169.254/latest", "https://example.com/a.png", "file:///etc/passwd"):
                words(await client.call_tool("download_image", {"url": url}))
            both = words(await client.call_tool("download_image", {"url": "https://x", "task_id": "y"}))

    assert "either" in both


@pytest.mark.parametrize("era", ERAS)
async def test_a_list_says_why_a_task_failed_and_no_other_has_a_code(tmp_path, era):
    with FakeService(duration=0.1, words={"forbidden": "moderated"}) as service:
        async with Client(_server(make_settings(tmp_path, service)), mode=era) as client:
            await client.call_tool("generate_image", {"prompt": "forbidden"})
            await client.call_tool("generate_image", {"prompt": "welcome"})
            rows = facts(await client.call_tool("list_tasks", {}))["tasks"]

    assert [(row["status"], row.get("code")) for row in rows] == [
        ("SUCCEEDED", None),
        ("FAILED", "DataInspectionFailed"),
    ]


async def test_what_has_failed_or_was_cancelled_names_no_time_at_which_it_expires(tmp_path):
    with FakeService(duration=0.1, pending=0.0) as service:
        service.script_endings("moderated")
        async with Client(_server(make_settings(tmp_path, service))) as client:
            failed = (await client.call_tool("generate_image", {"prompt": "x"})).structured_content
            service.pending = 60.0
            waiting = facts(await client.call_tool("submit_task", {"prompt": "y"}))
            cancelled = facts(await client.call_tool("cancel_task", {"task_id": waiting["task_id"]}))

    assert (failed["status"], cancelled["status"]) == ("FAILED", "CANCELED")
    assert "expires_at" in waiting
    assert "expires_at" not in failed
    assert "expires_at" not in cancelled


async def test_a_refusal_tells_programs_its_code_and_whether_to_call_again(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        answer = await client.call_tool("generate_image", {"prompt": "x", "output_dir": "/etc"})

    assert answer.meta["wan-mcp/code"] == "FolderNotAllowed"
    assert answer.meta["wan-mcp/retryable"] is False
