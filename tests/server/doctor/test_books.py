"""The ledger: its age and soundness, what is unfinished, and how much may still be ordered."""

import sqlite3
from contextlib import closing

import pytest

from fakes.orders import OPEN, accepted, place
from wan_mcp.doctor import Verdict
from wan_mcp.ledger import SqliteLedger
from wan_mcp.ledger.migrations import MIGRATIONS

HOUR = 3600.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
async def ledger(path, clock):
    ledger = SqliteLedger(path, clock)
    yield ledger
    await ledger.close()


def run(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)


async def examine(clinic, **environ):
    return await clinic.examine(DASHSCOPE_REGION="sandbox", **environ)


async def test_a_ledger_that_is_not_there_is_not_made(clinic, path):
    report = await examine(clinic)

    assert report.one("ledger").found == "not there yet; the first order makes it"
    assert report.one("limit").found == "0 of 100"
    assert not path.parent.exists()


async def test_a_sound_ledger_tells_its_version_and_orders(clinic, ledger):
    await place(ledger, images=3)

    report = await examine(clinic)

    assert report.one("ledger").found == f"version {max(MIGRATIONS)}, sound, 1 order"
    assert report.one("limit").found == "3 of 100"


async def test_looking_at_a_ledger_changes_no_byte_of_it(clinic, ledger, path):
    await place(ledger)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    await examine(clinic)

    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


async def test_an_older_ledger_is_in_order_and_stays_old(clinic, path):
    path.parent.mkdir()
    run(path, "PRAGMA user_version = 0")

    report = await examine(clinic)

    assert (report.problems, report.notes) == ([], [])
    assert "brings it up to date" in report.one("ledger").found
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (0,)


async def test_a_ledger_of_a_newer_release_is_a_problem(clinic, ledger, path):
    await place(ledger)
    run(path, f"PRAGMA user_version = {max(MIGRATIONS) + 1}")

    finding = (await examine(clinic)).problem_of("ledger")

    assert "written by a newer release" in finding.found
    assert "Update wan-mcp" in finding.remedy


async def test_a_file_that_is_no_ledger_is_a_problem(clinic, path):
    path.parent.mkdir()
    path.write_bytes(b"no ledger at all" * 1000)

    finding = (await examine(clinic)).problem_of("ledger")

    assert "is damaged" in finding.found
    assert "Move the file away" in finding.remedy


async def test_a_damaged_ledger_is_a_problem(clinic, ledger, path):
    for _ in range(200):
        await place(ledger)
    await ledger.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(content)

    finding = (await examine(clinic)).problem_of("ledger")

    assert "damaged" in finding.found
    assert "Move the file away" in finding.remedy


async def test_a_ledger_that_another_program_holds_is_told(clinic, ledger, path):
    await place(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        report = await examine(clinic)

    assert "locked by another program" in report.one("ledger").found


@pytest.mark.parametrize(("ordered", "verdict"), [(3, Verdict.OK), (4, Verdict.NOTE), (5, Verdict.PROBLEM)])
async def test_the_daily_limit_is_told_before_it_is_met(clinic, ledger, ordered, verdict):
    await place(ledger, images=ordered)

    finding = (await examine(clinic, WAN_MCP_DAILY_IMAGE_LIMIT="5")).one("limit")

    assert finding.verdict is verdict
    assert finding.found.startswith(f"{ordered} of 5")
    assert ("WAN_MCP_DAILY_IMAGE_LIMIT" in finding.remedy) == (verdict is not Verdict.OK)


async def test_orders_of_yesterday_do_not_count(clinic, ledger, clock):
    await place(ledger, images=5)
    clock.advance(25 * HOUR)

    assert (await examine(clinic, WAN_MCP_DAILY_IMAGE_LIMIT="5")).one("limit").verdict is Verdict.OK


async def test_without_a_limit_there_is_none_to_meet(clinic, ledger):
    await place(ledger, images=400)

    assert (await examine(clinic, WAN_MCP_DAILY_IMAGE_LIMIT="0")).one("limit").found == "400, and no limit is set"


async def open_task(ledger, clock):
    order = await accepted(ledger, "task-1")
    return await ledger.advance(order, {**OPEN, "expires_at": clock.now() + 24 * HOUR})


async def test_a_task_that_a_living_process_works_on_is_in_order(clinic, ledger, clock):
    await open_task(ledger, clock)

    assert (await examine(clinic)).one("tasks").found == "1, and a running wan-mcp works on them"


async def test_a_task_that_nobody_works_on_is_worth_a_note(clinic, ledger, clock):
    await open_task(ledger, clock)
    clock.advance(HOUR)

    finding = (await examine(clinic)).one("tasks")

    assert finding.verdict is Verdict.NOTE
    assert finding.found == "1 task that nobody works on: task-1 (23 h 00 min left)"
    assert "wan-mcp collect" in finding.remedy


async def test_a_task_near_its_24_hours_is_a_problem(clinic, ledger, clock):
    await open_task(ledger, clock)
    clock.advance(22.5 * HOUR)

    finding = (await examine(clinic)).problem_of("tasks")

    assert "task-1 (1 h 30 min left)" in finding.found
    assert "Run wan-mcp collect now" in finding.remedy


async def test_a_task_near_its_24_hours_that_is_worked_on_is_worth_a_note(clinic, ledger, clock):
    await open_task(ledger, clock)
    clock.advance(22.5 * HOUR)
    await ledger.renew("me", lease=30.0)

    assert (await examine(clinic)).one("tasks").verdict is Verdict.NOTE
