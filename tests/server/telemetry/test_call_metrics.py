"""How long requests take, as the conventions name it."""

from types import SimpleNamespace

import pytest
from mcp import MCPError
from mcp.types import CallToolResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from wan_mcp.telemetry.call_metrics import current_tool, measure_operations, name_tool

TOOLS = frozenset({"get_task"})


class Operations:
    def __init__(self):
        self.reader = InMemoryMetricReader()
        times = iter(range(100))
        self.measure = measure_operations(
            MeterProvider([self.reader], shutdown_on_exit=False).get_meter("tests"),
            tools=TOOLS,
            prompts=frozenset({"picture"}),
            transport="tcp",
            clock=lambda: next(times),
        )

    async def run(self, method, answer, **params):
        async def call_next(_):
            if isinstance(answer, Exception):
                raise answer
            return answer

        context = SimpleNamespace(method=method, params=params, protocol_version="2026-07-28")
        return await self.measure(context, call_next)

    def read(self):
        (metric,) = self.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("mcp.server.operation.duration", "s")
        assert {point.sum for point in metric.data.data_points} == {1.0}
        base = {"mcp.protocol.version": "2026-07-28", "network.transport": "tcp"}
        return [
            {name: value for name, value in point.attributes.items() if name not in base}
            for point in metric.data.data_points
        ]


async def test_each_kind_of_request_has_its_duration():
    operations = Operations()
    await operations.run("tools/call", CallToolResult(content=[]), name="get_task")
    await operations.run("tools/call", CallToolResult(content=[], is_error=True), name="get_task")
    await operations.run("prompts/get", {}, name="picture")
    with pytest.raises(MCPError):
        await operations.run("tools/list", MCPError(-32602, "no"))

    call = {"mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_task"}
    assert operations.read() == [
        call,
        call | {"error.type": "tool_error"},
        {"mcp.method.name": "prompts/get", "gen_ai.prompt.name": "picture"},
        {"mcp.method.name": "tools/list", "error.type": "-32602", "rpc.response.status_code": "-32602"},
    ]


async def test_a_name_that_a_client_made_up_makes_no_line_of_its_own():
    operations = Operations()
    await operations.run("tools/call", {}, name="x" * 100)
    await operations.run("made/up", {})

    found = operations.read()
    assert found[0]["gen_ai.tool.name"] == "_OTHER"
    assert found[1]["mcp.method.name"] == "_OTHER"


async def test_the_tool_that_runs_is_known_while_it_runs():
    seen = []

    async def call_next(_):
        seen.append(current_tool())

    for name in ("get_task", "made_up"):
        context = SimpleNamespace(method="tools/call", params={"name": name}, protocol_version="")
        await name_tool(TOOLS)(context, call_next)
    assert seen == ["get_task", None]
    assert current_tool() is None
