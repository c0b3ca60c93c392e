"""`wan-mcp serve`: the server."""

import gc
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.start import freeze_imports, load_protocol, load_settings, start_stdio
from wan_mcp.settings import Settings
from wan_mcp.settings.region_access import is_loopback
from wan_mcp.settings.sign_in import ISSUER, PUBLIC_URL, TOKENS_FILE
from wan_mcp_tools.domain.errors import SettingsError

if TYPE_CHECKING:
    from wan_mcp.orders import Timings

_HTTP_ONLY = ("host", "port", "metrics_port")
_METRICS_HOST = "127.0.0.1"
_ANSWER_SECONDS, _SHARED_ANSWER_SECONDS = 1.0, 10.0
"""How long calls get for their answer when the server ends: a person waits for that, or other replicas go on."""
_SHARE = 0.8
"""Of these seconds in which calls may still wait; the rest is for their answers."""
_NOTICE_SECONDS = 2.0
"""How long a replica that ends still listens, so that what stands in front of it can notice."""
_ANY_ADDRESS = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104 - what is compared with, not listened at


@click.command()
@click.option(
    "--transport", type=click.Choice(["stdio", "http"]), default="stdio", show_default=True, help="How clients talk."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at for http. Beyond this machine (not loopback) people have to sign in.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port for http; 0 finds a free one.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="A port of 127.0.0.1 where http serves /metrics to anyone on this machine; 0 finds a free one.",
)
@env_file_option
@pass_context
@click.pass_context
def serve(
    click_context: click.Context,
    context: CommandContext,
    *,
    transport: str,
    host: str,
    port: int,
    metrics_port: int | None,
) -> None:
    """Serve MCP clients over stdio, or over HTTP at /mcp."""
    if transport == "stdio":
        if any(click_context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _HTTP_ONLY):
            raise click.UsageError("--host, --port and --metrics-port belong to --transport http.")
        start_stdio(context.environ, context.env_file)
        return
    start_http(context.environ, host, port, context.env_file, metrics_port=metrics_port)


def start_http(
    environ: Mapping[str, str],
    host: str,
    port: int,
    env_file: Path | None = None,
    *,
    metrics_port: int | None = None,
    timings: "Timings | None" = None,
) -> None:
    """
    Serve clients over HTTP until a signal ends it; `metrics_port` is for metrics alone.

    `timings` are other times than usual.

    Raises:
        SettingsError: a setting is wrong, an address is taken, or packages for metrics are missing.
        click.UsageError: other machines could reach the server, and nobody has to sign in.
    """
    gc.disable()
    settings = load_settings(environ, env_file)
    _check_host(host, settings)
    listeners = _listen(host, port, "--host or --port")
    metrics_listeners = [] if metrics_port is None else _listen(_METRICS_HOST, metrics_port, "--metrics-port")
    from wan_mcp.http_app import build_http_server  # noqa: PLC0415 - a taken port is told without it
    from wan_mcp.http_server import Drain, base_url  # noqa: PLC0415 - the same
    from wan_mcp.mcp_server.http import serve_http  # noqa: PLC0415 - the same

    load_protocol()
    try:
        server = build_http_server(
            settings,
            host=host,
            address=settings.public_url or base_url(listeners[0], host),
            metrics_port=metrics_listeners[0].getsockname()[1] if metrics_listeners else None,
            timings=timings,
        )
    except SettingsError:
        for listener in (*listeners, *metrics_listeners):
            listener.close()
        raise
    if metrics_listeners:
        sys.stderr.write(f"wan-mcp shows its metrics at {base_url(metrics_listeners[0])}/metrics\n")
    freeze_imports()
    answer_seconds = _SHARED_ANSWER_SECONDS if settings.is_shared else _ANSWER_SECONDS
    drain = Drain(
        begin=lambda: server.begin_drain(answer_seconds * _SHARE),
        notice_seconds=_NOTICE_SECONDS if settings.is_shared else 0.0,
        keeps_signal=not settings.is_shared,
    )
    try:
        serve_http(
            server.app,
            host,
            [*listeners, *metrics_listeners],
            ready=_announce,
            answer_seconds=answer_seconds,
            drain=drain,
        )
    except SystemExit as error:
        # The HTTP library ends the process so, with a code that means something else here; it has logged why.
        raise SystemExit(1 if error.code else 0) from error
    finally:
        server.stop()


def _listen(host: str, port: int, options: str) -> list[socket.socket]:
    from wan_mcp.http_server import listen  # noqa: PLC0415 - wrong settings are told without it

    try:
        return listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"The server cannot listen at {host}, port {port}.", f"{error.strerror}: choose another {options}."
        ) from error


def _check_host(host: str, settings: Settings) -> None:
    """Make sure that nobody reaches the server from elsewhere without signing in, and everybody who does."""
    if is_loopback(host):
        return
    if not settings.has_sign_in:
        raise click.UsageError(
            f"--host {host} is reachable from other machines, and nobody has to sign in here: anyone could order"
            f" images at your cost. Let people sign in by {TOKENS_FILE} or {ISSUER}, or use 127.0.0.1, ::1 or"
            " localhost."
        )
    if settings.public_url is None and host in _ANY_ADDRESS:
        raise click.UsageError(
            f"--host {host} is every address of this machine, and none of them is a name that clients use: set"
            f" {PUBLIC_URL} to the address that they do use, without /mcp."
        )


def _announce(url: str) -> None:
    sys.stderr.write(f"wan-mcp serves at {url} (Ctrl-C ends it)\n")
    sys.stderr.flush()
