"""`wan-mcp models`: what can be ordered, where, and what it costs."""

from collections.abc import Iterator

import click

from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.terminal.console import Console, standard_console
from wan_mcp.cli.terminal.output import ExitCode, format_table, to_json
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.description import describe_input_kind, format_price, list_models
from wan_mcp_tools.catalogue.model import Model, ModelRegion
from wan_mcp_tools.catalogue.regions import SANDBOX

_HEADINGS = ("MODEL", "DRAWS FROM", "REGION", "PRICE (MONTH)", "TIME")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@env_file_option
@pass_context
def models(context: CommandContext, *, as_json: bool) -> ExitCode:
    """
    List the models that can be ordered.

    With what each draws from, where, for how much and how quickly.

    Prices are of one image and indicative. A region in brackets has no key.
    """
    from wan_mcp.app import build_catalogue  # noqa: PLC0415 - a wrong option is answered without it

    show_models(standard_console(context.clock), build_catalogue(context.read_settings()), as_json=as_json)
    return ExitCode.DONE


def show_models(console: Console, catalogue: Catalogue, *, as_json: bool) -> None:
    """Write a table of the models, a line for each region that has a key; or JSON."""
    if as_json:
        console.print(to_json(list_models(catalogue)))
        return
    rows = [row for model in catalogue.models for row in _list_rows(model, catalogue)]
    for line in format_table([_HEADINGS, *rows]):
        console.print(line)
    console.note(
        f"Used when none is named: {catalogue.default_model}; with images: {catalogue.edit_model}. "
        "A region in brackets has no key; the region sandbox has every model, offline and free."
    )


def _list_rows(model: Model, catalogue: Catalogue) -> Iterator[tuple[str, ...]]:
    regions = [region for region in model.regions if region.name != SANDBOX.name]
    keyed = [region for region in regions if region.name in catalogue.keyed_regions]
    for number, region in enumerate(keyed or regions[:1]):
        name = region.name if keyed else f"[{region.name}]"
        first = (model.id, describe_input_kind(model)) if number == 0 else ("", "")
        yield (*first, name, _describe_price(region), f"{model.usual_seconds:.0f} s" if number == 0 else "")
    if not regions:
        yield (model.id, describe_input_kind(model), SANDBOX.name, "free", "")


def _describe_price(region: ModelRegion) -> str:
    month = f" ({region.price.as_of})" if region.price is not None else ""
    return f"{format_price(region.price, region.name)}{month}"
