"""
What only some models have: parameters by the service's own names, each with what it takes and what it goes with.

Sources: https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference and
https://help.aliyun.com/zh/model-studio/qwen-image-generation-and-editing-api-reference
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast

from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.record import Record

IMAGES = "images"
"""In `needs` and `excludes`: input pictures."""
ARGUMENTS = ("prompt", "negative_prompt", "size", "n", "seed", "prompt_extend", "watermark", "images", "model")
"""What is an argument of an order, so that it has no place among the options."""

_LONGEST_NAME = 40
_LONGEST_ECHO = 60
_MOST_BOXES = 2
_BOX = 4
_FEWEST_COLOURS, _MOST_COLOURS = 3, 10
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")
_SHARE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?%")


class OptionKind(StrEnum):
    """What an option takes."""

    SWITCH = "switch"
    CHOICE = "choice"
    WHOLE = "whole"
    BOXES = "boxes"
    """For each input picture a list of at most two boxes `[x1, y1, x2, y2]`, in its own pixels from the top left."""
    PALETTE = "palette"
    """Colours, each with its share; the shares make up the whole."""
    ANY = "any"
    """Whatever is JSON: nothing is known of it here."""


class Option(Record):
    """
    One parameter.

    `about` says in a line what it does. `needs` and `excludes` name what must, or must not, be there beside it:
    `images`, or another option that is switched on; they hold for the values `choices_bound` alone, if any are
    named.
    """

    name: str
    kind: OptionKind
    about: str
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    choices_bound: tuple[str, ...] = ()

    def describe(self) -> str:
        """Say in a clause what it takes."""
        match self.kind:
            case OptionKind.SWITCH:
                return "true or false"
            case OptionKind.CHOICE:
                return f"one of {', '.join(self.choices)}"
            case OptionKind.WHOLE:
                return f"a whole number from {self.least} to {self.most}"
            case OptionKind.BOXES:
                return (
                    "a list with one list for each input picture, of at most 2 boxes [x1,y1,x2,y2] in its pixels "
                    "(x1<x2, y1<y2), [] for none"
                )
            case OptionKind.PALETTE:
                return (
                    f"{_FEWEST_COLOURS} to {_MOST_COLOURS} of "
                    '{"hex":"#C2D1E6","ratio":"23.51%"}, the ratios 100.00% together'
                )
            case OptionKind.ANY:
                return "whatever the service takes"

    def describe_bounds(self) -> str:
        """Say with what it goes; empty if with everything."""
        value = f" ({', '.join(self.choices_bound)})" if self.choices_bound else ""
        needs = f"only with {' and '.join(self.needs)}" if self.needs else ""
        excludes = f"not with {' or '.join(self.excludes)}" if self.excludes else ""
        words = ", ".join(part for part in (needs, excludes) if part)
        return f"{words}{value}" if words else ""


def check_options(
    options: Mapping[str, Any] | None,
    known: Sequence[Option],
    *,
    model_id: str,
    images: int,
    find_models: Callable[[str], Sequence[str]] = lambda _: (),
) -> dict[str, Any]:
    """
    Check what an order says beside the arguments; what is null is left out.

    `images` is the number of input pictures; `find_models` names the models that have an option.

    Raises:
        RequestRefusedError: the model has no such option, or it does not take the value, or not beside the others.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    rows = {option.name: option for option in known}
    for name in given:
        if name not in rows:
            raise _refuse_name(name, model_id, known, find_models(name))
    checked = {name: _check_value(rows[name], value, images) for name, value in given.items()}
    present = {name for name, value in checked.items() if value is not False}
    present.update([IMAGES] if images else [])
    for name, value in checked.items():
        option = rows[name]
        if value is False or (option.choices_bound and value not in option.choices_bound):
            continue
        shown = f"{name}={value}" if option.choices_bound else name
        for needed in option.needs:
            if needed not in present:
                raise RequestRefusedError(
                    f"options: {model_id} takes {shown} only with {needed}.", f"Add {needed}, or leave {name} out."
                )
        for excluded in option.excludes:
            if excluded in present:
                raise RequestRefusedError(
                    f"options: {model_id} takes {shown} only without {excluded}.",
                    f"Leave out {name} or {excluded}.",
                )
    return checked


def _refuse_name(name: str, model_id: str, known: Sequence[Option], having: Sequence[str]) -> RequestRefusedError:
    shown = str(name)[:_LONGEST_NAME]
    if name in ARGUMENTS:
        return RequestRefusedError(f"options: {shown} is an argument of its own.", "Pass it beside options.")
    taken = "; ".join(f"{option.name}: {option.describe()}" for option in known)
    elsewhere = f" Models that have {shown}: {', '.join(having)}." if having else ""
    return RequestRefusedError(
        f"options: {model_id} has no option {shown!r}.",
        (f"Its options are {taken}." if taken else f"{model_id} has no options: leave them out.") + elsewhere,
    )


def _check_value(option: Option, value: object, images: int) -> Any:  # noqa: ANN401 - JSON
    match option.kind:
        case OptionKind.SWITCH:
            fits = isinstance(value, bool)
        case OptionKind.CHOICE:
            fits = isinstance(value, str) and value in option.choices
        case OptionKind.WHOLE:
            fits = isinstance(value, int) and not isinstance(value, bool) and option.least <= value <= option.most
        case OptionKind.BOXES:
            _check_boxes(option, value, images)
            fits = True
        case OptionKind.PALETTE:
            return _read_palette(option, value)
        case OptionKind.ANY:
            fits = True
    if not fits:
        raise _misfit(option, f"is {_echo(value)}")
    return value


def _check_boxes(option: Option, value: object, images: int) -> None:
    if not isinstance(value, list):
        raise _misfit(option, f"is {_echo(value)}")
    pictures = cast("list[object]", value)
    if images and len(pictures) != images:
        raise _misfit(option, f"has {len(pictures)} lists for {images} input pictures")
    for number, boxes in enumerate(pictures, start=1):
        if not isinstance(boxes, list):
            raise _misfit(option, f"has {_echo(boxes)} for picture {number}")
        listed = cast("list[object]", boxes)
        if len(listed) > _MOST_BOXES:
            raise _misfit(option, f"has {len(listed)} boxes for picture {number}")
        if not all(map(_is_box, listed)):
            raise _misfit(option, f"has {_echo(listed)} for picture {number}, which are no boxes")


def _is_box(box: object) -> bool:
    if not isinstance(box, list):
        return False
    corners = cast("list[object]", box)
    whole = [each for each in corners if isinstance(each, int) and not isinstance(each, bool) and each >= 0]
    if len(corners) != _BOX or len(whole) != _BOX:
        return False
    left, top, right, bottom = whole
    return left < right and top < bottom


def _read_palette(option: Option, value: object) -> list[dict[str, str]]:
    """Give the colours with shares of two decimals, which is how the service reads them."""
    colours = cast("list[object]", value) if isinstance(value, list) else []
    if not _FEWEST_COLOURS <= len(colours) <= _MOST_COLOURS:
        raise _misfit(option, f"has {len(colours)} colours" if isinstance(value, list) else f"is {_echo(value)}")
    total = Decimal()
    read: list[dict[str, str]] = []
    for colour in colours:
        parts = cast("dict[str, object]", colour) if isinstance(colour, dict) else {}
        tone, share = parts.get("hex"), parts.get("ratio")
        is_whole = set(parts) == {"hex", "ratio"} and isinstance(tone, str) and isinstance(share, str)
        if not is_whole or not _HEX.fullmatch(str(tone)) or not _SHARE.fullmatch(str(share)):
            raise _misfit(option, f"has the colour {_echo(parts or 'that is no object')}")
        number = Decimal(str(share).rstrip("%"))
        total += number
        read.append({"hex": str(tone), "ratio": f"{number:.2f}%"})
    if total != 100:  # noqa: PLR2004 - per cent
        raise _misfit(option, f"has ratios of {total}% together")
    return read


def _misfit(option: Option, problem: str) -> RequestRefusedError:
    return RequestRefusedError(f"options: {option.name} {problem}.", f"It takes {option.describe()}.")


def _echo(value: object) -> str:
    # Python does not print whole numbers of more than a few thousand digits.
    try:
        text = repr(value)
    except ValueError:
        return "far too long"
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"
