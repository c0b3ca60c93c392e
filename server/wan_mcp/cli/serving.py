"""From settings to a running server. The plain `wan-mcp` comes straight here, past the rest of the command line."""

import gc
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from wan_mcp import log, stdout
from wan_mcp.settings import Settings, read_settings
from wan_mcp_tools.domain.errors import SettingsError

_WAITING = """\
wan-mcp is waiting for an MCP client to write to its standard input; clients start it themselves.
At a terminal, try: wan-mcp generate "a red fox" --region sandbox    (or wan-mcp --help; Ctrl-C ends this)
"""


def start_stdio(environ: Mapping[str, str], env_file: Path | None = None) -> None:
    """
    Serve one client over stdin and stdout until it goes away.

    stdout is diverted until the transport takes over.

    Raises:
        SettingsError: a setting is wrong.
    """
    stdout.divert()
    # Importing makes many objects and hardly any garbage: looking for it costs about 50 ms of the start.
    gc.disable()
    settings = prepare(environ, env_file)
    from wan_mcp.app import build_server, build_service  # noqa: PLC0415 - wrong settings are told without it
    from wan_mcp.mcp_server.stdio import serve_stdio  # noqa: PLC0415 - the same

    _load_protocol()
    if sys.stdin is not None and sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr.write(_WAITING)
    _settle()
    service = build_service(settings)
    serve_stdio(build_server(service), ready=stdout.restore, stop=service.stop)


def start_http(environ: Mapping[str, str], host: str, port: int, env_file: Path | None = None) -> None:
    """
    Serve clients over HTTP on this machine until a signal ends it.

    Raises:
        SettingsError: a setting is wrong, or the address is taken.
    """
    gc.disable()
    settings = prepare(environ, env_file)
    from wan_mcp.mcp_server.listening import listen  # noqa: PLC0415 - the same

    try:
        listeners = listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"The server cannot listen at {host}, port {port}.", f"{error.strerror}: choose another --host or --port."
        ) from error
    from wan_mcp.app import build_server, build_service  # noqa: PLC0415 - a taken port is told without it
    from wan_mcp.mcp_server.http import serve_http  # noqa: PLC0415 - the same

    _load_protocol()
    _settle()
    try:
        serve_http(build_server(build_service(settings)), host, listeners, ready=_announce)
    except SystemExit as error:
        # The HTTP library ends the process so, with a code that means something else here; it has logged why.
        raise SystemExit(1 if error.code else 0) from error


def prepare(environ: Mapping[str, str], env_file: Path | None) -> Settings:
    """
    Read the settings and set up the log.

    Raises:
        SettingsError: a setting is wrong.
    """
    settings = read_settings(environ, env_file=env_file)
    log.configure(settings.log_level)
    for warning in settings.warnings:
        logging.getLogger(__name__).warning("%s", warning)
    return settings


def _announce(url: str) -> None:
    sys.stderr.write(f"wan-mcp serves at {url} (Ctrl-C ends it)\n")
    sys.stderr.flush()


def _load_protocol() -> None:
    # The transports load the protocol's library when they need it; that is too late for `_settle`.
    import wan_mcp.mcp_server  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]


def _settle() -> None:
    # What is imported stays to the end. Frozen, it is not searched again, which takes about 240 ms off the exit.
    gc.freeze()
    gc.enable()
