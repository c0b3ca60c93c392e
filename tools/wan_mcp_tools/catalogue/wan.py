"""
The Wan family: which regions offer its models, by which protocols, and what they take.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference,
https://help.aliyun.com/zh/model-studio/wan-image-edit, https://help.aliyun.com/zh/model-studio/wanx-v1,
https://help.aliyun.com/zh/model-studio/rate-limit and https://help.aliyun.com/zh/model-studio/model-pricing
"""

from decimal import Decimal

from wan_mcp_tools.catalogue.model import InputLimits, Mode, Model, ModelRegion, Price, WireProtocol, add_sandbox
from wan_mcp_tools.catalogue.options import IMAGES, Option, OptionKind
from wan_mcp_tools.catalogue.sizes import FixedSizes, PixelWindow, SideRange, SizeRule, derive_presets

_PRICED = "2026-05"
_PRICE_LIST = "https://help.aliyun.com/zh/model-studio/model-pricing"
_MEGABYTE = 1024 * 1024
_NEW = (WireProtocol.SYNC, WireProtocol.ASYNC)
_TASK = (WireProtocol.ASYNC,)
_LEGACY = (WireProtocol.LEGACY,)


def _cny(amount: str) -> Price:
    return Price(Decimal(amount), "CNY", _PRICED, _PRICE_LIST)


def _usd(amount: str) -> Price:
    return Price(Decimal(amount), "USD", _PRICED, _PRICE_LIST)


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


_SETS = "enable_sequential"
_OPTIONS_27 = (
    Option(
        _SETS,
        OptionKind.SWITCH,
        "A set of pictures that belong together, e.g. a storyboard: the prompt says how many, n the most (12 if left "
        "out). Those that come are charged.",
    ),
    Option(
        "thinking_mode",
        OptionKind.SWITCH,
        "Think before drawing: better and slower. Default true; of no effect with images or in a set.",
    ),
    Option(
        "bbox_list",
        OptionKind.BOXES,
        "Where in the input pictures to change something.",
        needs=(IMAGES,),
    ),
    Option("color_palette", OptionKind.PALETTE, "The colours of the picture and their shares.", excludes=(_SETS,)),
)
_INPUTS_27 = InputLimits(
    least=0,
    most=9,
    max_bytes=20 * _MEGABYTE,
    min_side=240,
    max_side=8000,
    max_ratio=8,
    formats=("JPEG", "PNG", "BMP", "WEBP"),
    has_alpha=False,
)


def _model_27(model_id: str, sizes: SizeRule, beijing: str, singapore: str) -> Model:
    # Also the pro model draws no larger than 2048*2048 from pictures and in sets.
    smaller = _sizes_27(2048, "1K", "2K")
    return Model(
        id=model_id,
        regions=add_sandbox(
            (
                ModelRegion("singapore", _NEW, 5, 5, _usd(singapore)),
                ModelRegion("beijing", _NEW, 5, 5, _cny(beijing)),
            )
        ),
        sizes=sizes,
        edit_sizes=smaller,
        prompt_limit=5000,
        negative_prompt_limit=None,
        has_prompt_extend=False,
        note="Thinks before it draws, so it takes longer.",
        inputs=_INPUTS_27,
        modes=(Mode(_SETS, 12, 12, smaller),),
        options=_OPTIONS_27,
        usual_seconds=80,
    )


_INTERLEAVED = "enable_interleave"
_WINDOW_26_IMAGE = PixelWindow(768 * 768, 2048 * 2048, 4)
_WINDOW_INTERLEAVED = PixelWindow(768 * 768, 1280 * 1280, 4)
_MODEL_26_IMAGE = Model(
    id="wan2.6-image",
    regions=add_sandbox(
        (
            ModelRegion("singapore", _NEW, 5, 5, _usd("0.03")),
            ModelRegion("beijing", _NEW, 5, 5, _cny("0.20")),
            ModelRegion("virginia", _NEW, 5, 5),
            ModelRegion("frankfurt", _TASK, 5, 5),
        )
    ),
    sizes=SizeRule(_WINDOW_26_IMAGE, "1K", derive_presets(_WINDOW_26_IMAGE, "1280*1280"), ("1K", "2K")),
    prompt_limit=2000,
    negative_prompt_limit=500,
    has_prompt_extend=True,
    note="Edits and combines pictures; with enable_interleave it writes a text with pictures.",
    inputs=InputLimits(
        least=1,
        most=4,
        max_bytes=10 * _MEGABYTE,
        min_side=240,
        max_side=8000,
        max_ratio=None,
        formats=("JPEG", "PNG", "BMP", "WEBP"),
        has_alpha=False,
    ),
    modes=(
        # By the synchronous protocol the answer to these is a stream of events.
        Mode(
            _INTERLEAVED,
            5,
            5,
            SizeRule(_WINDOW_INTERLEAVED, "1280*1280", derive_presets(_WINDOW_INTERLEAVED, "1280*1280")),
            count_option="max_images",
            inputs=(0, 1),
            is_task_only=True,
        ),
    ),
    options=(
        Option(
            _INTERLEAVED,
            OptionKind.SWITCH,
            "Text and pictures in turn; only the pictures are saved. Takes at most 1 input picture, and needs none.",
        ),
        Option(
            "max_images",
            OptionKind.WHOLE,
            "The most pictures of such an order, as n says it too (5 if both are left out); those that come are "
            "charged.",
            least=1,
            most=5,
            needs=(_INTERLEAVED,),
        ),
    ),
)

_WINDOW_25_EDIT = PixelWindow(768 * 768, 1280 * 1280, 4)
_MODEL_25_EDIT = Model(
    id="wan2.5-i2i-preview",
    regions=add_sandbox(
        (ModelRegion("singapore", _LEGACY, 5, 5), ModelRegion("beijing", _LEGACY, 5, 5)),
    ),
    sizes=SizeRule(_WINDOW_25_EDIT, "1280*1280", derive_presets(_WINDOW_25_EDIT, "1280*1280"), follows_input=True),
    prompt_limit=2000,
    negative_prompt_limit=500,
    has_prompt_extend=True,
    note="Edits and combines pictures.",
    inputs=InputLimits(
        least=1,
        most=3,
        max_bytes=10 * _MEGABYTE,
        min_side=11,
        max_side=5000,
        max_ratio=None,
        formats=("JPEG", "PNG", "BMP", "WEBP"),
        advised_min_side=384,
    ),
    is_second_hand=True,
    is_prompt_limit_certain=False,
)


def _legacy_model(
    model_id: str,
    regions: tuple[ModelRegion, ...],
    sizes: SizeRule,
    aliases: tuple[str, ...] = (),
    options: tuple[Option, ...] = (),
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
        options=options,
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


_STYLES = (
    "<auto>",
    "<photography>",
    "<portrait>",
    "<3d cartoon>",
    "<anime>",
    "<oil painting>",
    "<watercolor>",
    "<sketch>",
    "<chinese painting>",
    "<flat illustration>",
)

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
    _MODEL_26_IMAGE,
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
    _MODEL_25_EDIT,
    _model_22("wan2.2-t2i-plus", beijing="0.20", singapore="0.05"),
    _model_22("wan2.2-t2i-flash", beijing="0.14", singapore="0.025"),
    _model_21("plus", beijing="0.20", singapore="0.05"),
    _model_21("turbo", beijing="0.14", singapore="0.025"),
    _legacy_model("wanx2.0-t2i-turbo", (ModelRegion("beijing", _LEGACY, 2, 2, _cny("0.04")),), _SIZES_22),
    _legacy_model(
        "wanx-v1",
        (ModelRegion("beijing", _LEGACY, 2, 1, _cny("0.16")),),
        _SIZES_V1,
        options=(Option("style", OptionKind.CHOICE, "How it is painted.", choices=_STYLES),),
    ),
)
"""Every model of the Wan family, newest first."""
