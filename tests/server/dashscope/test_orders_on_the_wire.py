"""Each protocol's order, as the service documents it."""

import json

import pytest

from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import MissingKeyError, RequestRefusedError, SettingsError
from wan_mcp_tools.domain.tasks import TaskStatus

CREATED = {"request_id": "r-1", "output": {"task_id": "0385dc79-5ff8-4d82", "task_status": "PENDING"}}
DRAWN = {
    "output": {
        "choices": [
            {
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": [{"image": "https://x.example/1.png?a=1", "type": "image"}],
                },
            }
        ],
        "finished": True,
    },
    "usage": {"image_count": 1, "size": "1280*1280", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    "request_id": "r-2",
}
FULL = {
    "prompt": "一朵花",
    "negative_prompt": "low quality",
    "n": 2,
    "seed": 12345,
    "prompt_extend": True,
    "watermark": False,
}


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("protocol", "path", "header", "answer"),
    [
        (WireProtocol.SYNC, "/api/v1/services/aigc/multimodal-generation/generation", None, DRAWN),
        (WireProtocol.ASYNC, "/api/v1/services/aigc/image-generation/generation", "enable", CREATED),
    ],
)
async def test_an_order_of_the_newer_protocols_is_the_documented_json(kit, protocol, path, header, answer):
    client, network = kit.client(kit.json(answer))
    await client.create(kit.order(protocol=protocol, **FULL))
    assert network.last.method == "POST"
    assert network.last.url == f"https://dashscope-intl.aliyuncs.com{path}"
    assert network.last.headers.get("x-dashscope-async") == header
    assert network.last.headers["content-type"] == "application/json"
    assert network.last.headers["authorization"] == f"Bearer {kit.key}"
    assert canonical(json.loads(network.last.content)) == canonical(
        {
            "model": "wan2.6-t2i",
            "input": {"messages": [{"role": "user", "content": [{"text": "一朵花"}]}]},
            "parameters": {
                "negative_prompt": "low quality",
                "size": "1280*1280",
                "n": 2,
                "prompt_extend": True,
                "watermark": False,
                "seed": 12345,
            },
        }
    )


async def test_an_order_of_the_legacy_protocol_is_the_documented_json(kit):
    client, network = kit.client(kit.json(CREATED))
    await client.create(kit.order(protocol=WireProtocol.LEGACY, model_id="wan2.5-t2i-preview", **FULL))
    assert network.last.url.path == "/api/v1/services/aigc/text2image/image-synthesis"
    assert network.last.headers["x-dashscope-async"] == "enable"
    assert canonical(json.loads(network.last.content)) == canonical(
        {
            "model": "wan2.5-t2i-preview",
            "input": {"prompt": "一朵花", "negative_prompt": "low quality"},
            "parameters": {
                "size": "1280*1280",
                "n": 2,
                "prompt_extend": True,
                "watermark": False,
                "seed": 12345,
            },
        }
    )


@pytest.mark.parametrize("protocol", list(WireProtocol))
async def test_what_an_order_leaves_open_is_left_out_and_n_never_is(kit, protocol):
    client, network = kit.client(kit.json(DRAWN if protocol is WireProtocol.SYNC else CREATED))
    await client.create(kit.order(protocol=protocol))
    body = json.loads(network.last.content)
    assert body["parameters"] == {"size": "1280*1280", "n": 1, "watermark": False}
    assert set(body["input"]) in ({"messages"}, {"prompt"})


async def test_the_answer_to_an_order_names_its_task(kit):
    client, _ = kit.client(kit.json(CREATED, date="Wed, 21 Oct 2026 07:28:00 GMT"))
    answer = await client.create(kit.order())
    assert (answer.task_id, answer.status, answer.request_id) == ("0385dc79-5ff8-4d82", TaskStatus.PENDING, "r-1")
    assert answer.served_at == 1792567680.0
    assert answer.images == ()


async def test_the_answer_to_a_synchronous_order_is_its_images(kit):
    client, _ = kit.client(kit.json(DRAWN))
    answer = await client.create(kit.order(protocol=WireProtocol.SYNC))
    assert (answer.task_id, answer.status) == (None, TaskStatus.SUCCEEDED)
    assert [image.url for image in answer.images] == ["https://x.example/1.png?a=1"]
    assert (answer.size, answer.image_count) == ("1280*1280", 1)


async def test_a_task_id_counts_even_beside_an_error(kit):
    client, _ = kit.client(kit.json({**CREATED, "code": "InternalError", "message": "late"}, status=500))
    assert (await client.create(kit.order())).task_id == "0385dc79-5ff8-4d82"


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
    await client.create(kit.order())
    assert network.last.headers.get("x-dashscope-workspace") == expected
    assert str(network.last.url).startswith(base_url + "/")


async def test_half_a_character_is_refused_before_anything_is_sent(kit):
    client, network = kit.client(kit.json(CREATED))
    with pytest.raises(RequestRefusedError):
        await client.create(kit.order(prompt="a\ud800b"))
    assert network.requests == []


async def test_a_missing_key_names_the_setting_to_make(kit):
    client, network = kit.client(
        kit.json(CREATED), access=kit.access(api_key=None, key_setting="DASHSCOPE_API_KEY_SINGAPORE")
    )
    with pytest.raises(MissingKeyError, match="DASHSCOPE_API_KEY_SINGAPORE") as caught:
        await client.create(kit.order())
    assert caught.value.nothing_created
    assert network.requests == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_url": None}, "DASHSCOPE_WORKSPACE_ID_SINGAPORE"),
        ({"problem": "Tokyo answers only at a workspace's own address."}, "only at a workspace's own"),
    ],
)
async def test_a_region_that_is_not_fully_set_up_says_what_is_missing(kit, changes, words):
    client, network = kit.client(kit.json(CREATED), access=kit.access(**changes))
    with pytest.raises(SettingsError, match=words):
        await client.create(kit.order())
    assert network.requests == []


async def test_a_region_that_is_not_set_up_at_all_is_a_matter_of_settings(kit):
    client, _ = kit.client(kit.json(CREATED))
    with pytest.raises(SettingsError, match="beijing"):
        await client.create(kit.order(region="beijing"))


@pytest.mark.parametrize("key", ["sk-with blank", "sk-line\nbreak", "sk-ключ", "“sk-quoted”"])
async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(kit, key):
    access = kit.access()
    entry = access["singapore"]
    secret = type(entry.api_key)(key)
    client, network = kit.client(kit.json(CREATED), access=kit.access(api_key=secret))
    with pytest.raises(SettingsError) as caught:
        await client.create(kit.order())
    assert key not in str(caught.value)
    assert network.requests == []
