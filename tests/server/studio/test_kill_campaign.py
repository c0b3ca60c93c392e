"""
The kill campaigns in short: the same promises in a few seconds.

The long ones are for a person: `python tests/campaigns/kill.py --orders 300 --processes 6 --kills 40`.
"""

import pytest

from campaigns.campaign import Campaign, Plan

SHORT = {"lease": 0.9, "renew": 0.3, "grace": 1.2, "create_window": 2.0}

PLANS = {
    "whoever is killed": Plan(
        orders=24, processes=3, kills=5, limit=45, duration=(0.1, 0.8), timings=SHORT | {"slot": 0.6}
    ),
    "whoever is killed or held still": Plan(
        orders=16, processes=3, kills=2, stops=3, limit=45, duration=(0.1, 0.8), timings=SHORT | {"slot": 0.6}
    ),
    "whoever is killed in a submit without an echo of the prompt": Plan(
        orders=10,
        processes=3,
        kills=4,
        protocol="new",
        faults=False,
        limit=45,
        duration=(0.1, 0.4),
        timings=SHORT | {"slot": 1.4, "skew": 0.5},
    ),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_order_ends_as_its_file_and_none_is_paid_twice(tmp_path, plan):
    report = Campaign(plan, tmp_path / "campaign").run()

    assert not report.broken, str(report)
    assert report.kills == plan.kills
    assert report.stops == plan.stops
    assert report.tasks + report.ends["SUBMIT_UNKNOWN/AnswerLost"] >= plan.orders
    if plan.protocol == "new":
        assert report.kills_in_a_submit == plan.kills
        assert report.unclear == 0
