"""`wan-mcp token`: the static tokens by which people sign in over HTTP."""

from pathlib import Path

import click

from wan_mcp.cli.command import CommandContext, HelpContext, env_file_option, pass_context
from wan_mcp.cli.start import load_settings
from wan_mcp.cli.terminal.console import standard_console
from wan_mcp.cli.terminal.output import ExitCode, format_table, to_json
from wan_mcp.settings.sign_in import TOKENS_FILE
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.principals import Scope

_HEADINGS = ("name", "scopes")
_DEFAULT = "wan:order,wan:cancel"


class _Scopes(click.ParamType[frozenset[Scope]]):
    """Scopes that commas separate."""

    name = "scopes"

    def convert(
        self, value: str | frozenset[Scope], param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[Scope]:
        """Read the scopes."""
        from wan_mcp.auth.tokens import parse_scopes  # noqa: PLC0415 - other commands start without it

        if not isinstance(value, str):
            return value
        try:
            return parse_scopes(value)
        except ValueError:
            self.fail(f"{value!r} holds what is no scope; there are: {', '.join(Scope)}.", param, ctx)


@click.group()
@env_file_option
def token() -> None:
    """Make, list and revoke tokens for signing in over HTTP."""


@token.command()
@click.argument("name")
@click.option(
    "--scopes",
    type=_Scopes(),
    default=_DEFAULT,
    show_default=True,
    metavar="SCOPE,SCOPE",
    help="What it allows: wan:read, wan:order (includes reading), wan:cancel, wan:admin (everything of everybody).",
)
@env_file_option
@pass_context
def create(context: CommandContext, *, name: str, scopes: frozenset[Scope]) -> ExitCode:
    """Make a token and print it, once: only its digest is kept."""
    from wan_mcp.auth.tokens import add_token  # noqa: PLC0415 - a wrong option is answered without it

    path = _find_file(context)
    made = add_token(path, name, scopes)
    console = standard_console(context.clock)
    console.print(made)
    console.note(f"The token of {name}. It is shown only now; its digest stands in {path}.")
    return ExitCode.DONE


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@env_file_option
@pass_context
def list_tokens(context: CommandContext, *, as_json: bool) -> ExitCode:
    """List the tokens by their names."""
    from wan_mcp.auth.tokens import read_tokens  # noqa: PLC0415 - the same

    found = [(each.name, sorted(each.scopes)) for each in read_tokens(_find_file(context))]
    console = standard_console(context.clock)
    if as_json:
        console.print(to_json({"tokens": [{"name": name, "scopes": scopes} for name, scopes in found]}))
        return ExitCode.DONE
    if not found:
        console.note("There are no tokens. Make one with: wan-mcp token create NAME")
        return ExitCode.DONE
    for line in format_table([_HEADINGS, *((name, ",".join(scopes)) for name, scopes in found)]):
        console.print(line)
    return ExitCode.DONE


@token.command()
@click.argument("name")
@env_file_option
@pass_context
def revoke(context: CommandContext, *, name: str) -> ExitCode:
    """Take a token out of the file: a second later nobody is let in by it."""
    from wan_mcp.auth.tokens import remove_token  # noqa: PLC0415 - the same

    remove_token(_find_file(context), name)
    standard_console(context.clock).note(f"The token of {name} is revoked.")
    return ExitCode.DONE


for _command in (create, list_tokens, revoke):
    _command.context_class = HelpContext


def _find_file(context: CommandContext) -> Path:
    path = load_settings(context.environ, context.env_file).tokens_file
    if path is None:
        raise SettingsError(
            "No file of tokens is named.", f"Set {TOKENS_FILE} to the full path of one; token create makes it."
        )
    return path
