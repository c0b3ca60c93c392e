"""The tool list is what models read: one committed file for each tool. With WAN_MCP_REWRITE=1 they are written anew."""

import json
import os
from pathlib import Path

import pytest
from mcp import Client

from fakes.order_service import make_settings
from fakes.stdio_client import ERAS
from wan_mcp.app import build_server, build_service
from wan_mcp_tools import TOOLS

SNAPSHOTS = Path(__file__).parent / "tools"
NAMES = [make.__name__ for make in TOOLS]


async def _list(folder: Path, era: str = "auto") -> dict[str, dict]:
    async with Client(build_server(build_service(make_settings(folder))), mode=era) as client:
        listed = await client.list_tools()
    return {tool.name: tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed.tools}


@pytest.mark.parametrize("name", NAMES)
async def test_a_tool_says_what_its_file_says(tmp_path, name):
    tool = (await _list(tmp_path))[name]
    snapshot = SNAPSHOTS / f"{name}.json"
    text = json.dumps(tool, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("WAN_MCP_REWRITE"):
        snapshot.write_text(text, encoding="utf-8")

    assert text == snapshot.read_text(encoding="utf-8")


@pytest.mark.parametrize("era", ERAS)
async def test_what_the_model_reads_of_all_tools_is_at_most_eight_kilobytes(tmp_path, era):
    read = ("name", "description", "inputSchema")
    tools = [{key: tool[key] for key in read} for tool in (await _list(tmp_path, era)).values()]

    assert [tool["name"] for tool in tools] == NAMES
    assert len(json.dumps(tools, ensure_ascii=False, separators=(",", ":")).encode()) <= 8_000


async def test_every_argument_has_one_type_and_no_bound_by_which_a_host_could_refuse_what_is_read(tmp_path):
    for tool in (await _list(tmp_path)).values():
        for shape in tool["inputSchema"]["properties"].values():
            # Without a type, Gemini CLI passes over the whole tool.
            assert isinstance(shape["type"], str)
            assert shape.keys() <= {"type", "description", "default", "enum", "nullable", "items"}


async def test_no_schema_has_what_clients_cannot_read(tmp_path):
    for tool in (await _list(tmp_path)).values():
        for schema in (tool["inputSchema"], tool.get("outputSchema", {})):
            text = json.dumps(schema)
            assert not any(word in text for word in ("$ref", "$defs", "anyOf", "oneOf", "allOf", '"null"'))
        assert "additionalProperties" not in tool["inputSchema"]
        assert all(part.get("description") for part in tool["inputSchema"]["properties"].values())


async def test_hosts_that_search_for_tools_find_them_by_the_words_that_people_use(tmp_path):
    tools = await _list(tmp_path)
    hints = {name: tool["_meta"]["anthropic/searchHint"] for name, tool in tools.items()}

    assert set(hints) == set(NAMES)
    assert all(0 < len(hint) <= 120 for hint in hints.values())
    for word in ("draw", "paint", "picture", "photo", "illustration", "logo", "art"):
        assert word in hints["generate_image"].replace(",", "").split()
    assert tools["generate_image"]["description"].startswith("Draw ")
    assert "answer at once" in tools["submit_task"]["description"]


async def test_every_tool_has_its_four_hints(tmp_path):
    hints = {
        name: tuple(
            tool["annotations"][key] for key in ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
        )
        for name, tool in (await _list(tmp_path)).items()
    }

    assert hints == {
        "generate_image": (False, False, False, True),
        "submit_task": (False, False, False, True),
        "get_task": (True, False, True, True),
        "download_image": (False, False, True, True),
        "cancel_task": (False, True, True, True),
        "list_tasks": (True, False, True, True),
        "view_image": (True, False, True, False),
    }
