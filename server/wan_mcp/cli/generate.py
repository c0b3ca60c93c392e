"""`wan-mcp generate`: a prompt goes in, paths come out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import click

from wan_mcp.cli.console import Console
from wan_mcp.cli.exits import Exit, exit_of_task
from wan_mcp.cli.presenting import show_task
from wan_mcp.cli.shell import Shell, WorkingStudio, env_file_option, json_option, pass_shell, wait_option
from wan_mcp.clock import Clock
from wan_mcp.settings import Settings
from wan_mcp_tools.shared.ports import Report, Studio
from wan_mcp_tools.shared.requests import ImageRequest
from wan_mcp_tools.shared.tasks import Task

_NAMING_SECONDS = 30.0
"""The least time for the service to name an order: leaving sooner would leave the order in doubt."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a person wants to be served."""

    wait_seconds: float = 300.0
    fresh: bool = False
    as_json: bool = False


@click.command()
@click.argument("prompt")
@click.option("--negative-prompt", metavar="TEXT", help="What the image should not show.")
@click.option("--model", metavar="ID", help="The model, for example wan2.6-t2i.")
@click.option("--size", metavar="SIZE", help="1280*1280 or 1280x1280, 1K 2K 4K, or a ratio such as 16:9.")
@click.option("--n", type=int, default=1, show_default=True, metavar="COUNT", help="How many images; each costs.")
@click.option("--seed", type=int, metavar="NUMBER", help="The same seed gives similar images.")
@click.option(
    "--prompt-extend/--no-prompt-extend", default=None, help="Let the service rewrite the prompt, or forbid it."
)
@click.option("--watermark", is_flag=True, help="Let the service mark the image as made by AI.")
@click.option("--region", metavar="REGION", help="The region to order in, for example singapore or sandbox.")
@click.option("--output-dir", metavar="FOLDER", help="The folder to save in.")
@click.option("--filename", metavar="NAME", help="The name of the file, without a folder.")
@wait_option(300.0, "The longest wait; after it the order goes on without you.")
@click.option("--fresh", is_flag=True, help="Order anew even if an identical order is open.")
@json_option
@env_file_option
@pass_shell
@click.pass_context
def generate(
    context: click.Context,
    shell: Shell,
    *,
    wait_seconds: float,
    fresh: bool,
    as_json: bool,
    **arguments: Any,  # noqa: ANN401 - the offer checks each of them
) -> None:
    """Order images of PROMPT and print the saved paths."""
    settings = shell.read_settings()
    if arguments["output_dir"]:
        settings, arguments["output_dir"] = allow_folder(settings, arguments["output_dir"])
    manner = Manner(wait_seconds, fresh, as_json)

    async def job(studio: WorkingStudio, console: Console) -> Exit:
        request = studio.offer.request(**arguments)
        return await run_generate(studio, request, console, manner, shell.clock)

    context.exit(shell.run(settings, job, follow=True))


def allow_folder(settings: Settings, text: str) -> tuple[Settings, str]:
    """Allow the folder that the person at the terminal named; give its full path."""
    folder = Path(text).expanduser().absolute()
    return replace(settings, allowed_dirs=(*settings.allowed_dirs, folder)), str(folder)


async def run_generate(studio: Studio, request: ImageRequest, console: Console, manner: Manner, clock: Clock) -> Exit:
    """
    Order, wait, show.

    The order is named first and waited for then, so that an interrupted wait can say what to ask for later.

    Raises:
        WanError: the order was refused or failed.
    """
    started = clock.monotonic()
    ordered: Task | None = None
    try:
        with console.progress() as report:
            ordered = await studio.order(
                request,
                wait_seconds=max(manner.wait_seconds, _NAMING_SECONDS),
                until_named=True,
                fresh=manner.fresh,
                report=report,
            )
            left = manner.wait_seconds - (clock.monotonic() - started)
            task = await _wait(studio, ordered, left, report)
    except anyio.get_cancelled_exc_class():
        console.note(_say_goodbye(ordered))
        raise
    show_task(console, task, as_json=manner.as_json)
    return exit_of_task(task)


async def _wait(studio: Studio, ordered: Task, seconds: float, report: Report) -> Task:
    """Wait for the end of an order and keep what only the ordering knew."""
    if ordered.settled or seconds <= 0:
        return ordered
    task = await studio.get(ordered.task_id, wait_seconds=seconds, report=report)
    notes = tuple(dict.fromkeys((*ordered.notes, *task.notes)))
    return replace(task, joined=ordered.joined or task.joined, notes=notes)


def _say_goodbye(ordered: Task | None) -> str:
    if ordered is None:
        return (
            "Stopped. The order may have reached the service: wan-mcp tasks shows it, and wan-mcp collect fetches it."
        )
    return (
        f"Stopped waiting. The order goes on at the service: wan-mcp collect or wan-mcp get {ordered.task_id}"
        " fetches it."
    )
