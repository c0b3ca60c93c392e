"""The program itself: its parts, and how it is started."""

import platform
import re
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from wan_mcp import __version__
from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.ledger.examining import SQLITE_VERSION

_CHECK = "versions"
_PARTS = ("mcp", "httpx", "pydantic", "anyio")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?P<bounds>[<>=!~][^;]*)?")
_BOUND = re.compile(r"(>=|<)\s*([0-9]+(?:\.[0-9]+)*)")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def check_versions(
    version_of: Callable[[str], str] = metadata.version,
    requires: Callable[[str], Sequence[str] | None] = metadata.requires,
) -> list[Finding]:
    """Name the versions of what the program is made of, and find those that do not fit."""
    try:
        required = list(requires("wan-mcp") or ())
    except metadata.PackageNotFoundError:
        # Run from a folder that was never installed, it lists no requirements.
        required = []
    shown = [f"Python {platform.python_version()}", f"wan-mcp {__version__}"]
    shown += [f"{name} {_find(name, version_of) or 'missing'}" for name in _PARTS]
    shown.append(f"SQLite {SQLITE_VERSION}")
    findings = [_judge(requirement, version_of) for requirement in required if "extra ==" not in requirement]
    system = f"{platform.system()} {platform.machine()}"
    return [
        Finding(_CHECK, "installed", f"{', '.join(shown)}, on {system}"),
        *(finding for finding in findings if finding is not None),
    ]


def check_program(program: str, find_program: Callable[[str], str | None]) -> list[Finding]:
    """Tell which path a client has to start."""
    looked_at, on_path = "the command wan-mcp", find_program("wan-mcp")
    own = Path(program)
    if own.stem != "wan-mcp":
        found = f"started by {Path(sys.executable)}; on the PATH: {on_path or 'nothing of that name'}"
        return [Finding("program", looked_at, found)]
    full = own.absolute()
    if on_path is None:
        return [Finding("program", looked_at, f"not on the PATH: clients need the full path, {full}")]
    if Path(on_path).resolve() == full.resolve():
        return [Finding("program", looked_at, f"on the PATH, as {on_path}")]
    return [
        Finding(
            "program",
            looked_at,
            f"this is {full}, and the PATH leads to another one, {on_path}",
            Verdict.NOTE,
            "In a client's configuration, write the full path of the one that you mean.",
        )
    ]


def _judge(requirement: str, version_of: Callable[[str], str]) -> Finding | None:
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return None
    name, bounds = match["name"], (match["bounds"] or "").strip()
    version = _find(name, version_of)
    if version is not None and _fits(version, bounds):
        return None
    found = f"version {version}, and wan-mcp needs {bounds}" if version else "not installed"
    return Finding(
        _CHECK,
        f"the package {name}",
        found,
        Verdict.PROBLEM,
        "Install wan-mcp again, best in an environment of its own (uv tool install or pipx).",
    )


def _find(name: str, version_of: Callable[[str], str]) -> str | None:
    try:
        return version_of(name)
    except metadata.PackageNotFoundError:
        return None


def _fits(version: str, bounds: str) -> bool:
    """Compare the numbers of a version with lower and upper bounds; what has no numbers is believed."""
    numbers = _NUMBERS.match(version)
    if numbers is None:
        return True
    own = _read(numbers[0])
    return all(own >= _read(text) if sign == ">=" else own < _read(text) for sign, text in _BOUND.findall(bounds))


def _read(text: str) -> tuple[int, ...]:
    numbers = [int(each) for each in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
