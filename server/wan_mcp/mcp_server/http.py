"""
Many clients over Streamable HTTP.

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
"""

import socket
from collections.abc import Callable
from functools import partial

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from wan_mcp import http_server

_ANSWER_SECONDS = 1
"""How long calls get for their answer when the server ends."""
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


def serve_http(
    server: MCPServer[None], host: str, listeners: list[socket.socket], ready: Callable[[str], None]
) -> None:
    """
    Serve clients at /mcp until a signal ends it.

    `host` is the name that the listeners were opened for, one of this machine's own, because nobody can sign in.
    `ready` is called with the address once clients are answered there.

    Raises:
        SystemExit: the server cannot start.
    """
    name = f"[{host}]" if ":" in host else host
    # Without sessions on the server, a client of either protocol era may come back to any process.
    app = server.streamable_http_app(stateless_http=True, transport_security=_allow_own_names(name), host=host)
    url = f"{http_server.base_url(listeners[0], host)}/mcp"
    anyio.run(partial(http_server.serve, app, listeners, ready=lambda _: ready(url), answer_seconds=_ANSWER_SECONDS))


def _allow_own_names(name: str) -> TransportSecuritySettings:
    """Admit requests for this machine's own names only, so that no web page of others can reach the server."""
    names = dict.fromkeys((*_OWN_NAMES, name.lower()))
    hosts = [f"{each}{port}" for each in names for port in ("", ":*")]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{each}" for each in hosts])
