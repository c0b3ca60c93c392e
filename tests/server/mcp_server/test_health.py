"""What a server says to whatever watches over it."""

import httpx
from starlette.applications import Starlette

from fakes.clock import FakeClock
from wan_mcp.mcp_server.health import Readiness, make_health_routes, make_metrics_route
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.principals import Principal, Scope, acting_as


class Ledger:
    def __init__(self):
        self.error = None
        self.asked = 0

    async def check(self):
        self.asked += 1
        if self.error is not None:
            raise self.error


async def ask(routes, path):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://here"
    ) as client:
        answer = await client.get(path)
        return answer.status_code, answer.text


async def test_a_replica_is_ready_while_its_ledger_can_be_used_and_says_no_more_than_that(caplog):
    clock, ledger = FakeClock(), Ledger()
    routes = make_health_routes(Readiness(ledger.check, clock))

    assert await ask(routes, "/readyz") == (200, "")
    ledger.error = LedgerError("The ledger at postgresql://secret cannot be reached.", "")
    clock.advance(4.9)
    assert await ask(routes, "/readyz") == (200, "")
    clock.advance(0.2)
    assert await ask(routes, "/readyz") == (503, "")
    assert await ask(routes, "/livez") == (200, "")
    assert ledger.asked == 2
    assert "cannot be reached" in caplog.text
    ledger.error = None
    clock.advance(5.1)
    assert await ask(routes, "/readyz") == (200, "")


async def test_a_replica_that_ends_is_not_ready_at_once():
    readiness = Readiness(Ledger().check, FakeClock())
    routes = make_health_routes(readiness)

    assert await ask(routes, "/readyz") == (200, "")
    readiness.drain()
    assert await ask(routes, "/readyz") == (503, "")
    assert await ask(routes, "/livez") == (200, "")


async def test_metrics_are_for_admins():
    routes = [make_metrics_route(lambda: b"wan_orders_total 1\n")]

    assert await ask(routes, "/metrics") == (200, "wan_orders_total 1\n")
    with acting_as(Principal("ann", frozenset({Scope.ORDER, Scope.CANCEL}))):
        assert (await ask(routes, "/metrics"))[0] == 403
    with acting_as(Principal("root", frozenset({Scope.ADMIN}))):
        assert (await ask(routes, "/metrics"))[0] == 200


async def test_metrics_can_be_put_behind_a_sign_in():
    def protect(app):
        async def refuse(scope, receive, send):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return refuse

    assert await ask([make_metrics_route(lambda: b"", protect=protect)], "/metrics") == (401, "")


async def test_why_there_are_no_metrics_is_said_in_words():
    assert await ask([make_metrics_route("Install wan-mcp[server].")], "/metrics") == (
        501,
        "Install wan-mcp[server].\n",
    )
