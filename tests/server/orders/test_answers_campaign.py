"""
The campaign of answers in short: orders to a service that answers in every way but the usual one.

The long one is for a person: `python tests/campaigns/answers.py --cases 2000`.
"""

import anyio
import pytest

from campaigns.answers import Campaign


@pytest.mark.timeout(150)
def test_whatever_the_answers_are_nothing_crashes_and_nothing_is_lost(tmp_path):
    campaign = Campaign(cases=40, seed=7, seconds=60, folder=tmp_path)
    report = anyio.run(campaign.run)
    assert report.broken == []
    assert report.images
    assert report.cases > 20
