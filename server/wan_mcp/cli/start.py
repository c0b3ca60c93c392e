"""From settings to a running server over stdio. The plain `wan-mcp` comes straight here, past all commands."""

import gc
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from wan_mcp import log, streams
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
        SettingsError: a setting is wrong, or there is no stdin or stdout.
    """
    if not streams.can_serve():
        raise SettingsError(
            "There is no client to talk to: standard input or standard output is closed.",
            "Let an MCP client start wan-mcp, or serve over HTTP with wan-mcp serve --transport http.",
        )
    streams.divert()
    # Importing makes many objects and hardly any garbage: looking for it costs about 50 ms of the start.
    gc.disable()
    settings = load_settings(environ, env_file)
    from wan_mcp.app import build_server, build_service  # noqa: PLC0415 - wrong settings are told without it
    from wan_mcp.mcp_server.stdio import serve_stdio  # noqa: PLC0415 - the same

    load_protocol()
    if sys.stdin.isatty():
        sys.stderr.write(_WAITING)
    freeze_imports()
    service = build_service(settings)
    serve_stdio(build_server(service).run_on_streams, ready=streams.restore, stop=service.stop)


def load_settings(environ: Mapping[str, str], env_file: Path | None) -> Settings:
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


def load_protocol() -> None:
    """Load the protocol's library: the transports do so when they need it, too late for `freeze_imports`."""
    import wan_mcp.mcp_server  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]


def freeze_imports() -> None:
    """Collect garbage again, but not among what was imported, which stays to the end anyway."""
    # Without it the search takes about 240 ms of the exit.
    gc.freeze()
    gc.enable()
