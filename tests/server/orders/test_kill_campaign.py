"""
The kill campaigns in short: the same promises in a few seconds.

The long ones are for a person: `python tests/campaigns/kill.py --orders 300 --processes 6 --kills 40`.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns import kill
from campaigns.kill import Campaign, Plan

SHORT = {"lease": 0.9, "renew_interval": 0.3, "search_grace": 1.2, "create_window": 30.0}

PLANS = {
    "whoever is killed": Plan(
        orders=14, processes=3, kills=3, limit=350, duration=(0.1, 0.8), timings=SHORT | {"submit_slot_seconds": 0.6}
    ),
    "whoever is killed in a submit without an echo of the prompt": Plan(
        orders=7,
        processes=3,
        kills=3,
        protocol="new",
        faults=False,
        limit=350,
        duration=(0.1, 0.4),
        timings=SHORT | {"submit_slot_seconds": 2.0, "clock_skew": 0.5},
    ),
}
WITH_PICTURES = replace(PLANS["whoever is killed"], orders=8, kills=2, pictures=True)
PLANS |= {"whoever is killed, with pictures": WITH_PICTURES} | {
    f"{name}, on PostgreSQL": replace(plan, ledger="postgres", cuts=2, restarts=1) for name, plan in PLANS.items()
}


# It ends by itself, and on a busy machine each of its kills takes its time.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_order_ends_as_its_file_and_none_is_paid_twice(tmp_path, plan):
    report = Campaign(plan, tmp_path / "campaign").run()

    assert not report.broken, str(report)
    # The last one may find nobody at work any more.
    assert report.kills >= plan.kills - 1, str(report)
    assert (report.cuts or 0, report.restarts or 0) == (plan.cuts, plan.restarts), str(report)
    assert report.tasks + report.ends["SUBMIT_UNKNOWN/AnswerLost"] == plan.orders, str(report)
    if plan.protocol == "new":
        # On a busy machine an answer may come between the look at the ledger and the kill.
        assert report.kills_in_a_submit >= report.kills / 2, str(report)
        assert report.unclear == 0, str(report)


def test_the_program_for_a_person_runs_a_campaign_and_prints_its_report():
    command = [sys.executable, str(Path(kill.__file__)), "--orders", "6", "--processes", "2"]
    command += ["--kills", "1", "--stops", "1", "--limit", "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 orders, 2 processes, 1 kills, 1 stops" in done.stdout
    assert "BROKEN" not in done.stdout
