"""
When to ask the service how a task is doing: a plan learned from earlier tasks of the kind.

Asking before a task can be ready is wasted. The first question comes at a low quantile of what earlier tasks of
the kind took. After that the density of questions follows the chance that the task has just ended: for a hazard
rate h, questions at a density of sqrt(h / 2c) cost least, where c is the delay in seconds that one question is
worth (J. B. Keller, "Optimum checking schedules for systems subject to random failure", Management Science 21,
1974).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ENOUGH = 5
"""Durations needed before they are trusted more than a guess."""
_QUESTION_WORTH, _WORTH_OF_LONG = 0.45, 16.0
"""Seconds of delay that one question is worth; for long tasks less, or their last wait would grow with them."""
_SHORTEST, _LONGEST = 2.0, 15.0
_GUESS_GROWTH, _GUESS_MOST = 1.3, 5.0
_INSTANT = 1.0
"""Seconds; tasks that usually end within this are asked for at once and often."""
_LATE = 60.0
"""Seconds; a first look later than this comes after a restart and says nothing of the running time."""
_STEPS = 40


@dataclass(frozen=True, slots=True)
class PollPlan:
    """
    When to ask for tasks whose running times are about log-normal, with `median` in seconds.

    Without `median` it is a guess: first after `guess` seconds, then ever more seldom up to five times that.
    """

    median: float | None = None
    spread: float = 0.0
    guess: float = 1.0

    @classmethod
    def learn(cls, durations: Sequence[float], guess: float = 1.0) -> "PollPlan":
        """Fit a plan to the running times, in seconds, of earlier tasks of the kind."""
        if len(durations) < _ENOUGH:
            return cls(guess=guess)
        logs = sorted(math.log(max(duration, 0.01)) for duration in durations)
        middle = len(logs) // 2
        median = logs[middle] if len(logs) % 2 else (logs[middle - 1] + logs[middle]) / 2
        variance = sum((value - median) ** 2 for value in logs) / len(logs)
        return cls(median=math.exp(median), spread=max(math.sqrt(variance), 0.1), guess=guess)

    def first(self) -> float:
        """Give the seconds from acceptance to the first question: early rather than late."""
        if self.median is None:
            return self.guess
        if self.median < _INSTANT:
            return 0.0
        return min(self._quantile(-1.645), 0.6 * self.median)

    def next(self, elapsed: float, previous: float) -> float:
        """Give the seconds until the next question, `elapsed` after acceptance and `previous` after the last."""
        if self.median is None:
            return min(max(previous, self.guess) * _GUESS_GROWTH, self.guess * _GUESS_MOST)
        shortest = min(_SHORTEST, max(0.1, self.median / 5))
        if elapsed > self._quantile(2.326):
            # Past the 99th percentile nothing is known any more: ask ever more seldom.
            return min(max(previous, shortest) * 1.25, _LONGEST)
        return max(self._until_next(elapsed), shortest)

    def _quantile(self, z: float) -> float:
        return (self.median or 0.0) * math.exp(z * self.spread)

    def _until_next(self, elapsed: float) -> float:
        """Go on until the density of questions adds up to one."""
        step = (self.median or 0.0) / _STEPS
        worth = min(_QUESTION_WORTH, _WORTH_OF_LONG / (self.median or 1.0))
        asked, waited = 0.0, 0.0
        while asked < 1 and waited < _LONGEST / 2:
            asked += step * math.sqrt(self._hazard(elapsed + waited + step / 2) / (2 * worth))
            waited += step
        return waited

    def _hazard(self, elapsed: float) -> float:
        """Give the chance per second that a task still running at `elapsed` ends."""
        z = (math.log(elapsed) - math.log(self.median or 1.0)) / self.spread
        density = math.exp(-z * z / 2) / (elapsed * self.spread * math.sqrt(2 * math.pi))
        surviving = max(math.erfc(z / math.sqrt(2)) / 2, 1e-9)
        return density / surviving


def running_time(told: float | None, observed: float, *, is_first_look: bool) -> float | None:
    """
    Give the running time in seconds that is to be learned from a task, or None if it teaches nothing.

    `told` is what the service says, `observed` the time from acceptance to the look that found the task done; a task
    cannot have run longer than that. One that was done at the first look ran for some part of the time before.
    """
    if told is not None and told <= observed + _INSTANT:
        return told
    if not is_first_look:
        return observed
    return observed / 2 if observed < _LATE else None
