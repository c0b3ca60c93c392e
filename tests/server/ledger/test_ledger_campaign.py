"""
The campaign of damaged ledgers in short.

The long one is for a person: `python tests/campaigns/ledger_damage.py --cases 1000`.
"""

import logging

import pytest

from campaigns.ledger_damage import Campaign


@pytest.mark.timeout(150)
def test_no_damage_to_a_ledger_ends_anything_or_goes_unsaid(tmp_path):
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        report = Campaign(tmp_path, seed=7).run(cases=4, seconds=60)
    finally:
        root.setLevel(level)
        for handler in [each for each in root.handlers if each not in handlers]:
            root.removeHandler(handler)

    assert not report.broken, str(report)
    assert report.cases >= 2
