"""`wan-mcp serve`: the server."""

import gc
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from click.core import ParameterSource

from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.start import freeze_imports, load_protocol, load_settings, start_stdio
from wan_mcp.settings.region_access import is_loopback
from wan_mcp_tools.domain.errors import SettingsError


@click.command()
@click.option(
    "--transport", type=click.Choice(["stdio", "http"]), default="stdio", show_default=True, help="How clients talk."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address for http: one of this machine.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port for http; 0 finds a free one.",
)
@env_file_option
@pass_context
@click.pass_context
def serve(click_context: click.Context, context: CommandContext, *, transport: str, host: str, port: int) -> None:
    """Serve MCP clients over stdio, or over HTTP at /mcp."""
    if transport == "stdio":
        if any(click_context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("host", "port")):
            raise click.UsageError("--host and --port belong to --transport http.")
        start_stdio(context.environ, context.env_file)
        return
    if not is_loopback(host):
        raise click.UsageError(
            f"--host {host} is reachable from other machines, and nobody has to sign in here: anyone could order"
            " images at your cost. Use 127.0.0.1, ::1 or localhost; for other machines, put a proxy with a"
            " sign-in in front."
        )
    start_http(context.environ, host, port, context.env_file)


def start_http(environ: Mapping[str, str], host: str, port: int, env_file: Path | None = None) -> None:
    """
    Serve clients over HTTP on this machine until a signal ends it.

    Raises:
        SettingsError: a setting is wrong, or the address is taken.
    """
    gc.disable()
    settings = load_settings(environ, env_file)
    from wan_mcp.http_server import listen  # noqa: PLC0415 - wrong settings are told without it

    try:
        listeners = listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"The server cannot listen at {host}, port {port}.", f"{error.strerror}: choose another --host or --port."
        ) from error
    from wan_mcp.app import build_server, build_service  # noqa: PLC0415 - a taken port is told without it
    from wan_mcp.mcp_server.http import build_http_app, serve_http  # noqa: PLC0415 - the same

    load_protocol()
    freeze_imports()
    try:
        app = build_http_app(build_server(build_service(settings)), host)
        serve_http(app, host, listeners, ready=_announce)
    except SystemExit as error:
        # The HTTP library ends the process so, with a code that means something else here; it has logged why.
        raise SystemExit(1 if error.code else 0) from error


def _announce(url: str) -> None:
    sys.stderr.write(f"wan-mcp serves at {url} (Ctrl-C ends it)\n")
    sys.stderr.flush()
