"""
What a model of the service is: its protocols, what it does in each mode, what it takes, and where it is offered.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference,
https://www.alibabacloud.com/help/en/model-studio/qwen-image-generation-and-editing-api-reference,
https://help.aliyun.com/zh/model-studio/rate-limit and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from enum import StrEnum

DAY = 86_400.0
"""Seconds: how long the service keeps a task after its end, and how long a link to an image lives."""
CHINA = timezone(timedelta(hours=8))
"""The zone of the service's times, which do not name it."""

BEIJING, SINGAPORE, VIRGINIA, FRANKFURT = "cn-beijing", "ap-southeast-1", "us-east-1", "eu-central-1"
REGIONS = frozenset({BEIJING, SINGAPORE, VIRGINIA, FRANKFURT, "ap-northeast-1", "cn-hongkong"})
"""The regions that the documentation knows."""


class WireProtocol(StrEnum):
    """The protocols, by the path that creates an order; the legacy one has a path of its own for editing."""

    SYNC = "multimodal-generation/generation"
    ASYNC = "image-generation/generation"
    LEGACY = "text2image/image-synthesis"
    LEGACY_EDIT = "image2image/image-synthesis"

    @property
    def is_legacy(self) -> bool:
        """Whether the prompt stands in `input.prompt` and the answer in `output.results`."""
        return self in (WireProtocol.LEGACY, WireProtocol.LEGACY_EDIT)


class Mode(StrEnum):
    """What an order asks a model for; sizes, counts and the number of pictures differ from mode to mode."""

    TEXT = "text"
    """Pictures from words alone."""
    EDIT = "edit"
    """Pictures from pictures and words."""
    SET = "set"
    """Pictures that belong together: `enable_sequential`."""
    INTERLEAVE = "interleave"
    """Words and pictures in turn: `enable_interleave`."""


class UsageShape(StrEnum):
    """How a family counts what it made."""

    SIZE = "size"
    """`image_count`, `size` and tokens: Wan."""
    SIDES = "sides"
    """`image_count`, `width` and `height`: Qwen-Image up to 2.0 and Z-Image."""
    OUTPUT = "output"
    """`output_width`, `output_image_count`, `input_image_count` and types: Qwen-Image from 2.1 on."""


class SizeError(ValueError):
    """Raised when a model cannot paint the size."""


@dataclass(frozen=True, slots=True)
class SizeRule:
    """
    Which sizes a model paints; every limit is inclusive.

    `pixels` bounds width times height, `ratio` is the longest allowed ratio of the sides, `sides` bounds each side.
    `names` are short words and the side of the square they mean; beside a picture the area of that square in the
    picture's ratio. `listed` sizes are good whatever the limits say; where no limit is set, only they are. `default`
    is a size, a name, or blank for the picture's own size; `default_side` makes the default an area as a name does.
    Sides that are computed, and with `is_rounded` also those of the caller, are multiples of 16.
    """

    default: str
    pixels: tuple[int, int] | None = None
    ratio: float | None = None
    sides: tuple[int, int] | None = None
    listed: frozenset[str] = frozenset()
    names: Mapping[str, int] = field(default_factory=dict[str, int])
    default_side: int | None = None
    is_rounded: bool = False

    def measure(self, size: str | None, like: tuple[int, int] | None = None) -> tuple[int, int]:
        """
        Turn what the caller asked for into width and height in pixels.

        `like` are the sides of the last input picture, as far as they are known.

        Raises:
            SizeError: the size is malformed or outside the rule.
        """
        text = size or self.default
        side = self.names.get(text) or (None if size else self.default_side)
        if side is not None:
            return (side, side) if like is None else _fit(like, side * side)
        if not text:
            return _fit(like or (1024, 1024), self._nearest_area(like))
        match = re.fullmatch(r"(\d{1,5})\*(\d{1,5})", text)
        if match is None:
            raise SizeError(f"The size {text} is not of the form width*height.")
        width, height = int(match[1]), int(match[2])
        if text not in self.listed:
            self._check(width, height)
        return (_round(width), _round(height)) if self.is_rounded else (width, height)

    def _nearest_area(self, like: tuple[int, int] | None) -> int:
        area = like[0] * like[1] if like else 1024**2
        return min(max(area, self.pixels[0]), self.pixels[1]) if self.pixels else area

    def _check(self, width: int, height: int) -> None:
        if self.pixels is None and self.sides is None:
            raise SizeError(f"The size is not match the allowed size {sorted(self.listed)}")
        if self.sides and not all(self.sides[0] <= side <= self.sides[1] for side in (width, height)):
            raise SizeError(f"The width and height should be in [{self.sides[0]}, {self.sides[1]}].")
        if self.pixels and not self.pixels[0] <= width * height <= self.pixels[1]:
            raise SizeError(f"The total pixels of size should be in [{self.pixels[0]}, {self.pixels[1]}].")
        if self.ratio and max(width, height) > self.ratio * min(width, height):
            raise SizeError(f"The aspect ratio of size should be in [1:{self.ratio:g}, {self.ratio:g}:1].")


def _fit(like: tuple[int, int], area: int) -> tuple[int, int]:
    """Give the sides of an area in pixels with the ratio of `like`, at most 8 to 1."""
    ratio = min(max(like[0] / like[1], 1 / 8), 8)
    return _round(math.sqrt(area * ratio)), _round(math.sqrt(area / ratio))


def _round(side: float) -> int:
    return max(16, round(side / 16) * 16)


@dataclass(frozen=True, slots=True)
class ModeRule:
    """
    What a model does in one mode.

    An order is for 1 to `most` images, and for `default` where it does not say. `inputs` are the least and the most
    pictures that it brings along.
    """

    sizes: SizeRule
    most: int = 4
    default: int = 4
    inputs: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class InputRule:
    """
    Which pictures a model takes.

    `formats` are Pillow's names, `most_bytes` counts the file, `sides` bound each side in pixels, `ratio` the longer
    by the shorter. `advised_sides` are those that the documentation recommends and the service does not check.
    """

    formats: frozenset[str]
    most_bytes: int
    sides: tuple[int, int]
    ratio: float | None = None
    allows_alpha: bool = True
    advised_sides: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """
    One row of the documentation.

    `prompt_limit` counts characters; what is longer is cut silently. `rate` is submissions a second (`rates` holds
    the regions that differ), `concurrency` the tasks that run at once. `sync_regions` names the regions of the
    synchronous protocol where they are fewer than `regions`. `takes` are the parameters that the model has, None for
    a model that is not described; the service passes over others, but refuses those of `refuses`. `extends` says
    whether the prompt is rewritten where the order does not say. `pace` is how long an order takes, in orders of
    Wan 2.6.
    """

    name: str
    protocols: frozenset[WireProtocol]
    modes: Mapping[Mode, ModeRule]
    prompt_limit: int
    rate: float
    concurrency: int
    regions: frozenset[str]
    takes: frozenset[str] | None = None
    refuses: frozenset[str] = frozenset()
    inputs: InputRule | None = None
    usage: UsageShape = UsageShape.SIZE
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    sync_regions: frozenset[str] | None = None
    extends: bool = True
    paints_alpha: bool = False
    pace: float = 1.0

    @property
    def first_rule(self) -> ModeRule:
        """The rule of orders that bring no picture and ask for nothing special, or else of the plainest mode."""
        return self.modes.get(Mode.TEXT) or self.modes[Mode.EDIT]

    @property
    def most_inputs(self) -> int:
        """The most pictures that an order of any mode brings."""
        return max(rule.inputs[1] for rule in self.modes.values())

    def rate_in(self, region: str) -> float:
        """Give the documented submissions a second."""
        return self.rates.get(region, self.rate)

    def is_offered_in(self, region: str) -> bool:
        """Say whether a region has the model; a region that the documentation does not know has them all."""
        return region not in REGIONS or region in self.regions

    def has_sync_in(self, region: str) -> bool:
        """Say whether a region has the synchronous protocol of this model."""
        return self.sync_regions is None or region not in REGIONS or region in self.sync_regions
