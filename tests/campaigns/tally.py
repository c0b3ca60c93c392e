"""What campaigns of many small cases share: how an answer is judged, what is logged, and the report in the end."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST_ERROR_BYTES = 2_000
_FAULTS = ("fault of wan-mcp", "Error executing tool", "Traceback", "pydantic", "Internal server error")
"""What no answer says: words for mistakes of ours."""
_SHOWN = 20


def format_report(
    title: str,
    rows: Sequence[tuple[str, object]],
    broken: Mapping[str, Sequence[str]],
    *,
    remarks: Sequence[str] = (),
    number_width: int = 8,
) -> str:
    """Give a report as text: a row for each figure, some remarks, and some cases of each promise that was not kept."""
    width = max(len(name) for name, _ in rows)
    lines = [
        title,
        "-" * len(title),
        *(f"{name:<{width}}  {value:>{number_width}}" for name, value in rows),
        *remarks,
    ]
    for name, cases in broken.items():
        lines += [f"BROKEN: {name}", *(f"  {case}" for case in cases[:_SHOWN])]
    return "\n".join(lines)


@dataclass
class Tally:
    """What came of the cases of a campaign; `broken` names the `promises` that were not kept, with their cases."""

    title: str
    promises: Sequence[str]
    secret: str
    cases: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    figures: dict[str, object] = field(default_factory=dict)
    longest_error: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    broken: dict[str, list[str]] = field(default_factory=dict)

    def blame(self, promise: str, case: str) -> None:
        """Note a promise that was not kept."""
        self.broken.setdefault(promise, []).append(ascii(case[:500]))

    def weigh(self, text: str, case: str, *, is_error: bool, most_bytes: int) -> None:
        """Judge an answer as it is written: how long it is, and whether it tells a secret or a mistake of ours."""
        size = len(text.encode(errors="replace"))
        self.ends["refused" if is_error else "answered"] += 1
        if is_error:
            self.longest_error = max(self.longest_error, size)
            if size >= MOST_ERROR_BYTES:
                self.blame("errors of 2 kB or more", f"{size} {case}")
        elif size > most_bytes:
            self.blame("answers too large", f"{size} {case}")
        if self.secret in text:
            self.blame("secrets told", case)
        if is_error and any(fault in text for fault in _FAULTS):
            self.blame("crashes", f"{case}: {text[:200]}")

    def __str__(self) -> str:
        rows: list[tuple[str, object]] = [("cases", sum(self.cases.values()))]
        rows += [(f"of them {name}", count) for name, count in sorted(self.cases.items())]
        rows += [(name, count) for name, count in sorted(self.ends.items())]
        rows += [
            *self.figures.items(),
            ("longest error, bytes", self.longest_error),
            ("slowest answer, seconds", round(self.slowest, 1)),
            ("seconds", round(self.seconds)),
        ]
        rows += [(name, len(self.broken.get(name, ()))) for name in self.promises]
        return format_report(self.title, rows, self.broken)


class LogKeeper(logging.Handler):
    """Keeps every line from a level on, and those with a traceback: a fault of ours that something else has caught."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__(level)
        self.lines: list[str] = []
        self.crashes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.exc_info and record.exc_info[1] is not None:
            self.crashes.append(f"{record.getMessage()}: {record.exc_info[1]!r}\n{line[-600:]}")
