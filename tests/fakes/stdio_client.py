"""A client of the server as hosts are: over stdio, in both protocol eras."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from fakes.dashscope import FakeService
from fakes.wire_record import WireRecord, recorded

ERAS = ("auto", "legacy")


def environment(folder: Path, service: FakeService | None = None, **more: str) -> dict[str, str]:
    """Give the variables of a server that writes under `folder` and knows only the sandbox or the fake service."""
    variables = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HOME": str(folder),
        "WAN_MCP_OUTPUT_DIR": str(folder / "pictures"),
        "WAN_MCP_STATE_DIR": str(folder / "state"),
        "DASHSCOPE_REGION": "sandbox",
    }
    if service is not None:
        variables |= {
            "DASHSCOPE_REGION": "singapore",
            "DASHSCOPE_API_KEY": "sk-test-singapore",
            "DASHSCOPE_HTTP_BASE_URL": service.base_url,
            "WAN_MCP_IMAGE_HOSTS": service.image_host,
        }
    return variables | more


@asynccontextmanager
async def open_client(
    variables: dict[str, str], era: str, record: WireRecord | None = None
) -> AsyncGenerator[Client]:
    """Start a server and open a conversation with it; `record` takes down what passes over the wire."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "wan_mcp"], env=variables)
    with open(os.devnull, "w") as errors:  # noqa: ASYNC230, PTH123 - a null device does not block
        transport = stdio_client(server, errlog=errors)
        if record is not None:
            transport = recorded(transport, record)
        async with Client(transport, mode=era) as client:
            yield client


def facts(answer: Any) -> dict[str, Any]:
    """Give the facts of an answer that is no failure."""
    assert not answer.is_error, answer.content
    return answer.structured_content


def words(answer: Any) -> str:
    """Give the words of a failure."""
    assert answer.is_error, answer.structured_content
    return answer.content[0].text
