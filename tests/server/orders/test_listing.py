"""What the orders of some days cost, by this machine's calendar."""

import time
from datetime import date

import pytest

from fakes.clock import FakeClock
from fakes.orders import FAILED, LEASE, placed, save
from fakes.recording_database import RecordingDatabase
from wan_mcp.ledger import Ledger
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.search import OrderSearch, read_period, report_costs
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import OrderQuery, OrderState

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
            report = await report_costs(ledger, clock, Catalogue(), since="7 days", until=None, principal=None)
            assert [line.count.day for line in report.lines] == days
        assert (
            await report_costs(ledger, clock, Catalogue(), since="2 days", until=None, principal=None)
        ).lines == ()
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_a_ledger_that_is_not_there_costs_nothing_and_is_not_made(ledger, tmp_path):
    report = await report_costs(ledger, FakeClock(), Catalogue(), since="7 days", until=None, principal=None)

    assert (report.lines, report.unclear, report.found) == ((), 0, 0)
    assert list(tmp_path.iterdir()) == []


# --- periods ------------------------------------------------------------------------------------------------


@pytest.fixture
def in_zone(monkeypatch):
    """Let this machine be in a zone, where a process can change its own."""

    def change(zone):
        if not hasattr(time, "tzset"):
            pytest.skip("the zone of a process cannot be changed there")
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield change
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()


NOON_1_MARCH = MARCH_1_AT_23_UTC - 11 * 3600
HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("zone", "since", "until", "expected"),
    [
        ("UTC0", "2026-03-01", "2026-03-01", (-12 * HOUR, 12 * HOUR)),
        ("UTC0", "today", None, (-12 * HOUR, None)),
        ("UTC0", " Yesterday ", "yesterday", (-36 * HOUR, -12 * HOUR)),
        ("UTC0", "1 day", None, (-12 * HOUR, None)),
        ("UTC0", "7 days", "today", (-12 * HOUR - 6 * DAY, 12 * HOUR)),
        ("UTC0", "2026-03-01T11:30", "2026-03-01T12:00:00.5", (-HOUR / 2, 0.5)),
        ("XST-9", "2026-03-01T21:00", "2026-03-01T13:00Z", (0, HOUR)),
        ("XST-9", "2026-03-01T08:00+02:00", None, (-6 * HOUR, None)),
        ("XST-9", None, "2026-03-01", (None, 3 * HOUR)),
        # Its clocks go forward on 1 March at 8:00: the day has 23 hours.
        ("XST-9XDT-10,J60/8,J300", "2026-03-01", "2026-03-01", (-21 * HOUR, 2 * HOUR)),
    ],
)
def test_a_period_is_read_by_this_machines_calendar_unless_it_has_a_zone(in_zone, zone, since, until, expected):
    in_zone(zone)
    period = read_period(since, until, NOON_1_MARCH)

    assert (period.since, period.until) == tuple(None if each is None else NOON_1_MARCH + each for each in expected)


@pytest.mark.parametrize(
    "text", ["last summer", "2026-13-01", "27.11.2026", "0999-01-01", "", "99999 days", "١ days"]
)
@pytest.mark.parametrize("name", ["since", "until"])
def test_what_is_no_day_and_no_time_is_refused_with_what_is(name, text):
    words = {"since": None, "until": None} | {name: text}
    with pytest.raises(RequestRefusedError, match=f"{name}=.* is no day and no time") as raised:
        read_period(**words, now=NOON_1_MARCH)
    assert "2026-11-27" in raised.value.advice


@pytest.mark.parametrize(("since", "until"), [("today", "yesterday"), ("2026-03-01T12:00", "2026-03-01T12:00")])
def test_a_period_that_ends_before_it_begins_is_refused(since, until):
    with pytest.raises(RequestRefusedError, match="is not before"):
        read_period(since, until, NOON_1_MARCH)


async def test_costs_are_those_of_the_orders_of_the_period(tmp_path, in_zone):
    in_zone("UTC0")
    clock = FakeClock(MARCH_1_AT_23_UTC)
    ledger = open_sqlite_ledger(tmp_path / "ledger.sqlite3", clock)
    await placed(ledger)
    clock.advance(2 * HOUR)
    await placed(ledger)

    async def days(since=None, until=None):
        report = await report_costs(ledger, clock, Catalogue(), since=since, until=until, principal=None)
        return [line.count.day.day for line in report.lines], report.since.day, report.until.day

    assert await days() == ([2, 1], 1, 2)
    assert await days("today") == ([2], 2, 2)
    assert await days("yesterday", "yesterday") == ([1], 1, 1)
    assert await days("2026-03-01T23:30", "2026-03-02T00:30") == ([], 1, 2)
    assert await days("2026-03-01T22:30", "2026-03-01T23:30") == ([1], 1, 1)
    assert await days(None, "2026-02-01") == ([], 1, 1)
    assert await days("2020-01-01", "2030-01-31") == ([2, 1], 1, 31)
    assert await days("2030-01-01") == ([], 1, 1)
    await ledger.close()


# --- numbers -------------------------------------------------------------------------------------------------


async def test_orders_are_counted_anew_only_after_a_write_that_changes_a_number(tmp_path):
    clock = FakeClock()
    opened = open_sqlite_ledger(tmp_path / "ledger.sqlite3", clock)
    databases = [RecordingDatabase(database) for database in opened._databases]
    ledger, executed = Ledger(*databases), databases[0].executed
    search = OrderSearch(ledger, live=LiveOrders(), images=None)
    query = OrderQuery(text="flower")
    order = await placed(ledger)

    def looks():
        """How often the orders themselves were looked through since."""
        found = sum("LIKE" in statement for statement, _ in executed)
        executed.clear()
        return found

    assert (await search.count(query, principal=None)).orders == 1
    assert looks() == 1
    await search.count(query, principal=None)
    assert executed == []
    await ledger.leases.renew("me", lease=LEASE)
    assert (await search.count(query, principal=None)).orders == 1
    assert looks() == 0
    await save(ledger, order, **FAILED)
    assert (await search.count(OrderQuery(text="flower", state=OrderState.FAILED), principal=None)).orders == 1
    assert looks() == 1
    await ledger.close()
