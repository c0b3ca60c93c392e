"""Models of which the documentation says nothing yet: an operator's rows of WAN_MCP_EXTRA_MODELS."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from wan_mcp.sandbox.catalogue.families import MODELS
from wan_mcp.sandbox.catalogue.model import (
    REGIONS,
    InputRule,
    Mode,
    Model,
    ModeRule,
    SizeError,
    SizeRule,
    WireProtocol,
)

Row = Mapping[str, object]
"""What an operator says of a model that the documentation did not have yet: a row of WAN_MCP_EXTRA_MODELS."""

_PROTOCOLS = {"sync": WireProtocol.SYNC, "async": WireProtocol.ASYNC, "legacy": WireProtocol.LEGACY}
_ANY_SIZE = SizeRule("1280*1280", pixels=(256**2, 4096**2), ratio=8)
_ANY_PICTURE = InputRule(frozenset({"JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"}), 20 * 1024 * 1024, (11, 20_000))
_UNDESCRIBED = Model(
    "",
    frozenset({WireProtocol.SYNC, WireProtocol.ASYNC}),
    {Mode.TEXT: ModeRule(_ANY_SIZE), Mode.EDIT: ModeRule(_ANY_SIZE, inputs=(1, 10))},
    5000,
    2,
    2,
    REGIONS,
    inputs=_ANY_PICTURE,
)
_SQUARES = ("1280*1280", "1024*1024", "2048*2048", "768*768", "512*512")
_GRADES = {"1K": 1024, "2K": 2048, "4K": 4096}


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


def _read_row(row: Row, base: Model) -> Model:
    named = row.get("protocol")
    texts = [named] if isinstance(named, str) else _as_texts(named)
    protocols = frozenset(_PROTOCOLS[text] for text in texts if text in _PROTOCOLS)
    if WireProtocol.LEGACY in protocols and Mode.EDIT in base.modes:
        # The legacy protocol has a path for words alone, and another one for pictures.
        protocols |= {WireProtocol.LEGACY_EDIT}
        protocols -= frozenset[WireProtocol]() if Mode.TEXT in base.modes else {WireProtocol.LEGACY}
    sizes, rate = row.get("sizes"), row.get("submit_rate")
    rule = _read_sizes(cast("Row", sizes)) if isinstance(sizes, Mapping) else None
    return replace(
        base,
        protocols=protocols or base.protocols,
        modes={mode: _change(modes, mode, rule, row) for mode, modes in base.modes.items()},
        prompt_limit=_as_number(row, "prompt_limit", base.prompt_limit),
        rate=float(rate) if isinstance(rate, int | float) and rate > 0 else base.rate,
        regions=REGIONS,
        sync_regions=None,
        # What the row adds is not known to be refused.
        takes=None,
    )


def _change(base: ModeRule, mode: Mode, sizes: SizeRule | None, row: Row) -> ModeRule:
    """Change what a row says of orders in general; sets and stories keep their own counts and sizes."""
    if mode not in (Mode.TEXT, Mode.EDIT):
        return base
    most = _as_number(row, "max_n", base.most)
    return replace(base, sizes=sizes or base.sizes, most=most, default=min(base.default, most))


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
