"""
What the service offers: its protocols, its text-to-image models, and the times that hold for all of them.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference,
https://help.aliyun.com/zh/model-studio/rate-limit and
https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta, timezone
from enum import StrEnum
from typing import cast

DAY = 86_400.0
"""Seconds: how long the service keeps a task after its end, and how long a link to an image lives."""
CHINA = timezone(timedelta(hours=8))
"""The zone of the service's times, which do not name it."""
Row = Mapping[str, object]
"""What an operator says of a model that the documentation did not have yet: a row of WAN_MCP_EXTRA_MODELS."""


class WireProtocol(StrEnum):
    """The three protocols, by the path that creates an order."""

    SYNC = "multimodal-generation/generation"
    ASYNC = "image-generation/generation"
    LEGACY = "text2image/image-synthesis"


class SizeError(ValueError):
    """Raised when a model cannot paint the size."""


@dataclass(frozen=True, slots=True)
class SizeRule:
    """
    Which sizes a model paints; every limit is inclusive.

    `pixels` bounds width times height, `ratio` is the longest allowed ratio of the sides, `sides` bounds each side.
    `names` are short words and the side of the square they mean. `listed` sizes are good whatever the limits say;
    where no limit is set, only they are.
    """

    default: str
    pixels: tuple[int, int] | None = None
    ratio: float | None = None
    sides: tuple[int, int] | None = None
    listed: frozenset[str] = frozenset()
    names: Mapping[str, int] = field(default_factory=dict[str, int])

    def measure(self, size: str | None) -> tuple[int, int]:
        """
        Turn what the caller asked for into width and height in pixels.

        Raises:
            SizeError: the size is malformed or outside the rule.
        """
        text = size or self.default
        if text in self.names:
            return self.names[text], self.names[text]
        match = re.fullmatch(r"(\d{1,5})\*(\d{1,5})", text)
        if match is None:
            raise SizeError(f"The size {text} is not of the form width*height.")
        width, height = int(match[1]), int(match[2])
        if text not in self.listed:
            self._check(width, height)
        return width, height

    def _check(self, width: int, height: int) -> None:
        if self.pixels is None and self.sides is None:
            raise SizeError(f"The size is not match the allowed size {sorted(self.listed)}")
        if self.sides and not all(self.sides[0] <= side <= self.sides[1] for side in (width, height)):
            raise SizeError(f"The width and height should be in [{self.sides[0]}, {self.sides[1]}].")
        if self.pixels and not self.pixels[0] <= width * height <= self.pixels[1]:
            raise SizeError(f"The total pixels of size should be in [{self.pixels[0]}, {self.pixels[1]}].")
        if self.ratio and max(width, height) > self.ratio * min(width, height):
            raise SizeError(f"The aspect ratio of size should be in [1:{self.ratio:g}, {self.ratio:g}:1].")


@dataclass(frozen=True, slots=True)
class Model:
    """
    One row of the documentation.

    `prompt_limit` counts characters; what is longer is cut silently. `rate` is submissions a second (`rates` holds
    the regions that differ), `concurrency` the tasks that run at once. `sync_regions` names the regions of the
    synchronous protocol where they are fewer than `regions`. An order that is no set may ask for `most_images`.
    """

    name: str
    protocols: frozenset[WireProtocol]
    sizes: SizeRule
    prompt_limit: int
    rate: float
    concurrency: int
    regions: frozenset[str]
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    sync_regions: frozenset[str] | None = None
    image_sets: bool = False
    most_images: int = 4

    def rate_in(self, region: str) -> float:
        """Give the documented submissions a second."""
        return self.rates.get(region, self.rate)

    def is_offered_in(self, region: str) -> bool:
        """Say whether a region has the model; a region that the documentation does not know has them all."""
        return region not in _REGIONS or region in self.regions

    def has_sync_in(self, region: str) -> bool:
        """Say whether a region has the synchronous protocol of this model."""
        return self.sync_regions is None or region not in _REGIONS or region in self.sync_regions


_BEIJING, _SINGAPORE, _VIRGINIA, _FRANKFURT = "cn-beijing", "ap-southeast-1", "us-east-1", "eu-central-1"
_REGIONS = frozenset({_BEIJING, _SINGAPORE, _VIRGINIA, _FRANKFURT, "ap-northeast-1", "cn-hongkong"})
_BOTH = frozenset({_BEIJING, _SINGAPORE})
_NEW = frozenset({WireProtocol.SYNC, WireProtocol.ASYNC})
_OLD = frozenset({WireProtocol.LEGACY})

# Four of the five recommended sizes lie just below the documented minimum; the page offers both.
_RECOMMENDED = frozenset({"1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960"})
_SIZES_26 = SizeRule("1280*1280", pixels=(1280 * 1280, 1440 * 1440), ratio=4, listed=_RECOMMENDED)
# The official first-call tutorial of wan2.5 sends 1024*1024.
_SIZES_25 = SizeRule("1280*1280", pixels=(1280 * 1280, 1440 * 1440), ratio=4, listed=_RECOMMENDED | {"1024*1024"})
_SIZES_22 = SizeRule("1024*1024", sides=(512, 1440))
_SIZES_V1 = SizeRule("1024*1024", listed=frozenset({"1024*1024", "720*1280", "768*1152", "1280*720"}))
_SIZES_27 = SizeRule("2K", pixels=(768**2, 2048**2), ratio=8, names={"1K": 1024, "2K": 2048})
_SIZES_27_PRO = SizeRule("2K", pixels=(768**2, 4096**2), ratio=8, names={"1K": 1024, "2K": 2048, "4K": 4096})


def _older(name: str, *, regions: frozenset[str] = _BOTH, sizes: SizeRule = _SIZES_22, concurrency: int = 2) -> Model:
    return Model(name, _OLD, sizes, 800, 2, concurrency, regions)


_ROWS = (
    Model("wan2.7-image-pro", _NEW, _SIZES_27_PRO, 5000, 5, 5, _BOTH, image_sets=True),
    Model("wan2.7-image", _NEW, _SIZES_27, 5000, 5, 5, _BOTH, image_sets=True),
    Model(
        "wan2.6-t2i",
        _NEW,
        _SIZES_26,
        2100,
        5,
        5,
        _BOTH | {_VIRGINIA, _FRANKFURT},
        rates={_BEIJING: 1},
        sync_regions=_BOTH | {_VIRGINIA},
    ),
    Model("wan2.5-t2i-preview", _OLD, _SIZES_25, 2000, 5, 5, _BOTH),
    _older("wan2.2-t2i-plus"),
    _older("wan2.2-t2i-flash"),
    _older("wanx2.1-t2i-plus", regions=frozenset({_BEIJING})),
    _older("wanx2.1-t2i-turbo", regions=frozenset({_BEIJING})),
    _older("wan2.1-t2i-plus", regions=frozenset({_SINGAPORE})),
    _older("wan2.1-t2i-turbo", regions=frozenset({_SINGAPORE})),
    _older("wanx2.0-t2i-turbo", regions=frozenset({_BEIJING})),
    _older("wanx-v1", regions=frozenset({_BEIJING}), sizes=_SIZES_V1, concurrency=1),
)
MODELS: Mapping[str, Model] = {row.name: row for row in _ROWS}


def add_models(rows: Iterable[Row]) -> Mapping[str, Model]:
    """
    Give the documented models with those of the operator's rows, in every region of the sandbox.

    Whoever orders has checked the rows; what cannot be read in one counts as not said. A row of a documented model
    changes what it names and keeps the rest.
    """
    documented = {name.lower(): row for name, row in MODELS.items()}
    added: dict[str, Model] = {}
    for row in rows:
        name = row.get("id")
        if isinstance(name, str) and name:
            base = documented.get(name.lower()) or replace(_UNDESCRIBED, name=name)
            added[base.name] = _read_row(row, base)
    return {**MODELS, **added}


_PROTOCOLS = {"sync": WireProtocol.SYNC, "async": WireProtocol.ASYNC, "legacy": WireProtocol.LEGACY}
_ANY_SIZE = SizeRule("1280*1280", pixels=(256**2, 4096**2), ratio=8)
_UNDESCRIBED = Model("", _NEW, _ANY_SIZE, 5000, 2, 2, _REGIONS)
_SQUARES = ("1280*1280", "1024*1024", "2048*2048", "768*768", "512*512")
_GRADES = {"1K": 1024, "2K": 2048, "4K": 4096}


def _read_row(row: Row, base: Model) -> Model:
    named = row.get("protocol")
    texts = [named] if isinstance(named, str) else _as_texts(named)
    protocols = frozenset(_PROTOCOLS[text] for text in texts if text in _PROTOCOLS)
    sizes, rate = row.get("sizes"), row.get("submit_rate")
    return replace(
        base,
        protocols=protocols or base.protocols,
        sizes=_read_sizes(cast("Row", sizes)) if isinstance(sizes, Mapping) else base.sizes,
        prompt_limit=_as_number(row, "prompt_limit", base.prompt_limit),
        most_images=_as_number(row, "max_n", base.most_images),
        rate=float(rate) if isinstance(rate, int | float) and rate > 0 else base.rate,
        regions=_REGIONS,
        sync_regions=None,
    )


def _read_sizes(sizes: Row) -> SizeRule:
    listed = [text.lower().replace("x", "*") for text in _as_texts(sizes.get("only"))]
    names = {name: _GRADES[name] for name in _as_texts(sizes.get("grades")) if name in _GRADES}
    pixels = sides = ratio = None
    if {"min_side", "max_side"} & set(sizes):
        sides = (_as_number(sizes, "min_side", 1), _as_number(sizes, "max_side", 4096))
    elif not listed:
        pixels = (_as_number(sizes, "min_pixels", 256**2), _as_number(sizes, "max_pixels", 4096**2))
        wanted = sizes.get("max_ratio")
        ratio = float(wanted) if isinstance(wanted, int | float) else _ANY_SIZE.ratio
    rule = SizeRule("", pixels=pixels, sides=sides, ratio=ratio, listed=frozenset(listed), names=names)
    default = sizes.get("default_size")
    return replace(rule, default=default if isinstance(default, str) else _choose_default(rule, listed))


def _choose_default(rule: SizeRule, listed: Sequence[str]) -> str:
    """Choose what is painted where an order names no size: the first of a list, or a usual square that is allowed."""
    for size in (*listed, *_SQUARES):
        try:
            rule.measure(size)
        except SizeError:
            continue
        return size
    return _SQUARES[0]


def _as_number(row: Row, name: str, default: int) -> int:
    value = row.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _as_texts(value: object) -> list[str]:
    return [each for each in cast("list[object]", value) if isinstance(each, str)] if isinstance(value, list) else []
