"""What hosts read beside the tools, and what they are told when there is nothing to read."""

import base64
import json
import os
from io import BytesIO
from pathlib import Path

import anyio
import pytest
from mcp import Client, MCPError
from PIL import Image

from fakes.dashscope import FakeService
from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS, facts
from wan_mcp.app import build_server
from wan_mcp.mcp_server.resources import MOST_IMAGE_BYTES

INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603


def _server(settings):
    return build_server(quick_service(settings))


async def _read(client, uri):
    (content,) = (await client.read_resource(uri)).contents
    assert content.uri == uri
    return content


async def _read_json(client, uri):
    content = await _read(client, uri)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


async def _refusal(client, uri):
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    assert caught.value.data == {"uri": uri}
    return caught.value


async def _put(path, data):
    await anyio.Path(path).write_bytes(data)


def _noise(kind, side=64):
    buffer = BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("era", ERAS)
async def test_the_list_of_models_leads_to_each_model(tmp_path, era):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        listed = await _read_json(client, "wan://models")
        for line in listed["models"]:
            model = await _read_json(client, f"wan://models/{line['id']}")
            assert model["id"] == line["id"]
            assert model["about"] == line["about"]


async def test_a_model_is_found_by_any_spelling_of_its_id(tmp_path):
    async with Client(_server(make_settings(tmp_path))) as client:
        for name in ("WAN2.6-T2I", "wan2%2E6-t2i"):
            assert (await _read_json(client, f"wan://models/{name}"))["id"] == "wan2.6-t2i"
        assert (await _read_json(client, "wan://models/wanx2.1-t2i-plus"))["id"] == "wan2.1-t2i-plus"


@pytest.mark.parametrize("era", ERAS)
async def test_a_model_that_does_not_exist_is_refused_with_those_that_do(tmp_path, era):
    async with Client(_server(make_settings(tmp_path)), mode=era) as client:
        error = await _refusal(client, "wan://models/wan9")

    assert error.code == INVALID_PARAMS
    assert "'wan9'" in error.message
    assert "wan2.6-t2i" in error.message


@pytest.mark.parametrize("uri", ["wan://nothing", "wan://", "wan://tasks", "wan://images/", "file:///etc/passwd"])
async def test_an_unknown_address_is_refused_with_those_that_exist(tmp_path, uri):
    async with Client(_server(make_settings(tmp_path))) as client:
        error = await _refusal(client, uri)

    assert error.code == INVALID_PARAMS
    for known in ("wan://models", "wan://models/{id}", "wan://tasks/{task_id}", "wan://images/{id}"):
        assert known in error.message


@pytest.mark.parametrize("era", ERAS)
async def test_a_task_reads_as_get_task_answers(tmp_path, era):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service)), mode=era) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            read = await _read_json(client, f"wan://tasks/{made['task_id']}")
            asked = facts(await client.call_tool("get_task", {"task_id": made["task_id"]}))

    order = read.pop("order")
    assert read == asked
    assert read["images"] == made["images"]
    assert order["arguments"]["prompt"] == "a fox"


async def test_a_failed_task_reads_as_its_facts_too(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = (await client.call_tool("generate_image", {"prompt": "something forbidden"})).structured_content
            read = await _read_json(client, f"wan://tasks/{made['task_id']}")

    assert read["status"] == "FAILED"
    assert read.pop("order")["arguments"]["prompt"] == "something forbidden"
    assert read == made


async def test_of_a_task_that_was_ordered_elsewhere_no_words_are_known(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        foreign = service.create_foreign(model="wan2.6-t2i", n=1)
        async with Client(_server(make_settings(tmp_path, service))) as client:
            read = await _read_json(client, f"wan://tasks/{foreign.task_id}")

    assert read["task_id"] == foreign.task_id
    assert set(read["order"]) == {"created_at"}


async def test_a_task_that_nobody_knows_is_refused(tmp_path):
    with FakeService() as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            error = await _refusal(client, "wan://tasks/0000-1111")

    assert error.code == INVALID_PARAMS
    assert "list_tasks" in error.message


@pytest.mark.parametrize("era", ERAS)
async def test_an_image_reads_as_the_bytes_of_its_file(tmp_path, era):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service)), mode=era) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox", "n": 2}))
            for number, image in enumerate(made["images"], start=1):
                content = await _read(client, f"wan://images/{made['task_id']}-{number}")
                assert content.mime_type == "image/png"
                assert base64.b64decode(content.blob) == await anyio.Path(image["path"]).read_bytes()
                assert content.meta == image | {"reduced": False}


@pytest.mark.parametrize(
    ("kind", "mime_type"), [("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("PNG", "image/png")]
)
async def test_the_type_of_an_image_follows_its_bytes_and_not_its_name(tmp_path, kind, mime_type):
    data = _noise(kind)
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            await _put(made["images"][0]["path"], data)
            content = await _read(client, f"wan://images/{made['task_id']}-1")

    assert content.mime_type == mime_type
    assert base64.b64decode(content.blob) == data


async def test_of_a_large_file_a_small_picture_is_read_and_said_to_be_one(tmp_path):
    large = _noise("PNG", side=1100)
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            path = made["images"][0]["path"]
            await _put(path, large)
            result = await client.read_resource(f"wan://images/{made['task_id']}-1")

    (content,) = result.contents
    small = Image.open(BytesIO(base64.b64decode(content.blob)))
    assert len(large) > MOST_IMAGE_BYTES
    assert content.mime_type == "image/jpeg"
    assert max(small.size) <= 1024
    assert content.meta == {"path": path, "width": 1100, "height": 1100, "bytes": len(large), "reduced": True}
    assert len(result.model_dump_json(by_alias=True).encode()) < 1_000_000


async def test_the_largest_file_that_is_handed_over_whole_fits_into_a_mebibyte(tmp_path):
    picture = _noise("PNG")
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            # What stands after the end of a picture belongs to the file, and is no fault.
            await _put(made["images"][0]["path"], picture.ljust(MOST_IMAGE_BYTES, b"\0"))
            result = await client.read_resource(f"wan://images/{made['task_id']}-1")

    assert result.contents[0].meta["reduced"] is False
    assert len(result.model_dump_json(by_alias=True).encode()) < 1024 * 1024


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("{task}-2", "Its images are: 1"),
        ("{task}-0", "Its images are: 1"),
        ("{task}", "wan://images/TASK_ID-1"),
        ("{task}-one", "wan://images/TASK_ID-1"),
        ("{task}-²", "wan://images/TASK_ID-1"),
        ("{task}-99999", "wan://images/TASK_ID-1"),
        ("0000-1111-1", "list_tasks"),
        ("..%2F..%2Fetc%2Fpasswd-1", "list_tasks"),
    ],
)
async def test_an_image_that_does_not_exist_is_refused(tmp_path, name, hint):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            error = await _refusal(client, f"wan://images/{name.format(task=made['task_id'])}")

    assert error.code == INVALID_PARAMS
    assert hint in error.message


async def test_an_image_is_read_from_the_ledger_and_nobody_is_asked(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        foreign = service.create_foreign(model="wan2.6-t2i", n=1)
        async with Client(_server(make_settings(tmp_path, service))) as client:
            error = await _refusal(client, f"wan://images/{foreign.task_id}-1")

        assert not service.requests
    assert "get_task" in error.message


async def test_an_image_that_could_not_be_saved_is_refused_with_the_way_to_learn_why(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        service.set_chance("image", 1.0, "expired")
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = (await client.call_tool("generate_image", {"prompt": "a fox"})).structured_content
            error = await _refusal(client, f"wan://images/{made['task_id']}-1")

    assert error.code == INVALID_PARAMS
    assert f"get_task with task_id={made['task_id']}" in error.message


async def test_a_file_that_is_gone_is_refused(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            await anyio.Path(made["images"][0]["path"]).unlink()
            error = await _refusal(client, f"wan://images/{made['task_id']}-1")

    assert error.code == INVALID_PARAMS
    assert made["images"][0]["path"] in error.message


@pytest.mark.parametrize("data", [_noise("PNG")[:-20], b"not a picture"], ids=["cut off", "something else"])
async def test_a_file_that_is_no_whole_picture_any_more_is_not_handed_over(tmp_path, data):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            await _put(made["images"][0]["path"], data)
            error = await _refusal(client, f"wan://images/{made['task_id']}-1")

    assert error.code in (INVALID_PARAMS, INTERNAL_ERROR)
    assert "picture" in error.message


async def test_an_image_outside_the_allowed_folders_is_not_read(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
        moved = make_settings(tmp_path, service, WAN_MCP_OUTPUT_DIR=str(tmp_path / "elsewhere"))
        async with Client(_server(moved)) as client:
            error = await _refusal(client, f"wan://images/{made['task_id']}-1")

    assert Path(made["images"][0]["path"]).parent == tmp_path / "pictures"
    assert error.code == INVALID_PARAMS
    assert "WAN_MCP_ALLOWED_DIRS" in error.message


async def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(_noise("PNG"))
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            made = facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            path = anyio.Path(made["images"][0]["path"])
            await path.unlink()
            await path.symlink_to(secret)
            error = await _refusal(client, f"wan://images/{made['task_id']}-1")

    assert error.code == INVALID_PARAMS
    assert "moved or deleted since" in error.message


async def test_what_can_be_read_is_the_same_however_much_was_ordered(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with Client(_server(make_settings(tmp_path, service))) as client:
            before = await client.list_resources(), await client.list_resource_templates()
            facts(await client.call_tool("generate_image", {"prompt": "a fox"}))
            after = await client.list_resources(), await client.list_resource_templates()

    assert before[0].resources == after[0].resources
    assert before[1].resource_templates == after[1].resource_templates


async def test_without_a_key_models_can_be_read(tmp_path):
    settings = make_settings(tmp_path, DASHSCOPE_REGION="singapore")
    async with Client(_server(settings)) as client:
        listed = await _read_json(client, "wan://models")

    assert listed["default_region"] == "singapore"
    assert listed["regions_with_key"] == ["sandbox"]
