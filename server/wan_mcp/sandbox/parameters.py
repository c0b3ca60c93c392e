"""
The parameters of an order, beside its words and pictures: their kinds, their bounds, and which exclude one another.

Sources: https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference and
https://www.alibabacloud.com/help/en/model-studio/qwen-image-generation-and-editing-api-reference
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from wan_mcp.sandbox.catalogue.model import Mode, Model, ModeRule, SizeError, WireProtocol
from wan_mcp.sandbox.errors import RefusalError, invalid_parameter
from wan_mcp.sandbox.inputs import InputPicture

_SEED_LIMIT = 2_147_483_647
_MOST_BOXES = 2
_COLOURS = (3, 10)
_MOST_STORY = 5
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")
_RATIO = re.compile(r"([0-9]{1,3}\.[0-9]{2})%")
_HUNDRED = Decimal("100.00")
_STYLES = frozenset(
    {
        "<auto>", "<photography>", "<portrait>", "<3d cartoon>", "<anime>", "<oil painting>", "<watercolor>",
        "<sketch>", "<chinese painting>", "<flat illustration>",
    }
)  # fmt: skip

Box = Annotated[list[int], Field(min_length=4, max_length=4)]
"""Left, top, right, bottom in pixels of the original picture, from its upper left corner."""


class Colour(BaseModel):
    """One colour of a palette and its share of the picture."""

    hex: str
    ratio: str


class Parameters(BaseModel):
    """The parameters of all models by the service's names; what no model has is kept, to be named in strict mode."""

    model_config = ConfigDict(extra="allow")

    size: str | None = None
    n: int | None = None
    seed: int | None = None
    prompt_extend: bool | None = None
    prompt_extend_mode: Literal["direct", "agent"] | None = None
    enable_thinking: bool | None = None
    thinking_mode: bool | None = None
    watermark: bool | None = None
    negative_prompt: str | None = None
    enable_sequential: bool | None = None
    enable_interleave: bool | None = None
    max_images: int | None = None
    stream: bool | None = None
    bbox_list: Annotated[list[list[Box]], Field(max_length=64)] | None = None
    color_palette: Annotated[list[Colour], Field(max_length=64)] | None = None
    style: str | None = None
    ref_strength: float | None = None
    ref_mode: Literal["repaint", "refonly"] | None = None

    @property
    def given(self) -> frozenset[str]:
        """The names that the body holds, whether any model has them or not."""
        return frozenset(name for name in self.model_fields_set if getattr(self, name) is not None)


def find_mode(parameters: Parameters, model: Model, image_count: int) -> Mode:
    """Say what an order with so many pictures asks the model for."""
    if parameters.enable_sequential and Mode.SET in model.modes:
        return Mode.SET
    if parameters.enable_interleave and Mode.INTERLEAVE in model.modes:
        return Mode.INTERLEAVE
    if Mode.TEXT not in model.modes or (image_count and Mode.EDIT in model.modes):
        return Mode.EDIT
    return Mode.TEXT


def check_parameters(
    parameters: Parameters, model: Model, mode: Mode, protocol: WireProtocol, pictures: Sequence[InputPicture]
) -> None:
    """
    Check everything but size and count.

    Raises:
        RefusalError: something is outside its range, not for this model, or excludes something else.
    """
    if refused := parameters.given & model.refuses:
        raise refuse(f"The parameter {min(refused)} is not supported by {model.name}.")
    if parameters.seed is not None and not 0 <= parameters.seed <= _SEED_LIMIT:
        raise refuse(f"Range of seed should be [0, {_SEED_LIMIT}]")
    takes = model.takes or parameters.given
    if "prompt_extend_mode" in takes and parameters.prompt_extend_mode == "agent" and pictures:
        raise refuse("prompt_extend_mode agent is not supported with image input.")
    if "bbox_list" in takes and parameters.bbox_list is not None:
        _check_boxes(parameters.bbox_list, pictures)
    if "color_palette" in takes and parameters.color_palette is not None:
        if mode is Mode.SET:
            raise refuse("color_palette is not supported when enable_sequential is true.")
        _check_palette(parameters.color_palette)
    if "style" in takes and parameters.style is not None and parameters.style not in _STYLES:
        raise refuse(f"style should be one of {', '.join(sorted(_STYLES))}.")
    if "ref_strength" in takes and not 0 <= (parameters.ref_strength or 0) <= 1:
        raise refuse("Range of ref_strength should be [0, 1]")
    if mode is Mode.INTERLEAVE and protocol is WireProtocol.SYNC:
        raise refuse("enable_interleave on this path needs stream, which the sandbox does not have: order a task.")


def check_strictly(
    parameters: Parameters, model: Model, mode: Mode, protocol: WireProtocol, image_count: int
) -> None:
    """
    Refuse what the service passes over and a careful client never sends.

    That is a parameter that the model does not have or that does nothing here, and a missing `n` or `size`, whose
    defaults cost more.

    Raises:
        RefusalError: with words that begin with "sandbox:".
    """
    if model.takes is None:
        return
    here = model.takes - {"negative_prompt"} if protocol.is_legacy else model.takes
    if unknown := parameters.given - here:
        raise refuse(f"sandbox: {model.name} has no parameter {min(unknown)} here.")
    if missing := (model.takes & {"n", "size"}) - parameters.given:
        raise refuse(f"sandbox: the parameter {min(missing)} is missing.")
    if parameters.max_images is not None and mode is not Mode.INTERLEAVE:
        raise refuse("sandbox: max_images does nothing without enable_interleave.")
    if parameters.thinking_mode and (image_count or mode is Mode.SET):
        raise refuse("sandbox: thinking_mode does nothing with images or in a set.")
    if (parameters.enable_thinking or parameters.prompt_extend_mode) and parameters.prompt_extend is False:
        raise refuse("sandbox: thinking does nothing without prompt_extend.")


def read_size(parameters: Parameters, model: Model, mode: Mode, pictures: Sequence[InputPicture]) -> tuple[int, int]:
    """
    Give width and height in pixels.

    Raises:
        RefusalError: the model does not paint the size in this mode.
    """
    like = next((picture.sides for picture in reversed(pictures) if picture.sides), None)
    try:
        return model.modes[mode].sizes.measure(parameters.size, like)
    except SizeError as error:
        raise refuse(str(error)) from None


def read_count(parameters: Parameters, mode: Mode, rule: ModeRule) -> int:
    """
    Give how many images are wanted; of a story, how many at most.

    Raises:
        RefusalError: the model does not make so many in this mode.
    """
    wanted = parameters.n if parameters.n is not None else rule.default
    if rule.most == 1 and wanted != 1:
        raise refuse("num_images_per_prompt must be 1")
    if not 1 <= wanted <= rule.most:
        raise refuse(f"Range of n should be [1, {rule.most}]")
    if mode is not Mode.INTERLEAVE:
        return wanted
    story = parameters.max_images if parameters.max_images is not None else _MOST_STORY
    if not 1 <= story <= _MOST_STORY:
        raise refuse(f"Range of max_images should be [1, {_MOST_STORY}]")
    return story


def refuse(message: str) -> RefusalError:
    """Make the error of a parameter that is wrong."""
    return RefusalError(invalid_parameter(message))


def _check_boxes(boxes: list[list[Box]], pictures: Sequence[InputPicture]) -> None:
    if len(boxes) != len(pictures):
        raise refuse(f"The length of bbox_list should equal the number of images, expected {len(pictures)}.")
    for picture, marked in zip(pictures, boxes, strict=True):
        if len(marked) > _MOST_BOXES:
            raise refuse(f"Each image supports at most {_MOST_BOXES} bounding boxes.")
        for left, top, right, bottom in marked:
            width, height = picture.sides or (right, bottom)
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise refuse(f"The bounding box [{left}, {top}, {right}, {bottom}] is not inside its image.")


def _check_palette(colours: list[Colour]) -> None:
    least, most = _COLOURS
    if not least <= len(colours) <= most:
        raise refuse(f"The number of colors in color_palette should be in [{least}, {most}].")
    total = Decimal(0)
    for colour in colours:
        share = _RATIO.fullmatch(colour.ratio)
        if share is None or not _HEX.fullmatch(colour.hex):
            raise refuse(f"color_palette has no color {colour.hex[:20]} {colour.ratio[:20]}: #C2D1E6 23.51% is one.")
        total += Decimal(share[1])
    if total != _HUNDRED:
        raise refuse(f"The sum of the ratios in color_palette must be 100.00%, not {total}%.")
