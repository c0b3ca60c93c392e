"""
An HTTP server in the event loop of the caller: sockets that listen, and uvicorn behind them.

Whatever ends it, a signal or a cancellation, the answers under way get some seconds and every call gets an end.
"""

import errno
import math
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    import asyncio  # noqa: TID251 - uvicorn's protocols are its own

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn import Server

_CLOSING_SECONDS = 2
"""How long connections get to close after their calls have ended."""
_HEAD_SECONDS = 10.0
"""How long the head of a request may take to arrive: uvicorn itself would wait for ever."""
_ENDING = b"The server is ending. What was ordered is kept; ask again when it is back.\n"


def listen(host: str, port: int) -> list[socket.socket]:
    """
    Listen at every address of a host name, and at one port; port 0 finds a free one.

    An address that this machine lacks is passed over while there is another, as with "localhost" where IPv6 is off.

    Raises:
        OSError: none of the addresses can be used, or the port is taken at one of them.
    """
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            chosen = listeners[0].getsockname()[1] if listeners else port
            try:
                listeners.append(_open(family, kind, protocol, (address[0], chosen, *address[2:])))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    if not listeners:
        raise missing or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return listeners


@dataclass(frozen=True, slots=True)
class Drain:
    """
    How a server that others stand in for ends.

    `begin` is called first. Then it goes on listening for `notice_seconds`, so that whoever sends calls here sees it.
    Without `keeps_signal` the signal that ends it has no further effect: the process goes on, and may end with 0.
    """

    begin: Callable[[], None]
    notice_seconds: float = 0.0
    keeps_signal: bool = True


_AT_ONCE = Drain(begin=lambda: None)


async def serve(
    app: "ASGIApp",
    listeners: list[socket.socket],
    *,
    ready: Callable[[str], None] | None = None,
    answer_seconds: float,
    date_header: bool = True,
    drain: Drain = _AT_ONCE,
    head_seconds: float = _HEAD_SECONDS,
) -> None:
    """
    Serve an application until a signal or a cancellation ends it, and close the listeners.

    `ready` is called with the URL of the first listener once the application has started and connections are
    accepted. At the end, calls have `answer_seconds` for their answers; those that have none by then are ended, and
    the connections that are still open two seconds later are broken off. A signal has its usual effect after that,
    unless `drain` says otherwise. A connection whose request has no whole head after `head_seconds` is closed.
    `date_header` is for applications that do not date their answers themselves. Nothing is printed; what goes wrong
    goes to uvicorn's log.

    Raises:
        SystemExit: the application refuses to start.
    """
    # A heavy import that a start without a server does not need.
    from uvicorn import Config  # noqa: PLC0415

    calls = OpenCalls(app)
    config = Config(
        calls,
        http=_make_protocol(head_seconds),
        # The log is set up by the surrounding program.
        log_config=None,
        log_level="warning",
        # Its lines would hold what is secret in an address.
        access_log=False,
        # Nobody's word is taken for where a request comes from.
        proxy_headers=False,
        date_header=date_header,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(answer_seconds) + _CLOSING_SECONDS,
    )
    server_type = _make_server_type(calls, listeners, ready=ready, drain=drain, answer_seconds=answer_seconds)
    try:
        await server_type(config).serve(listeners)
    finally:
        for listener in listeners:
            listener.close()


def _make_server_type(
    calls: "OpenCalls",
    listeners: list[socket.socket],
    *,
    ready: Callable[[str], None] | None,
    drain: Drain,
    answer_seconds: float,
) -> "type[Server]":
    """Make uvicorn's server one that says when it is ready, and ends as `serve` promises."""
    from uvicorn import Server  # noqa: PLC0415 - a heavy import

    url = base_url(listeners[0])

    class _Server(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and ready is not None:
                ready(url)

        async def main_loop(self) -> None:
            try:
                await super().main_loop()
            except anyio.get_cancelled_exc_class():
                # By itself it would leave its connections open.
                await self.shutdown(listeners)
                raise

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            with anyio.CancelScope(shield=True):
                began = anyio.current_time()
                drain.begin()
                await anyio.sleep(drain.notice_seconds)
                async with anyio.create_task_group() as group:
                    group.start_soon(calls.end, began + answer_seconds - anyio.current_time())
                    await super().shutdown(sockets)
                    group.cancel_scope.cancel()
            if not drain.keeps_signal:
                self._captured_signals.clear()

    return _Server


def _make_protocol(head_seconds: float) -> "type[asyncio.Protocol]":
    """Make uvicorn's protocol with an end for connections that say nothing, or a little at a time."""
    from h11 import IDLE  # noqa: PLC0415 - uvicorn brings it
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415 - a heavy import

    class _Protocol(H11Protocol):
        _head_timer: "asyncio.TimerHandle | None" = None

        def connection_made(self, transport: "asyncio.Transport") -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - uvicorn's own signature
            super().connection_made(transport)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not IDLE:
                self._stop_timer()
            elif self._head_timer is None:
                self._await_head()

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(head_seconds, self.transport.close)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return _Protocol


def base_url(listener: socket.socket, host: str | None = None) -> str:
    """Give the URL of a listener, by another name of its host if there is one."""
    address, port = listener.getsockname()[:2]
    name = host or address
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


class OpenCalls:
    """An application around another that knows the other's calls and can end them."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app
        self._open: set[anyio.CancelScope] = set()
        self._ended = anyio.Event()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Let the other application answer, and finish its answer if it is ended meanwhile."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        with anyio.CancelScope() as call:
            self._open.add(call)
            try:
                await self._app(scope, receive, answer.send)
            finally:
                self._open.discard(call)
                self._ended.set()
        # A stream that the SSE library breaks off, as it does when the server ends, has no end either.
        if call.cancelled_caught or answer.is_started:
            await answer.finish()

    async def end(self, answer_seconds: float) -> None:
        """End every call that has no answer after some seconds."""
        with anyio.move_on_after(answer_seconds):
            while self._open:
                self._ended = anyio.Event()
                await self._ended.wait()
        for call in tuple(self._open):
            call.cancel()


class _Answer:
    """Knows how far an answer has come."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self.is_started = False
        self._is_finished = False

    async def send(self, message: "Message") -> None:
        """Send a part of the answer."""
        self.is_started = True
        self._is_finished = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def finish(self) -> None:
        """Send what is missing of the answer: the end of its body, or a whole answer that says why."""
        if self._is_finished:
            return
        body = b""
        if not self.is_started:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await self._send({"type": "http.response.start", "status": 503, "headers": headers})
            body = _ENDING
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _open(family: int, kind: int, protocol: int, address: tuple[str | int, ...]) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # Elsewhere this would let two programs listen at one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
