"""The sandbox over HTTP, for other programs."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from wan_mcp.clock import Clock
from wan_mcp.sandbox.app import create_app
from wan_mcp.sandbox.journal import JournalStore
from wan_mcp.sandbox.options import SandboxOptions

if TYPE_CHECKING:
    from uvicorn import Server

_PATIENCE = 5
"""Seconds that a shutdown waits for answers that are under way."""


async def serve(
    options: SandboxOptions,
    host: str,
    port: int,
    state_dir: Path | None,
    *,
    ready: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """
    Serve until a signal or a cancellation ends it; answers under way are finished first.

    `ready` is called with the URL once connections are accepted; with port 0 it holds the port that was found.
    Without `state_dir` the tasks end with the server. Nothing is printed; troubles go to the log of uvicorn.

    Raises:
        OSError: the address cannot be used.
    """
    # A heavy import that only this command needs.
    from uvicorn import Config, Server  # noqa: PLC0415

    store = JournalStore(state_dir, clock) if state_dir else None
    # The app dates its answers itself; the log settings are those of the surrounding program.
    config = Config(
        create_app(options, store=store, clock=clock),
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
    )
    server = Server(config)
    listener = await _listen(host, port)
    try:
        if ready is not None:
            ready(_url(listener))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_cancellation, server)
            # A cancelled server would leave its connections open; it is asked to stop instead.
            with anyio.CancelScope(shield=True):
                await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    finally:
        listener.close()


async def _listen(host: str, port: int) -> socket.socket:
    """Open the first address of the host name; connections queue from here on."""
    family, kind, protocol, _, address = (await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop_on_cancellation(server: "Server") -> None:
    try:
        await anyio.sleep_forever()
    finally:
        server.should_exit = True
