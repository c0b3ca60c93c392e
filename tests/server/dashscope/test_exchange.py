"""What goes wrong on the way becomes ours, says what is certain, and never carries the key."""

import gzip
import json
import logging
import socket
import ssl
import traceback
import tracemalloc
from contextlib import asynccontextmanager, suppress
from functools import cache

import anyio
import httpx
import pytest

from wan_mcp.dashscope import DashScope, Timeouts
from wan_mcp.dashscope.exchange import read_date
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import (
    AnswerLostError,
    AppError,
    KeyRefusedError,
    NotConnectedError,
    ServiceDownError,
    SettingsError,
)

NEVER_SENT = [
    httpx.ConnectError("x"),
    httpx.ConnectTimeout("x"),
    httpx.PoolTimeout("x"),
    httpx.ProxyError("x"),
    httpx.UnsupportedProtocol("x"),
]
PERHAPS_SENT = [
    httpx.ReadError("x"),
    httpx.ReadTimeout("x"),
    httpx.WriteError("x"),
    httpx.WriteTimeout("x"),
    httpx.CloseError("x"),
    httpx.RemoteProtocolError("x"),
    httpx.LocalProtocolError("x"),
    httpx.DecodingError("x"),
    httpx.TooManyRedirects("x"),
    OSError("x"),
]


@pytest.mark.parametrize("trouble", NEVER_SENT, ids=lambda error: type(error).__name__)
async def test_where_no_connection_opened_it_is_certain_that_nothing_was_sent(kit, trouble):
    error = await kit.error_of(trouble)
    assert type(error) is NotConnectedError
    assert (error.nothing_created, error.retryable) == (True, True)


@pytest.mark.parametrize("trouble", PERHAPS_SENT, ids=lambda error: type(error).__name__)
async def test_any_other_break_leaves_open_whether_an_order_was_taken(kit, trouble):
    error = await kit.error_of(trouble)
    assert type(error) is AnswerLostError
    assert not error.nothing_created
    assert "before ordering again" in error.advice


@pytest.mark.parametrize("protocol", list(WireProtocol))
async def test_an_order_is_sent_once_whatever_happens(kit, protocol):
    client, network = kit.client(httpx.ConnectError("x"), kit.json({"output": {"task_id": "t-1"}}))
    with pytest.raises(NotConnectedError):
        await kit.create(client, kit.order(protocol=protocol))
    assert len(network.requests) == 1


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "SSL_CERT_FILE"),
        (ExceptionGroup("all failed", [socket.gaierror(-2, "x")]), "cannot be resolved"),
    ],
)
async def test_why_no_connection_opened_is_found_among_its_causes(kit, cause, words):
    trouble = httpx.ConnectError("x")
    trouble.__cause__ = cause
    cause.__context__ = trouble
    assert words in str(await kit.error_of(trouble))


async def test_an_address_that_is_none_is_a_matter_of_settings(kit):
    client, _ = kit.client(kit.json({}), access=kit.access(base_url="https://host:port/api/v1"))
    with pytest.raises(SettingsError):
        await client.query("singapore", "t-1")


async def test_an_answer_larger_than_any_of_the_services_is_not_kept(kit):
    large = 9 * 1024 * 1024
    error = await kit.error_of(lambda request: httpx.Response(200, content=b" " * large))
    assert not error.nothing_created
    body = b'{"output": {"task_id": "t-1", "task_status": "RUNNING", "x": "' + b"x" * large + b'"}}'
    client, _ = kit.client(lambda request: httpx.Response(200, content=body))
    with pytest.raises(ServiceDownError):
        await client.query("singapore", "t-1")
    client, _ = kit.client(
        lambda request: httpx.Response(200, content=body.replace(b'"xx', b'"data:image/png;base64,'))
    )
    assert (await client.query("singapore", "t-1")).task_id == "t-1"
    client, _ = kit.client(
        lambda request: httpx.Response(
            200, content=body.replace(b'"xx', b'"data:image/png;base64,' + b"x" * 6 * large)
        )
    )
    assert (await client.query("singapore", "t-1")).task_id == "t-1"
    client, _ = kit.client(
        lambda request: httpx.Response(
            200, content=body.replace(b'"xx', b'"data:image/png;base64,' + b"x" * 8 * large)
        )
    )
    with pytest.raises(ServiceDownError):
        await client.query("singapore", "t-1")


@cache
def nest(layers):
    """Give a few bytes that become more than any call may take."""
    content = b" " * (48 * 1024 * 1024)
    for _ in range(layers):
        content = gzip.compress(content)
    return content


@pytest.mark.parametrize(("layers", "status"), [(1, 200), (2, 200), (4, 200), (1, 400), (1, 500)])
async def test_no_few_bytes_of_an_answer_become_many(kit, layers, status):
    body = nest(layers)
    headers = {"content-encoding": ", ".join(["gzip"] * layers)}

    def answer(request):
        return httpx.Response(status, stream=httpx.ByteStream(body), headers=headers)

    calls = [
        lambda client: kit.create(client, kit.order()),
        lambda client: client.query("singapore", "t-1"),
        lambda client: client.list_tasks("singapore"),
        lambda client: client.cancel("singapore", "t-1"),
    ]
    tracemalloc.start()
    try:
        for call in calls:
            client, _ = kit.client(answer)
            with pytest.raises(AppError):
                await call(client)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


async def test_a_packed_answer_is_read_though_none_is_asked_for(kit):
    body = gzip.compress(b'{"output": {"task_id": "t-1", "task_status": "RUNNING"}}')
    client, network = kit.client(
        lambda request: httpx.Response(200, stream=httpx.ByteStream(body), headers={"content-encoding": "gzip"})
    )
    assert (await client.query("singapore", "t-1")).task_id == "t-1"
    assert network.last.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("trouble", [RuntimeError("x"), ValueError("x"), KeyError("x"), RecursionError("x")])
async def test_whatever_breaks_after_an_order_has_left_is_a_lost_answer(kit, trouble):
    error = await kit.error_of(trouble)
    assert (type(error), error.nothing_created) == (AnswerLostError, False)


async def test_an_answer_that_trickles_ends_in_time(kit):
    async def trickle():
        while True:
            yield b" "
            await anyio.sleep(0.01)

    quick = Timeouts(connect=0.1, write=0.1, pool=0.1, order=0.1)
    client, _ = kit.client(lambda request: httpx.Response(200, content=trickle()), timeouts=quick)
    with anyio.fail_after(45):
        with pytest.raises(AnswerLostError):
            await kit.create(client, kit.order())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 1445412480.0),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 9999 07:28:00 GMT", None),
        ("Wed, 21 Oct 1970 07:28:00 GMT", None),
    ],
)
def test_a_date_is_read_or_left(text, seconds):
    assert read_date(text) == seconds


def everything_said(error):
    """Give all that a log or a debugger would show of an error, its causes and its context."""
    said = []
    while error is not None:
        said += [str(error), repr(error), repr(error.args), repr(vars(error))]
        request = getattr(error, "_request", None)
        if request is not None:
            said += [repr(dict(request.headers)), repr(request.headers.raw)]
        error = error.__cause__ or error.__context__
    return "\n".join(said)


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx.ConnectError(str(request.headers.raw), request=request),
        lambda request: httpx.LocalProtocolError(str(request.headers.raw), request=request),
        lambda request: httpx.ReadError(str(request.headers.raw), request=request),
        lambda request: httpx.Response(401, json={"code": "InvalidApiKey", "message": str(request.headers.raw)}),
        lambda request: httpx.Response(400, json={"code": "New", "message": str(request.headers.raw)}),
        lambda request: httpx.Response(400, json={"code": request.headers["authorization"][7:]}),
        lambda request: httpx.Response(
            400, json={"code": "New", "message": "x", "request_id": request.headers["authorization"][7:]}
        ),
        lambda request: httpx.Response(302, headers={"location": request.headers["authorization"][7:]}),
        lambda request: httpx.Response(200, text=str(request.headers.raw)),
    ],
)
async def test_the_key_is_in_no_error_whatever_the_answer_holds(kit, answer, caplog):
    caplog.set_level(logging.DEBUG)
    client, network = kit.client(answer)
    with pytest.raises(AppError) as caught:
        await kit.create(client, kit.order())
    assert kit.key in str(network.last.headers.raw)
    assert kit.key not in everything_said(caught.value)
    assert kit.key not in "".join(traceback.format_exception(caught.value))
    assert kit.key not in caplog.text
    assert kit.key not in repr(client)
    assert kit.key not in repr(kit.access())


async def test_addresses_and_signatures_are_in_no_log(kit, caplog):
    caplog.set_level(logging.DEBUG)
    client, _ = kit.client(lambda request: httpx.Response(200, content=b"x"))
    await client.download("singapore", kit.image_url, kit.sink())
    assert "Signature" not in caplog.text
    assert "a%2Fb" not in caplog.text


async def serve(listener, behave, seen):
    """Take connections one after another; note what each sends until its body is complete, then behave."""
    async with listener:

        async def handle(stream):
            async with stream:
                received = b""
                while b"\r\n\r\n" not in received or not _complete(received):
                    received += await stream.receive()
                seen.append(received)
                await behave(stream)

        await listener.serve(handle)


def _complete(received):
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(body) >= int(lengths[0] if lengths else 0)


class Loopback:
    """A real listener on this machine, and a client that is pointed at it."""

    def __init__(self, kit, clock, behave, **options):
        self.kit, self.clock, self.behave, self.options = kit, clock, behave, options
        self.seen = []

    async def __aenter__(self):
        self.listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        self.port = self.listener.extra(anyio.abc.SocketAttribute.local_port)
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.group.start_soon(serve, self.listener, self.behave, self.seen)
        access = self.kit.access(base_url=f"http://127.0.0.1:{self.port}/api/v1")
        self.options.setdefault("find_proxy", lambda scheme, host, port: None)
        self.client = DashScope(access, clock=self.clock, max_image_bytes=1000, **self.options)
        return self

    async def __aexit__(self, *trouble):
        await self.client.aclose()
        self.group.cancel_scope.cancel()
        return await self.group.__aexit__(*trouble)


async def hang_up(stream):
    pass


def answer_with(status, body, *headers):
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]

    async def behave(stream):
        await stream.send("\r\n".join([*head, "", ""]).encode() + body)

    return behave


async def stay_silent(stream):
    await anyio.sleep(30)


async def stop_halfway(stream):
    await stream.send(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"output": {"task_id": "t-1"')


@pytest.mark.parametrize("behave", [hang_up, stay_silent, stop_halfway])
async def test_an_order_that_was_read_and_not_answered_is_a_lost_answer(kit, clock, behave):
    with anyio.fail_after(45):
        async with Loopback(kit, clock, behave, timeouts=Timeouts(order=0.3)) as loopback:
            with pytest.raises(AnswerLostError):
                await kit.create(loopback.client, kit.order())
            assert len(loopback.seen) == 1
            assert b'"wan2.6-t2i"' in loopback.seen[0]


async def test_where_nothing_listens_nothing_was_sent(kit, clock):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    access = kit.access(base_url=f"http://127.0.0.1:{port}/api/v1")
    async with DashScope(access, clock=clock, max_image_bytes=1000) as client:
        with anyio.fail_after(45):
            with pytest.raises(NotConnectedError) as caught:
                await kit.create(client, kit.order())
    assert caught.value.nothing_created
    assert "127.0.0.1" in caught.value.message


async def test_a_host_that_does_not_speak_tls_was_sent_nothing(kit, clock):
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def talk_nonsense(stream):
            async with stream:
                await stream.receive()
                await stream.send(b"220 mail.example ESMTP\r\n")

        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, talk_nonsense)
            access = kit.access(base_url=f"https://127.0.0.1:{port}/api/v1")
            async with DashScope(access, clock=clock, max_image_bytes=1000) as client:
                with anyio.fail_after(45):
                    with pytest.raises(NotConnectedError):
                        await kit.create(client, kit.order())
            group.cancel_scope.cancel()


async def test_orders_use_a_fresh_connection_each_and_questions_share_one(kit, clock):
    body = b'{"output": {"task_id": "t-1", "task_status": "RUNNING"}}'
    with anyio.fail_after(45):
        connections = []

        async def answer_twice(stream):
            connections.append(stream)
            for turn in range(2):
                if turn:
                    received = b""
                    with suppress(anyio.EndOfStream):
                        while b"\r\n\r\n" not in received:
                            received += await stream.receive()
                    if not received:
                        return
                await answer_with(200, body)(stream)

        async with Loopback(kit, clock, answer_twice) as loopback:
            for _ in range(2):
                assert (await loopback.client.query("singapore", "t-1")).task_id == "t-1"
            assert len(connections) == 1
        connections.clear()
        async with Loopback(kit, clock, answer_twice) as loopback:
            for _ in range(2):
                assert (await kit.create(loopback.client, kit.order())).task_id == "t-1"
            assert len(connections) == 2
            assert len(loopback.seen) == 2


async def test_a_proxy_that_refuses_was_sent_nothing_of_the_order(kit, clock):
    with anyio.fail_after(45):
        async with Loopback(kit, clock, answer_with(403, b"{}")) as proxy:
            asked = []

            def find_proxy(scheme, host, port):
                asked.append((scheme, host, port))
                return f"http://user:pass-word@127.0.0.1:{proxy.port}"

            async with DashScope(kit.access(), clock=clock, max_image_bytes=1000, find_proxy=find_proxy) as client:
                with pytest.raises(NotConnectedError) as caught:
                    await kit.create(client, kit.order())
            assert asked == [("https", "dashscope-intl.aliyuncs.com", 443)]
            assert proxy.seen[0].startswith(b"CONNECT dashscope-intl.aliyuncs.com:443 ")
            assert kit.key.encode() not in proxy.seen[0]
            assert f"the proxy http://127.0.0.1:{proxy.port} refused it (HTTP 403)" in caught.value.message
            assert "NO_PROXY" in caught.value.advice
            assert "pass-word" not in everything_said(caught.value)


async def test_a_proxy_that_wants_a_password_is_named_with_where_to_write_it(kit, clock):
    with anyio.fail_after(45):
        async with Loopback(kit, clock, answer_with("407 Proxy Authentication Required", b"")) as proxy:
            address = f"http://127.0.0.1:{proxy.port}"
            async with DashScope(
                kit.access(), clock=clock, max_image_bytes=1000, find_proxy=lambda scheme, host, port: address
            ) as client:
                with pytest.raises(NotConnectedError, match="wants a user name and a password") as caught:
                    await client.query("singapore", "t-1")
    assert address in caught.value.message
    assert "USER:PASSWORD" in caught.value.advice


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1", "http://user:pass-word@host:port", "socks4://127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_used_is_a_matter_of_settings(kit, clock, proxy):
    async with DashScope(
        kit.access(), clock=clock, max_image_bytes=1000, find_proxy=lambda scheme, host, port: proxy
    ) as client:
        with pytest.raises(SettingsError, match="proxy") as caught:
            await kit.create(client, kit.order())
    assert "pass-word" not in everything_said(caught.value)


async def test_a_refused_key_over_a_real_connection(kit, clock):
    body = b'{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"r"}'
    with anyio.fail_after(45):
        async with Loopback(kit, clock, answer_with(401, body)) as loopback:
            with pytest.raises(KeyRefusedError):
                await loopback.client.probe("singapore")


class Host:
    """A listener on this machine that counts its connections, and answers what it has read with a task."""

    def __init__(self):
        self.opened, self.received = anyio.Event(), bytearray()

    async def handle(self, stream):
        self.opened.set()
        async with stream:
            while b"\r\n\r\n" not in self.received or not _complete(bytes(self.received)):
                self.received += await stream.receive()
            await answer_with(200, b'{"output": {"task_id": "t-1", "task_status": "PENDING"}}')(stream)


@asynccontextmanager
async def open_host(kit, clock, handle=None):
    host = Host()
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, handle or host.handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        access = kit.access(base_url=f"http://127.0.0.1:{port}/api/v1")
        async with DashScope(access, clock=clock, max_image_bytes=1000, find_proxy=lambda *_: None) as client:
            yield host, client
        group.cancel_scope.cancel()


async def test_an_order_waits_for_its_turn_on_an_open_connection_and_nothing_has_left_by_then(kit, clock):
    sent_by_then = []
    with anyio.fail_after(45):
        async with open_host(kit, clock) as (host, client):

            async def before():
                await host.opened.wait()
                sent_by_then.append(bytes(host.received))

            answer = await kit.create(client, kit.order(), before=before, before_seconds=45)
            assert answer.task_id == "t-1"
    assert sent_by_then == [b""]


class NoTurnError(Exception):
    pass


async def test_an_order_whose_turn_does_not_come_is_not_sent_and_the_reason_reaches_the_caller(kit, clock):
    async def before():
        raise NoTurnError

    with anyio.fail_after(45):
        async with open_host(kit, clock) as (host, client):
            with pytest.raises(NoTurnError):
                await kit.create(client, kit.order(), before=before, before_seconds=45)
            await host.opened.wait()
    assert not host.received


async def test_where_a_client_tells_no_events_the_turn_comes_before_the_call(kit):
    client, network = kit.client(httpx.Response(200, json={"output": {"task_id": "t-1", "task_status": "PENDING"}}))
    calls_by_then = []

    async def before():
        calls_by_then.append(len(network.requests))

    await kit.create(client, kit.order(), before=before, before_seconds=45)
    assert calls_by_then == [0]


async def test_an_order_that_runs_out_of_time_before_its_turn_was_certainly_not_sent(kit, clock):
    timeouts = Timeouts(connect=0.1, pool=0.1, write=0.1, order=0.1)
    with anyio.fail_after(45):
        async with Loopback(kit, clock, hang_up, timeouts=timeouts) as loopback:
            with pytest.raises(NotConnectedError) as caught:
                await kit.create(loopback.client, kit.order(), before=anyio.sleep_forever, before_seconds=0.1)
    assert caught.value.nothing_created
    assert loopback.seen == []


async def test_a_body_is_let_go_of_as_soon_as_it_has_left_and_not_before(kit):
    order = kit.order(images=("data:image/png;base64," + "A" * 200_000,))
    left = []

    def answer(request):
        left.append(encoded.body._data)
        return httpx.Response(200, json={"output": {"task_id": "t-1", "task_status": "PENDING"}})

    client, network = kit.client(answer)
    encoded = await client.encode(order)

    async def refuse():
        raise NoTurnError

    for _ in range(2):
        with pytest.raises(NoTurnError):
            await client.create(encoded, before=refuse, before_seconds=1)
    assert not network.requests
    await client.create(encoded)

    assert left == [b""]
    content = network.last.content
    assert json.loads(content)["input"]["messages"][0]["content"][0] == {"image": order.images[0]}
    assert network.last.headers["content-length"] == str(len(content)) == str(encoded.body.size)
