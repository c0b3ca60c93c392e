"""What every command needs: settings, a service, an event loop to run in, and the options that several have."""

import math
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import anyio
import click

from wan_mcp.cli.start import load_settings
from wan_mcp.cli.terminal.console import Console, standard_console
from wan_mcp.cli.terminal.output import ExitCode
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.settings import Settings

if TYPE_CHECKING:
    from wan_mcp.orders import OrderService

_WIDEST_HELP = 80
_WIDE_HELP = 60
"""Columns from which on what an option means stands beside it."""
_NARROWEST_HELP = 20

OpenService = Callable[[Settings, bool], AbstractAsyncContextManager["OrderService"]]
"""Takes the settings, and whether open orders are followed in the background."""

Work = Callable[["OrderService", Console], Awaitable[ExitCode]]


def _open_service(settings: Settings, take_over: bool) -> "AbstractAsyncContextManager[OrderService]":
    from wan_mcp.app import open_service  # noqa: PLC0415 - a wrong option is answered without it

    return open_service(settings, take_over=take_over)


@dataclass(slots=True)
class CommandContext:
    """What surrounds one command; `env_file` is what the command line named."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    open_service: OpenService = _open_service
    clock: Clock = field(default_factory=SystemClock)
    env_file: Path | None = None

    def read_settings(self) -> Settings:
        """
        Read the settings and set up the log.

        Raises:
            SettingsError: a setting is wrong, or needed and not there.
        """
        settings = load_settings(self.environ, self.env_file)
        settings.require_folders()
        return settings

    def run(self, settings: Settings, work: Work, *, take_over: bool) -> ExitCode:
        """
        Do the work with an open service.

        Raises:
            AppError: what the service cannot do.
        """
        # Loaded here: the display of a wait asks for the working folder then, which may hold up a loop.
        import rich  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]

        async def run() -> ExitCode:
            async with self.open_service(settings, take_over) as service:
                return await work(service, standard_console(self.clock, self.environ))

        return anyio.run(run)


class HelpPage(click.HelpFormatter):
    """
    A page of help no wider than the terminal, where the library takes 50 columns at least.

    In a narrow one what an option means stands below it.
    """

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = min(get_terminal_size().columns, max_width or _WIDEST_HELP)
        super().__init__(indent_increment, width or max(columns - 2, _NARROWEST_HELP), max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean."""
        if self.width >= _WIDE_HELP:
            super().write_dl(rows, col_max, col_spacing)
            return
        for name, meaning in rows:
            self.write_text(name)
            self.indent()
            self.indent()
            self.write_text(meaning)
            self.dedent()
            self.dedent()


class HelpContext(click.Context):
    """Where a command runs; its help fits the terminal."""

    formatter_class = HelpPage


pass_context = click.make_pass_decorator(CommandContext)


def _note_env_file(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(CommandContext).env_file = value


env_file_option = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_note_env_file,
    expose_value=False,
    help="Read settings from this file; the environment wins over it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the tool would answer.")


class Seconds(click.FloatRange):
    """Seconds from nought to an hour; what is no number compares with nothing and would slip through."""

    def __init__(self) -> None:
        super().__init__(0, 3600)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read the seconds."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number.", param, ctx)
        return seconds


def wait_option(default: float, meaning: str) -> Callable[[Callable[..., ExitCode]], Callable[..., ExitCode]]:
    """Give the option that bounds a wait."""
    return click.option(
        "--wait-seconds",
        type=Seconds(),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=meaning,
    )
