"""
The sizes that a model draws, and how callers may name them.

Sources: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference and
https://www.alibabacloud.com/help/en/model-studio/wan-image-generation-and-editing-api-reference
"""

import re
from math import isqrt, log
from typing import Protocol

from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.record import Record

RATIOS: tuple[str, ...] = ("1:1", "3:4", "4:3", "9:16", "16:9")
"""The aspect ratios that a caller may name, width first."""

GRADES: dict[str, int] = {"1K": 1024, "2K": 2048, "4K": 4096}
"""The grades that a caller may name, with the side of the square they stand for."""

_PIXELS = re.compile(r"([0-9]{1,6})\s*[*xX\u00d7\u2715]\s*([0-9]{1,6})")
_RATIO = re.compile(r"([0-9]{1,3})\s*[:\uff1a]\s*([0-9]{1,3})")
_STEP = 16
_ECHO = 40


class SizeLimits(Protocol):
    """Which widths and heights, in pixels, are accepted."""

    def find_problem(self, width: int, height: int) -> str | None:
        """Say in a clause why the size is not accepted, or give None."""
        ...

    def describe(self) -> str:
        """Say in a clause what is accepted."""
        ...


class PixelWindow(Record):
    """
    A window for the total of pixels, and a limit for the ratio of the longer side to the shorter.

    `accepted_from` is the total from which sizes pass here where that is below the documented minimum.
    """

    min_pixels: int
    max_pixels: int
    max_ratio: float
    accepted_from: int | None = None

    def find_problem(self, width: int, height: int) -> str | None:
        """Say why the size is outside the window, or give None."""
        total = width * height
        if total > self.max_pixels:
            return f"has {total} pixels, more than the maximum of {_square(self.max_pixels)}"
        if total < (self.accepted_from or self.min_pixels):
            return f"has {total} pixels, fewer than the minimum of {_square(self.min_pixels)}"
        if max(width, height) > self.max_ratio * min(width, height):
            return f"is more elongated than {self.max_ratio:g}:1"
        return None

    def describe(self) -> str:
        """Say what the window is."""
        return (
            f"{_square(self.min_pixels)} to {_square(self.max_pixels)} pixels in total, "
            f"ratio 1:{self.max_ratio:g} to {self.max_ratio:g}:1"
        )


class SideRange(Record):
    """A range, in pixels, for each side."""

    min_side: int
    max_side: int

    def find_problem(self, width: int, height: int) -> str | None:
        """Say which side is out of range, or give None."""
        for side in (width, height):
            if side > self.max_side:
                return f"has a side of {side} pixels, more than the maximum of {self.max_side}"
            if side < self.min_side:
                return f"has a side of {side} pixels, fewer than the minimum of {self.min_side}"
        return None

    def describe(self) -> str:
        """Say what the range is."""
        return f"each side {self.min_side} to {self.max_side} pixels"


class FixedSizes(Record):
    """A list of sizes, each `(width, height)` in pixels; no other is drawn."""

    sizes: tuple[tuple[int, int], ...]

    def find_problem(self, width: int, height: int) -> str | None:
        """Say that the size is not in the list, or give None."""
        return None if (width, height) in self.sizes else "is not one of the sizes this model draws"

    def describe(self) -> str:
        """Say what is in the list."""
        return "only " + ", ".join(_pixels(*size) for size in self.sizes)


class SizeRule(Record):
    """
    The sizes of one model.

    `default` is sent if the caller names no size; `presets` gives the size for each aspect ratio the model can
    draw; `native` are the grades that the service itself understands for this model. `follows_input` says that an
    order with input pictures and no size of the caller's gets the shape of the last of them, in about as many pixels
    as the default.
    """

    limits: SizeLimits
    default: str
    presets: tuple[tuple[str, str], ...]
    native: tuple[str, ...] = ()
    follows_input: bool = False

    def resolve(self, text: str | None) -> str:
        """
        Give what the service is sent: `W*H`, or a grade where the model takes it by name.

        Raises:
            RequestRefusedError: the text names no size, or one that the model does not draw.
        """
        wanted = (text or "").strip()
        if not wanted:
            return self.default
        if wanted.upper() in self.native:
            return wanted.upper()
        if grade := read_grade(wanted):
            side = GRADES[grade]
            return self._accept(side, side, f"{grade} ({side}*{side})")
        if (ratio := _RATIO.fullmatch(wanted)) and int(ratio[1]) and int(ratio[2]):
            return self._find_preset(int(ratio[1]), int(ratio[2]))
        if pixels := read_pixels(wanted):
            return self._accept(*pixels, _pixels(*pixels))
        raise self._refuse(f"{wanted[:_ECHO]!r} is not a size")

    def fit(self, width: int, height: int) -> str:
        """
        Give the size of a shape: about as many pixels as the default, in steps of 16 pixels.

        A shape that the model does not draw becomes the nearest that it does.
        """
        usual = read_pixels(self.default)
        if usual is None or width < 1 or height < 1:
            return self.default
        total = usual[0] * usual[1]
        found: list[tuple[float, int, str]] = []
        for down in range(_STEP, max(GRADES.values()) + 1, _STEP):
            least, most = (round(total * share / down / _STEP) for share in (0.9, 1.1))
            # Beside the exact one only the ends matter: for shapes that are more elongated than any that is drawn.
            exact = min(most, max(least, round(down * width / height / _STEP)))
            for across in {least * _STEP, exact * _STEP, most * _STEP}:
                if across and self.limits.find_problem(across, down) is None:
                    off = abs(log(across * height / (down * width)))
                    found.append((round(off, 2), abs(across * down - total), _pixels(across, down)))
        return min(found)[2] if found else self.default

    def allows(self, text: str | None) -> bool:
        """Whether the model draws this size."""
        try:
            self.resolve(text)
        except RequestRefusedError:
            return False
        return True

    @property
    def recommended(self) -> tuple[str, ...]:
        """The sizes to name in an answer: those of the aspect ratios, in pixels."""
        return tuple(size for _, size in self.presets)

    def _accept(self, width: int, height: int, label: str) -> str:
        problem = self.limits.find_problem(width, height)
        if problem:
            raise self._refuse(f"{label} {problem}")
        return _pixels(width, height)

    def _find_preset(self, across: int, down: int) -> str:
        ratio = f"{across}:{down}"
        for known, size in self.presets:
            if known == ratio:
                return size
        known_ratios = ", ".join(known for known, _ in self.presets)
        problem = f"{ratio} is not an aspect ratio it knows ({known_ratios})"
        fitting = self._fit(across, down)
        if fitting is None:
            raise self._refuse(f"{problem}, and it draws no picture of that shape")
        raise RequestRefusedError(f"{problem}.", f"Give {ratio} in pixels: size={fitting}.")

    def _fit(self, across: int, down: int) -> str | None:
        """Find a size of a shape: exact if possible, about as many pixels as the first preset, steps of 16 pixels."""
        usual = read_pixels(self.presets[0][1]) if self.presets else None
        if usual is None:
            return None
        found: list[tuple[bool, int, str]] = []
        for height in range(_STEP, max(GRADES.values()) + 1, _STEP):
            width = round(height * across / down / _STEP) * _STEP
            if self.limits.find_problem(width, height) is None:
                is_rounded = width * down != height * across
                found.append((is_rounded, abs(width * height - usual[0] * usual[1]), _pixels(width, height)))
        return min(found)[2] if found else None

    def _refuse(self, problem: str) -> RequestRefusedError:
        allowed = [self.limits.describe()]
        if self.native:
            allowed.append(", ".join(self.native))
        if self.presets:
            allowed.append("a ratio " + ", ".join(ratio for ratio, _ in self.presets))
        recommended = f" Recommended: {', '.join(self.recommended)}." if self.presets else ""
        return RequestRefusedError(f"{problem}.", f"Allowed: {'; or '.join(allowed)}.{recommended}")


def read_grade(text: str | None) -> str | None:
    """Read `1K`, `2K` or `4K`; give None if it is something else."""
    grade = (text or "").strip().upper()
    return grade if grade in GRADES else None


def is_size(text: str) -> bool:
    """Say whether a text is a grade, a ratio or a size in pixels, whatever model draws it."""
    return read_grade(text) is not None or read_pixels(text) is not None or _RATIO.fullmatch(text.strip()) is not None


def read_pixels(text: str) -> tuple[int, int] | None:
    """Read `W*H`, also written with an x or a multiplication sign; give None if it is something else."""
    pixels = _PIXELS.fullmatch(text.strip())
    return (int(pixels[1]), int(pixels[2])) if pixels else None


def derive_presets(limits: SizeLimits, default: str) -> tuple[tuple[str, str], ...]:
    """
    Give a size of exactly each aspect ratio, about as many pixels as `default`, in steps of 16 pixels.

    A ratio for which the limits allow no such size is left out.
    """
    width, height = (int(side) for side in default.split("*"))
    presets: list[tuple[str, str]] = []
    for ratio in RATIOS:
        across, down = (int(part) for part in ratio.split(":"))
        unit = isqrt(width * height // (across * down)) // _STEP * _STEP
        candidates = [(across * length, down * length) for length in (unit, unit + _STEP) if length]
        fitting = [size for size in candidates if limits.find_problem(*size) is None]
        if fitting:
            presets.append((ratio, _pixels(*fitting[0])))
    return tuple(presets)


def _pixels(width: int, height: int) -> str:
    return f"{width}*{height}"


def _square(total: int) -> str:
    side = isqrt(total)
    return f"{total} ({side}*{side})" if side * side == total else f"{total}"
