"""What the orders of some days cost, by this machine's calendar."""

import time
from datetime import date

import pytest

from fakes.clock import FakeClock
from fakes.orders import placed
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.orders.listing import report_costs
from wan_mcp_tools.catalogue.catalogue import Catalogue

MARCH_1_AT_23_UTC = 1_772_406_000.0


@pytest.fixture
async def ledger(tmp_path):
    ledger = open_sqlite_ledger(tmp_path / "ledger.sqlite3", FakeClock(MARCH_1_AT_23_UTC))
    yield ledger
    await ledger.close()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed there")
@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC0", [date(2026, 3, 1)]),
        ("XST-9", [date(2026, 3, 2)]),
        # Its clocks go forward on 2 March at 8:00: the day has 23 hours.
        ("XST-9XDT-10,J61/8,J300", [date(2026, 3, 2)]),
    ],
)
async def test_a_day_is_one_of_this_machines_calendar(ledger, monkeypatch, zone, days):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        await placed(ledger)
        clock = FakeClock(MARCH_1_AT_23_UTC)
        for seconds in (0, 3 * 86_400):
            clock.advance(seconds)
            report = await report_costs(ledger, clock, Catalogue(), since="7 days", until=None)
            assert [line.count.day for line in report.lines] == days
        assert (await report_costs(ledger, clock, Catalogue(), since="2 days", until=None)).lines == ()
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_a_ledger_that_is_not_there_costs_nothing_and_is_not_made(ledger, tmp_path):
    report = await report_costs(ledger, FakeClock(), Catalogue(), since="7 days", until=None)

    assert (report.lines, report.unclear, report.found) == ((), 0, 0)
    assert list(tmp_path.iterdir()) == []
