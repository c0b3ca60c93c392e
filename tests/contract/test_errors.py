"""
What an agent is told when something does not go: docs/errors.md, row by row on a real server.

With WAN_MCP_REWRITE=1 the rows are written anew.
"""

import os

import pytest

from contract.situations.everything import SITUATIONS
from contract.situations.page import make_row, read_rows, rewrite
from contract.situations.service import MEANINGS
from contract.situations.situation import Workspace, read
from wan_mcp.dashscope import error_table

_MODELS = ("wan2.6-t2i", "the model")
_BY_TITLE = {situation.title: situation for situation in SITUATIONS}


@pytest.mark.parametrize("title", _BY_TITLE)
async def test_an_agent_is_told_what_the_page_says(tmp_path, title):
    situation = _BY_TITLE[title]
    workspace = Workspace(tmp_path)
    told = read(await situation.bring_about(workspace), workspace)
    if os.environ.get("WAN_MCP_REWRITE"):
        rewrite(situation, told, SITUATIONS)

    assert make_row(situation, told) == read_rows()[title]
    if told.retryable is not None:
        assert told.retryable == situation.repeat.startswith("yes")
    if situation.charged in ("yes", "no"):
        assert workspace.was_charged() == (situation.charged == "yes")


@pytest.mark.skipif("WAN_MCP_REWRITE" in os.environ, reason="the rows are being written, one by one")
def test_the_page_has_these_situations_and_no_others():
    assert len(_BY_TITLE) == len(SITUATIONS)
    assert list(read_rows()) == list(_BY_TITLE)


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.message[:60])
def test_every_meaning_of_the_services_codes_has_a_row(meaning):
    if meaning is error_table.BY_CODE["unsupportedoperation"]:
        words = "has begun, and only a PENDING task can be cancelled"
    elif meaning is error_table.BY_CODE["throttling"]:
        words = "faster than the service allows"
    else:
        words = meaning.message
    named = [words.format(region="singapore", model=model, setting="DASHSCOPE_API_KEY") for model in _MODELS]
    assert any(each in row[3].replace("\\", "") for row in read_rows().values() for each in named)
