"""
What goes wrong between a client and the service, and when: faults queued one by one, or drawn by chance.

A fault is written as a word or as a mapping with the word under `kind`:

    "drop-after"   {"kind": "429", "retry_after": 2}   {"kind": "slow-after", "seconds": 3}   "ok" (let one pass)

The endings `-before` and `-after` say whether the service does its work before the answer goes wrong. What is `held`
goes on when the test says `release`.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PLACES = ("create", "query", "list", "cancel", "permit", "upload", "image")
"""The calls of the service, what goes to its upload host, and the downloads from its image host."""

_ANYWHERE = frozenset(
    {"ok", "drop", "reset", "hang", "held", "garbage", "slow", "error", "html", "redirect", "half-json", "cut-body"}
    | {"change"}
)
ACTIONS: Mapping[str, frozenset[str]] = {
    "create": _ANYWHERE,
    "query": _ANYWHERE | {"status-word", "unknown", "no-prompt"},
    "list": _ANYWHERE,
    "cancel": _ANYWHERE,
    "permit": _ANYWHERE,
    "upload": _ANYWHERE,
    "image": _ANYWHERE | {"cut", "endless", "redirect-private", "redirect-loop", "expired", "wrong-bytes"},
}
_WITHOUT_THE_ANSWER = frozenset({"drop", "reset", "garbage", "error", "html", "redirect"})
"""What happens before the service's work unless the fault says otherwise."""
_STATUS = {"html": 200, "error": 500, "redirect": 307}


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """
    One thing that goes wrong.

    `action` and `before` are read from `kind`. `held` lets what happens wait for the release. `status` is the HTTP status, `part` the share of the bytes before a cut,
    `word` the status that a task shows, `change` what makes another answer of the true one.
    """

    kind: str
    action: str = ""
    before: bool = True
    held: bool = False
    seconds: float = 1.0
    status: int = 0
    code: str = ""
    message: str = ""
    retry_after: str | float | None = None
    location: str | None = None
    word: str = "QUEUEING"
    part: float = 0.5
    change: Callable[[Answer], Answer] | None = None


def read_fault(place: str, spec: str | Mapping[str, Any] | Fault) -> Fault:
    """
    Make a fault of its word or mapping.

    Raises: ValueError for a place or kind that does not exist: a misspelt fault must not look like a passed test.
    """
    if place not in PLACES:
        raise ValueError(f"no such place for a fault: {place!r}; there are {PLACES}")
    fault = spec if isinstance(spec, Fault) else Fault(**spec) if isinstance(spec, Mapping) else Fault(spec)
    word, before = fault.kind, None
    for ending, meaning in (("-before", True), ("-after", False)):
        if word.endswith(ending):
            word, before = word.removesuffix(ending), meaning
    action, status = _split_status(word)
    if action not in ACTIONS[place]:
        raise ValueError(f"no such fault of {place}: {fault.kind!r}; there are {sorted(ACTIONS[place])}")
    if before is None:
        before = action in _WITHOUT_THE_ANSWER
    held = fault.held or action == "held"
    return replace(fault, action=action, before=before, held=held, status=fault.status or status)


def _split_status(word: str) -> tuple[str, int]:
    """Read `500`, `status-500`, `html-502` into an action and a status."""
    stem, _, tail = word.rpartition("-")
    if tail.isdigit():
        return (stem if stem and stem != "status" else "error"), int(tail)
    return word, _STATUS.get(word, 0)


@dataclass
class FaultQueue:
    """The faults to come, and those that came: place and kind. Any thread may add; the service's own takes."""

    seed: int = 0
    taken: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"{self.seed}:faults")
        self._next: dict[str, deque[Fault]] = {place: deque() for place in PLACES}
        self._chances: dict[str, tuple[float, tuple[Fault, ...]]] = {}
        self.releases = 0

    def add(self, place: str, *specs: str | Mapping[str, Any] | Fault) -> None:
        """Queue faults for the next requests of this place, one each."""
        faults = [read_fault(place, spec) for spec in specs]
        self._next[place].extend(faults)

    def set_chance(self, place: str, probability: float, specs: Iterable[str | Mapping[str, Any] | Fault]) -> None:
        """Let every request without a queued fault go wrong with this probability, in one of these ways."""
        faults = tuple(read_fault(place, spec) for spec in specs)
        if probability and not faults:
            raise ValueError(f"a chance for {place} needs at least one fault")
        self._chances[place] = (probability, faults)

    def release(self) -> None:
        """Let what is held now go on."""
        self.releases += 1

    def clear(self) -> None:
        """Forget every fault that has not happened."""
        self._chances = {}
        for queue in self._next.values():
            queue.clear()

    def take(self, place: str) -> Fault | None:
        """Give what goes wrong with this request, or None."""
        fault = self._choose(place)
        if fault is None or fault.action == "ok":
            return None
        self.taken.append((place, fault.kind))
        return fault

    def _choose(self, place: str) -> Fault | None:
        if self._next[place]:
            return self._next[place].popleft()
        probability, faults = self._chances.get(place, (0.0, ()))
        if faults and self._dice.random() < probability:
            return self._dice.choice(faults)
        return None
