"""The commands together, and how they end when something goes wrong."""

from typing import Any

import click

import wan_mcp
from wan_mcp.cli.command import CommandContext, env_file_option
from wan_mcp.cli.doctor import doctor
from wan_mcp.cli.gallery import gallery
from wan_mcp.cli.generate import generate
from wan_mcp.cli.install import install
from wan_mcp.cli.models import models
from wan_mcp.cli.output import ExitCode, unwrap, write_error
from wan_mcp.cli.sandbox import sandbox
from wan_mcp.cli.serve import serve
from wan_mcp.cli.tasks import cancel, collect, get, tasks


class CommandGroup(click.Group):
    """A group of commands that answers our errors with a sentence and an exit code, never with a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order in which they are met."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own type
        """Run the command that was named, and end with the exit code that it gives."""
        try:
            code = super().invoke(ctx)
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - every one of them goes on
            code = write_error(error)
            if code is None:
                # Outside of its groups click knows what to do with some, such as a pipe that nobody reads any more.
                single = unwrap(error)
                raise single from single.__cause__
        ctx.exit(code or ExitCode.DONE)


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the work failed, 2 wrong usage or settings, 3 still running.",
)
@env_file_option
@click.version_option(wan_mcp.__version__, prog_name="wan-mcp", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Order images from Alibaba Cloud Model Studio (Wan). Without a command: serve MCP clients over stdio."""
    context.ensure_object(CommandContext)
    if context.invoked_subcommand is None:
        context.invoke(serve)


for command in (serve, generate, models, tasks, get, cancel, collect, gallery, doctor, install, sandbox):
    cli.add_command(command)
