"""What a caller is told where a tool has a fault of our own."""

import pytest
from mcp import Client, MCPError

from fakes.order_service import make_settings, quick_service
from fakes.stdio_client import ERAS
from wan_mcp.app import build_server
from wan_mcp.mcp_server.tools import CODE, RETRYABLE

WORDS = "the key of somebody at /srv/somewhere"


class FaultyService:
    """A service whose tasks cannot be looked at, by a fault."""

    def __init__(self, service):
        self._service = service

    def __getattr__(self, name):
        return getattr(self._service, name)

    async def get(self, task_id, **_):
        raise KeyError(WORDS)


@pytest.fixture
def server(tmp_path):
    return build_server(FaultyService(quick_service(make_settings(tmp_path))))


@pytest.mark.parametrize("era", ERAS)
async def test_a_fault_of_ours_is_told_in_our_words_and_its_own_stand_in_the_log(server, era, caplog):
    async with Client(server, mode=era) as client:
        answer = await client.call_tool("get_task", {"task_id": "t"})

    assert answer.is_error
    assert WORDS not in answer.model_dump_json()
    assert "fault of wan-mcp" in answer.content[0].text
    assert "list_tasks" in answer.content[0].text
    assert (answer.meta[CODE], answer.meta[RETRYABLE]) == ("Error", False)
    assert WORDS in caplog.text


@pytest.mark.parametrize("era", ERAS)
async def test_a_fault_in_a_resource_is_told_in_our_words(server, era):
    async with Client(server, mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("wan://tasks/t")

    assert "fault of wan-mcp" in caught.value.error.message
    assert WORDS not in caught.value.error.model_dump_json()


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_that_does_not_exist_is_answered_with_those_that_do(server, era):
    async with Client(server, mode=era) as client:
        known = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool("draw", {})

    assert answer.is_error
    assert all(name in answer.content[0].text for name in known)
