"""How many calls may be under way, and bodies that do not arrive."""

import anyio
import httpx
import pytest

from wan_mcp.mcp_server.concurrency_limits import BodyTimeout, ConcurrencyLimiter, ConcurrencyLimits
from wan_mcp_tools.domain.principals import LOCAL, Principal, Scope, acting_as

PERSON = Principal("ann", frozenset({Scope.ORDER}))
OTHER = Principal("bob", frozenset({Scope.ORDER}))


class Calls:
    """An application that keeps every call until it is let go."""

    def __init__(self, **limits):
        self.let_go = anyio.Event()
        self.begun = 0
        self.gate = ConcurrencyLimiter(self.answer, ConcurrencyLimits(**limits))
        self.answers = []

    async def answer(self, scope, receive, send):
        self.begun += 1
        await self.let_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, principal):
        with acting_as(principal):
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.gate), base_url="http://here") as client:
                self.answers.append(await client.get("/mcp"))

    @property
    def told(self):
        return [(answer.status_code, answer.headers.get("retry-after")) for answer in self.answers]


async def test_who_has_signed_in_may_have_so_many_calls_under_way_and_others_have_theirs():
    calls = Calls(most=10, most_each=2)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for principal in (PERSON, PERSON, OTHER):
                tasks.start_soon(calls.ask, principal)
            while calls.begun < 3:
                await anyio.sleep(0.01)
            await calls.ask(PERSON)
            assert calls.told == [(429, "5")]
            calls.let_go.set()
        await calls.ask(PERSON)
    assert calls.told[1:] == [(200, None)] * 4


async def test_beyond_the_limit_of_all_everybody_is_told_to_come_again():
    calls = Calls(most=2, most_each=1)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(calls.ask, LOCAL)
            while calls.begun < 2:
                await anyio.sleep(0.01)
            await calls.ask(PERSON)
            assert calls.told == [(503, "5")]
            calls.let_go.set()


async def read_all(scope, receive, send):
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def run(app, parts):
    """Give the statuses of the answers to a body of which the parts arrive, and then nothing."""
    sent, left = [], list(parts)

    async def receive():
        if not left:
            await anyio.sleep_forever()
        return left.pop(0)

    async def send(message):
        sent.append(message)

    with anyio.fail_after(20):
        await app({"type": "http", "method": "POST", "path": "/mcp", "headers": []}, receive, send)
    return [message["status"] for message in sent if message["type"] == "http.response.start"]


def part(data, more):
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_that_does_not_arrive_is_ended():
    app = BodyTimeout(read_all, seconds=0.1, slowest=1e9)

    assert await run(app, [part(b"x" * 10, True)]) == [408]
    assert await run(app, []) == [408]
    assert await run(app, [part(b"x" * 10, True), part(b"", False)]) == [200]


async def test_a_large_body_has_the_time_of_its_bytes_and_a_wait_after_the_body_has_no_end():
    async def slow(scope, receive, send):
        await receive()
        await anyio.sleep(0.3)
        await read_all(scope, receive, send)

    assert await run(BodyTimeout(slow, seconds=0.1, slowest=10), [part(b"x" * 10, True), part(b"", False)]) == [200]

    async def waiting(scope, receive, send):
        await receive()
        with anyio.move_on_after(0.3):
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert await run(BodyTimeout(waiting, seconds=0.1), [part(b"", False)]) == [200]


async def test_other_errors_pass():
    async def broken(scope, receive, send):
        raise KeyError("x")

    with pytest.raises(KeyError):
        await run(BodyTimeout(broken), [])
