"""What every command needs: settings, a service, and a loop to run in."""

import math
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio
import click

from wan_mcp.cli.console import Console, standard_console
from wan_mcp.cli.exits import Exit
from wan_mcp.cli.serving import prepare
from wan_mcp.clock import Clock, SystemClock
from wan_mcp.settings import Settings
from wan_mcp_tools.domain.service import ImageService


class CollectSummary(Protocol):
    """What a round of collecting came to: orders that ended, images saved, orders still open."""

    @property
    def finished(self) -> int: ...  # noqa: D102
    @property
    def saved(self) -> int: ...  # noqa: D102
    @property
    def open(self) -> int: ...  # noqa: D102
    @property
    def problems(self) -> tuple[str, ...]: ...  # noqa: D102


class OrderService(ImageService, Protocol):
    """The service as the command line uses it."""

    async def collect(
        self, report: Callable[[str], Awaitable[None]] | None, *, until_idle: bool = False, keeper: str | None = None
    ) -> CollectSummary:
        """Finish the open orders: one round, or until none is open."""
        ...


OpenService = Callable[[Settings, bool], AbstractAsyncContextManager[OrderService]]
"""Takes the settings, and whether open orders are followed in the background."""

Job = Callable[[OrderService, Console], Awaitable[Exit]]


def _open_service(settings: Settings, follow: bool) -> AbstractAsyncContextManager[OrderService]:
    from wan_mcp.app import open_service  # noqa: PLC0415 - a wrong option is answered without it

    return open_service(settings, follow=follow)


@dataclass(slots=True)
class Shell:
    """The world of one command; `env_file` is what the command line named."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    open_service: OpenService = _open_service
    clock: Clock = field(default_factory=SystemClock)
    env_file: Path | None = None

    def read_settings(self) -> Settings:
        """
        Read the settings and set up the log.

        Raises:
            SettingsError: a setting is wrong.
        """
        return prepare(self.environ, self.env_file)

    def run(self, settings: Settings, job: Job, *, follow: bool) -> Exit:
        """
        Do the job with an open service.

        Raises:
            AppError: what the service cannot do.
        """

        async def work() -> Exit:
            async with self.open_service(settings, follow) as service:
                return await job(service, standard_console(self.clock))

        return anyio.run(work)


pass_shell = click.make_pass_decorator(Shell)


def _keep_env_file(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Shell).env_file = value


env_file_option = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_keep_env_file,
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


def wait_option(default: float, meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give the option that bounds a wait."""
    return click.option(
        "--wait-seconds",
        type=Seconds(),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=meaning,
    )
