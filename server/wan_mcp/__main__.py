"""The command `wan-mcp`."""

import gc
import os
import sys
from contextlib import suppress

from wan_mcp import __version__, streams


def main() -> None:
    """Run the command line; without arguments, serve over stdio by the shortest way."""
    _use_utf8()
    streams.open_missing()
    streams.guard_stderr()
    # Before anything is imported: a library that prints while it loads must not write into the protocol.
    streams.divert()
    gc.disable()
    try:
        if sys.argv[1:] in ([], ["serve"]):
            _serve()
        elif sys.argv[1:] == ["--version"]:
            _show_version()
        else:
            _run_command()
    except KeyboardInterrupt:
        sys.exit(130)


def _serve() -> None:
    from wan_mcp.cli.start import start_stdio  # noqa: PLC0415 - the same
    from wan_mcp.cli.terminal.output import write_error  # noqa: PLC0415 - nothing may be loaded before stdout is diverted

    try:
        start_stdio(os.environ)
    except Exception as error:
        code = write_error(error)
        if code is None:
            raise
        sys.exit(code)


def _show_version() -> None:
    """Answer what scripts and package managers ask for with nothing loaded, in the words of the command line."""
    streams.restore()
    results = streams.guard_stdout()
    with suppress(BrokenPipeError):
        sys.stdout.write(f"wan-mcp {__version__}\n")
        sys.stdout.flush()
    if results.failure is not None:
        from wan_mcp.cli.terminal.output import write_error  # noqa: PLC0415 - the same

        sys.exit(write_error(results.failure))


def _run_command() -> None:
    from wan_mcp.cli.main import cli  # noqa: PLC0415 - the same
    from wan_mcp.cli.terminal.output import write_error  # noqa: PLC0415 - the same

    # The commands write their results to stdout; `serve` diverts it again.
    gc.enable()
    streams.restore()
    results = streams.guard_stdout()
    try:
        cli.main(prog_name="wan-mcp")
    except SystemExit as end:
        if results.failure is None or end.code:
            raise
        sys.exit(write_error(results.failure))


def _use_utf8() -> None:
    """
    Begin anew in UTF-8 mode where file names have another encoding: a Chinese prompt names a file.

    Source: https://peps.python.org/pep-0540/
    """
    if os.name == "posix" and sys.getfilesystemencoding().lower() != "utf-8" and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - this program itself


if __name__ == "__main__":
    main()
