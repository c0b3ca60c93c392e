"""The commands together, and how they end when something goes wrong."""

from typing import Any

import click

import wan_mcp
from wan_mcp.cli.command import CommandContext, HelpContext, env_file_option
from wan_mcp.cli.doctor import doctor
from wan_mcp.cli.gallery import gallery
from wan_mcp.cli.generate import generate, quote_prompt
from wan_mcp.cli.install import install
from wan_mcp.cli.models import models
from wan_mcp.cli.sandbox import sandbox
from wan_mcp.cli.serve import serve
from wan_mcp.cli.tasks import cancel, collect, get, tasks
from wan_mcp.cli.terminal.output import ExitCode, unwrap, write_error
from wan_mcp.cli.token import token

_WHOLE = 1_000
"""Characters; no first sentence of a help is as long."""


class CommandGroup(click.Group):
    """A group of commands that answers our errors with a sentence and an exit code, never with a traceback."""

    context_class = HelpContext

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order in which they are met."""
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, whose help fits the terminal."""
        cmd.context_class = HelpContext
        super().add_command(cmd, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """Write what each command does as a whole sentence, however narrow the terminal is."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(_WHOLE)) for name, each in self.commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find the command that was named.

        Raises:
            click.UsageError: there is none; if it looks like a prompt, where a prompt belongs.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if " " not in args[0].strip():
                raise
            raise click.UsageError(
                f"There is no such command. A prompt is ordered so: wan-mcp generate {quote_prompt(args[0])}", ctx
            ) from error

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


for command in (serve, generate, models, tasks, get, cancel, collect, gallery, token, doctor, install, sandbox):
    cli.add_command(command)
