"""Nothing that is too large is worked on, and no error is long, in both protocol eras."""

import json

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS
from wan_mcp.app import build_server
from wan_mcp.mcp_server.size_limits import is_too_large, shorten_error
from wan_mcp_tools import TOOLS

HUGE = "x" * 2_000_000
VALUES = {
    "text": HUGE,
    "letters of three bytes": "\u82b1" * 100_000,
    "half characters": "\ud83d" * 5_000,
    "a number": 10**4000,
    "a list": [HUGE],
    "an object": {HUGE: HUGE},
}
INVALID_PARAMS = -32602


def connected(folder, era):
    return Client(build_server(quick_service(make_settings(folder))), mode=era)


async def error_of(call):
    with pytest.raises(MCPError) as caught:
        await call
    assert len(caught.value.error.model_dump_json()) < 2_000
    return caught.value


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", VALUES)
async def test_every_argument_of_every_tool_may_be_huge_and_the_answer_is_short(tmp_path, era, kind):
    value = VALUES[kind]
    async with connected(tmp_path, era) as client:
        tools = (await client.list_tools()).tools
        assert len(tools) == len(TOOLS)
        for tool in tools:
            given = dict.fromkeys(tool.input_schema["properties"], value)
            for arguments in (given, {f"{name}x": value for name in given}, given | {HUGE: HUGE}):
                answer = await client.call_tool(tool.name, arguments)
                assert answer.is_error, tool.name
                assert len(answer.model_dump_json(by_alias=True)) < 2_000, tool.name


@pytest.mark.parametrize("era", ERAS)
async def test_other_requests_that_are_huge_are_refused_in_a_short_error(tmp_path, era):
    template = ResourceTemplateReference(uri="wan://tasks/{task_id}")
    async with connected(tmp_path, era) as client:
        for call in (
            client.read_resource("wan://models/" + HUGE),
            client.read_resource("wan://tasks/" + "x" * 4_000),
            client.read_resource("wan://images/" + "\u82b1" * 1_000),
            client.read_resource("file:///" + "x" * 4_000),
            client.get_prompt(HUGE),
            client.get_prompt("x" * 4_000),
            client.complete(PromptReference(name=HUGE), {"name": "model", "value": ""}),
            client.complete(PromptReference(name="picture"), {"name": HUGE, "value": ""}),
            client.complete(PromptReference(name="picture"), {"name": "model", "value": HUGE}),
            client.complete(PromptReference(name="picture"), {"name": "model", "value": ""}, {"size": HUGE}),
            client.complete(template, {"name": "x" * 4_000, "value": ""}),
        ):
            await error_of(call)
        unknown = await client.call_tool("x" * 4_000, {})
        huge = await error_of(client.call_tool(HUGE, {}))

    assert unknown.is_error
    assert "There are: generate_image, submit_task" in unknown.content[0].text
    assert len(unknown.model_dump_json(by_alias=True)) < 2_000
    assert huge.code == INVALID_PARAMS
    assert "'name'" in huge.message


@pytest.mark.parametrize("era", ERAS)
async def test_a_token_that_every_report_would_repeat_is_bounded(tmp_path, era):
    async with connected(tmp_path, era) as client:
        error = await error_of(client.call_tool("list_tasks", {}, meta={"progressToken": HUGE}))

    assert "progressToken" in error.message


def test_a_value_is_judged_by_its_longest_text_its_numbers_its_depth_and_its_size():
    deep = 1
    for _ in range(100_000):
        deep = [deep]

    assert not is_too_large({"a": [1, "x" * 9, None, 10**30, {"b": 2.5}]}, 9)
    for value in ("x" * 10, {"x" * 10: 1}, 10**60, deep, [0] * 100_000, {"a": deep}):
        assert is_too_large(value, 9)


def test_the_data_of_an_error_is_cut_or_left_out():
    from mcp.types import ErrorData

    for data in (HUGE, {"uri": HUGE}, {"a": {"b": HUGE}}, [HUGE], {str(n): "x" * 300 for n in range(1000)}):
        short = shorten_error(ErrorData(code=1, message=HUGE, data=data))
        assert len(json.dumps(short.data)) < 400
        assert len(short.message) <= 1_500
