"""The gallery at a port of this machine."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from wan_mcp.web.gallery import make_gallery_app
from wan_mcp.web.security import Secrets
from wan_mcp_tools.domain.service import ImageService

_SECRET_BYTES = 32
_PATIENCE = 2
"""Seconds that answers under way get when a signal ends the server."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the gallery is: its address, and one that leads there once, for a browser to be started with."""

    page: str
    once: str


async def serve_gallery(service: ImageService, listener: socket.socket, ready: Callable[[Addresses], None]) -> None:
    """
    Serve the gallery of a running service until a signal ends it.

    `ready` is called once requests are answered.
    """
    port = listener.getsockname()[1]
    words = Secrets(secrets.token_urlsafe(_SECRET_BYTES), secrets.token_urlsafe(_SECRET_BYTES))
    home = f"http://127.0.0.1:{port}"
    addresses = Addresses(f"{home}/{words.token}/", f"{home}/{words.ticket}")
    config = uvicorn.Config(
        make_gallery_app(service, words, frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})),
        lifespan="off",
        log_config=None,
        log_level="warning",
        # Its lines would hold the secret.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
    )
    await _Server(config, lambda: ready(addresses)).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
