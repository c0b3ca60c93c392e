"""What ordering stands on: the ledger, the service, the image files, a clock, and how long things may take."""

from dataclasses import dataclass

from wan_mcp.clock import Clock
from wan_mcp.dashscope import DashScope
from wan_mcp.ledger import Ledger
from wan_mcp.storage import Storage


@dataclass(frozen=True, slots=True)
class Context:
    """The adapters that orders are placed, followed and collected with."""

    ledger: Ledger
    dashscope: DashScope
    storage: Storage
    clock: Clock


@dataclass(frozen=True, slots=True)
class Timings:
    """
    The times of ordering and following.

    `lease` is how long a row belongs to a process that has fallen silent; `renew` how often a living one renews.
    `submit_slot_seconds` is the same for an order whose creating request is unanswered. `poll_interval` is how often
    an idle process looks whether the ledger has changed. `create_window` is how long after
    sending the service may still create the task. `settle` is how long a lost order's candidates are watched
    before one is adopted, `search_grace` how long none may show before the search ends.
    """

    lease: float = 30.0
    renew: float = 10.0
    start_delay: float = 1.0
    poll_interval: float = 3.0
    submit_slot_seconds: float = 6.0
    throttle_patience: float = 120.0
    throttle_step: float = 1.0
    first_look: float = 1.0
    connect_attempts: int = 4
    create_window: float = 75.0
    skew: float = 1.5
    settle: float = 10.0
    search_grace: float = 90.0
    search_step: float = 2.0
    unknown_answers: int = 3
    save_attempts: int = 4
    save_step: float = 1.0
    save_again: float = 30.0
    save_again_most: float = 600.0
    trouble_step: float = 1.0
    trouble_most: float = 60.0
    stop: float = 1.5
    progress: float = 4.0

    @property
    def longest_lease(self) -> float:
        """No lease written by a clock that agrees with ours can last longer."""
        return self.lease * 1.5


def backoff(attempt: int, first: float, most: float) -> float:
    """Give the seconds before attempt number `attempt` (from 1), doubling up to `most`."""
    return min(first * 2 ** min(attempt - 1, 20), most)
