"""What a host offers while a person types."""

import pytest
from mcp import Client, MCPError
from mcp.types import CompletionArgument, PromptReference, ResourceTemplateReference

from fakes.dashscope import FakeService
from fakes.memory_service import MemoryService
from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS, facts
from wan_mcp.app import build_server
from wan_mcp.mcp_server.prompts import complete
from wan_mcp_tools.catalogue.catalogue import MODELS
from wan_mcp_tools.prompts import PROMPTS

PICTURE = PromptReference(name="picture")


def _server(settings):
    return build_server(quick_service(settings))


async def _values(client, ref, name, typed="", **filled_in):
    completion = (await client.complete(ref, {"name": name, "value": typed}, filled_in or None)).completion
    assert completion.total == len(completion.values)
    assert completion.has_more is False
    return completion.values


@pytest.mark.parametrize("era", ERAS)
async def test_models_are_completed_by_their_beginning_in_any_case_the_default_first(tmp_path, era):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        assert client.server_capabilities.completions is not None
        everything = await _values(client, PICTURE, "model")
        some = await _values(client, PICTURE, "model", "WAN2.7")
        none = await _values(client, PICTURE, "model", "dall-e")

    assert everything[0] == "wan2.6-t2i"
    # A prompt of the menu has no pictures as input.
    assert sorted(everything) == sorted(model.id for model in MODELS if model.draws_from_words)
    assert some == ["wan2.7-image-pro", "wan2.7-image"]
    assert none == []


async def test_the_default_model_comes_first_however_its_setting_spells_it(tmp_path):
    async with Client(_server(make_settings(tmp_path, WAN_MCP_MODEL="WAN2.7-Image"))) as client:
        assert (await _values(client, PICTURE, "model"))[0] == "wan2.7-image"


async def test_models_are_those_of_the_chosen_region_and_size(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        assert await _values(client, PICTURE, "model", region="us-east-1") == [
            "wan2.6-t2i",
            "qwen-image-3.0-pro",
            "qwen-image-3.0",
        ]
        assert await _values(client, PICTURE, "model", size="4K") == ["wan2.7-image-pro"]
        assert await _values(client, PICTURE, "model", "wanx", region="singapore") == []
        assert "wanx-v1" not in await _values(client, PICTURE, "model", size="3:4")


async def test_sizes_are_those_of_the_chosen_model(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        usual = await _values(client, PICTURE, "size")
        old = await _values(client, PICTURE, "size", model="WANX-V1")
        grades = await _values(client, PICTURE, "size", "2k", model="wan2.7-image")
        upright = await _values(client, PICTURE, "size", "9", model="wan2.6-t2i")
        half_a_name = await _values(client, PICTURE, "size", model="wan")

    assert usual[:5] == ["1:1", "3:4", "4:3", "9:16", "16:9"]
    assert "1280*1280" in usual
    assert "4K" not in usual
    assert old == ["1:1", "9:16", "16:9", "1K", "1024*1024", "720*1280", "1280*720"]
    assert grades == ["2K"]
    assert upright == ["9:16", "960*1696"]
    assert half_a_name == ["1:1", "3:4", "4:3", "9:16", "16:9", "1K", "2K", "4K"]


async def test_every_size_that_is_offered_can_be_ordered(tmp_path):
    service = quick_service(make_settings(tmp_path))
    async with Client(build_server(service)) as client:
        for model in MODELS:
            for size in await _values(client, PICTURE, "size", model=model.id):
                images = ["a.png"] * model.count_inputs({})[0]
                service.catalogue.make_request(prompt="x", model=model.id, size=size, region="sandbox", images=images)


async def test_regions_are_those_of_the_chosen_model_the_usable_ones_first(tmp_path):
    settings = make_settings(tmp_path, DASHSCOPE_REGION="beijing", DASHSCOPE_API_KEY="sk-test")
    async with Client(_server(settings)) as client:
        assert await _values(client, PICTURE, "region") == [
            "beijing",
            "sandbox",
            "singapore",
            "virginia",
            "frankfurt",
            "tokyo",
            "hongkong",
        ]
        assert await _values(client, PICTURE, "region", model="wan2.7-image") == ["beijing", "sandbox", "singapore"]
        assert await _values(client, PICTURE, "region", "S") == ["sandbox", "singapore"]


async def test_an_argument_that_is_free_text_has_no_completions(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        assert await _values(client, PICTURE, "subject", "a") == []
        assert await _values(client, PICTURE, "style") == []


@pytest.mark.parametrize("era", ERAS)
async def test_ids_in_addresses_are_completed_the_newest_first(tmp_path, era):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with Client(_server(make_settings(tmp_path, dashscope)), mode=era) as client:
            first = facts(await client.call_tool("generate_image", {"prompt": "a"}))["task_id"]
            second = facts(await client.call_tool("generate_image", {"prompt": "b", "n": 2}))["task_id"]
            tasks = await _values(client, ResourceTemplateReference(uri="wan://tasks/{task_id}"), "task_id")
            one = await _values(
                client, ResourceTemplateReference(uri="wan://tasks/{task_id}"), "task_id", first[:10].upper()
            )
            images = await _values(client, ResourceTemplateReference(uri="wan://images/{id}"), "id")
            models = await _values(client, ResourceTemplateReference(uri="wan://models/{id}"), "id", "wanx-")
            in_a_prompt = await _values(client, PromptReference(name="variations"), "task_id")

    assert tasks == in_a_prompt == [second, first]
    assert one == [first]
    assert images == [f"{second}-1", f"{second}-2", f"{first}-1"]
    assert models == ["wanx-v1"]


async def test_no_more_than_a_hundred_values_are_sent_and_more_is_said():
    service = MemoryService(duration=0.0)
    for number in range(80):
        request = service.catalogue.make_request(prompt=str(number))
        await service.order(request, wait_seconds=1, until_accepted=True, fresh=True, report=_ignore)
    service.outcome = {}
    prompts = [make(service) for make in PROMPTS]
    images, tasks = (ResourceTemplateReference(uri=uri) for uri in ("wan://images/{id}", "wan://tasks/{task_id}"))
    few = await complete(service, prompts, images, CompletionArgument(name="id", value=""), None)
    for number in range(80, 130):
        request = service.catalogue.make_request(prompt=str(number))
        await service.order(request, wait_seconds=1, until_accepted=True, fresh=True, report=_ignore)
    many = await complete(service, prompts, tasks, CompletionArgument(name="task_id", value=""), None)

    assert (len(few.values), few.has_more) == (80, False)
    assert len(many.values) == 100
    assert many.has_more is True


async def _ignore(*_):
    return None


@pytest.mark.parametrize(
    ("ref", "name", "hint"),
    [
        (PromptReference(name="poster"), "model", "picture, variations, wallpaper"),
        (PICTURE, "colour", "subject"),
        (ResourceTemplateReference(uri="wan://nothing/{id}"), "id", "wan://images/{id}"),
        (ResourceTemplateReference(uri="wan://models/{id}"), "name", "wan://models/{id}"),
    ],
)
@pytest.mark.parametrize("era", ERAS)
async def test_what_does_not_exist_is_not_completed(tmp_path, era, ref, name, hint):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await _values(client, ref, name)

    assert caught.value.code == -32602
    assert hint in caught.value.message
