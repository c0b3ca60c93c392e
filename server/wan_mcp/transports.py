"""How clients reach the server: stdio, and Streamable HTTP on the loopback interface."""

import os
import signal

import anyio

from wan_mcp.app import build_server, build_studio
from wan_mcp.settings import Settings
from wan_mcp.studio import WorkingStudio


def serve_stdio(settings: Settings) -> None:
    """Serve one client over stdin and stdout until stdin closes."""
    # The SDK's reader of stdin cannot be interrupted, so Ctrl-C must end the process by itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    studio = build_studio(settings)
    server = build_server(studio)

    async def serve() -> None:
        async with anyio.create_task_group() as group:
            if os.name == "posix":
                group.start_soon(_end_on_sigterm, studio)
            await server.run_stdio_async()
            group.cancel_scope.cancel()

    anyio.run(serve)


async def _end_on_sigterm(studio: WorkingStudio) -> None:
    """Write down what is under way before the process ends."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            await studio.stop()
            # The reader of stdin holds a thread that nothing can end.
            os._exit(128 + signal.SIGTERM)


def serve_http(settings: Settings, host: str, port: int) -> None:
    """Serve many clients at http://HOST:PORT/mcp; HOST is a loopback address, because nobody can sign in."""
    server = build_server(build_studio(settings))
    # Without sessions on the server, a client of either protocol era may come back to any process.
    server.run("streamable-http", host=host, port=port, stateless_http=True)
