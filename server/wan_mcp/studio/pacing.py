"""
When to ask the service how a task is doing, and how long it will probably take.

Asking before a task can be ready is wasted. The first question comes at a low quantile of what earlier tasks of
the kind took; after that the interval follows the chance that the task has just ended: for a hazard rate h the
cost of delay plus questions is least near intervals of sqrt(2c / h) (J. B. Keller, "Optimum checking schedules
for systems subject to random failure", Management Science 21, 1974), where c is the delay in seconds that one
question is worth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ENOUGH = 5
"""Durations needed before they are trusted more than a guess."""
_QUESTION_WORTH = 0.45
_SHORTEST, _LONGEST = 2.0, 15.0
_GUESS_GROWTH, _GUESS_MOST = 1.3, 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """
    A plan for tasks whose running times are about log-normal.

    Without `median` it is a guess: first after `guess` seconds, then ever more seldom up to five times that.
    """

    median: float | None = None
    spread: float = 0.0
    guess: float = 1.0

    @classmethod
    def learn(cls, durations: Sequence[float], guess: float = 1.0) -> "Pace":
        """Fit a plan to the running times, in seconds, of earlier tasks of the kind."""
        if len(durations) < _ENOUGH:
            return cls(guess=guess)
        logs = sorted(math.log(max(duration, 0.01)) for duration in durations)
        middle = len(logs) // 2
        median = logs[middle] if len(logs) % 2 else (logs[middle - 1] + logs[middle]) / 2
        variance = sum((value - median) ** 2 for value in logs) / len(logs)
        return cls(median=math.exp(median), spread=max(math.sqrt(variance), 0.1))

    def first(self) -> float:
        """Give the seconds from acceptance to the first question: early rather than late."""
        if self.median is None:
            return self.guess
        low_quantile = self.median * math.exp(-1.645 * self.spread)
        return min(low_quantile, 0.6 * self.median) if self.median >= 1 else 0.0

    def next(self, elapsed: float, previous: float) -> float:
        """Give the seconds until the next question, `elapsed` after acceptance and `previous` after the last."""
        if self.median is None:
            return min(max(previous, self.guess) * _GUESS_GROWTH, self.guess * _GUESS_MOST)
        if elapsed > self.median * math.exp(2.326 * self.spread):
            # Past the 99th percentile nothing is known any more: ask ever more seldom.
            return min(max(previous, _SHORTEST) * 1.25, _LONGEST)
        shortest = min(_SHORTEST, max(0.1, self.median / 5))
        return min(max(math.sqrt(2 * _QUESTION_WORTH / self._hazard(elapsed)), shortest), _LONGEST / 2)

    def _hazard(self, elapsed: float) -> float:
        """Give the chance per second that a task still running now ends."""
        median = self.median or 1.0
        elapsed = max(elapsed, 0.01)
        z = (math.log(elapsed) - math.log(median)) / self.spread
        density = math.exp(-z * z / 2) / (elapsed * self.spread * math.sqrt(2 * math.pi))
        surviving = max(math.erfc(z / math.sqrt(2)) / 2, 1e-9)
        return max(density / surviving, 1e-9)


def backoff(attempt: int, first: float, most: float) -> float:
    """Give the seconds before attempt number `attempt` (from 1), doubling up to `most`."""
    return min(first * 2 ** min(attempt - 1, 20), most)
