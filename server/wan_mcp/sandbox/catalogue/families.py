"""
The models of the service, family by family: Wan, Qwen-Image, Z-Image.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference,
https://www.alibabacloud.com/help/en/model-studio/qwen-image-generation-and-editing-api-reference,
https://www.alibabacloud.com/help/en/model-studio/legacy-qwen-image-models,
https://www.alibabacloud.com/help/en/model-studio/z-image-turbo and
https://help.aliyun.com/zh/model-studio/rate-limit
"""

from collections.abc import Mapping, Sequence

from wan_mcp.sandbox.catalogue.model import (
    BEIJING,
    FRANKFURT,
    REGIONS,
    SINGAPORE,
    VIRGINIA,
    InputRule,
    Mode,
    Model,
    ModeRule,
    SizeRule,
    UsageShape,
    WireProtocol,
)

_BOTH = frozenset({BEIJING, SINGAPORE})
_NEW = frozenset({WireProtocol.SYNC, WireProtocol.ASYNC})
_SYNC = frozenset({WireProtocol.SYNC})
_OLD = frozenset({WireProtocol.LEGACY})
_MB = 1024 * 1024
_TWO_A_MINUTE = 1 / 30

_COMMON = frozenset({"size", "n", "seed", "watermark", "prompt_extend", "negative_prompt"})


# Wan

_FOUR_KINDS = frozenset({"JPEG", "PNG", "BMP", "WEBP"})
_WAN27_INPUTS = InputRule(_FOUR_KINDS, 20 * _MB, (240, 8000), ratio=8, allows_alpha=False)
_WAN26_INPUTS = InputRule(_FOUR_KINDS, 10 * _MB, (240, 8000), allows_alpha=False)
_WAN25_INPUTS = InputRule(_FOUR_KINDS, 10 * _MB, (11, 20_000), advised_sides=(384, 5000))
_V1_INPUTS = InputRule(_FOUR_KINDS, 10 * _MB, (11, 20_000))

# Four of the five recommended sizes lie just below the documented minimum; the page offers both.
_RECOMMENDED = frozenset({"1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960"})
_SIZES_26 = SizeRule("1280*1280", pixels=(1280 * 1280, 1440 * 1440), ratio=4, listed=_RECOMMENDED)
# The official first-call tutorial of wan2.5 sends 1024*1024.
_SIZES_25 = SizeRule("1280*1280", pixels=(1280 * 1280, 1440 * 1440), ratio=4, listed=_RECOMMENDED | {"1024*1024"})
_SIZES_22 = SizeRule("1024*1024", sides=(512, 1440))
_SIZES_V1 = SizeRule("1024*1024", listed=frozenset({"1024*1024", "720*1280", "768*1152", "1280*720"}))
_SIZES_27 = SizeRule("2K", pixels=(768**2, 2048**2), ratio=8, names={"1K": 1024, "2K": 2048})
_SIZES_27_PRO = SizeRule("2K", pixels=(768**2, 4096**2), ratio=8, names={"1K": 1024, "2K": 2048, "4K": 4096})
_SIZES_26_EDIT = SizeRule("1K", pixels=(768**2, 2048**2), ratio=4, names={"1K": 1280, "2K": 2048}, is_rounded=True)
_SIZES_26_MIX = SizeRule("1K", pixels=(768**2, 1280**2), ratio=4, names={"1K": 1280}, is_rounded=True)
_SIZES_25_EDIT = SizeRule("1280*1280", pixels=(768**2, 1280**2), ratio=4)

_STYLES = frozenset({"style", "ref_strength", "ref_mode"})


def _wan27(name: str, text_sizes: SizeRule) -> Model:
    modes = {
        Mode.TEXT: ModeRule(text_sizes),
        Mode.EDIT: ModeRule(_SIZES_27, inputs=(1, 9)),
        Mode.SET: ModeRule(_SIZES_27, most=12, default=12, inputs=(0, 9)),
    }
    special = {"thinking_mode", "enable_sequential", "bbox_list", "color_palette"}
    takes = frozenset({"size", "n", "seed", "watermark"} | special)
    return Model(name, _NEW, modes, 5000, 5, 5, _BOTH, takes=takes, inputs=_WAN27_INPUTS, pace=1.5)


def _text_only(sizes: SizeRule) -> Mapping[Mode, ModeRule]:
    return {Mode.TEXT: ModeRule(sizes)}


def _older(name: str, regions: frozenset[str] = _BOTH) -> Model:
    return Model(name, _OLD, _text_only(_SIZES_22), 800, 2, 2, regions, takes=_COMMON)


_WAN = (
    _wan27("wan2.7-image-pro", _SIZES_27_PRO),
    _wan27("wan2.7-image", _SIZES_27),
    Model(
        "wan2.6-t2i",
        _NEW,
        _text_only(_SIZES_26),
        2100,
        5,
        5,
        _BOTH | {VIRGINIA, FRANKFURT},
        takes=_COMMON,
        rates={BEIJING: 1},
        sync_regions=_BOTH | {VIRGINIA},
    ),
    Model(
        "wan2.6-image",
        _NEW,
        {
            Mode.EDIT: ModeRule(_SIZES_26_EDIT, inputs=(1, 4)),
            Mode.INTERLEAVE: ModeRule(_SIZES_26_MIX, most=1, default=1, inputs=(0, 1)),
        },
        2000,
        5,
        5,
        _BOTH | {VIRGINIA, FRANKFURT},
        takes=_COMMON | {"enable_interleave", "max_images", "stream"},
        inputs=_WAN26_INPUTS,
        sync_regions=_BOTH | {VIRGINIA},
    ),
    Model("wan2.5-t2i-preview", _OLD, _text_only(_SIZES_25), 2000, 5, 5, _BOTH, takes=_COMMON),
    Model(
        "wan2.5-i2i-preview",
        frozenset({WireProtocol.LEGACY_EDIT}),
        {Mode.EDIT: ModeRule(_SIZES_25_EDIT, inputs=(1, 3))},
        2000,
        5,
        5,
        _BOTH,
        takes=_COMMON,
        inputs=_WAN25_INPUTS,
    ),
    _older("wan2.2-t2i-plus"),
    _older("wan2.2-t2i-flash"),
    _older("wanx2.1-t2i-plus", frozenset({BEIJING})),
    _older("wanx2.1-t2i-turbo", frozenset({BEIJING})),
    _older("wan2.1-t2i-plus", frozenset({SINGAPORE})),
    _older("wan2.1-t2i-turbo", frozenset({SINGAPORE})),
    _older("wanx2.0-t2i-turbo", frozenset({BEIJING})),
    Model(
        "wanx-v1",
        _OLD,
        # A picture whose style or content is taken over: `input.ref_img`.
        {Mode.TEXT: ModeRule(_SIZES_V1, inputs=(0, 1))},
        800,
        2,
        1,
        frozenset({BEIJING}),
        takes=_COMMON | _STYLES,
        inputs=_V1_INPUTS,
    ),
)

# Qwen-Image

# Anything larger than ten pixels is read; the sides are those of two pages that only recommend them.
_QWEN_INPUTS = InputRule(_FOUR_KINDS | {"TIFF", "GIF"}, 10 * _MB, (11, 20_000), advised_sides=(384, 3072))
# Left out, the model chooses, and chooses two thousand pixels a side.
_FREE_QWEN = SizeRule("2048*2048", pixels=(512**2, 2048**2), ratio=8, default_side=2048)
_SIZES_20 = SizeRule("1024*1024", pixels=(512**2, 2048**2), ratio=8)
_SIZES_20_EDIT = SizeRule("", pixels=(512**2, 2048**2), ratio=8)
_FIVE_SIZES = frozenset({"1664*928", "1472*1104", "1328*1328", "1104*1472", "928*1664"})
_SIZES_LEGACY = SizeRule("1664*928", listed=_FIVE_SIZES)
_SIZES_QWEN_EDIT = SizeRule("1024*1024", sides=(512, 2048), default_side=1024)

_THINKING = frozenset({"prompt_extend_mode", "enable_thinking"})


def _qwen(
    name: str,
    modes: Mapping[Mode, ModeRule],
    *,
    prompt_limit: int = 2000,
    protocols: frozenset[WireProtocol] = _SYNC,
    regions: frozenset[str] = _BOTH,
    takes: frozenset[str] = _COMMON,
    refuses: frozenset[str] = frozenset(),
    usage: UsageShape = UsageShape.SIDES,
    rate: float = 2,
    pace: float = 1.0,
    paints_alpha: bool = False,
) -> Model:
    inputs = _QWEN_INPUTS if Mode.EDIT in modes else None
    return Model(
        name,
        protocols,
        modes,
        prompt_limit,
        rate,
        2,
        regions,
        takes=takes,
        refuses=refuses,
        inputs=inputs,
        usage=usage,
        pace=pace,
        paints_alpha=paints_alpha,
    )


def _up_to_six(text: SizeRule | None, edit: SizeRule, most_inputs: int) -> Mapping[Mode, ModeRule]:
    modes = {Mode.EDIT: ModeRule(edit, most=6, default=1, inputs=(1, most_inputs))}
    return modes if text is None else {Mode.TEXT: ModeRule(text, most=6, default=1), **modes}


def _newest(name: str) -> Model:
    return _qwen(
        name,
        _up_to_six(_FREE_QWEN, _FREE_QWEN, 3),
        prompt_limit=4500,
        protocols=_NEW,
        regions=REGIONS,
        takes=_COMMON | _THINKING,
        usage=UsageShape.OUTPUT,
        pace=3.0,
    )


_LEGACY_TEXT = {Mode.TEXT: ModeRule(_SIZES_LEGACY, most=1, default=1)}
_ONE_EDIT = {Mode.EDIT: ModeRule(_SIZES_QWEN_EDIT, most=1, default=1, inputs=(1, 3))}


def _dated(name: str, dates: Sequence[str]) -> Sequence[str]:
    return [name, *(f"{name}-{date}" for date in dates)]


_QWEN = (
    _newest("qwen-image-3.0-pro"),
    _newest("qwen-image-3.0"),
    _qwen(
        "qwen-image-2.1-pro",
        _up_to_six(_FREE_QWEN, _FREE_QWEN, 10),
        takes=(_COMMON | _THINKING) - {"negative_prompt"},
        usage=UsageShape.OUTPUT,
        pace=3.0,
        paints_alpha=True,
    ),
    *(
        _qwen(name, _up_to_six(_SIZES_20, _SIZES_20_EDIT, 3), rate=_TWO_A_MINUTE, pace=1.5)
        for name in _dated("qwen-image-2.0-pro", ("2026-03-03", "2026-04-22", "2026-06-22"))
    ),
    *(
        _qwen(name, _up_to_six(_SIZES_20, _SIZES_20_EDIT, 3), pace=1.5)
        for name in _dated("qwen-image-2.0", ("2026-03-03",))
    ),
    *(
        _qwen(name, _LEGACY_TEXT, prompt_limit=2000, rate=_TWO_A_MINUTE)
        for name in _dated("qwen-image-max", ("2025-12-30",))
    ),
    *(
        _qwen(name, _LEGACY_TEXT, protocols=_SYNC | _OLD)
        for name in (*_dated("qwen-image-plus", ("2026-01-09",)), "qwen-image")
    ),
    *(
        _qwen(name, _up_to_six(None, _SIZES_QWEN_EDIT, 3), pace=1.5)
        for name in (
            *_dated("qwen-image-edit-max", ("2026-01-16",)),
            *_dated("qwen-image-edit-plus", ("2025-12-15", "2025-10-30")),
        )
    ),
    _qwen(
        "qwen-image-edit",
        _ONE_EDIT,
        takes=_COMMON - {"size", "prompt_extend"},
        refuses=frozenset({"size"}),
        pace=1.5,
    ),
)

# Z-Image

# No page tells how long a side may be beside the other, so nothing is refused for that which another family takes.
_SIZES_Z = SizeRule("1024*1536", pixels=(512**2, 2048**2), ratio=8)
_Z_IMAGE = Model(
    "z-image-turbo",
    _SYNC,
    {Mode.TEXT: ModeRule(_SIZES_Z, most=1, default=1)},
    800,
    2,
    2,
    _BOTH,
    takes=frozenset({"size", "seed", "prompt_extend"}),
    usage=UsageShape.SIDES,
    extends=False,
    pace=0.5,
)

MODELS: Mapping[str, Model] = {row.name: row for row in (*_WAN, *_QWEN, _Z_IMAGE)}
"""Every model of the documentation, by its id."""
