"""`wan-mcp sandbox`: the offline look-alike of the service, for other programs."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.terminal.console import Console, standard_console
from wan_mcp.cli.terminal.output import ExitCode
from wan_mcp.settings.region_access import is_loopback
from wan_mcp_tools.domain.errors import SettingsError

if TYPE_CHECKING:
    from wan_mcp.sandbox import SandboxOptions

_SECONDS = click.FloatRange(min=0)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 finds a free one.")
@click.option("--api-key", "keys", multiple=True, metavar="KEY", help="Accept only this key; may be repeated.")
@click.option("--region", metavar="ID", help="Show this region id, and offer the models of that region.")
@click.option("--duration", type=_SECONDS, metavar="SECONDS", help="How long a task of Wan 2.6 takes.")
@click.option("--pending", type=_SECONDS, metavar="SECONDS", help="How long of that it waits before it runs.")
@click.option("--link-life", type=_SECONDS, metavar="SECONDS", help="How long a link to an image works.")
@click.option("--throttle", type=float, metavar="RATE", help="Orders accepted a second for each model.")
@click.option("--concurrency", type=int, metavar="COUNT", help="Tasks of one model that run at once.")
@click.option("--public-url", metavar="URL", help="What image links begin with, behind a proxy.")
@env_file_option
@pass_context
def sandbox(
    context: CommandContext,
    *,
    host: str,
    port: int,
    **given: Any,  # noqa: ANN401 - the options check each of them
) -> ExitCode:
    """
    Serve the offline sandbox over HTTP.

    Prints the base URL for any DashScope client and serves until Ctrl-C. Sandboxes under one state folder share
    their tasks, as programs on one account do; WAN_MCP_STATE_DIR keeps them apart.
    """
    options = make_options(**given)
    settings = context.read_settings()
    options = replace(options, extra_models=settings.extra_models)
    console = standard_console()
    if not is_loopback(host):
        console.note(f"{host} is reachable from other machines: anyone there can order pictures of this sandbox.")
    return anyio.run(run_sandbox, options, host, port, settings.state_dir, console)


def make_options(
    *,
    keys: tuple[str, ...] = (),
    **given: Any,  # noqa: ANN401 - the options check each of them
) -> "SandboxOptions":
    """
    Make the sandbox's options of those that were given.

    Raises:
        click.UsageError: they contradict one another.
    """
    from wan_mcp.sandbox import SandboxOptions  # noqa: PLC0415 - only this command needs it

    chosen = {name: value for name, value in given.items() if value is not None}
    if "duration" in chosen:
        chosen.setdefault("pending", min(SandboxOptions().pending, chosen["duration"]))
    try:
        return SandboxOptions(keys=frozenset(keys) or None, **chosen)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error


async def run_sandbox(options: "SandboxOptions", host: str, port: int, state_dir: Path, console: Console) -> ExitCode:
    """
    Serve until a signal; the base URL is the first line on stdout.

    Raises:
        SettingsError: the address cannot be used.
    """
    from wan_mcp.sandbox import serve  # noqa: PLC0415 - only this command needs it

    def announce(url: str) -> None:
        console.print(f"{url}/api/v1")
        console.note("Any DashScope client: set DASHSCOPE_HTTP_BASE_URL to this, and any key that is accepted.")
        console.note(f"wan-mcp also needs WAN_MCP_IMAGE_HOSTS={url.partition('//')[2]}. Ctrl-C ends this.")

    try:
        await serve(options, host, port, state_dir, ready=announce)
    except OSError as error:
        raise SettingsError(
            f"The sandbox cannot listen at {host}, port {port}: {error.strerror}.",
            "Choose another --host or --port.",
        ) from error
    return ExitCode.DONE
