"""What hosts list beside the tools: one committed file for each list. With WAN_MCP_REWRITE=1 they are written anew."""

import json
import os
from pathlib import Path

import pytest
from mcp import Client

from fakes.order_service import make_settings
from fakes.stdio_client import ERAS
from wan_mcp.app import build_server, build_service

SNAPSHOTS = Path(__file__).parent / "lists"


async def _list(folder: Path, name: str, era: str = "auto") -> list[dict]:
    async with Client(build_server(build_service(make_settings(folder))), mode=era) as client:
        listed = await getattr(client, f"list_{name}")()
    return [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in getattr(listed, name)]


@pytest.mark.parametrize("name", ["resources", "resource_templates", "prompts"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_list_says_what_its_file_says(tmp_path, era, name):
    snapshot = SNAPSHOTS / f"{name}.json"
    text = json.dumps(await _list(tmp_path, name, era), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("WAN_MCP_REWRITE"):
        snapshot.write_text(text, encoding="utf-8")

    assert text == snapshot.read_text(encoding="utf-8")


async def test_everything_that_is_listed_has_a_title_and_a_description(tmp_path):
    for name in ("resources", "resource_templates", "prompts"):
        for each in await _list(tmp_path, name):
            assert each["title"]
            assert each["description"]
