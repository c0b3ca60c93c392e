"""`wan-mcp generate`: a prompt goes in, paths come out; or many prompts."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import click

from wan_mcp.cli.batch import BatchItem, OrderAnnouncement, order_batch, show_interruption, show_results
from wan_mcp.cli.command import CommandContext, env_file_option, json_option, pass_context, wait_option
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.images import encode_task_images, prepare_terminal
from wan_mcp.cli.terminal.output import ExitCode, cut_to_width, printable
from wan_mcp.settings import Settings
from wan_mcp.settings.files import full_path
from wan_mcp.storage.folders import read_file_address
from wan_mcp.storage.names import check_filename, read_address
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.requests import ImageRequest, InputSource, read_reference
from wan_mcp_tools.domain.service import ImageService
from wan_mcp_tools.domain.text import one_line

if TYPE_CHECKING:
    from wan_mcp.orders import OrderService

_MAX_QUOTED = 60
"""Columns of a prompt that an advice repeats."""
_SHELL_SIGNS = frozenset('"$`\\!')
_STDIN = "-"
"""What stands for standard input, as in other programs."""
_LABEL_WIDTH = 24
"""Columns of a prompt that stand for it beside its bar."""
_MAX_REFUSED = 5
"""Lines of a list that are said to be wrong."""


class PromptCommand(click.Command):
    """A command whose argument is a prompt; where the shell made something else of it, this says how to write it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Read the command line.

        Raises:
            click.UsageError: it cannot be read; nothing is guessed, because what is ordered costs.
        """
        given = list(args)
        # More than one prompt is told in our words, below.
        ctx.allow_extra_args = True
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(_explain_dash(error, given), ctx) from error
        if rest and not ctx.resilient_parsing:
            words = [str(ctx.params["prompt"]), *rest]
            raise click.UsageError(_explain_several_words(words, "--" in given), ctx)
        return rest


def quote_prompt(prompt: str) -> str:
    """Give a prompt as it is typed: in quotes, behind -- if it begins with a dash; a long one by its first words."""
    shown = printable(cut_to_width(" ".join(prompt.split()), _MAX_QUOTED))
    # Double quotes are those of every shell; what means something inside of them is left to the shell's own.
    quoted = shlex.quote(shown) if set(shown) & _SHELL_SIGNS and sys.platform != "win32" else f'"{shown}"'
    return f"-- {quoted}" if prompt.startswith("-") else quoted


def _explain_several_words(words: Sequence[str], has_dashes: bool) -> str:
    if has_dashes and any(word.startswith("-") for word in words[1:]):
        return (
            "Behind -- everything is taken for the prompt. Write options before it, and the prompt in quotes: "
            'wan-mcp generate [OPTIONS] -- "PROMPT"'
        )
    return (
        f"The prompt is not in quotes, so that it came as {len(words)} arguments. "
        f"Put it in quotes: wan-mcp generate {quote_prompt(' '.join(words))}"
    )


def _explain_dash(error: click.NoSuchOption, given: Sequence[str]) -> str:
    """Say what to do about an option that is not there: it may be the beginning of a prompt."""
    options = given[: given.index("--")] if "--" in given else given
    # Of several letters behind a single dash the library names the first that it does not know.
    letter = error.option_name.removeprefix("-")
    prompts = [
        each
        for each in options
        if len(each.split()) > 1
        and (each.startswith(error.option_name) or (each[:1] == "-" != each[1:2] and letter in each))
    ]
    if prompts:
        return (
            "The prompt begins with a dash, so that it was taken for an option. "
            f"Write -- before it, behind all options: wan-mcp generate {quote_prompt(prompts[0])}"
        )
    example = quote_prompt(f"{error.option_name} ...")
    return (
        f"{error.format_message()} If it is part of a prompt, put all of the prompt in quotes; and if the prompt "
        f"begins with it, write -- before it, behind all options: wan-mcp generate {example}"
    )


@click.command(cls=PromptCommand)
@click.argument("prompt", required=False)
@click.option("--prompts", "file", metavar="FILE", help="Order each line of a file; - is standard input.")
@click.option("--negative-prompt", metavar="TEXT", help="What the image should not show.")
@click.option("--model", metavar="ID", help="The model, for example wan2.6-t2i.")
@click.option("--size", metavar="SIZE", help="1280*1280 or 1280x1280, 1K 2K 4K, or a ratio such as 16:9.")
@click.option("--n", type=int, metavar="COUNT", help="How many images; each costs. Usually 1, of a set the most.")
@click.option("--seed", type=int, metavar="NUMBER", help="The same seed gives similar images.")
@click.option(
    "--prompt-extend/--no-prompt-extend", default=None, help="Let the service rewrite the prompt, or forbid it."
)
@click.option("--watermark", is_flag=True, help="Let the service mark the image as made by AI.")
@click.option("--region", metavar="REGION", help="The region to order in, for example singapore or sandbox.")
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="PATH",
    help="A picture to start from: a file, TASK_ID#INDEX or an https URL; give it again for more.",
)
@click.option("--options", "options_json", metavar="JSON", help="What only some models have, as a JSON object.")
@click.option("--option", "options_named", multiple=True, metavar="NAME=VALUE", help="One of these by its name.")
@click.option("--output-dir", metavar="FOLDER", help="The folder to save in.")
@click.option("--filename", metavar="NAME", help="The name of the file, without a folder; a list numbers it.")
@wait_option(300.0, "The longest wait; after it the order goes on without you.")
@click.option("--fresh", is_flag=True, help="Order anew even if an identical order is open.")
@click.option("--show", is_flag=True, help="Show small pictures, in terminals that can.")
@json_option
@env_file_option
@pass_context
def generate(
    context: CommandContext,
    *,
    prompt: str | None,
    file: str | None,
    wait_seconds: float,
    fresh: bool,
    show: bool,
    as_json: bool,
    images: Sequence[str],
    options_json: str | None,
    options_named: Sequence[str],
    **arguments: Any,  # noqa: ANN401 - the catalogue checks each of them
) -> ExitCode:
    """
    Order images of PROMPT and print the saved paths.

    With - for PROMPT, or with --prompts FILE, each line is an order of its own, and all are worked on side by side.
    Blank lines and lines that begin with # are left out.
    """
    if show and as_json:
        raise click.UsageError("--show draws and --json does not: give one of them.")
    prompts = read_prompts(prompt, file)
    settings = context.read_settings()
    if arguments["output_dir"]:
        settings, arguments["output_dir"] = allow_folder(settings, arguments["output_dir"])
    settings, arguments["images"] = allow_images(settings, images)
    arguments["options"] = read_options(options_json, options_named)

    async def work(service: "OrderService", console: Console) -> ExitCode:
        request = partial(service.catalogue.make_request, **arguments)
        if prompts is None:
            requests = [request(prompt=prompt)]
        else:
            requests = check_prompts(prompts, request, arguments["filename"])
        return await run_generate(
            service,
            requests,
            console,
            wait_seconds=wait_seconds,
            fresh=fresh,
            as_json=as_json,
            show_on=context.environ if show else None,
            is_list=prompts is not None,
        )

    return context.run(settings, work, take_over=True)


async def run_generate(
    service: ImageService,
    requests: Sequence[ImageRequest],
    console: Console,
    *,
    wait_seconds: float = 300.0,
    fresh: bool = False,
    as_json: bool = False,
    show_on: Mapping[str, str] | None = None,
    is_list: bool = False,
) -> ExitCode:
    """
    Order, wait, show.

    With `show_on`, the environment of the terminal, pictures are drawn there. `is_list` says that the person gave a
    list, even if it has only one line.

    Raises:
        AppError: the only order was refused or failed.
    """
    items = [BatchItem(_label(number, requests) if is_list else "", each) for number, each in enumerate(requests, 1)]
    announcement = OrderAnnouncement(console, items, service.catalogue)
    try:
        terminal = await prepare_terminal(console, show_on) if show_on is not None else None
        with console.progress_of([item.label for item in items]) as display:
            await order_batch(
                service, items, display, announcement, console.clock, wait_seconds=wait_seconds, fresh=fresh
            )
        announcement.correct()
    except anyio.get_cancelled_exc_class():
        announcement.correct()
        show_interruption(console, items, is_list=is_list, as_json=as_json)
        raise
    pictures: dict[int, dict[int, str]] = {}
    if terminal is not None:
        for number, item in enumerate(items):
            if item.task is not None:
                pictures[number] = await encode_task_images(service, item.task, terminal, console)
    return show_results(console, items, pictures, is_list=is_list, as_json=as_json)


def read_prompts(prompt: str | None, file: str | None) -> list[str] | None:
    """
    Give the prompts of a list, or None where the command line has the one prompt itself.

    Raises:
        click.UsageError: none is given, or both ways are used.
        RequestRefusedError: the list cannot be read, or is empty.
    """
    if prompt is not None and file is not None:
        raise click.UsageError("Give PROMPT or --prompts FILE, not both.")
    source = _STDIN if prompt == _STDIN else file
    if source is not None:
        return _read_list(source)
    if prompt is None:
        raise click.UsageError("Give a PROMPT, or - to read prompts from standard input, or --prompts FILE.")
    return None


def split_prompts(text: str) -> list[str]:
    """Give the prompts of a list, one a line; blank lines and those that begin with # are left out."""
    # Only at line feeds: a prompt may have the other characters that Python takes for the end of a line.
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def allow_folder(settings: Settings, text: str) -> tuple[Settings, str]:
    """Allow the folder that the person at the terminal named; give its full path."""
    folder = full_path(Path(text))
    return replace(settings, allowed_dirs=(*settings.allowed_dirs, folder)), str(folder)


def allow_images(settings: Settings, references: Sequence[str]) -> tuple[Settings, list[str]]:
    """Let the files that the person at the terminal named be read, wherever they lie; give their full paths."""
    named: list[str] = []
    files: list[Path] = []
    for reference in references:
        is_file = bool(reference.strip()) and read_reference(reference).source is InputSource.FILE
        if is_file and read_address(reference.strip()) is None:
            # A person's own path may lead through links; what it leads to now is what is meant.
            files.append(Path(os.path.realpath(full_path(Path(read_file_address(reference.strip()))))))
            named.append(str(files[-1]))
        else:
            named.append(reference)
    return replace(settings, input_files=(*settings.input_files, *files)), named


def read_options(text: str | None, named: Sequence[str]) -> dict[str, Any] | None:
    """
    Give the options of a model: those of a JSON object, and each that was given by its name.

    A value is read as JSON where it is some, and is a text otherwise.

    Raises:
        click.UsageError: it is no JSON object, or has no name.
    """
    options: dict[str, Any] = {}
    if text is not None:
        try:
            read: object = json.loads(text)
        except ValueError as error:
            raise click.UsageError(f"--options is no JSON: {error}.") from error
        if not isinstance(read, dict):
            raise click.UsageError('--options must be a JSON object, such as {"enable_sequential": true}.')
        options |= cast("dict[str, Any]", read)
    for each in named:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"--option {each}: write NAME=VALUE.")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options or None


def check_prompts(
    prompts: Sequence[str], request: Callable[..., ImageRequest], filename: str | None
) -> list[ImageRequest]:
    """
    Give the requests of a list, checked before the first of them costs anything.

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
    lines = [f"Prompt {number}: {error}" for number, error in list(refused.items())[:_MAX_REFUSED]]
    count = f"{len(refused)} of {len(prompts)} prompts cannot be ordered, so nothing was ordered."
    raise RequestRefusedError("\n".join([count, *lines]), "..." if len(refused) > _MAX_REFUSED else "")


def _read_list(source: str) -> list[str]:
    name = "Standard input" if source == _STDIN else source
    try:
        data = _read_stdin() if source == _STDIN else full_path(Path(source)).read_bytes()
    except OSError as error:
        raise RequestRefusedError(
            f"The prompts cannot be read from {name}: {error.strerror}.", "Name a text file, one prompt a line."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestRefusedError(
            f"{name} is no UTF-8 text (byte {error.start + 1}).", "Save it as UTF-8, one prompt a line."
        ) from error
    prompts = split_prompts(text)
    if not prompts:
        raise RequestRefusedError(f"{name} has no prompts.", "Write one a line; a line that begins with # is none.")
    return prompts


def _read_stdin() -> bytes:
    if sys.stdin.isatty():
        end = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
        click.echo(f"Write one prompt a line; {end} ends the list.", err=True)
    return sys.stdin.buffer.read()


def _label(number: int, requests: Sequence[ImageRequest]) -> str:
    # A letter may carry several marks and an emoji be made of several others.
    prompt = printable(one_line(requests[number - 1].prompt, 8 * _LABEL_WIDTH))
    return f"{number}/{len(requests)} {cut_to_width(prompt, _LABEL_WIDTH, '…')}"
