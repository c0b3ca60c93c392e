"""The command `wan-mcp`."""

import gc
import os
import sys

from wan_mcp import stdout


def main() -> None:
    """Run the command line; without arguments, serve over stdio by the shortest way."""
    # Before anything is imported: a library that prints while it loads must not write into the protocol.
    stdout.divert()
    gc.disable()
    try:
        if sys.argv[1:] in ([], ["serve"]):
            _serve()
        else:
            _run_command()
    except KeyboardInterrupt:
        sys.exit(130)


def _serve() -> None:
    from wan_mcp.cli.output import write_error  # noqa: PLC0415 - nothing may be loaded before stdout is diverted
    from wan_mcp.cli.start import start_stdio  # noqa: PLC0415 - the same

    try:
        start_stdio(os.environ)
    except Exception as error:
        code = write_error(error)
        if code is None:
            raise
        sys.exit(code)


def _run_command() -> None:
    from wan_mcp.cli.main import cli  # noqa: PLC0415 - the same

    # The commands write their results to stdout; `serve` diverts it again.
    gc.enable()
    stdout.restore()
    cli.main(prog_name="wan-mcp")


if __name__ == "__main__":
    main()
