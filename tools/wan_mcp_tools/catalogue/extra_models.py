"""The operator's own rows of the catalogue: models newer than this release, or changed since."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from wan_mcp_tools.catalogue.model import (
    EXTRA_MODELS_SETTING,
    InputLimits,
    Model,
    ModelRegion,
    WireProtocol,
    add_sandbox,
)
from wan_mcp_tools.catalogue.options import Option, OptionKind
from wan_mcp_tools.catalogue.regions import REGIONS, SANDBOX, find_region
from wan_mcp_tools.catalogue.sizes import (
    GRADES,
    FixedSizes,
    PixelWindow,
    SideRange,
    SizeLimits,
    SizeRule,
    derive_presets,
    read_pixels,
)
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError

_ADVICE = (
    'A row needs "id" and "protocol" (sync, async, legacy, or a list of them). It may have "regions", "sizes", '
    '"max_n", "prompt_limit", "negative_prompt_limit", "prompt_extend", "submit_rate", "inputs", "options", "seed", '
    '"watermark" and "usual_seconds". "inputs" has "most" and may have "least", "max_bytes", "min_side", "max_side", '
    '"max_ratio", "formats" and "alpha"; "options" is a list of names of parameters. "sizes" has '
    '"min_pixels", "max_pixels" and "max_ratio", or "min_side" and "max_side", or "only" with a list of sizes; '
    'beside these "default_size" and "grades".'
)

# What is assumed of a model that nobody described. 1280*1280 lies in the window of every Wan model since 2.1.
_DEFAULT_SIZE = "1280*1280"
_COMMON_SIZES = (_DEFAULT_SIZE, "1024*1024", "2048*2048", "768*768", "512*512")
_ANY_SIZE = PixelWindow(256 * 256, 4096 * 4096, 8)
_PROMPT_LIMIT = 5000
_NEGATIVE_PROMPT_LIMIT = 500
_SUBMIT_RATE = 2.0
_CONCURRENCY = 2


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _find_region_name(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return find_region(value).name
    except RequestRefusedError as error:
        raise ValueError(str(error)) from error


Whole = Annotated[int, Field(strict=True, ge=1)]
Ratio = Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)]
Format = Annotated[str, Field(pattern="^(PNG|JPEG|WEBP|BMP|TIFF|GIF)$")]
Grade = Annotated[str, Field(pattern=f"^({'|'.join(GRADES)})$")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sizes(_Row):
    min_pixels: Whole | None = None
    max_pixels: Whole | None = None
    max_ratio: Ratio | None = None
    min_side: Whole | None = None
    max_side: Whole | None = None
    only: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    default_size: str | None = None
    grades: tuple[Grade, ...] = ()


class _Inputs(_Row):
    most: Annotated[int, Field(strict=True, ge=1, le=10)]
    least: Annotated[int, Field(strict=True, ge=0, le=10)] = 0
    max_bytes: Whole = 10 * 1024 * 1024
    min_side: Whole = 384
    max_side: Whole = 3072
    max_ratio: Ratio = 8.0
    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = ("JPEG", "PNG", "BMP", "WEBP")
    alpha: Annotated[bool, Field(strict=True)] = False


class _ExtraModel(_Row):
    id: Annotated[str, Field(pattern=r"^\S{1,100}$")]
    protocol: Annotated[tuple[WireProtocol, ...], BeforeValidator(_as_list), Field(min_length=1)]
    regions: (
        Annotated[
            tuple[Annotated[str, BeforeValidator(_find_region_name)], ...],
            BeforeValidator(_as_list),
            Field(min_length=1),
        ]
        | None
    ) = None
    sizes: _Sizes | None = None
    max_n: Whole | None = None
    prompt_limit: Whole | None = None
    negative_prompt_limit: Whole | None = None
    prompt_extend: Annotated[bool, Field(strict=True)] | None = None
    submit_rate: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    inputs: _Inputs | None = None
    options: tuple[Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]{0,60}$")], ...] | None = None
    seed: Annotated[bool, Field(strict=True)] | None = None
    watermark: Annotated[bool, Field(strict=True)] | None = None
    usual_seconds: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None


def read_extra_models(rows: Sequence[Mapping[str, object]], *, built_in: Sequence[Model]) -> tuple[Model, ...]:
    """
    Turn the operator's rows into models.

    Raises:
        SettingsError: a row is wrong; the message says which and why.
    """
    known = {name.lower(): model for model in built_in for name in (model.id, *model.aliases)}
    known |= {name.lower(): model.as_snapshot(name) for model in built_in for name in model.snapshots}
    options = {option.name: option for model in built_in for option in model.options}
    models: dict[str, Model] = {}
    for number, values in enumerate(rows, start=1):
        label = f"{EXTRA_MODELS_SETTING}, row {number}"
        row = _parse(values, label)
        base = known.get(row.id.lower())
        try:
            model = _add_parameters(_build(row) if base is None else _change(base, row), row, options)
        except RequestRefusedError as error:
            raise SettingsError(f"{label}: sizes: {error}", _ADVICE) from error
        except ValueError as error:
            raise SettingsError(f"{label}: {error}.", _ADVICE) from error
        if model.id.lower() in models:
            raise SettingsError(f"{label}: the id {row.id} is there twice.", "Keep one row for each model.")
        models[model.id.lower()] = model
    return tuple(models.values())


def _parse(values: object, label: str) -> _ExtraModel:
    if not isinstance(values, Mapping):
        raise SettingsError(f"{label} is not a JSON object.", _ADVICE)
    try:
        return _ExtraModel.model_validate(dict(cast("Mapping[str, object]", values)))
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg'].removeprefix('Value error, ').rstrip('.')}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError(f"{label}: {'; '.join(problems)}.", _ADVICE) from error


def _build(row: _ExtraModel) -> Model:
    extends = True if row.prompt_extend is None else row.prompt_extend
    negative = row.negative_prompt_limit
    if negative is None and "negative_prompt_limit" not in row.model_fields_set:
        negative = _NEGATIVE_PROMPT_LIMIT
    return Model(
        id=row.id,
        regions=_read_regions(row, {}),
        sizes=_read_sizes(row.sizes) if row.sizes else _make_rule(_ANY_SIZE, _DEFAULT_SIZE, ()),
        prompt_limit=row.prompt_limit or _PROMPT_LIMIT,
        negative_prompt_limit=negative,
        has_prompt_extend=extends,
        max_n=row.max_n or 4,
    )


def _change(base: Model, row: _ExtraModel) -> Model:
    extends = base.has_prompt_extend if row.prompt_extend is None else row.prompt_extend
    names_negative = "negative_prompt_limit" in row.model_fields_set
    return replace(
        base,
        regions=_read_regions(row, {each.name: each for each in base.regions if each.name != SANDBOX.name}),
        sizes=_read_sizes(row.sizes) if row.sizes else base.sizes,
        prompt_limit=row.prompt_limit or base.prompt_limit,
        negative_prompt_limit=row.negative_prompt_limit if names_negative else base.negative_prompt_limit,
        has_prompt_extend=extends,
        max_n=row.max_n or base.max_n,
    )


def _add_parameters(model: Model, row: _ExtraModel, known: Mapping[str, Option]) -> Model:
    """Give a model what its row says of input pictures and of further parameters."""
    inputs, sizes = model.inputs, model.sizes
    if row.inputs is not None:
        inputs = _read_inputs(row.inputs)
        if model.inputs is None and sizes is not None:
            sizes = replace(sizes, follows_input=True)
    options = model.options
    if row.options is not None:
        options = tuple(known.get(name) or Option(name, OptionKind.ANY, "") for name in row.options)
    return replace(
        model,
        inputs=inputs,
        sizes=sizes,
        options=options,
        has_seed=model.has_seed if row.seed is None else row.seed,
        has_watermark=model.has_watermark if row.watermark is None else row.watermark,
        usual_seconds=row.usual_seconds or model.usual_seconds,
    )


def _read_inputs(row: _Inputs) -> InputLimits:
    if row.least > row.most:
        raise ValueError(f"inputs: the least {row.least} is greater than the most {row.most}")
    return InputLimits(
        least=row.least,
        most=row.most,
        max_bytes=row.max_bytes,
        min_side=row.min_side,
        max_side=row.max_side,
        max_ratio=row.max_ratio,
        formats=row.formats,
        has_alpha=row.alpha,
    )


def _read_regions(row: _ExtraModel, known: Mapping[str, ModelRegion]) -> tuple[ModelRegion, ...]:
    everywhere = tuple(known) or tuple(region.name for region in REGIONS)
    names = [name for name in dict.fromkeys(row.regions or everywhere) if name != SANDBOX.name]
    protocols = tuple(dict.fromkeys(row.protocol))
    regions: list[ModelRegion] = []
    for name in names:
        region = known.get(name) or ModelRegion(name, protocols, _SUBMIT_RATE, _CONCURRENCY)
        rate = row.submit_rate or region.submit_rate
        regions.append(replace(region, protocols=protocols, submit_rate=rate))
    if regions:
        return add_sandbox(tuple(regions))
    return (ModelRegion(SANDBOX.name, protocols, row.submit_rate or _SUBMIT_RATE, _CONCURRENCY),)


def _read_sizes(sizes: _Sizes) -> SizeRule:
    by_side = (sizes.min_side, sizes.max_side)
    by_total = (sizes.min_pixels, sizes.max_pixels, sizes.max_ratio)
    if sum((any(by_side), any(by_total), sizes.only is not None)) > 1:
        raise ValueError("sizes: give limits of pixels, or limits of sides, or only a list, not several of them")
    if sizes.only is not None:
        return _make_rule(FixedSizes(_read_list(sizes.only)), sizes.default_size or sizes.only[0], sizes.grades)
    if any(by_side):
        sides = SideRange(sizes.min_side or 1, sizes.max_side or 4096)
        _check_order(sides.min_side, sides.max_side)
        return _make_rule(sides, sizes.default_size, sizes.grades)
    window = PixelWindow(
        sizes.min_pixels or _ANY_SIZE.min_pixels,
        sizes.max_pixels or _ANY_SIZE.max_pixels,
        sizes.max_ratio or _ANY_SIZE.max_ratio,
    )
    _check_order(window.min_pixels, window.max_pixels)
    return _make_rule(window, sizes.default_size, sizes.grades)


def _check_order(least: int, most: int) -> None:
    if least > most:
        raise ValueError(f"sizes: the minimum {least} is greater than the maximum {most}")


def _read_list(texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    sizes: list[tuple[int, int]] = []
    for text in texts:
        size = read_pixels(text)
        if size is None:
            raise ValueError(f"sizes: {text[:40]!r} is not a size such as 1024*1024")
        sizes.append(size)
    return tuple(sizes)


def _make_rule(limits: SizeLimits, default: str | None, grades: tuple[str, ...]) -> SizeRule:
    """Make a rule whose default fits its own limits."""
    fitting = [size for size in _COMMON_SIZES if SizeRule(limits, size, ()).allows(size)]
    if default is None and not fitting:
        raise ValueError("sizes: default_size is missing, and no common square fits the limits")
    chosen = SizeRule(limits, "", (), grades).resolve(default or fitting[0])
    typical = chosen if read_pixels(chosen) else next(iter(fitting), None)
    return SizeRule(limits, chosen, derive_presets(limits, typical) if typical else (), grades)
