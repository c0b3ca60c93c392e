"""The program's parts, and the command that clients start."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from wan_mcp.doctor import Verdict
from wan_mcp.doctor.versions import check_program, check_versions


def versions(requires, **installed):
    def version_of(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    return check_versions(version_of, lambda name: requires)


ALL = {"mcp": "2.3.0", "httpx": "0.28.1", "pydantic": "2.14.3", "anyio": "4.16.0"}


def test_the_parts_are_named_with_their_versions() -> None:
    (finding,) = check_versions()
    for name in ("Python 3.", "wan-mcp ", "mcp ", "httpx ", "pydantic ", "anyio ", "SQLite 3."):
        assert name in finding.found
    assert finding.verdict is Verdict.OK


def test_versions_that_fit_are_in_order() -> None:
    assert len(versions(["mcp<3,>=2.3", "httpx<1,>=0.28", "anyio>=4.10", "pytest>=9; extra == 'dev'"], **ALL)) == 1


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("mcp<3,>=2.4", "version 2.3.0, and wan-mcp needs <3,>=2.4"),
        ("anyio<4.16,>=4.10", "version 4.16.0, and wan-mcp needs <4.16,>=4.10"),
        ("pillow>=11", "not installed"),
    ],
)
def test_a_part_that_does_not_fit_is_a_problem(requirement: str, found: str) -> None:
    _, finding = versions([requirement], **ALL)
    assert (finding.verdict, finding.found) == (Verdict.PROBLEM, found)
    assert "Install wan-mcp again" in finding.remedy


def test_a_program_that_was_never_installed_lists_no_requirements() -> None:
    def never(name):
        raise metadata.PackageNotFoundError(name)

    (finding,) = check_versions(never, never)
    assert "mcp missing" in finding.found


def test_the_command_off_the_path_tells_its_full_path() -> None:
    (finding,) = check_program("/opt/wan/bin/wan-mcp", lambda name: None)
    assert finding.found == f"not on the PATH: clients need the full path, {Path('/opt/wan/bin/wan-mcp').absolute()}"
    assert finding.verdict is Verdict.OK


def test_the_command_on_the_path_is_in_order() -> None:
    (finding,) = check_program("/opt/wan/bin/wan-mcp", lambda name: "/opt/wan/bin/wan-mcp")
    assert finding.verdict is Verdict.OK


def test_another_command_of_the_name_on_the_path_is_worth_a_note() -> None:
    (finding,) = check_program("/opt/wan/bin/wan-mcp", lambda name: "/usr/bin/wan-mcp")
    assert finding.verdict is Verdict.NOTE
    assert "/usr/bin/wan-mcp" in finding.found


def test_a_module_is_told_by_its_python() -> None:
    (finding,) = check_program("/somewhere/wan_mcp/__main__.py", lambda name: None)
    assert sys.executable in finding.found
