"""
The campaign against a team's server in short: the same promises in a few seconds.

The long one is for a person: `python tests/campaigns/team.py --orders 300 --replicas 3 --kills 40`.
"""

import sys

import pytest

from campaigns.team import QUICK_TIMES, Campaign, Plan

PLAN = Plan(
    orders=8,
    replicas=2,
    kills=2,
    cuts=1,
    refusals=1,
    refusal_seconds=0.5,
    each=2,
    limit=350,
    duration=(0.1, 0.8),
    # Longer than a replica needs from noting an order to sending it, and no longer: what never arrived is awaited.
    timings={**QUICK_TIMES, "create_window": 10.0},
    with_nginx=False,
)


# It ends by itself, and on a busy machine each of its kills takes its time.
@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by signals")
def test_no_order_of_a_team_is_lost_paid_twice_or_shown_to_others_whatever_replica_dies(tmp_path):
    report = Campaign(PLAN, tmp_path / "campaign").run()

    assert not report.broken, str(report)
    # The last one may find nobody at work any more.
    assert report.kills >= PLAN.kills - 1, str(report)
    assert (report.cuts, report.refusals) == (PLAN.cuts, PLAN.refusals), str(report)
    assert report.tasks + report.ends["SUBMIT_UNKNOWN/AnswerLost"] == PLAN.orders, str(report)
