"""
Many clients over Streamable HTTP.

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
"""

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp.types import ErrorData
from pydantic import ValidationError

from wan_mcp import http_server
from wan_mcp.mcp_server.concurrency_limits import BodyTimeout, ConcurrencyLimiter, ConcurrencyLimits
from wan_mcp.mcp_server.messages import (
    HEAD_BYTES,
    MOST_BYTES,
    TAIL_BYTES,
    UnreadableMessageError,
    read_message,
    too_long,
)
from wan_mcp.mcp_server.size_limits import shorten_error
from wan_mcp.settings.network_variables import USUAL_PORTS
from wan_mcp_tools.domain.principals import NOBODY, acting_as
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from wan_mcp.auth.gate import AuthGate, CountCall

MCP_PATH = "/mcp"
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
_BAD_REQUEST, _NOT_FOUND, _TOO_LARGE, _MISDIRECTED = 400, 404, 413, 421
_UNKNOWN_NAME = """\
The server is not known by the name in the Host header. Behind a proxy: set WAN_MCP_PUBLIC_URL to the address that \
clients use, and let the proxy pass on the Host header that it was sent.
"""
_MOST_DRAINED = 64 * 1024 * 1024
"""How much of a body is read to its end: who still sends does not hear an answer."""
_MOST_ERROR_BYTES = 2_000


class HttpRoutes(Record, kw_only=True):
    """
    What is answered beside /mcp, as routes of Starlette.

    `pages` are answered under the server's own names only, as /mcp is, so that no page of others can reach them.
    `probes` are answered under any: what watches over servers asks for them by address. Neither asks who calls; what
    needs to know is put behind `AuthGate.protect` by whoever makes the route.
    """

    pages: Sequence["BaseRoute"] = ()
    probes: Sequence["BaseRoute"] = ()


def build_http_app(
    server: MCPServer[None],
    host: str,
    *,
    public_url: str | None = None,
    gate: "AuthGate | None" = None,
    count_call: "CountCall | None" = None,
    routes: HttpRoutes | None = None,
    most_bytes: int = MOST_BYTES,
    limits: ConcurrencyLimits | None = None,
) -> "ASGIApp":
    """
    Put together all that is answered over HTTP.

    `host` is the name that the server listens at, `public_url` the address that clients use if that is another one.
    Without a gate whoever comes is the local user; with one nobody is anybody before it, and `count_call` counts the
    calls of each.
    A message has at most `most_bytes`. `limits` bounds the calls that are under way.
    """
    names = _allow_names(f"[{host}]" if ":" in host else host, public_url)
    # Without sessions on the server, a client of either protocol era may come back to any process.
    app = server.streamable_http_app(
        stateless_http=True, transport_security=names, host=host, max_request_body_size=most_bytes
    )
    routes = routes or HttpRoutes()
    endpoint: ASGIApp = ConcurrencyLimiter(app, limits or ConcurrencyLimits())
    if gate is None:
        endpoint = MessageReader(endpoint, names, most_bytes)
    else:
        # Who calls is known before a body is read; what a message needs, when it can be read.
        endpoint = gate.check_messages(endpoint, count_call=count_call or _count_nothing)
        endpoint = gate.protect(MessageReader(endpoint, names, most_bytes))
        if gate.resource is not None:
            # Whoever wants to sign in may read how, under whatever name.
            routes = replace(routes, probes=[*routes.probes, *gate.resource.make_routes()])
    prefix = urlsplit(public_url).path if public_url is not None else ""
    app = BodyTimeout(_Paths(endpoint, names, routes, prefix))
    return app if gate is None else _for_nobody(app)


async def _count_nothing() -> None:
    """Let everybody call as often as they want."""


def _for_nobody(app: "ASGIApp") -> "ASGIApp":
    """Let requests be nobody's until they have come through the gate: what forgets to ask does nothing then."""

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        with acting_as(NOBODY):
            await app(scope, receive, send)

    return answer


def serve_http(
    app: "ASGIApp",
    host: str,
    listeners: list[socket.socket],
    ready: Callable[[str], None],
    *,
    answer_seconds: float,
    drain: http_server.Drain,
) -> None:
    """
    Serve an application until a signal ends it.

    `host` is the name that the listeners were opened for. `ready` is called with the address of /mcp once clients are
    answered there.

    Raises:
        SystemExit: the server cannot start.
    """
    from sse_starlette.sse import AppStatus  # noqa: PLC0415 - the SDK has loaded it by now

    # It would break off every answer that is a stream as soon as a signal comes; here calls are answered first.
    AppStatus.disable_automatic_graceful_drain()
    url = f"{http_server.base_url(listeners[0], host)}{MCP_PATH}"
    anyio.run(
        partial(
            http_server.serve,
            app,
            listeners,
            ready=lambda _: ready(url),
            answer_seconds=answer_seconds,
            drain=drain,
        )
    )


def with_port(app: "ASGIApp", port: int, pages: "Sequence[BaseRoute]") -> "ASGIApp":
    """Give an application that answers at one of its ports with pages alone, and elsewhere as `app` does."""

    async def find_nothing(_scope: "Scope", _receive: "Receive", send: "Send") -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    others = _Paths(find_nothing, _allow_names(_OWN_NAMES[0], None), HttpRoutes(pages=pages))

    async def choose(scope: "Scope", receive: "Receive", send: "Send") -> None:
        is_other = scope["type"] == "http" and scope["server"][1] == port
        await (others if is_other else app)(scope, receive, send)

    return choose


class _Paths:
    """
    The MCP endpoint and the routes beside it; there is nothing at any other path.

    A proxy may leave out the prefix of the public address from the paths, or pass it on.
    """

    def __init__(
        self, endpoint: "ASGIApp", names: TransportSecuritySettings, routes: HttpRoutes, prefix: str = ""
    ) -> None:
        self._endpoint = endpoint
        self._prefix = prefix
        self._names = TransportSecurityMiddleware(names)
        self._pages = tuple(routes.pages)
        self._probes = tuple(routes.probes)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, or go through the start and the end of the server."""
        if scope["type"] != "http":
            await self._endpoint(scope, receive, send)
            return
        scope = _with_host_in_small_letters(self._without_prefix(scope))
        if route := _match(self._probes, scope):
            await route.handle(scope, receive, send)
        elif refusal := await self._check_name(scope, receive):
            await refusal(scope, receive, send)
        elif route := _match(self._pages, scope):
            await route.handle(scope, receive, send)
        elif scope["path"].rstrip("/") == MCP_PATH:
            # What is checked inside goes by this path. The SDK would redirect, and to where TLS has ended already.
            await self._endpoint({**scope, "path": MCP_PATH, "raw_path": MCP_PATH.encode()}, receive, send)
        else:
            await self._miss(scope, receive, send)

    async def _miss(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from starlette.responses import PlainTextResponse  # noqa: PLC0415 - the SDK has loaded it by now

        await PlainTextResponse("Not Found", status_code=_NOT_FOUND)(scope, receive, send)

    def _without_prefix(self, scope: "Scope") -> "Scope":
        if not self._prefix or not scope["path"].startswith(f"{self._prefix}/"):
            return scope
        path: str = scope["path"].removeprefix(self._prefix)
        return {**scope, "path": path, "raw_path": path.encode()}

    async def _check_name(self, scope: "Scope", receive: "Receive") -> "Response | None":
        from starlette.requests import Request  # noqa: PLC0415 - the SDK has loaded it by now
        from starlette.responses import PlainTextResponse  # noqa: PLC0415 - the same

        refusal = await self._names.validate_request(Request(scope, receive))
        if refusal is None or refusal.status_code != _MISDIRECTED:
            return refusal
        return PlainTextResponse(_UNKNOWN_NAME, status_code=_MISDIRECTED)


def _with_host_in_small_letters(scope: "Scope") -> "Scope":
    """
    Give a request as if its Host header had been written in small letters: capitals make no other name.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-4.2.3
    """
    headers = [(name, value.lower() if name == b"host" else value) for name, value in scope["headers"]]
    return {**scope, "headers": headers}


def _match(routes: "Sequence[BaseRoute]", scope: "Scope") -> "BaseRoute | None":
    """Find the route of a path and note its parameters; one for other methods answers that itself."""
    from starlette.routing import Match  # noqa: PLC0415 - the SDK has loaded it by now

    for route in routes:
        match, found = route.matches(scope)
        if match is not Match.NONE:
            scope.update(found)
            return route
    return None


class MessageReader:
    """
    The SDK's application behind what answers every body that is no message, and keeps every error short.

    Who may ask at all is checked first, as the application does.
    """

    def __init__(self, app: "ASGIApp", security: TransportSecuritySettings, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._security = TransportSecurityMiddleware(security)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _ShortErrors(send)
        if scope["method"] != "POST" or scope["path"] != MCP_PATH:
            await self._app(scope, receive, send)
            return
        try:
            body = read_message(await _read_body(receive, self._most_bytes), most=self._most_bytes)
        except UnreadableMessageError as error:
            await self._refuse(error, scope, receive, send)
            return
        except ConnectionError:
            # The client has gone away in the middle of its message.
            return
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> "Message":
            return parts.pop() if parts else await receive()

        await self._app(scope, replay, send)

    async def _refuse(self, error: UnreadableMessageError, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from starlette.requests import Request  # noqa: PLC0415 - the SDK has loaded it by now
        from starlette.responses import Response  # noqa: PLC0415 - the same

        refusal = await self._security.validate_request(Request(scope, receive), is_post=True)
        if refusal is None:
            answers = [answer.model_dump(mode="json", by_alias=True, exclude_unset=True) for answer in error.answers]
            status = _TOO_LARGE if error.is_too_long else _BAD_REQUEST
            content = json.dumps(answers if len(answers) > 1 else answers[0], separators=(",", ":"))
            refusal = Response(content, status_code=status, media_type="application/json")
        await refusal(scope, receive, send)


async def _read_body(receive: "Receive", most: int) -> bytes:
    """
    Read the body of a request.

    Raises:
        UnreadableMessageError: it is longer than any message.
        ConnectionError: the client has gone away.
    """
    kept, tail, size = bytearray(), b"", 0
    while size <= _MOST_DRAINED:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError
        part: bytes = message.get("body", b"")
        size += len(part)
        tail = (tail + part)[-TAIL_BYTES:]
        if size <= most:
            kept += part
        if not message.get("more_body", False):
            break
    if size > most:
        raise too_long(bytes(kept[:HEAD_BYTES]), tail, size, most=most)
    return bytes(kept)


class _ShortErrors:
    """What sends an answer, and shortens the body of an error: it may repeat what was asked."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: "Message") -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start" and message["status"] >= _BAD_REQUEST:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                body = _shorten(self._body)
                headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
                headers.append((b"content-length", str(len(body)).encode()))
                await self._send({**self._start, "headers": headers})
                await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _shorten(body: bytes) -> bytes:
    if len(body) <= _MOST_ERROR_BYTES:
        return body
    try:
        answer = json.loads(body)
        error = ErrorData.model_validate(answer["error"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return body[:_MOST_ERROR_BYTES]
    answer["error"] = shorten_error(error).model_dump(mode="json", exclude_none=True)
    return json.dumps(answer, separators=(",", ":")).encode()


def _allow_names(name: str, public_url: str | None) -> TransportSecuritySettings:
    """
    Admit requests for the server's own names only, so that no web page of others can reach it.

    They are this machine's, and the name that clients use. Headers of a proxy about other names are not read.
    """
    names = dict.fromkeys((*_OWN_NAMES, name.lower()))
    hosts = [f"{each}{port}" for each in names for port in ("", ":*")]
    origins = [f"http://{each}" for each in hosts]
    if public_url is not None:
        parts = urlsplit(public_url)
        bare = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        places = [f"{bare}", f"{bare}:{USUAL_PORTS[parts.scheme]}"] if _is_usual(parts) else [parts.netloc]
        hosts += places
        origins += [f"{parts.scheme}://{place}" for place in places]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)


def _is_usual(parts: SplitResult) -> bool:
    return parts.port in (None, USUAL_PORTS[parts.scheme])
