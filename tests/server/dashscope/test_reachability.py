"""What stands in the way to a region is told apart, without its key."""

import errno
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from wan_mcp.dashscope.reachability import ReachabilityProbe

BASE_URL = "https://dashscope-intl.aliyuncs.com/api/v1"


async def reach(clock, answer, *, proxy=None, seconds=5.0, **environ):
    async def respond(request):
        result = answer(request) if callable(answer) else answer
        if isinstance(result, Exception):
            raise result
        return await result if not isinstance(result, httpx.Response) else result

    async with open_probe(clock, httpx.MockTransport(respond), proxy, seconds, environ) as probe:
        return await probe.reach(BASE_URL)


@asynccontextmanager
async def open_probe(clock, transport, proxy, seconds, environ):
    probe = ReachabilityProbe(
        clock=clock, environ=environ, seconds=seconds, transport=transport, find_proxy=lambda *address: proxy
    )
    try:
        yield probe
    finally:
        await probe.aclose()


async def test_an_answer_of_the_service_tells_its_clock(clock):
    headers = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    found = await reach(clock, httpx.Response(401, json={"code": "InvalidApiKey"}, headers=headers))
    assert (found.is_reached, found.problem) == (True, None)
    assert found.clock_offset == 1792567680.0 - clock.now()


async def test_a_sign_in_page_is_reached_and_is_not_the_service(clock):
    found = await reach(clock, httpx.Response(200, text="<html>sign in</html>"))
    assert (found.is_reached, found.clock_offset) == (True, None)
    assert "not the service (HTTP 200)" in found.problem.what


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectTimeout("x"), "does not answer in time"),
        (httpx.PoolTimeout("x"), "does not answer in time"),
        (httpx.ReadTimeout("x"), "no answer comes in time"),
        (httpx.ReadError("x"), "breaks before an answer"),
        (OSError("x"), "breaks before an answer"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_silence_is_told_from_a_break(clock, error, words):
    found = await reach(clock, error)
    assert not found.is_reached
    assert words in found.problem.what


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ECONNREFUSED, "refuses"), (errno.ENETUNREACH, "no way there"), (None, "cannot be")]
)
async def test_a_refused_connection_is_told_from_a_network_without_a_way(clock, number, words):
    error = httpx.ConnectError("x")
    error.__cause__ = OSError(number, "x") if number else None
    assert words in (await reach(clock, error)).problem.what


async def test_an_attempt_without_end_ends_in_time(clock):
    with anyio.fail_after(45):
        found = await reach(clock, lambda request: anyio.sleep_forever(), seconds=0.1)
    assert "does not answer in time" in found.problem.what


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("http://user:secret@[::1]:3128", "http://[::1]:3128"),
        ("http://proxy.example", "http://proxy.example"),
        ("http://user:secret@host:port", "that is set"),
    ],
)
async def test_a_proxy_is_named_without_its_password(clock, proxy, shown):
    found = await reach(clock, httpx.ConnectTimeout("x"), proxy=proxy, ALL_PROXY=proxy)
    assert (found.route.proxy, found.route.proxy_setting) == (shown, "ALL_PROXY")
    assert "secret" not in repr(found)


async def test_a_proxy_of_the_system_has_no_variable_to_blame(clock):
    found = await reach(clock, httpx.ProxyError("403 Forbidden"), proxy="http://proxy.example:1")
    assert found.problem.what == "the proxy http://proxy.example:1 refuses to connect to it (HTTP 403)"
    assert "the proxy settings of this system" in found.problem.advice
