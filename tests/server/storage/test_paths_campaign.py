"""
The campaign of paths in short: hostile folders and names, and folders and files that change under a running server.

The long one is for a person: `python tests/campaigns/paths.py --cases 2000`.
"""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from campaigns import paths
from campaigns.paths import Campaign, Plan

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")


@pytest.mark.timeout(150)
async def test_whatever_a_path_is_nothing_outside_is_touched_and_no_picture_is_lost(tmp_path):
    campaign = Campaign(Plan(cases=50, seed=7, seconds=20), tmp_path / "campaign")
    await campaign.attack()

    assert not campaign.report.broken, str(campaign.report)
    assert campaign.report.ends["answered"] > 0
    assert campaign.report.ends["refused"] > 0
    assert campaign.report.figures["images paid"]


@pytest.mark.timeout(150)
async def test_the_program_for_a_person_prints_its_report():
    command = [sys.executable, str(Path(paths.__file__)), "--cases", "6", "--seed", "5", "--seconds", "10"]
    done = await anyio.run_process(command, stderr=subprocess.DEVNULL, check=False)

    assert done.returncode == 0, done.stdout
    assert b"paths: 6 cases, seed 5" in done.stdout
    assert b"BROKEN" not in done.stdout
