"""From settings to a running server. The plain `wan-mcp` comes straight here, past the rest of the command line."""

import gc
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from wan_mcp import log, stdout
from wan_mcp.settings import Settings, read_settings

_WAITING = """\
wan-mcp is waiting for an MCP client to write to its standard input; clients start it themselves.
At a terminal, try: wan-mcp generate "a red fox" --region sandbox    (or wan-mcp --help; Ctrl-C ends this)
"""


def start_stdio(environ: Mapping[str, str], env_file: Path | None = None) -> None:
    """
    Serve one client over stdin and stdout until it goes away.

    stdout is diverted while everything is loaded, and given back for the transport to take over.

    Raises:
        SettingsError: a setting is wrong.
    """
    stdout.divert()
    settings = _read(environ, env_file)
    # Wrong settings are told without these two; the second is the protocol's library, loaded while stdout is safe.
    from wan_mcp.transports import serve_stdio  # noqa: I001, PLC0415
    import wan_mcp.protocol  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]

    if sys.stdin is not None and sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr.write(_WAITING)
    _settle()
    stdout.restore()
    serve_stdio(settings)


def start_http(environ: Mapping[str, str], host: str, port: int, env_file: Path | None = None) -> None:
    """
    Serve clients over HTTP on this machine until a signal ends it.

    Raises:
        SettingsError: a setting is wrong.
    """
    settings = _read(environ, env_file)
    from wan_mcp.transports import serve_http  # noqa: I001, PLC0415
    import wan_mcp.protocol  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]

    name = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"wan-mcp serves at http://{name}:{port}/mcp (Ctrl-C ends it)\n")
    _settle()
    serve_http(settings, host, port)


def _read(environ: Mapping[str, str], env_file: Path | None) -> Settings:
    # Importing makes many objects and hardly any garbage: looking for it costs about 50 ms of the start.
    gc.disable()
    settings = read_settings(environ, env_file=env_file)
    log.configure(settings.log_level)
    for warning in settings.warnings:
        logging.getLogger(__name__).warning("%s", warning)
    return settings


def _settle() -> None:
    # What is imported stays to the end. Frozen, it is not searched again, which takes about 240 ms off the exit.
    gc.freeze()
    gc.enable()
