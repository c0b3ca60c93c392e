"""`wan-mcp generate`: a prompt goes in, paths come out; or many prompts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from wan_mcp.cli.announcing import announce, say_goodbye, show_orders
from wan_mcp.cli.console import Console
from wan_mcp.cli.exits import Exit, printable
from wan_mcp.cli.ordering import Manner, Order, place_orders
from wan_mcp.cli.prompts import gather_prompts
from wan_mcp.cli.shell import OrderService, Shell, env_file_option, json_option, pass_shell, wait_option
from wan_mcp.cli.showing import draw_task, prepare_screen
from wan_mcp.settings import Settings
from wan_mcp.storage.names import check_filename
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.text import one_line

_LABEL = 24
"""Characters of a prompt that stand for it beside its bar."""
_TOLD = 5
"""Lines of a list that are said to be wrong."""


@click.command()
@click.argument("prompt", required=False)
@click.option("--prompts", "file", metavar="FILE", help="Order each line of a file; - is standard input.")
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
@click.option("--filename", metavar="NAME", help="The name of the file, without a folder; a list numbers it.")
@wait_option(300.0, "The longest wait; after it the order goes on without you.")
@click.option("--fresh", is_flag=True, help="Order anew even if an identical order is open.")
@click.option("--show", is_flag=True, help="Show small pictures, in terminals that can.")
@json_option
@env_file_option
@pass_shell
@click.pass_context
def generate(
    context: click.Context,
    shell: Shell,
    *,
    prompt: str | None,
    file: str | None,
    wait_seconds: float,
    fresh: bool,
    show: bool,
    as_json: bool,
    **arguments: Any,  # noqa: ANN401 - the offer checks each of them
) -> None:
    """
    Order images of PROMPT and print the saved paths.

    With - for PROMPT, or with --prompts FILE, each line is an order of its own, and all are worked on side by side.
    Blank lines and lines that begin with # are left out.
    """
    if show and as_json:
        raise click.UsageError("--show draws and --json does not: give one of them.")
    prompts = gather_prompts(prompt, file)
    settings = shell.read_settings()
    if arguments["output_dir"]:
        settings, arguments["output_dir"] = allow_folder(settings, arguments["output_dir"])
    manner = Manner(wait_seconds, fresh, as_json, show)

    async def job(service: OrderService, console: Console) -> Exit:
        request = partial(service.catalogue.request, **arguments)
        if prompts is None:
            return await run_generate(service, [request(prompt=prompt)], console, manner, environ=shell.environ)
        requests = check_prompts(prompts, request, arguments["filename"])
        return await run_generate(service, requests, console, manner, environ=shell.environ, is_list=True)

    context.exit(shell.run(settings, job, follow=True))


def allow_folder(settings: Settings, text: str) -> tuple[Settings, str]:
    """Allow the folder that the person at the terminal named; give its full path."""
    folder = Path(text).expanduser().absolute()
    return replace(settings, allowed_dirs=(*settings.allowed_dirs, folder)), str(folder)


def check_prompts(
    prompts: Sequence[str], request: Callable[..., ImageRequest], filename: str | None
) -> list[ImageRequest]:
    """
    Give the orders of a list, checked before the first of them costs anything.

    A file name gets the number of its prompt, so that the files stand in the order of the list.

    Raises:
        RequestRefusedError: some prompt cannot be ordered; nothing was.
    """
    name, width = check_filename(filename), len(str(len(prompts)))
    requests: list[ImageRequest] = []
    refused: dict[int, RequestRefusedError] = {}
    for number, prompt in enumerate(prompts, 1):
        own = {} if name is None or len(prompts) == 1 else {"filename": f"{name}-{number:0{width}}"}
        try:
            requests.append(request(**{"prompt": prompt} | own))
        except RequestRefusedError as error:
            refused[number] = error
    if not refused:
        return requests
    if len({str(error) for error in refused.values()}) == 1 and len(refused) == len(prompts):
        # It is not the prompts that are wrong.
        raise next(iter(refused.values()))
    lines = [f"Prompt {number}: {error}" for number, error in list(refused.items())[:_TOLD]]
    count = f"{len(refused)} of {len(prompts)} prompts cannot be ordered, so nothing was ordered."
    raise RequestRefusedError("\n".join([count, *lines]), "..." if len(refused) > _TOLD else "")


async def run_generate(
    service: ImageService,
    requests: Sequence[ImageRequest],
    console: Console,
    manner: Manner,
    *,
    environ: Mapping[str, str],
    is_list: bool = False,
) -> Exit:
    """
    Order, wait, show; `is_list` says that the person gave a list, even if it has only one line.

    Raises:
        AppError: the only order was refused or failed.
    """
    screen = await prepare_screen(console, environ) if manner.show else None
    orders = [Order(_label(number, requests) if is_list else "", each) for number, each in enumerate(requests, 1)]
    announce(console, requests, service.catalogue)
    try:
        with console.board([order.label for order in orders]) as board:
            await place_orders(service, orders, board, manner, console.clock)
    except anyio.get_cancelled_exc_class():
        say_goodbye(console, orders, is_list=is_list, as_json=manner.as_json)
        raise
    pictures: dict[int, dict[int, str]] = {}
    if screen is not None:
        for number, order in enumerate(orders):
            if order.task is not None:
                pictures[number] = await draw_task(service, order.task, screen, console)
    return show_orders(console, orders, manner, pictures, is_list=is_list)


def _label(number: int, requests: Sequence[ImageRequest]) -> str:
    prompt = printable(one_line(requests[number - 1].prompt, _LABEL))
    return f"{number}/{len(requests)} {prompt}"
