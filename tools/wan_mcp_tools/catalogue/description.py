"""What the models can do, as plain data for a model or a person to read."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from wan_mcp_tools.catalogue.catalogue import MAX_SEED, Catalogue
from wan_mcp_tools.catalogue.model import InputLimits, Mode, Model, ModelRegion, Price, format_amount
from wan_mcp_tools.catalogue.options import Option
from wan_mcp_tools.catalogue.regions import SANDBOX
from wan_mcp_tools.catalogue.sizes import PixelWindow, SideRange, SizeRule
from wan_mcp_tools.domain.errors import RequestRefusedError

Facts = dict[str, Any]
"""Something that is JSON."""

_UNKNOWN_PRICE = "price not known"
_SECOND_HAND = "Others than the service described this model."


def list_models(catalogue: Catalogue) -> Facts:
    """
    Give every model in a line, with its regions and what one image costs there.

    `cheapest_first` orders the models of each region by price; a currency is never compared with another.
    """
    models = catalogue.models
    return {
        "default_model": find_default(catalogue) or catalogue.default_model,
        "default_model_with_images": find_edit_default(catalogue) or catalogue.edit_model,
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
        "prompt": {f"most_{model.prompt_unit}": model.prompt_limit},
        "parameters": list_parameters(model),
        "usual_seconds": model.usual_seconds,
    }
    optional: Facts = {
        "sizes": model.sizes and _describe_sizes(model.sizes),
        "sizes_with_images": model.edit_sizes and _describe_sizes(model.edit_sizes),
        "n": {"default": 1, "minimum": 1, "maximum": model.max_n} if model.has_n else None,
        "seed": {"minimum": 0, "maximum": MAX_SEED} if model.has_seed else None,
        "images": model.inputs and _describe_inputs(model.inputs),
        "options": {option.name: _describe_option(option) for option in model.options},
        "with_option": {mode.option: _describe_mode(mode) for mode in model.modes},
        "negative_prompt": model.negative_prompt_limit and {"most_characters": model.negative_prompt_limit},
        "aliases": list(model.aliases),
        "dated_ids": list(model.snapshots),
        "source": _SECOND_HAND if model.is_second_hand else None,
    }
    return facts | {name: value for name, value in optional.items() if value}


def summarize(model: Model) -> str:
    """Say in a line what a model draws and reads."""
    parts = [_summarize_sizes(model)] if model.sizes is not None else ["Size as that of the input"]
    if model.inputs is not None:
        least, most = model.inputs.least, model.inputs.most
        parts.append(f"{least} to {most} images" if least else f"up to {most} images")
    about = "" if model.is_prompt_limit_certain else "about "
    parts.append(f"prompts to {about}{model.prompt_limit} {model.prompt_unit}")
    if model.negative_prompt_limit is None:
        parts.append("no negative_prompt")
    return f"{'; '.join(parts)}. {model.note}".rstrip()


def describe_input_kind(model: Model) -> str:
    """Say in two words at most from what a model draws: `text`, `text, images` or `images`."""
    if model.inputs is None:
        return "text"
    return "text, images" if model.draws_from_words else "images"


def list_parameters(model: Model) -> list[str]:
    """Name the arguments of an order that reach the model."""
    optional = {
        "negative_prompt": model.negative_prompt_limit is not None,
        "size": model.sizes is not None,
        "n": model.has_n,
        "seed": model.has_seed,
        "prompt_extend": model.has_prompt_extend,
        "watermark": model.has_watermark,
        "images": model.inputs is not None,
        "options": bool(model.options),
    }
    return ["prompt", *(name for name, is_there in optional.items() if is_there)]


def find_default(catalogue: Catalogue) -> str | None:
    """Give the id of the model that is used when a call names none, or None where the setting names no model."""
    try:
        return catalogue.find(catalogue.default_model).id
    except RequestRefusedError:
        return None


def find_edit_default(catalogue: Catalogue) -> str | None:
    """Give the id of the model that is used when a call with images names none, or None where there is none."""
    try:
        return catalogue.find(catalogue.edit_model).id
    except RequestRefusedError:
        return None


def format_price(price: Price | None, region: str) -> str:
    """Say what one image costs in a region: `0.03 USD`, or `0.04-0.075 USD` where that depends on it."""
    if region == SANDBOX.name:
        return "free"
    if price is None:
        return _UNKNOWN_PRICE
    most = price.large or price.extended
    upper = f"-{format_amount(most)}" if most is not None else ""
    return f"{format_amount(price.amount)}{upper} {price.currency}"


def _list_model(model: Model, catalogue: Catalogue) -> Facts:
    line: Facts = {
        "id": model.id,
        "about": summarize(model),
        "draws_from": describe_input_kind(model),
        "usual_seconds": model.usual_seconds,
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
        facts |= _describe_price(price)
    if region.wire_id:
        facts["id_there"] = region.wire_id
    return facts


def _describe_price(price: Price) -> Facts:
    """Give what a price depends on, and where it was read."""
    facts: Facts = {"price_source": price.source} if price.source else {}
    if price.large is not None:
        facts["price_above_pixels"] = {str(price.large_from): f"{format_amount(price.large)} {price.currency}"}
    if price.extended is not None:
        facts["price_with_prompt_extend"] = f"{format_amount(price.extended)} {price.currency}"
    if price.per_input:
        facts["price_of_each_input_image"] = f"{format_amount(price.per_input)} {price.currency}"
    return facts


def _describe_inputs(inputs: InputLimits) -> Facts:
    return {
        "least": inputs.least,
        "most": inputs.most,
        "most_bytes": inputs.max_bytes,
        "sides": f"{inputs.min_side} to {inputs.max_side} pixels",
        **({"advised_least_side": inputs.advised_min_side} if inputs.advised_min_side else {}),
        **({"ratio": f"1:{inputs.max_ratio:g} to {inputs.max_ratio:g}:1"} if inputs.max_ratio else {}),
        "formats": list(inputs.formats),
        "transparent": inputs.has_alpha,
    }


def _describe_option(option: Option) -> Facts:
    bounds = option.describe_bounds()
    return {"about": option.about, "takes": option.describe()} | ({"bounds": bounds} if bounds else {})


def _describe_mode(mode: Mode) -> Facts:
    facts: Facts = {"most_images": mode.max_n, "default_n": mode.default_n, "sizes": _describe_sizes(mode.sizes)}
    if mode.inputs is not None:
        facts["input_images"] = {"least": mode.inputs[0], "most": mode.inputs[1]}
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
        name: [f"{model_id} ({format_price(price, name)})" for price, model_id in sorted(found, key=_cost)]
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
    match model.sizes and model.sizes.limits:
        case PixelWindow(max_pixels=most):
            side = isqrt(most)
            return f"Up to {side}*{side} pixels in total"
        case SideRange(min_side=least, max_side=most):
            return f"Sides of {least} to {most} pixels"
        case None:
            return ""
        case limits:
            return limits.describe().capitalize()
