"""
Many clients over Streamable HTTP.

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
"""

import socket
from collections.abc import Callable

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from wan_mcp.mcp_server.calls import Calls

_PATIENCE = 1.0
"""Seconds that calls get for their answer when the server ends."""
_CLOSING = 2
"""Seconds after that for connections to close."""
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


def serve_http(
    server: MCPServer[None], host: str, listeners: list[socket.socket], ready: Callable[[str], None]
) -> None:
    """
    Serve clients at /mcp until a signal ends it.

    `host` is the name that the listeners were opened for, one of this machine's own, because nobody can sign in.
    `ready` is called with the address once clients are answered there.
    """
    name = f"[{host}]" if ":" in host else host
    calls = Calls(
        # Without sessions on the server, a client of either protocol era may come back to any process.
        server.streamable_http_app(stateless_http=True, transport_security=_guard(name), host=host)
    )
    url = f"http://{name}:{listeners[0].getsockname()[1]}/mcp"
    config = uvicorn.Config(
        calls,
        # The log is set up already.
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(_PATIENCE) + _CLOSING,
    )
    anyio.run(_Server(config, calls, lambda: ready(url)).serve, listeners)


def _guard(name: str) -> TransportSecuritySettings:
    """Admit requests for this machine's own names only, so that no web page of others can reach the server."""
    names = dict.fromkeys((*_OWN_NAMES, name.lower()))
    hosts = [f"{each}{port}" for each in names for port in ("", ":*")]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{each}" for each in hosts])


class _Server(uvicorn.Server):
    """Says when it listens, and ends although calls wait."""

    def __init__(self, config: uvicorn.Config, calls: Calls, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._calls = calls
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._calls.end, _PATIENCE)
            await super().shutdown(sockets)
            group.cancel_scope.cancel()
