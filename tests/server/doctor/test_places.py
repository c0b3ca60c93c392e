"""The folders: found out without leaving anything behind."""

import errno
import os

import pytest

from wan_mcp.doctor import Verdict
from wan_mcp.storage.disk import Disk

GIB = 1 << 30


def list_files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refuse(path):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


async def examine(clinic, *, free=50 * GIB, network=None, create_new=None, **environ):
    disk = Disk(count_free_bytes=lambda folder: free)
    if create_new:
        disk = Disk(count_free_bytes=lambda folder: free, create_new=create_new)
    words = {"disk": disk, "find_network_drive": lambda folder: network}
    return await clinic.examine(words=words, DASHSCOPE_REGION="sandbox", **environ)


async def test_folders_that_are_not_there_yet_are_not_made(clinic, tmp_path):
    report = await examine(clinic)

    assert [finding.found for finding in report.of("folder")] == [
        f"not there yet, and can be made in {tmp_path}, 50 GiB free"
    ] * 2
    assert list_files(tmp_path) == []


async def test_folders_are_written_to_and_left_as_they_were(clinic, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "state").mkdir()

    report = await examine(clinic)

    assert [finding.found for finding in report.of("folder")] == ["can be written to, 50 GiB free"] * 2
    assert list_files(tmp_path) == ["pictures", "state"]


@pytest.mark.parametrize(("name", "setting"), [("pictures", "WAN_MCP_OUTPUT_DIR"), ("state", "WAN_MCP_STATE_DIR")])
async def test_a_folder_that_refuses_names_its_setting(clinic, tmp_path, name, setting):
    (tmp_path / name).mkdir()

    finding = (await examine(clinic, create_new=refuse)).problem_of("folder")

    assert str(tmp_path / name) in finding.looked_at
    assert "does not permit" in finding.found
    assert setting in finding.remedy


async def test_a_file_in_the_place_of_a_folder_is_a_problem(clinic, tmp_path):
    (tmp_path / "pictures").write_text("no folder")

    finding = (await examine(clinic)).problem_of("folder")

    assert finding.found == f"{tmp_path / 'pictures'} is no folder"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing keeps root out")
async def test_a_folder_that_cannot_be_made_is_a_problem(clinic, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)

    finding = (await examine(clinic, WAN_MCP_OUTPUT_DIR=str(closed / "pictures"))).problem_of("folder")

    assert f"{closed}, where it would be made, cannot be written to" in finding.found


async def test_further_folders_are_looked_at_too(clinic, tmp_path):
    (tmp_path / "further").write_text("no folder")

    finding = (await examine(clinic, WAN_MCP_ALLOWED_DIRS=str(tmp_path / "further"))).problem_of("folder")

    assert "WAN_MCP_ALLOWED_DIRS" in finding.remedy


@pytest.mark.parametrize(
    ("free", "verdict"), [(10_000_000, Verdict.PROBLEM), (500_000_000, Verdict.NOTE), (None, Verdict.OK)]
)
async def test_a_disk_that_is_nearly_full_is_told(clinic, free, verdict):
    findings = (await examine(clinic, free=free)).of("folder")

    assert {finding.verdict for finding in findings} == {verdict}
    assert all(("Free some space" in finding.remedy) == (verdict is not Verdict.OK) for finding in findings)


async def test_a_network_drive_is_worth_a_note_for_the_ledger_only(clinic, tmp_path):
    report = await examine(clinic, network="nfs4")

    (note,) = report.notes
    assert str(tmp_path / "state") in note.looked_at
    assert "on a network drive (nfs4)" in note.found
    assert "WAN_MCP_STATE_DIR" in note.remedy
    assert sum("on a network drive" in finding.found for finding in report.of("folder")) == 2


async def test_a_folder_whose_setting_is_faulty_is_not_replaced_by_another(clinic, tmp_path):
    report = await examine(clinic, WAN_MCP_OUTPUT_DIR="relative/folder", WAN_MCP_STATE_DIR="also/relative")

    assert report.of("folder") == []
    assert report.of("ledger") == []
    assert {finding.looked_at for finding in report.problems} == {"WAN_MCP_OUTPUT_DIR", "WAN_MCP_STATE_DIR"}
