"""The view in the conversation, as a host finds it; and what every other client sees: the same as ever."""

import json
from contextlib import asynccontextmanager

import pytest
from mcp import Client
from mcp.client import advertise

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS
from wan_mcp.app import build_server

APPS = "io.modelcontextprotocol/ui"
MIME = "text/html;profile=mcp-app"
SUPPORTING = [advertise(APPS, {"mimeTypes": [MIME]})]


@asynccontextmanager
async def connected(folder, era="auto", extensions=None):
    server = build_server(quick_service(make_settings(folder)))
    async with Client(server, mode=era, extensions=extensions) as client:
        yield client


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize("era", ERAS)
async def test_the_extension_is_advertised_and_two_tools_name_their_view(tmp_path, era):
    async with connected(tmp_path, era) as client:
        tools = {tool.name: tool.meta for tool in (await client.list_tools()).tools}
        capabilities = plain(client.server_capabilities)

    # The older protocol has no place for extensions; its hosts look at the tools.
    assert era == "legacy" or APPS in capabilities["extensions"]
    uri = "ui://wan/view.html"
    view = {"ui": {"resourceUri": uri}, "ui/resourceUri": uri}
    views = {name: {key: meta[key] for key in view} for name, meta in tools.items() if "ui" in meta}
    assert views == {"generate_image": view, "get_task": view}


@pytest.mark.parametrize("era", ERAS)
async def test_the_view_is_a_document_that_declares_no_network(tmp_path, era):
    async with connected(tmp_path, era) as client:
        (listed,) = [each for each in (await client.list_resources()).resources if each.uri.startswith("ui:")]
        (content,) = (await client.read_resource(str(listed.uri))).contents

    assert (listed.mime_type, content.mime_type) == (MIME, MIME)
    assert listed.meta == content.meta
    assert content.meta["ui"] == {
        "csp": {"connectDomains": [], "resourceDomains": [], "frameDomains": [], "baseUriDomains": []},
        "permissions": {"clipboardWrite": {}},
        "prefersBorder": True,
    }
    assert content.text.startswith("<!doctype html>")
    assert len(content.text.encode()) < 100_000


async def test_a_model_reads_the_same_of_the_tools_and_of_their_answers_with_and_without_apps(tmp_path):
    """What differs by nature, ids and times, is taken from the ledger that both conversations share."""

    async def talk(extensions):
        async with connected(tmp_path, extensions=extensions) as client:
            tools = [plain(tool) for tool in (await client.list_tools()).tools]
            if not made:
                order = await client.call_tool("generate_image", {"prompt": "a flower shop"})
                made.append(order.structured_content["task_id"])
            answers = [
                await client.call_tool("get_task", {"task_id": made[0]}),
                await client.call_tool("get_task", {"task_id": "no-such-task"}),
                await client.call_tool("generate_image", {"prompt": "a", "size": "7"}),
                await client.call_tool("view_image", {"task_id": made[0]}),
            ]
            return tools, [plain(answer) for answer in answers]

    made = []
    with_apps, without_apps = await talk(SUPPORTING), await talk(None)

    assert with_apps == without_apps
    finished = with_apps[1][0]
    assert json.loads(finished["content"][0]["text"]) == finished["structuredContent"]
    assert "prompt" not in finished["structuredContent"]
    assert len(finished["content"][0]["text"].encode()) < 1_000


@pytest.mark.parametrize("era", ERAS)
async def test_a_view_can_read_what_was_ordered(tmp_path, era):
    words = {"prompt": "a flower shop", "size": "1:1", "seed": 7, "negative_prompt": "people"}
    async with connected(tmp_path, era) as client:
        answer = await client.call_tool("generate_image", words)
        task_id = answer.structured_content["task_id"]
        (content,) = (await client.read_resource(f"wan://tasks/{task_id}")).contents
        read = json.loads(content.text)
        order = read["order"]
        again = await client.call_tool("generate_image", order["arguments"] | {"fresh": True})

    assert content.mime_type == "application/json"
    assert read["task_id"] == task_id
    assert order["created_at"]
    assert order["arguments"] == {
        "model": "wan2.6-t2i",
        "region": "sandbox",
        "prompt": "a flower shop",
        "size": "1280*1280",
        "n": 1,
        "negative_prompt": "people",
        "seed": 7,
        "prompt_extend": True,
        "watermark": False,
    }
    assert again.structured_content["status"] == "SUCCEEDED"


@pytest.mark.parametrize("era", ERAS)
async def test_a_view_is_handed_facts_that_no_model_reads(tmp_path, era):
    async with connected(tmp_path, era) as client:
        begun = await client.call_tool("generate_image", {"prompt": "sandbox:slow a flower", "wait_seconds": 0})
        refused = await client.call_tool("generate_image", {"prompt": "sandbox:refuse a flower"})

    assert begun.meta["wan-mcp/task"] == {"is_waiting": True}
    assert refused.meta["wan-mcp/task"] == {"is_refusal": True}
    assert "is_waiting" not in begun.structured_content


async def test_a_paid_order_says_its_list_price(tmp_path):
    with FakeService(duration=0.1) as service:
        server = build_server(quick_service(make_settings(tmp_path, service)))
        async with Client(server) as client:
            answer = await client.call_tool("submit_task", {"prompt": "a flower shop"})
            uri = f"wan://tasks/{answer.structured_content['task_id']}"
            order = json.loads((await client.read_resource(uri)).contents[0].text)["order"]

    assert order["price"]["currency"] == "USD"
    assert float(order["price"]["amount"]) > 0
