"""`wan-mcp serve`: the server."""

import click
from click.core import ParameterSource

from wan_mcp.cli.serving import start_http, start_stdio
from wan_mcp.cli.shell import Shell, env_file_option, pass_shell
from wan_mcp.settings.urls import is_loopback


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
@pass_shell
@click.pass_context
def serve(context: click.Context, shell: Shell, *, transport: str, host: str, port: int) -> None:
    """Serve MCP clients over stdio, or over HTTP at /mcp."""
    if transport == "stdio":
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("host", "port")):
            raise click.UsageError("--host and --port belong to --transport http.")
        start_stdio(shell.environ, shell.env_file)
        return
    if not is_loopback(host):
        raise click.UsageError(
            f"--host {host} is reachable from other machines, and nobody has to sign in here: anyone could order"
            " images at your cost. Use 127.0.0.1, ::1 or localhost; for other machines, put a proxy with a"
            " sign-in in front."
        )
    start_http(shell.environ, host, port, shell.env_file)
