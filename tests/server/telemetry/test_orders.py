"""The metrics of orders, counted from the changes of their rows."""

from dataclasses import replace

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from fakes.orders import make_order
from wan_mcp.app import build_catalogue
from wan_mcp.ledger import Backlog, ImageState, OrderImage, Stage
from wan_mcp.settings import read_settings
from wan_mcp.telemetry.orders import BacklogReader, OrderMetrics, show_backlog
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

WAITING = OrderImage(1, ImageState.WAITING, url="https://images/1")
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/1.png")


class EndOfTestError(Exception):
    pass


class Measured:
    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.meter = MeterProvider([self.reader], shutdown_on_exit=False).get_meter("tests")
        self.metrics = OrderMetrics(self.meter, build_catalogue(read_settings({"HOME": "/nowhere"})))

    def read(self):
        """Give every value by the name of its metric and its attributes."""
        data = self.reader.get_metrics_data()
        return {
            (metric.name, *sorted(point.attributes.values())): getattr(point, "value", None)
            or getattr(point, "sum", 0)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


@pytest.fixture
def measured():
    return Measured()


def test_an_order_is_counted_when_it_is_placed_and_when_it_ends_with_its_pictures_and_what_they_cost(measured):
    placed = make_order(stage=Stage.SENDING, region="singapore", model="wan2.6-t2i")
    opened = replace(placed, stage=Stage.OPEN, task_id="task-1")
    made = replace(opened, status=TaskStatus.SUCCEEDED, images=(WAITING, replace(WAITING, index=2)))
    saved = replace(made, images=(SAVED, replace(WAITING, index=2)))
    closed = replace(saved, stage=Stage.CLOSED, images=(SAVED, replace(SAVED, index=2)))
    for before, after in ((None, placed), (placed, opened), (opened, made), (made, saved), (saved, closed)):
        measured.metrics.observe_change(before, after)

    kind = ("singapore", "wan2.6-t2i")
    assert measured.read() == {
        ("wan.orders.placed", *kind): 1,
        ("wan.images.saved", *kind): 2,
        ("wan.orders", "singapore", "succeeded", "wan2.6-t2i"): 1,
        ("wan.cost", "USD", *kind): pytest.approx(0.06),
    }


def test_a_lost_answer_and_a_found_task_are_counted_and_so_is_why_an_order_failed(measured):
    sending = make_order(stage=Stage.SENDING, region="singapore", model="wan2.6-t2i")
    lost = replace(sending, stage=Stage.LOST, status=TaskStatus.SUBMIT_UNKNOWN, lost_at=5.0)
    found = replace(lost, stage=Stage.OPEN, task_id="task-1")
    failed = replace(found, stage=Stage.CLOSED, status=TaskStatus.FAILED, error_code="DataInspectionFailed")
    for before, after in ((sending, lost), (lost, found), (found, failed)):
        measured.metrics.observe_change(before, after)
    measured.metrics.observe_wait("query", 0.25)

    kind = ("singapore", "wan2.6-t2i")
    assert measured.read() == {
        ("wan.answers.lost", *kind): 1,
        ("wan.answers.recovered", *kind): 1,
        ("wan.orders", "DataInspectionFailed", "failed", *kind): 1,
        ("wan.limiter.wait", "query"): 0.25,
    }


async def test_the_backlog_is_shown_as_it_was_read_last_and_not_at_all_where_the_ledger_cannot_be_read(measured):
    shown = []
    found = [Backlog(3, 2, 40.0), LedgerError("gone", "")]

    async def read():
        value = found.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    class Clock:
        """Ends the test in the pause after which nothing is left to be found."""

        async def sleep(self, seconds):
            shown.append(measured.read())
            if not found:
                raise EndOfTestError

    reader = BacklogReader(read, Clock())
    show_backlog(measured.meter, reader)
    assert measured.read() == {}
    with pytest.raises(EndOfTestError):
        await reader.run()

    assert shown == [
        {("wan.orders.open",): 3, ("wan.orders.leased",): 2, ("wan.images.oldest_unsaved_age",): 40.0},
        {},
    ]
