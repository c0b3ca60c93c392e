"""What orders are worked on with: ledger, service, storage, clock; who is told of it; and the times of all of it."""

import logging
from collections.abc import Callable

from wan_mcp.clock import Clock
from wan_mcp.dashscope import DashScope
from wan_mcp.ledger import Ledger, Order
from wan_mcp.storage import Storage
from wan_mcp_tools.domain.record import Record

ObserveChange = Callable[[Order | None, Order], None]
"""Is told of an order as the ledger had it, None if it had not, and as it has it now."""
ObserveWait = Callable[[str, float], None]
"""Is told that something has waited in line: `query` or `create`, and for how many seconds."""

_log = logging.getLogger(__name__)


class Observers(Record):
    """Functions that are told of what this process has written down. What they raise goes to the log, no further."""

    changed: tuple[ObserveChange, ...] = ()
    waited: tuple[ObserveWait, ...] = ()

    def tell_change(self, before: Order | None, after: Order) -> None:
        """Tell of a change that the ledger has taken."""
        for observe in self.changed:
            try:
                observe(before, after)
            except Exception:  # noqa: BLE001 - who only looks on must not stop the work
                _log.exception("a change of an order could not be observed")

    def tell_wait(self, line: str, seconds: float) -> None:
        """Tell of the end of a wait in line."""
        for observe in self.waited:
            try:
                observe(line, seconds)
            except Exception:  # noqa: BLE001 - the same
                _log.exception("a wait could not be observed")


NO_OBSERVERS = Observers()
"""Metrics and the audit log observe, where they are wanted; by itself nobody does."""


class OrderContext(Record):
    """The adapters that orders are placed, followed and collected with, and who is told of it."""

    ledger: Ledger
    dashscope: DashScope
    storage: Storage
    clock: Clock
    observers: Observers = NO_OBSERVERS


class Timings(Record):
    """
    How long things take or may take, in seconds, and how often they are tried.

    A pause that doubles begins at a `…_step` and ends at a `…_most`.

    - Leases: `lease` is how long a row belongs to a process that has fallen silent, and `renew_interval` how often a
      living one renews. An idle process looks every `ledger_interval` whether the ledger has changed, for the first
      time after `start_delay`; a call that waits for an order of another process looks every `wait_interval`. Both
      look at once where the database tells of changes. A process that ends lets requests under way finish for
      `stop_seconds`.
    - Sending: `submit_slot_seconds` is how long an unanswered creating request holds up the next one. An order that
      the service throttles stands in line for `throttle_patience`; a connection is tried `connect_attempts` times.
    - Polling: the first question comes after `first_poll` where nothing was learned; a task counts as unknown after
      `unknown_answers` answers that say so.
    - A lost answer: the service may create the task up to `create_window` after the sending, its clock and its list
      differ from ours by up to `clock_skew` and `list_lag`, and the search ends if nothing shows for `search_grace`.
    - Saving: the first round tries an image `save_attempts` times; `save_again` later comes the next round.
    - `progress_interval` is how often a caller is told of the progress.
    """

    lease: float = 30.0
    renew_interval: float = 10.0
    start_delay: float = 1.0
    ledger_interval: float = 3.0
    wait_interval: float = 0.5
    submit_slot_seconds: float = 6.0
    throttle_patience: float = 120.0
    throttle_step: float = 1.0
    first_poll: float = 1.0
    connect_attempts: int = 4
    create_window: float = 75.0
    clock_skew: float = 1.5
    list_lag: float = 10.0
    search_grace: float = 90.0
    search_step: float = 2.0
    unknown_answers: int = 3
    save_attempts: int = 4
    save_step: float = 1.0
    save_again: float = 30.0
    save_again_most: float = 600.0
    retry_step: float = 1.0
    retry_most: float = 60.0
    stop_seconds: float = 1.5
    progress_interval: float = 4.0

    @property
    def longest_lease(self) -> float:
        """No lease written by a clock that agrees with ours can last longer."""
        return self.lease * 1.5


def backoff(attempt: int, first: float, most: float) -> float:
    """Give the seconds before attempt number `attempt` (from 1), doubling up to `most`."""
    return min(first * 2 ** min(attempt - 1, 20), most)
