"""
The argument campaign in short: the same promises in some seconds.

The long one is for a person: `python tests/campaigns/arguments.py --cases 20000`.
"""

import runpy
import sys

import pytest

from campaigns import arguments
from campaigns.arguments import Campaign, Plan


async def test_whatever_is_said_is_answered_in_short_words_and_nothing_crashes(tmp_path):
    campaign = Campaign(Plan(cases=200, seed=1, seconds=60), tmp_path / "campaign")
    await campaign.talk()

    assert not campaign.report.broken, str(campaign.report)
    assert campaign.report.ends["answered"] > 0
    assert campaign.report.ends["refused"] > 0


def test_the_program_for_a_person_prints_its_report(monkeypatch, capsys):
    options = ["--cases", "15", "--seed", "5", "--seconds", "20"]
    monkeypatch.setattr(sys, "argv", [arguments.__file__, *options])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(arguments.__file__, run_name="__main__")

    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    assert "arguments: 15 cases, seed 5" in printed
    assert "BROKEN" not in printed
