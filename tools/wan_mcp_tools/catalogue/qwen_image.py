"""
The Qwen-Image family: pictures from words and from pictures, with the best lettering.

Each row says whether its facts are the service's own; prices are those of several independent tables.
Sources: https://help.aliyun.com/zh/model-studio/qwen-image-generation-and-editing-api-reference,
https://help.aliyun.com/zh/model-studio/qwen-image-api, https://help.aliyun.com/zh/model-studio/qwen-image-edit-api
and https://help.aliyun.com/zh/model-studio/rate-limit
"""

from decimal import Decimal
from functools import partial

from wan_mcp_tools.catalogue.model import (
    InputLimits,
    LengthUnit,
    Model,
    ModelRegion,
    Price,
    WireProtocol,
    add_sandbox,
)
from wan_mcp_tools.catalogue.options import IMAGES, Option, OptionKind
from wan_mcp_tools.catalogue.sizes import FixedSizes, PixelWindow, SideRange, SizeRule, derive_presets

_PRICED = "2026-10"
_PRICE_LIST = "price tables of others than the service"
_MEGABYTE = 1024 * 1024
_SYNC = (WireProtocol.SYNC,)
_BOTH = (WireProtocol.SYNC, WireProtocol.ASYNC)
_SYNC_AND_LEGACY = (WireProtocol.SYNC, WireProtocol.LEGACY)
_USUAL_RATE, _LOWEST_RATE = 2.0, 2 / 60
_AT_ONCE = 2
_LARGE_FROM = 2_250_000
"""Pixels of output up to which the service's tier is 1K."""
_EVERYWHERE = ("singapore", "beijing", "virginia", "frankfurt", "tokyo", "hongkong")

_WINDOW = PixelWindow(512 * 512, 2048 * 2048, 8)
# Without a size these models choose one, which has been seen to be 2K and to be charged so.
_SIZES = SizeRule(_WINDOW, "1024*1024", derive_presets(_WINDOW, "1024*1024"), follows_input=True)
_SIDES = SideRange(512, 2048)
_EDIT_SIZES = SizeRule(_SIDES, "1024*1024", derive_presets(_SIDES, "1024*1024"), follows_input=True)
_FIVE_SIZES = SizeRule(
    FixedSizes(((1664, 928), (1472, 1104), (1328, 1328), (1104, 1472), (928, 1664))),
    "1328*1328",
    (
        ("1:1", "1328*1328"),
        ("3:4", "1104*1472"),
        ("4:3", "1472*1104"),
        ("9:16", "928*1664"),
        ("16:9", "1664*928"),
    ),
)

_THINKING = Option(
    "enable_thinking",
    OptionKind.SWITCH,
    "Think while the prompt is rewritten; default true, of no effect with prompt_extend=false.",
)
_REWRITING = Option(
    "prompt_extend_mode",
    OptionKind.CHOICE,
    "How the prompt is rewritten; default direct.",
    choices=("direct", "agent"),
    excludes=(IMAGES,),
    choices_bound=("agent",),
)


def _inputs(least: int, most: int, max_side: int = 3072) -> InputLimits:
    # Two pages recommend sides, and nobody was ever refused anything but a picture of ten pixels.
    return InputLimits(
        least=least,
        most=most,
        max_bytes=10 * _MEGABYTE,
        min_side=11,
        max_side=max_side,
        max_ratio=None,
        formats=("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"),
        advised_min_side=384,
    )


def _price(
    amount: str, currency: str, *, large: str | None = None, per_input: str = "0", large_from: int = _LARGE_FROM
) -> Price:
    return Price(
        Decimal(amount),
        currency,
        _PRICED,
        _PRICE_LIST,
        large=Decimal(large) if large else None,
        large_from=large_from if large else 0,
        per_input=Decimal(per_input),
    )


def _regions(
    protocols: tuple[WireProtocol, ...], *, beijing: Price, singapore: Price, rate: float = _USUAL_RATE
) -> tuple[ModelRegion, ...]:
    return add_sandbox(
        (
            ModelRegion("singapore", protocols, rate, _AT_ONCE, singapore),
            ModelRegion("beijing", protocols, rate, _AT_ONCE, beijing),
        )
    )


def _model_30(model_id: str, *, beijing: Price, singapore: Price) -> Model:
    prices = {"beijing": beijing, "singapore": singapore}
    return Model(
        id=model_id,
        regions=add_sandbox(
            tuple(ModelRegion(name, _BOTH, _USUAL_RATE, _AT_ONCE, prices.get(name)) for name in _EVERYWHERE)
        ),
        sizes=_SIZES,
        prompt_limit=4500,
        prompt_unit=LengthUnit.TOKENS,
        is_prompt_limit_certain=False,
        negative_prompt_limit=500,
        has_prompt_extend=True,
        max_n=6,
        inputs=_inputs(0, 3),
        options=(_REWRITING, _THINKING),
        usual_seconds=150,
        note="Best lettering; takes two to three minutes.",
    )


def _older_model(
    model_id: str,
    *,
    protocols: tuple[WireProtocol, ...],
    beijing: str,
    singapore: str,
    sizes: SizeRule | None,
    max_n: int,
    inputs: InputLimits | None,
    rate: float = _USUAL_RATE,
    snapshots: tuple[str, ...] = (),
    has_prompt_extend: bool = True,
    note: str = "",
) -> Model:
    return Model(
        id=model_id,
        regions=_regions(protocols, beijing=_price(beijing, "CNY"), singapore=_price(singapore, "USD"), rate=rate),
        sizes=sizes,
        prompt_limit=2000,
        prompt_unit=LengthUnit.TOKENS,
        is_prompt_limit_certain=False,
        negative_prompt_limit=500,
        has_prompt_extend=has_prompt_extend,
        max_n=max_n,
        inputs=inputs,
        note=note,
        snapshots=snapshots,
    )


_model_20 = partial(_older_model, protocols=_SYNC, sizes=_SIZES, max_n=6, inputs=_inputs(0, 3))
_painter = partial(_older_model, sizes=_FIVE_SIZES, max_n=1, inputs=None)
_editor = partial(_older_model, protocols=_SYNC, inputs=_inputs(1, 3), note="Edits and combines pictures.")


QWEN_IMAGE_MODELS: tuple[Model, ...] = (
    _model_30(
        "qwen-image-3.0-pro",
        beijing=_price("0.25", "CNY", large="0.50", per_input="0.02"),
        singapore=_price("0.04", "USD", large="0.075", per_input="0.003"),
    ),
    _model_30(
        "qwen-image-3.0",
        beijing=_price("0.18", "CNY", per_input="0.02"),
        singapore=_price("0.03", "USD", per_input="0.003"),
    ),
    Model(
        id="qwen-image-2.1-pro",
        regions=_regions(_SYNC, beijing=_price("0.25", "CNY"), singapore=_price("0.04", "USD")),
        sizes=_SIZES,
        prompt_limit=2000,
        is_prompt_limit_certain=False,
        negative_prompt_limit=None,
        has_prompt_extend=True,
        max_n=6,
        inputs=_inputs(0, 10),
        options=(_REWRITING, _THINKING),
        usual_seconds=120,
        note=(
            'Transparent pictures: begin the prompt with "This is an RGBA format image with transparency." and end '
            'it with "The image has an alpha channel and a transparent background."'
        ),
        is_second_hand=True,
    ),
    _model_20(
        "qwen-image-2.0-pro",
        beijing="0.50",
        singapore="0.075",
        rate=_LOWEST_RATE,
        snapshots=(
            "qwen-image-2.0-pro-2026-06-22",
            "qwen-image-2.0-pro-2026-04-22",
            "qwen-image-2.0-pro-2026-03-03",
        ),
    ),
    _model_20(
        "qwen-image-2.0",
        beijing="0.20",
        singapore="0.035",
        snapshots=("qwen-image-2.0-2026-03-03",),
    ),
    _painter(
        "qwen-image-max",
        protocols=_SYNC,
        beijing="0.50",
        singapore="0.075",
        rate=_LOWEST_RATE,
        snapshots=("qwen-image-max-2025-12-30",),
    ),
    _painter(
        "qwen-image-plus",
        protocols=_SYNC_AND_LEGACY,
        beijing="0.20",
        singapore="0.03",
        snapshots=("qwen-image-plus-2026-01-09",),
    ),
    _painter("qwen-image", protocols=_SYNC_AND_LEGACY, beijing="0.25", singapore="0.035"),
    _editor(
        "qwen-image-edit-max",
        sizes=_EDIT_SIZES,
        max_n=6,
        beijing="0.50",
        singapore="0.075",
        snapshots=("qwen-image-edit-max-2026-01-16",),
    ),
    _editor(
        "qwen-image-edit-plus",
        sizes=_EDIT_SIZES,
        max_n=6,
        beijing="0.20",
        singapore="0.03",
        snapshots=("qwen-image-edit-plus-2025-12-15", "qwen-image-edit-plus-2025-10-30"),
    ),
    _editor("qwen-image-edit", sizes=None, max_n=1, has_prompt_extend=False, beijing="0.30", singapore="0.045"),
)
"""Every model of the Qwen-Image family, newest first."""
