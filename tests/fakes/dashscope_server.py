"""Loopback listeners served from a thread of their own, whose handlers hold the bare connection."""

import asyncio  # noqa: TID251  the fake owns its loop and thread and must reach the bare transport
import socket
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from fakes.dashscope_wire import BadRequestError, Connection, Request, read_request

Handler = Callable[[Connection, Request, int, int], Awaitable[bool]]


class LoopbackServer:
    """
    One listener for each handler, by name.

    A handler gets the connection, the request, the connection's number and the request's number on it (both from 1)
    and answers whether to keep the connection. `errors` holds the tracebacks of handlers that failed.
    """

    def __init__(
        self, handlers: Mapping[str, tuple[int, Handler]], background: Callable[[], Coroutine[Any, Any, None]]
    ):
        self._handlers, self._background = handlers, background
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: set[asyncio.Task[Any]] = set()
        self._connections = 0
        self.errors: list[str] = []
        self.ports: dict[str, int] = {}

    def start(self) -> None:
        """
        Bind and serve; a client may connect as soon as this returns, because the kernel already listens.

        After a stop the same ports are bound again: the service comes back.
        """
        listeners = {
            name: socket.create_server(("127.0.0.1", self.ports.get(name, port)), backlog=512)
            for name, (port, _) in self._handlers.items()
        }
        for name, listener in listeners.items():
            listener.setblocking(False)
            self.ports[name] = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(self._loop, listeners), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """
        Close every connection and end the thread.

        Raises: RuntimeError when a handler failed: what the clients saw proves nothing then.
        """
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)
        if self._thread.is_alive():
            raise RuntimeError("the fake service did not stop within 10 s")
        self._loop = self._thread = None
        if self.errors:
            raise RuntimeError("the fake service failed:\n" + "\n".join(self.errors))

    def _run(self, loop: asyncio.AbstractEventLoop, listeners: Mapping[str, socket.socket]) -> None:
        try:
            loop.run_until_complete(self._serve_until_stopped(listeners))
        finally:
            loop.close()

    async def _serve_until_stopped(self, listeners: Mapping[str, socket.socket]) -> None:
        servers = [
            await asyncio.start_server(partial(self._serve, self._handlers[name][1]), sock=listener)
            for name, listener in listeners.items()
        ]
        background = asyncio.create_task(self._background())
        await self._stopping.wait()
        for server in servers:
            server.close()
        # A connection accepted in this very round gets its handler in the next one.
        await asyncio.sleep(0)
        endings = [background, *self._open]
        for task in endings:
            task.cancel()
        for outcome in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(outcome, Exception):
                self.errors.append("".join(traceback.format_exception(outcome)))
        await asyncio.sleep(0.01)  # the transports close in the loop's next rounds

    async def _serve(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side has enough."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._connections += 1
        number, nth = self._connections, 0
        try:
            connection = Connection(reader, writer)
            while (request := await read_request(reader)) is not None:
                nth += 1
                if not await handler(connection, request, number, nth) or request.closes:
                    break
        except (BadRequestError, ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        except asyncio.CancelledError:
            # Only stop() cancels. Python 3.11 would log the cancellation of a connection's task as an error.
            writer.transport.abort()
        except Exception:  # noqa: BLE001  a mistake of the fake's own, told by stop()
            self.errors.append(traceback.format_exc())
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()
