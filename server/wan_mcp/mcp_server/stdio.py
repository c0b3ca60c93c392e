"""One client over stdin and stdout."""

import os
import signal
from collections.abc import Awaitable, Callable

import anyio
from mcp.server.mcpserver import MCPServer


def serve_stdio(server: MCPServer[None], *, ready: Callable[[], None], stop: Callable[[], Awaitable[None]]) -> None:
    """
    Serve one client over stdin and stdout until stdin closes.

    `ready` gives stdout to the protocol; `stop` writes down what is under way before a signal ends the process.
    """
    # Python's own answer to Ctrl-C would wait for the SDK's reader of stdin, which cannot be interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    async def serve() -> None:
        async with anyio.create_task_group() as group:
            if os.name == "posix":
                group.start_soon(_end_on_signal, stop)
            ready()
            await server.run_stdio_async()
            group.cancel_scope.cancel()

    anyio.run(serve)


async def _end_on_signal(stop: Callable[[], Awaitable[None]]) -> None:
    """Write down what is under way, which takes an instant unless an order is just being answered, and end."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            await stop()
            # The SDK's reader of stdin holds a thread that nothing can end.
            os._exit(128 + number)
