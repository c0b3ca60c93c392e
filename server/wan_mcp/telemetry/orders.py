"""
The metrics of orders, told by the changes that the ledger has taken.

Each replica counts what it has done itself, so that sums over all replicas are right; what is read from the ledger,
the backlog, is the same at each of them.
"""

from collections.abc import Awaitable, Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from wan_mcp.clock import Clock
from wan_mcp.ledger import Backlog, ImageState, Order, Origin, Stage
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import estimate_made
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

_WAITS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Bounds of the histogram, in seconds."""
_BACKLOG_SECONDS = 10.0


class OrderMetrics:
    """Counts what happens to orders; its methods are observers of `wan_mcp.orders.context`."""

    def __init__(self, meter: Meter, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._placed = meter.create_counter("wan.orders.placed", "{order}", "Orders written down.")
        self._closed = meter.create_counter("wan.orders", "{order}", "Orders that ended, by model and outcome.")
        self._saved = meter.create_counter("wan.images.saved", "{image}", "Pictures that are verified files.")
        self._cost = meter.create_counter(
            "wan.cost",
            "{currency_unit}",
            "What the pictures that were made cost by the catalogue's prices: indicative.",
        )
        self._lost = meter.create_counter("wan.answers.lost", "{order}", "Orders whose answer was lost.")
        self._recovered = meter.create_counter(
            "wan.answers.recovered", "{order}", "Lost orders whose task was found."
        )
        self._wait = meter.create_histogram(
            "wan.limiter.wait",
            "s",
            "How long orders and questions to the service waited in line.",
            explicit_bucket_boundaries_advisory=_WAITS,
        )

    def observe_change(self, before: Order | None, after: Order) -> None:
        """Count what a change of an order means."""
        kind = {"wan.model": after.model or "", "wan.region": after.region}
        if before is None:
            self._placed.add(1, kind)
            return
        if _saved_images(after) > _saved_images(before):
            self._saved.add(_saved_images(after) - _saved_images(before), kind)
        if after.images and not before.images:
            self._add_cost(after, kind)
        if after.lost_at is not None and before.lost_at is None:
            self._lost.add(1, kind)
        if before.stage is Stage.LOST and after.stage is Stage.OPEN:
            self._recovered.add(1, kind)
        if after.stage is Stage.CLOSED and before.stage is not Stage.CLOSED:
            outcome = {"wan.outcome": after.status.lower()}
            if after.status is not TaskStatus.SUCCEEDED and after.error_code:
                outcome["error.type"] = after.error_code
            self._closed.add(1, kind | outcome)

    def observe_wait(self, line: str, seconds: float) -> None:
        """Record a wait in line."""
        self._wait.record(seconds, {"wan.line": line})

    def _add_cost(self, order: Order, kind: dict[str, str]) -> None:
        made = sum(image.state is not ImageState.FAILED for image in order.images)
        if order.request is None or order.origin is not Origin.ORDERED or not made:
            return
        for money in estimate_made(order.request, made, self._catalogue).amounts:
            self._cost.add(float(money.amount), kind | {"wan.currency": money.currency})


class BacklogReader:
    """Keeps the backlog as it was read last: who collects metrics cannot wait for a ledger."""

    def __init__(self, read: Callable[[], Awaitable[Backlog]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self.latest: Backlog | None = None

    async def run(self) -> None:
        """Read it every few seconds until cancelled; nothing is shown while the ledger cannot be read."""
        while True:
            try:
                self.latest = await self._read()
            except LedgerError:
                self.latest = None
            await self._clock.sleep(_BACKLOG_SECONDS)


def show_backlog(meter: Meter, reader: BacklogReader) -> None:
    """Make the instruments that show the backlog."""

    def show(name: str, unit: str, description: str, value: Callable[[Backlog], float]) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            backlog = reader.latest
            return [] if backlog is None else [Observation(value(backlog))]

        meter.create_observable_gauge(name, [observe], unit, description)

    show("wan.orders.open", "{order}", "Unfinished orders in the ledger.", lambda each: each.orders)
    show("wan.orders.leased", "{order}", "Unfinished orders that a replica works on.", lambda each: each.leased)
    show(
        "wan.images.oldest_unsaved_age",
        "s",
        "Seconds since the end of the task whose pictures are unsaved for longest. They are lost after a day.",
        lambda each: each.oldest_unsaved_seconds,
    )


def _saved_images(order: Order) -> int:
    return sum(image.state is ImageState.SAVED for image in order.images)
