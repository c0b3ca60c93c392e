"""
What goes wrong, and when: faults queued one by one, or rolled with a seeded probability.

A fault is written as a word or as a mapping with the word under `kind`:

    "drop-after"   {"kind": "429", "retry_after": 2}   {"kind": "slow-after", "seconds": 3}   "ok" (let one pass)

On `create` and `cancel`, the endings `-before` and `-after` say whether the work is done before the answer goes wrong.
"""

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PLACES = ("create", "query", "list", "cancel", "image")

_ANYWHERE = {"ok", "drop", "reset", "error", "html", "garbage", "slow", "hang", "redirect", "half-json", "cut-body"}
ACTIONS = {
    "create": _ANYWHERE,
    "query": _ANYWHERE | {"status-word", "unknown"},
    "list": _ANYWHERE,
    "cancel": _ANYWHERE,
    "image": (_ANYWHERE - {"half-json", "cut-body"})
    | {"cut", "endless", "redirect-private", "redirect-loop", "expired", "wrong-bytes"},
}
_NEEDS_THE_ANSWER = {"half-json", "cut-body", "status-word"}
_AFTER_UNLESS_TOLD = _NEEDS_THE_ANSWER | {"hang", "slow"}


@dataclass(frozen=True, eq=False)  # each is itself: taking one from a queue another thread fills stays atomic
class Fault:
    """
    One thing that goes wrong.

    `action` and `before` are read from `kind`. `match` limits it to requests whose subject (the prompt of a create,
    the path of anything else) contains that text. `status` is the HTTP status, `part` the share of bytes before a cut.
    """

    kind: str
    action: str = ""
    before: bool = True
    seconds: float = 1.0
    status: int = 0
    code: str = ""
    message: str = ""
    retry_after: str | float | None = None
    location: str | None = None
    word: str = "QUEUEING"
    part: float = 0.5
    match: str | None = None


def read_fault(place: str, spec: str | Mapping[str, Any] | Fault) -> Fault:
    """
    Make a fault of its word or mapping.

    Raises: ValueError for a place or kind that does not exist: a misspelt fault must not look like a passed test.
    """
    if place not in PLACES:
        raise ValueError(f"no such place for a fault: {place!r}; there are {PLACES}")
    fields = dict(spec) if isinstance(spec, Mapping) else {}
    fault = spec if isinstance(spec, Fault) else Fault(**fields) if fields else Fault(kind=str(spec))
    if fault.action:
        return fault
    word, before = fault.kind, None
    for ending, meaning in (("-before", True), ("-after", False)):
        if word.endswith(ending):
            word, before = word.removesuffix(ending), meaning
    action, status = _split_status(word)
    if action not in ACTIONS[place]:
        raise ValueError(f"no such fault of {place}: {fault.kind!r}; there are {sorted(ACTIONS[place])}")
    if before is None:
        before = action not in _AFTER_UNLESS_TOLD
    if action in _NEEDS_THE_ANSWER:
        before = False
    return replace(fault, action=action, before=before, status=fault.status or status)


def _split_status(word: str) -> tuple[str, int]:
    """Read `500`, `status-500`, `html-502` into an action and a status."""
    stem, _, tail = word.rpartition("-")
    if tail.isdigit():
        return (stem if stem and stem != "status" else "error"), int(tail)
    return word, {"html": 200, "error": 500, "redirect": 307}.get(word, 0)


@dataclass
class FaultBook:
    """The faults to come. Written by any thread, taken by the service's own; every step is one atomic operation."""

    seed: int = 0
    queues: dict[str, deque[Fault]] = field(default_factory=lambda: {place: deque() for place in PLACES})
    chances: dict[str, tuple[float, tuple[Fault, ...]]] = field(default_factory=dict)
    taken: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"{self.seed}:faults")

    def add(self, place: str, *specs: str | Mapping[str, Any] | Fault) -> None:
        """Queue faults for the next requests of this place, one each."""
        faults = [read_fault(place, spec) for spec in specs]
        self.queues[place].extend(faults)

    def set_chance(self, place: str, probability: float, specs: Iterable[str | Mapping[str, Any] | Fault]) -> None:
        """Let every request without a queued fault go wrong with this probability, in one of these ways."""
        faults = tuple(read_fault(place, spec) for spec in specs)
        if probability and not faults:
            raise ValueError(f"a chance for {place} needs at least one fault")
        self.chances[place] = (probability, faults)

    def clear(self) -> None:
        """Forget every fault that has not happened."""
        self.chances = {}
        for queue in self.queues.values():
            queue.clear()

    def take(self, place: str, subject: str) -> Fault | None:
        """Answer what goes wrong with this request, or None."""
        fault = self._next(place, subject)
        if fault is None or fault.action == "ok":
            return None
        self.taken.append((place, fault.kind))
        return fault

    def _next(self, place: str, subject: str) -> Fault | None:
        queue = self.queues[place]
        for fault in list(queue):
            if fault.match is None or fault.match in subject:
                queue.remove(fault)
                return fault
        probability, faults = self.chances.get(place, (0.0, ()))
        if faults and self._dice.random() < probability:
            return self._dice.choice(faults)
        return None
