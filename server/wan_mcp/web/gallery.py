"""The gallery of this machine, for its user: every path of it lies under a secret, see `security`."""

import socket
from collections.abc import Callable
from secrets import token_urlsafe

from starlette.types import ASGIApp

from wan_mcp import http_server
from wan_mcp.web.api import GalleryApi, IdempotencyKeys, make_gallery
from wan_mcp.web.security import AccessControl, Secrets
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.service import ImageService

_SECRET_BYTES = 32
_ANSWER_SECONDS = 2
"""How long answers under way get when a signal ends the server."""


class GalleryUrls(Record):
    """Where the gallery is: its page, and a URL that leads there once, for a browser to be started with."""

    page: str
    one_time: str


async def serve_gallery(service: ImageService, listener: socket.socket, ready: Callable[[GalleryUrls], None]) -> None:
    """
    Serve the gallery of a running service until a signal ends it.

    `ready` is called once requests are answered.
    """
    port = listener.getsockname()[1]
    secrets = Secrets(token_urlsafe(_SECRET_BYTES), token_urlsafe(_SECRET_BYTES))
    home = f"http://127.0.0.1:{port}"
    urls = GalleryUrls(f"{home}/{secrets.token}/", f"{home}/{secrets.ticket}")
    app = make_gallery_app(service, secrets, frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}))
    await http_server.serve(app, [listener], ready=lambda _: ready(urls), answer_seconds=_ANSWER_SECONDS)


def make_gallery_app(service: ImageService, secrets: Secrets, hosts: frozenset[str]) -> ASGIApp:
    """Build the application for a running service; `hosts` are the names, with a port, that it answers to."""
    return AccessControl(make_gallery(GalleryApi(service, IdempotencyKeys().take)), secrets, hosts)
