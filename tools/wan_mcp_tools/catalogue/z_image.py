"""
The Z-Image family: quick and cheap pictures from words.

Sources: https://www.alibabacloud.com/help/en/model-studio/z-image-api-reference and
https://help.aliyun.com/zh/model-studio/model-pricing
"""

from decimal import Decimal

from wan_mcp_tools.catalogue.model import LengthUnit, Model, ModelRegion, Price, WireProtocol, add_sandbox
from wan_mcp_tools.catalogue.sizes import PixelWindow, SizeRule, derive_presets

_SYNC = (WireProtocol.SYNC,)
_WINDOW = PixelWindow(512 * 512, 2048 * 2048, 8)


def _price(amount: str, currency: str, extended: str) -> Price:
    source = "https://help.aliyun.com/zh/model-studio/model-pricing"
    return Price(Decimal(amount), currency, "2026-05", source, extended=Decimal(extended))


Z_IMAGE_MODELS: tuple[Model, ...] = (
    Model(
        id="z-image-turbo",
        regions=add_sandbox(
            (
                # The list has CNY 0.110089, which by the rate of its other lines is this.
                ModelRegion("singapore", _SYNC, 2, 2, _price("0.015", "USD", "0.03")),
                ModelRegion("beijing", _SYNC, 2, 2, _price("0.10", "CNY", "0.20")),
            )
        ),
        # The pages disagree about what holds without a size, so it is always sent.
        sizes=SizeRule(_WINDOW, "1024*1024", derive_presets(_WINDOW, "1024*1024")),
        prompt_limit=800,
        prompt_unit=LengthUnit.TOKENS,
        is_prompt_limit_certain=False,
        negative_prompt_limit=None,
        has_prompt_extend=True,
        # A rewritten prompt doubles the price.
        is_extended_by_default=False,
        max_n=1,
        has_n=False,
        has_watermark=False,
        usual_seconds=20,
        note="Quick; prompt_extend=true doubles the price.",
    ),
)
"""Every model of the Z-Image family."""
