"""What the models can do, as plain data for a model or a person to read."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from wan_mcp_tools.catalogue.catalogue import MAX_SEED, Catalogue
from wan_mcp_tools.catalogue.model import Model, ModelRegion, Price
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.catalogue.sizes import PixelWindow, SideRange, SizeRule
from wan_mcp_tools.domain.errors import RequestRefusedError

Facts = dict[str, Any]
"""Something that is JSON."""

_UNKNOWN_PRICE = "price not known"


def list_models(catalogue: Catalogue) -> Facts:
    """
    Give every model in a line, with its regions and what one image costs there.

    `cheapest_first` orders the models of each region by price; a currency is never compared with another.
    """
    models = catalogue.models
    return {
        "default_model": find_default(catalogue) or catalogue.default_model,
        "default_region": catalogue.default_region,
        "regions_with_key": _list_keyed(catalogue),
        "prices": f"of one image, indicative, {' and '.join(_list_dates(models))}",
        "cheapest_first": _rank(models),
        "models": [_list_model(model, catalogue) for model in models],
    }


def describe_model(model: Model, catalogue: Catalogue) -> Facts:
    """Give all that is known of one model, and how it is reached with the operator's settings."""
    facts: Facts = {
        "id": model.id,
        "about": summarize(model),
        "default": model.id == find_default(catalogue),
        "regions": [_describe_region(model, region, catalogue) for region in model.regions],
        "sizes": _describe_sizes(model.sizes),
        "n": {"default": 1, "minimum": 1, "maximum": model.max_n},
        "seed": {"minimum": 0, "maximum": MAX_SEED},
        "prompt": {"most_characters": model.prompt_limit},
        "parameters": list_parameters(model),
    }
    if model.negative_prompt_limit is not None:
        facts["negative_prompt"] = {"most_characters": model.negative_prompt_limit}
    if model.aliases:
        facts["aliases"] = list(model.aliases)
    return facts


def summarize(model: Model) -> str:
    """Say in a line what a model draws and reads."""
    parts = [_summarize_sizes(model), f"prompts to {model.prompt_limit} characters"]
    if model.negative_prompt_limit is None:
        parts.append("no negative_prompt")
    return f"{'; '.join(parts)}. {model.note}".rstrip()


def list_parameters(model: Model) -> list[str]:
    """Name the arguments of an order that reach the model."""
    optional = {"negative_prompt": model.negative_prompt_limit is not None, "prompt_extend": model.has_prompt_extend}
    names = ("prompt", "negative_prompt", "size", "n", "seed", "prompt_extend", "watermark")
    return [name for name in names if optional.get(name, True)]


def find_default(catalogue: Catalogue) -> str | None:
    """Give the id of the model that is used when a call names none, or None where the setting names no model."""
    try:
        return catalogue.find(catalogue.default_model).id
    except RequestRefusedError:
        return None


def format_price(price: Price | None, region: str) -> str:
    """Say what one image costs in a region."""
    if region == SANDBOX.name:
        return "free"
    return f"{price.amount} {price.currency}" if price else _UNKNOWN_PRICE


def _list_model(model: Model, catalogue: Catalogue) -> Facts:
    line: Facts = {
        "id": model.id,
        "about": summarize(model),
        "regions": {region.name: format_price(region.price, region.name) for region in model.regions},
    }
    return line | ({"default": True} if model.id == find_default(catalogue) else {})


def _describe_region(model: Model, region: ModelRegion, catalogue: Catalogue) -> Facts:
    price = region.price
    facts: Facts = {
        "region": region.name,
        "has_key": region.name in catalogue.keyed_regions,
        "protocols": list(region.protocols),
        "ordered_by": model.choose_protocol(region.name, prefer_sync=catalogue.prefer_sync),
        "orders_per_second": region.submit_rate,
        "tasks_at_once": region.concurrency,
        "price_of_one_image": format_price(price, region.name),
    }
    if price is not None:
        facts["price_as_of"] = price.as_of
    if region.wire_id:
        facts["id_there"] = region.wire_id
    return facts


def _describe_sizes(sizes: SizeRule) -> Facts:
    grades = {"grades": list(sizes.native)} if sizes.native else {}
    return {"default": sizes.default, "ratios": dict(sizes.presets), "accepted": sizes.limits.describe()} | grades


def _rank(models: tuple[Model, ...]) -> Mapping[str, list[str]]:
    priced: dict[str, list[tuple[Price, str]]] = {}
    for model in models:
        for region in model.regions:
            if region.price is not None:
                priced.setdefault(region.name, []).append((region.price, model.id))
    return {
        name: [f"{model_id} ({price.amount} {price.currency})" for price, model_id in sorted(found, key=_cost)]
        for name, found in priced.items()
    }


def _cost(found: tuple[Price, str]) -> Any:  # noqa: ANN401 - a key to sort by
    return found[0].currency, found[0].amount


def _list_keyed(catalogue: Catalogue) -> list[str]:
    offered = dict.fromkeys(name for model in catalogue.models for name in model.region_names)
    return [name for name in offered if name in catalogue.keyed_regions]


def _list_dates(models: tuple[Model, ...]) -> list[str]:
    return sorted({region.price.as_of for model in models for region in model.regions if region.price})


def _summarize_sizes(model: Model) -> str:
    match model.sizes.limits:
        case PixelWindow(max_pixels=most):
            side = isqrt(most)
            return f"Up to {side}*{side} pixels in total"
        case SideRange(min_side=least, max_side=most):
            return f"Sides of {least} to {most} pixels"
        case limits:
            return limits.describe().capitalize()
