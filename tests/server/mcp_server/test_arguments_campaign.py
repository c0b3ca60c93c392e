"""
The argument campaign in short: the same promises in some seconds.

The long one is for a person: `python tests/campaigns/arguments.py --cases 20000`.
"""

import subprocess
import sys
from pathlib import Path

import anyio

from campaigns import arguments
from campaigns.arguments import Campaign, Plan


async def test_whatever_is_said_is_answered_in_short_words_and_nothing_crashes(tmp_path):
    campaign = Campaign(Plan(cases=200, seed=1, seconds=60), tmp_path / "campaign")
    await campaign.talk()

    assert not campaign.report.broken, str(campaign.report)
    assert campaign.report.ends["answered"] > 0
    assert campaign.report.ends["refused"] > 0


async def test_the_program_for_a_person_prints_its_report():
    command = [sys.executable, str(Path(arguments.__file__)), "--cases", "30", "--seed", "5", "--seconds", "20"]
    done = await anyio.run_process(command, stderr=subprocess.DEVNULL, check=False)

    assert done.returncode == 0, done.stdout
    assert b"arguments: 30 cases, seed 5" in done.stdout
    assert b"BROKEN" not in done.stdout
