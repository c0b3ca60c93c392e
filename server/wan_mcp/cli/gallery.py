"""`wan-mcp gallery`: everything that was ordered, in a browser."""

import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import ExitCode
from wan_mcp.http_server import listen
from wan_mcp_tools.domain.errors import SettingsError

if TYPE_CHECKING:
    from wan_mcp.orders import OrderService

_HOST = "127.0.0.1"


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; a free one unless it is given.")
@click.option("--no-open", is_flag=True, help="Only print the address; start no browser.")
@env_file_option
@pass_context
def gallery(context: CommandContext, *, port: int, no_open: bool) -> ExitCode:
    """
    Show everything that was ordered on a page in the browser.

    Prints the page's address, which is secret and works on this machine until Ctrl-C. Meanwhile open orders are
    followed, as by a server.
    """
    settings = context.read_settings()
    with _listen(port) as listener:
        browse = not no_open and has_display(context.environ)

        async def work(service: "OrderService", console: Console) -> ExitCode:
            await run_gallery(service, console, listener, start_browser if browse else None)
            return ExitCode.DONE

        return context.run(settings, work, take_over=True)


async def run_gallery(
    service: "OrderService", console: Console, listener: socket.socket, open_browser: Callable[[str], None] | None
) -> None:
    """Serve until a signal; the page's address is the first line on stdout."""
    from wan_mcp.web.gallery import GalleryUrls, serve_gallery  # noqa: PLC0415 - only this command needs it

    def announce(urls: GalleryUrls) -> None:
        console.print(urls.page)
        console.note("Whoever knows this address sees the gallery and can order. Ctrl-C ends it.")
        if open_browser is not None:
            open_browser(urls.one_time)

    await serve_gallery(service, listener, announce)


def has_display(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Say whether a browser with a window can be started: without one, a text browser would take the terminal."""
    if platform in ("win32", "darwin", "cygwin"):
        return not environ.get("SSH_CONNECTION")
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def start_browser(url: str) -> None:
    """Start the person's browser, which may take its time or fail: the address is printed in any case."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _listen(port: int) -> socket.socket:
    try:
        return listen(_HOST, port)[0]
    except OSError as error:
        raise SettingsError(
            f"The gallery cannot listen at port {port}: {error.strerror}.", "Choose another --port."
        ) from error
