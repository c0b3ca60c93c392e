"""
The Wan family: which regions offer its text-to-image models, by which protocols, and what they take.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference,
https://help.aliyun.com/zh/model-studio/rate-limit and https://help.aliyun.com/zh/model-studio/model-pricing
"""

from decimal import Decimal

from wan_mcp_tools.catalogue.model import Model, ModelRegion, Price, WireProtocol, add_sandbox
from wan_mcp_tools.catalogue.sizes import FixedSizes, PixelWindow, SideRange, SizeRule, derive_presets

_PRICED = "2026-05"
_NEW = (WireProtocol.SYNC, WireProtocol.ASYNC)
_TASK = (WireProtocol.ASYNC,)
_LEGACY = (WireProtocol.LEGACY,)


def _cny(amount: str) -> Price:
    return Price(Decimal(amount), "CNY", _PRICED)


def _usd(amount: str) -> Price:
    return Price(Decimal(amount), "USD", _PRICED)


def _sizes_27(max_side: int, *native: str) -> SizeRule:
    window = PixelWindow(768 * 768, max_side * max_side, 8)
    return SizeRule(window, "2K", derive_presets(window, "2048*2048"), native)


def _sizes_26(accepted_from: int) -> SizeRule:
    # The page recommends these five and asks for 1280*1280 pixels at least: four of the five have 0.6 to 0.8 %
    # fewer. So the minimum cannot be meant to the pixel.
    presets = (
        ("1:1", "1280*1280"),
        ("3:4", "1104*1472"),
        ("4:3", "1472*1104"),
        ("9:16", "960*1696"),
        ("16:9", "1696*960"),
    )
    return SizeRule(PixelWindow(1280 * 1280, 1440 * 1440, 4, accepted_from), "1280*1280", presets)


_ONE_PERCENT_BELOW = 1280 * 1280 * 99 // 100
# The tutorial for wan2.5 still orders 1024*1024, though the reference has the same minimum as for wan2.6.
_TUTORIAL_SIZE = 1024 * 1024

_SIDES = SideRange(512, 1440)
_SIZES_22 = SizeRule(_SIDES, "1024*1024", derive_presets(_SIDES, "1024*1024"))
_SIZES_V1 = SizeRule(
    FixedSizes(((1024, 1024), (720, 1280), (768, 1152), (1280, 720))),
    "1024*1024",
    (("1:1", "1024*1024"), ("9:16", "720*1280"), ("16:9", "1280*720")),
)


def _model_27(model_id: str, sizes: SizeRule, beijing: str, singapore: str) -> Model:
    return Model(
        id=model_id,
        regions=add_sandbox(
            (
                ModelRegion("singapore", _NEW, 5, 5, _usd(singapore)),
                ModelRegion("beijing", _NEW, 5, 5, _cny(beijing)),
            )
        ),
        sizes=sizes,
        prompt_limit=5000,
        negative_prompt_limit=None,
        has_prompt_extend=False,
        note="Thinks before it draws, so it takes longer.",
    )


def _legacy_model(
    model_id: str, regions: tuple[ModelRegion, ...], sizes: SizeRule, aliases: tuple[str, ...] = ()
) -> Model:
    # For wan2.2 and wan2.1 the pages disagree between 800 and 500 characters. The service cuts off the end
    # without a word; a refused prompt of 600 characters that would have been drawn is the greater harm.
    return Model(
        id=model_id,
        regions=add_sandbox(regions),
        sizes=sizes,
        prompt_limit=800,
        negative_prompt_limit=500,
        has_prompt_extend=True,
        aliases=aliases,
    )


def _model_22(model_id: str, beijing: str, singapore: str) -> Model:
    regions = (
        ModelRegion("singapore", _LEGACY, 2, 2, _usd(singapore)),
        ModelRegion("beijing", _LEGACY, 2, 2, _cny(beijing)),
    )
    return _legacy_model(model_id, regions, _SIZES_22)


def _model_21(kind: str, beijing: str, singapore: str) -> Model:
    old_spelling = f"wanx2.1-t2i-{kind}"
    regions = (
        ModelRegion("singapore", _LEGACY, 2, 2, _usd(singapore)),
        ModelRegion("beijing", _LEGACY, 2, 2, _cny(beijing), wire_id=old_spelling),
    )
    return _legacy_model(f"wan2.1-t2i-{kind}", regions, _SIZES_22, (old_spelling,))


WAN_MODELS: tuple[Model, ...] = (
    _model_27("wan2.7-image-pro", _sizes_27(4096, "1K", "2K", "4K"), beijing="0.50", singapore="0.075"),
    _model_27("wan2.7-image", _sizes_27(2048, "1K", "2K"), beijing="0.20", singapore="0.03"),
    Model(
        id="wan2.6-t2i",
        regions=add_sandbox(
            (
                ModelRegion("singapore", _NEW, 5, 5, _usd("0.03")),
                ModelRegion("beijing", _NEW, 1, 5, _cny("0.20")),
                ModelRegion("virginia", _NEW, 5, 5, _cny("0.20")),
                ModelRegion("frankfurt", _TASK, 5, 5),
            )
        ),
        sizes=_sizes_26(_ONE_PERCENT_BELOW),
        prompt_limit=2100,
        negative_prompt_limit=500,
        has_prompt_extend=True,
    ),
    Model(
        id="wan2.5-t2i-preview",
        regions=add_sandbox(
            (
                ModelRegion("singapore", _LEGACY, 5, 5, _usd("0.03")),
                ModelRegion("beijing", _LEGACY, 5, 5, _cny("0.20")),
            )
        ),
        sizes=_sizes_26(_TUTORIAL_SIZE),
        prompt_limit=2000,
        negative_prompt_limit=500,
        has_prompt_extend=True,
    ),
    _model_22("wan2.2-t2i-plus", beijing="0.20", singapore="0.05"),
    _model_22("wan2.2-t2i-flash", beijing="0.14", singapore="0.025"),
    _model_21("plus", beijing="0.20", singapore="0.05"),
    _model_21("turbo", beijing="0.14", singapore="0.025"),
    _legacy_model("wanx2.0-t2i-turbo", (ModelRegion("beijing", _LEGACY, 2, 2, _cny("0.04")),), _SIZES_22),
    _legacy_model("wanx-v1", (ModelRegion("beijing", _LEGACY, 2, 1, _cny("0.16")),), _SIZES_V1),
)
"""Every text-to-image model of the Wan family, newest first."""
