"""Who is told what happens to orders: metrics and the audit log, where they are wanted. By itself nobody is."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from wan_mcp.ledger import Order

ObserveChange = Callable[[Order | None, Order], None]
"""Is told of an order as the ledger had it, None if it had not, and as it has it now."""
ObserveWait = Callable[[str, float], None]
"""Is told that something has waited in line: `query` or `create`, and for how many seconds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observers:
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
