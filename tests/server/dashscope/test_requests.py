"""What is sent is what the service documents; what cannot be sent is refused before."""

import json

import pytest
from pydantic import SecretStr

from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import MissingKeyError, RequestRefusedError, SettingsError

TASK_ID = "0385dc79-5ff8-4d82-bcb6-000000000001"
CREATED = {"request_id": "r-1", "output": {"task_id": TASK_ID, "task_status": "PENDING"}}
PARAMETERS = {"size": "1280*1280", "n": 2, "prompt_extend": True, "watermark": False, "seed": 12345}
MESSAGES = {
    "model": "wan2.6-t2i",
    "input": {"messages": [{"role": "user", "content": [{"text": "一朵花"}]}]},
    "parameters": {"negative_prompt": "low quality", **PARAMETERS},
}
LEGACY = {
    "model": "wan2.6-t2i",
    "input": {"prompt": "一朵花", "negative_prompt": "low quality"},
    "parameters": PARAMETERS,
}


@pytest.mark.parametrize(
    ("protocol", "path", "header", "body"),
    [
        (WireProtocol.SYNC, "multimodal-generation/generation", None, MESSAGES),
        (WireProtocol.ASYNC, "image-generation/generation", "enable", MESSAGES),
        (WireProtocol.LEGACY, "text2image/image-synthesis", "enable", LEGACY),
    ],
)
async def test_an_order_is_the_documented_json(kit, protocol, path, header, body):
    client, network = kit.client(kit.json(CREATED))
    full = {"prompt": "一朵花", "negative_prompt": "low quality", "n": 2, "seed": 12345, "prompt_extend": True}
    await kit.create(client, kit.order(protocol=protocol, **full))
    assert network.last.method == "POST"
    assert network.last.url == f"https://dashscope-intl.aliyuncs.com/api/v1/services/aigc/{path}"
    assert network.last.headers.get("x-dashscope-async") == header
    assert network.last.headers["content-type"] == "application/json"
    assert network.last.headers["authorization"] == f"Bearer {kit.key}"
    assert json.loads(network.last.content) == body


@pytest.mark.parametrize("protocol", list(WireProtocol))
async def test_what_an_order_leaves_open_is_left_out_and_n_never_is(kit, protocol):
    client, network = kit.client(kit.json(CREATED))
    await kit.create(client, kit.order(protocol=protocol))
    body = json.loads(network.last.content)
    assert body["parameters"] == {"size": "1280*1280", "n": 1, "watermark": False}
    assert set(body["input"]) in ({"messages"}, {"prompt"})


@pytest.mark.parametrize(
    ("workspace", "base_url", "expected"),
    [
        ("llm-abc", "https://dashscope-intl.aliyuncs.com/api/v1", "llm-abc"),
        ("llm-abc", "https://llm-abc.ap-southeast-1.maas.aliyuncs.com/api/v1", None),
        (None, "https://dashscope-intl.aliyuncs.com/api/v1", None),
    ],
)
async def test_the_workspace_is_named_where_the_host_does_not(kit, workspace, base_url, expected):
    access = kit.access(workspace_id=workspace, base_url=base_url)
    client, network = kit.client(kit.json(CREATED), access=access)
    await kit.create(client, kit.order())
    assert network.last.headers.get("x-dashscope-workspace") == expected
    assert str(network.last.url).startswith(base_url + "/")


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (lambda client: client.query("singapore", TASK_ID), "GET", f"/tasks/{TASK_ID}"),
        (lambda client: client.cancel("singapore", TASK_ID), "POST", f"/tasks/{TASK_ID}/cancel"),
        (lambda client: client.probe("singapore"), "GET", "/tasks/00000000-0000-0000-0000-000000000000"),
    ],
    ids=["query", "cancel", "probe"],
)
async def test_a_call_about_a_task_has_no_body(kit, call, method, path):
    client, network = kit.client(kit.json({"request_id": "r-1", "output": {"task_status": "UNKNOWN"}}))
    await call(client)
    assert (network.last.method, network.last.content) == (method, b"")
    assert network.last.url == f"https://dashscope-intl.aliyuncs.com/api/v1{path}"
    assert "x-dashscope-async" not in network.last.headers


async def test_the_list_is_asked_for_in_the_services_own_time(kit):
    client, network = kit.client(kit.json({"total": 0, "data": []}))
    await client.list_tasks("singapore")
    assert network.last.url.path == "/api/v1/tasks/"
    assert dict(network.last.url.params) == {"page_no": "1", "page_size": "100"}
    times = {"start": 1736335000.2, "end": 1736335000.2}
    await client.list_tasks("singapore", **times, model_id="wan2.6-t2i", status="SUCCEEDED", page_no=2, page_size=10)
    assert dict(network.last.url.params) == {
        "start_time": "20250108191640",
        "end_time": "20250108191641",
        "model_name": "wan2.6-t2i",
        "status": "SUCCEEDED",
        "page_no": "2",
        "page_size": "10",
    }


@pytest.mark.parametrize("task_id", ["", "..", "../x", "a/b", "a?b", "a b", "ä", "x" * 200])
async def test_what_cannot_be_a_task_id_never_becomes_an_address(kit, task_id):
    client, network = kit.client(kit.json({}))
    with pytest.raises(RequestRefusedError):
        await client.query("singapore", task_id)
    assert network.requests == []


async def test_half_a_character_is_refused_before_anything_is_sent(kit):
    client, network = kit.client(kit.json(CREATED))
    with pytest.raises(RequestRefusedError):
        await kit.create(client, kit.order(prompt="a\ud800b"))
    assert network.requests == []


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"api_key": None, "key_setting": "DASHSCOPE_API_KEY_BEIJING"}, MissingKeyError, "DASHSCOPE_API_KEY_BEIJING"),
        ({"base_url": None}, SettingsError, "DASHSCOPE_WORKSPACE_ID_SINGAPORE"),
        ({"problem": "Tokyo answers only at a workspace's own address."}, SettingsError, "only at a workspace's own"),
        ({"region": "beijing"}, SettingsError, "singapore is not set up"),
    ],
    ids=["no key", "no address", "a problem", "another region"],
)
async def test_a_region_that_is_not_fully_set_up_says_what_is_missing(kit, changes, kind, words):
    client, network = kit.client(kit.json(CREATED), access=kit.access(**changes))
    with pytest.raises(kind, match=words) as caught:
        await kit.create(client, kit.order())
    assert caught.value.nothing_created
    assert network.requests == []


@pytest.mark.parametrize("key", ["sk-with blank", "sk-line\nbreak", "sk-ключ", "“sk-quoted”"])
async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(kit, key):
    client, network = kit.client(kit.json(CREATED), access=kit.access(api_key=SecretStr(key)))
    with pytest.raises(SettingsError) as caught:
        await kit.create(client, kit.order())
    assert key not in str(caught.value)
    assert network.requests == []
