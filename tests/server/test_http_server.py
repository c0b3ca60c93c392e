"""One HTTP server for all: where it listens, when it says so, and how it ends."""

import socket

import anyio
import httpx
import pytest

from fakes.serving import NO_CERTIFICATES
from wan_mcp.http_server import Drain, OpenCalls, base_url, listen, serve


async def lively(scope, receive, send):
    """Answer at once, except that a lifespan is unknown here."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def silent(scope, receive, send):
    """Answer never."""
    assert scope["type"] == "http"
    await anyio.sleep_forever()


class Serving:
    """A server in a task group of the test, from its ready call on."""

    def __init__(self, tasks, app, **options):
        self.tasks = tasks
        self.url = None
        self.is_ready = anyio.Event()
        self.listeners = listen("127.0.0.1", 0)
        tasks.start_soon(lambda: serve(app, self.listeners, ready=self.ready, **{"answer_seconds": 5} | options))

    def ready(self, url):
        self.url = url
        self.is_ready.set()

    async def get(self, path="/"):
        async with httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES) as client:
            return await client.get(self.url + path, timeout=45)


async def test_it_answers_at_the_address_that_it_reports_until_it_is_cancelled():
    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            serving = Serving(tasks, lively)
            await serving.is_ready.wait()
            answer = await serving.get("/there")
            assert (answer.text, len(answer.headers.get_list("date"))) == ("/there", 1)
            assert "server" not in answer.headers
            tasks.cancel_scope.cancel()
    assert [listener.fileno() for listener in serving.listeners] == [-1]
    with pytest.raises(httpx.ConnectError):
        await serving.get()


async def test_what_a_proxy_says_of_a_caller_is_not_believed():
    async def tell(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['scheme']} {scope['client'][0]}".encode()})

    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            serving = Serving(tasks, tell)
            await serving.is_ready.wait()
            async with httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES, headers=headers) as client:
                assert (await client.get(serving.url, timeout=45)).text == "http 127.0.0.1"
            tasks.cancel_scope.cancel()


async def test_an_application_may_date_its_answers_itself():
    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            serving = Serving(tasks, lively, date_header=False)
            await serving.is_ready.wait()
            assert "date" not in (await serving.get()).headers
            tasks.cancel_scope.cancel()


async def test_a_cancelled_server_ends_a_call_that_gets_no_answer(caplog):
    answers = []
    asked = anyio.Event()

    async def never(scope, receive, send):
        if scope["type"] == "http":
            asked.set()
        await silent(scope, receive, send)

    async def ask():
        answers.append(await serving.get())

    with anyio.fail_after(45):
        async with anyio.create_task_group() as outer, anyio.create_task_group() as tasks:
            serving = Serving(tasks, never, answer_seconds=0)
            await serving.is_ready.wait()
            outer.start_soon(ask)
            await asked.wait()
            tasks.cancel_scope.cancel()
    assert [(answer.status_code, "ask again" in answer.text) for answer in answers] == [(503, True)]
    assert caplog.text == ""


async def test_an_application_that_refuses_to_start_ends_the_server_before_it_is_called_ready():
    async def broken(scope, receive, send):
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed", "message": "no"})

    listeners = listen("127.0.0.1", 0)
    called = []
    with pytest.raises(SystemExit) as raised:
        await serve(broken, listeners, ready=called.append, answer_seconds=1)
    assert raised.value.code
    assert called == []
    assert listeners[0].fileno() == -1


def test_one_free_port_is_found_for_every_address_of_a_name():
    listeners = listen("localhost", 0)
    try:
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        assert {listener.getsockname()[0] for listener in listeners} <= {"127.0.0.1", "::1"}
    finally:
        for listener in listeners:
            listener.close()


def test_an_address_goes_by_the_name_that_was_asked_for_and_in_brackets_if_it_needs_them():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert base_url(listener) == f"http://127.0.0.1:{port}"
        assert base_url(listener, "LocalHost") == f"http://LocalHost:{port}"
        assert base_url(listener, "::1") == f"http://[::1]:{port}"


async def test_an_ended_call_that_has_no_answer_yet_gets_one_that_says_why():
    sent = []

    async def send(message) -> None:
        sent.append(message)

    calls = OpenCalls(silent)
    async with anyio.create_task_group() as group:
        group.start_soon(calls, {"type": "http"}, None, send)
        await anyio.wait_all_tasks_blocked()
        await calls.end(0)

    assert sent[0]["status"] == 503
    assert b"ask again" in sent[1]["body"]
    assert not sent[1]["more_body"]


async def test_a_call_that_is_nearly_done_is_let_finish():
    sent = []
    go_on = anyio.Event()

    async def slow(scope, receive, send) -> None:
        await go_on.wait()
        await lively({"type": "http", "path": "done"}, receive, send)

    async def send(message) -> None:
        sent.append(message)

    calls = OpenCalls(slow)
    async with anyio.create_task_group() as group:
        group.start_soon(calls, {"type": "http"}, None, send)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(calls.end, 20)
        await anyio.wait_all_tasks_blocked()
        go_on.set()

    assert [message.get("status") or message["body"] for message in sent] == [200, b"done"]


async def test_a_connection_that_says_nothing_or_a_little_at_a_time_is_closed():
    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            serving = Serving(tasks, lively, head_seconds=0.3)
            await serving.is_ready.wait()
            port = serving.listeners[0].getsockname()[1]
            for said in ((), (b"GET / HTTP/1.1\r\n", b"Host: here\r\n")):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    for part in said:
                        await stream.send(part)
                    with pytest.raises(anyio.EndOfStream):
                        await stream.receive()
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                # The second request of a connection has its time anew.
                for _ in range(2):
                    await stream.send(b"GET /there HTTP/1.1\r\nHost: here\r\n\r\n")
                    assert b"/there" in await stream.receive()
                await stream.send(b"GET /the")
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
            tasks.cancel_scope.cancel()


async def test_a_call_may_take_longer_than_the_head_of_its_request():
    async def slow(scope, receive, send):
        assert scope["type"] == "http"
        await anyio.sleep(0.4)
        await lively(scope, receive, send)

    with anyio.fail_after(45):
        async with anyio.create_task_group() as tasks:
            serving = Serving(tasks, slow, head_seconds=0.1)
            await serving.is_ready.wait()
            assert (await serving.get("/there")).text == "/there"
            tasks.cancel_scope.cancel()


async def test_a_server_that_drains_says_so_first_and_is_still_reached_for_a_moment():
    begun = anyio.Event()
    with anyio.fail_after(45):
        async with anyio.create_task_group() as outer, anyio.create_task_group() as tasks:
            serving = Serving(tasks, lively, drain=Drain(begin=begun.set, notice_seconds=1.5))
            await serving.is_ready.wait()

            async def ask():
                await begun.wait()
                assert (await serving.get("/there")).text == "/there"

            outer.start_soon(ask)
            tasks.cancel_scope.cancel()
    with pytest.raises(httpx.ConnectError):
        await serving.get()
