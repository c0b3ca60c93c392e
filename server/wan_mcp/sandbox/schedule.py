"""When an order starts and ends, and whether it comes too soon after others."""

import math
from collections import deque
from collections.abc import Iterable

from wan_mcp.sandbox.records import TaskRecord


def find_start(earlier: Iterable[TaskRecord], model: str, *, ready: float, concurrency: int) -> float:
    """
    Find when one of the model's places is free for an order that could start at `ready`.

    Orders start in the order of their submission, so the place is free when all but `concurrency - 1` of
    the earlier ones have ended.
    """
    ends = sorted(
        record.ended
        for record in earlier
        if record.model == model and record.canceled is None and record.ended > ready
    )
    return ready if len(ends) < concurrency else ends[-concurrency]


def is_too_soon(earlier: Iterable[TaskRecord], model: str, *, now: float, rate: float) -> bool:
    """Say whether one more submission of the model exceeds `rate` submissions a second."""
    if math.isinf(rate):
        return False
    allowed, window = (int(rate), 1.0) if rate >= 1 else (1, 1 / rate)
    recent = sum(1 for record in earlier if record.model == model and now - window < record.submitted <= now)
    return recent >= allowed


class CallLimit:
    """Counts one kind of call in this process: at most `rate` in any second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._times: deque[float] = deque()

    def admits(self, now: float) -> bool:
        """Count a call at a monotonic time; False says that it comes too soon and does not count."""
        while self._times and self._times[0] <= now - 1:
            self._times.popleft()
        if len(self._times) + 1 > max(self._rate, 1):
            return False
        self._times.append(now)
        return True
