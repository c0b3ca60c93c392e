"""An ASGI application served on loopback ports from a thread of its own."""

import asyncio  # noqa: TID251  uvicorn's connections are asyncio's
import socket
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_STOP_SECONDS = 30
T = TypeVar("T")


class _Connection(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        # With no buffer of ours, what was sent is with the operating system, and without one of its own on the way.
        transport.set_write_buffer_limits(high=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The application finds it in the state of its scope.
        self.app_state = {"transport": transport}


class LoopbackServer:
    """Serves one application on several ports; port 0 finds a free one, `ports` tells which."""

    def __init__(self, app: ASGIApp, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        # Connections that nobody uses stay open: it is the client's to close them.
        self._config = Config(
            app,
            interface="asgi3",
            lifespan="off",
            ws="none",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_keep_alive=3600,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """
        Bind and serve; a client may connect as soon as this returns, because the kernel already listens.

        After a stop the same ports are bound again: the service comes back.
        """
        listeners = [socket.create_server(("127.0.0.1", port), backlog=512) for port in self.ports]
        self.ports = [listener.getsockname()[1] for listener in listeners]
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop, listeners), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and end the thread; this waits, so call it from no event loop of your own."""
        if self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError(f"the service did not stop within {_STOP_SECONDS} s")
        self._loop = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something between the requests and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _run(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[socket.socket]) -> None:
        try:
            loop.run_until_complete(self._serve(listeners))
        finally:
            loop.close()

    async def _serve(self, listeners: Sequence[socket.socket]) -> None:
        state = ServerState()
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(lambda: _Connection(self._config, state, {}), sock=listener)
            for listener in listeners
        ]
        await self._stopping.wait()
        for server in servers:
            server.close()
        # What was accepted already becomes a connection first.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()} - state.tasks), return_exceptions=True)
        for connection in list(state.connections):
            connection.transport.abort()
        calls = list(state.tasks)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        # The transports close in the loop's next round.
        await asyncio.sleep(0)
