"""How often people may call a server that they sign in to, over real HTTP and by all of its ways."""

import httpx
import pytest

from fakes.stdio_client import ERAS
from fakes.team_server import running_team

LIMIT = 5
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_tasks", "arguments": {}}}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def post(web: httpx.AsyncClient, message: dict) -> httpx.Response:
    return await web.post("/mcp", json=message, headers=ACCEPT)


async def test_calls_beyond_the_limit_are_answered_with_when_to_call_again(tmp_path):
    async with (
        running_team(tmp_path, WAN_MCP_USER_CALLS_PER_MINUTE=str(LIMIT)) as team,
        team.web("ada") as ada,
        team.web("bob") as bob,
    ):
        answers = [await post(ada, CALL) for _ in range(LIMIT + 1)]
        assert [answer.status_code for answer in answers] == [200] * LIMIT + [429]
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        assert f"More than {LIMIT} calls a minute" in answers[-1].text
        assert (await post(ada, LIST)).status_code == 200
        assert (await post(bob, CALL)).status_code == 200


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_within_the_limit_notices_nothing_of_it(tmp_path, era):
    async with running_team(tmp_path, WAN_MCP_USER_CALLS_PER_MINUTE="60") as team, team.agent("ada", era) as ada:
        for _ in range(3):
            assert not (await ada.call_tool("list_tasks", {})).is_error
