"""What can be checked on this machine: the program, its settings, the folders and the ledger."""

import platform
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from wan_mcp import __version__
from wan_mcp.app import open_ledger, open_storage
from wan_mcp.concurrency import run_in_daemon_thread
from wan_mcp.doctor.types import Environment, Finding, Verdict
from wan_mcp.ledger import DAY
from wan_mcp.ledger.inspection import SQLITE_VERSION, LedgerFacts, OpenOrder, examine_ledger
from wan_mcp.settings import Settings, StorageAccess
from wan_mcp.settings.provenance import SettingsReport
from wan_mcp.storage.disk import WRITERS_ADVICE, find_writers
from wan_mcp.storage.folders import LEAST_FREE_BYTES, FolderFacts, find_obstacle, inspect_folder
from wan_mcp_tools.domain.errors import ErrorCode, LedgerError, SettingsError, StorageError

_PARTS = ("mcp", "httpx", "pydantic", "anyio")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*(?P<bounds>[<>=!~][^;]*)?")
_BOUND = re.compile(r"(>=|<)\s*([0-9]+(?:\.[0-9]+)*)")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")

_STATE, _ALLOWED = "WAN_MCP_STATE_DIR", "WAN_MCP_ALLOWED_DIRS"
_LITTLE_BYTES = 1 << 30
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024

_NEAR = 4 * 3600.0
"""Seconds before its 24 hours are over in which an unfinished order is urgent."""
_MOST_SHOWN = 3
_SELDOM_LEFT = 0.8
_MOMENTARY = frozenset({ErrorCode.LEDGER_LOCKED, ErrorCode.LEDGER_UNFINISHED_WRITE})
_UPDATE_OR_REPLACE = (
    "If a newer wan-mcp uses this folder too, update this one. Else something has changed the file: move it away "
    "(keep it), and wan-mcp tasks --remote finds the tasks of the last 24 hours."
)
_REPLACE = "Move the file away (keep it); then wan-mcp tasks --remote finds the tasks of the last 24 hours."


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
    shown += [f"{name} {_find_version(name, version_of) or 'missing'}" for name in _PARTS]
    shown.append(f"SQLite {SQLITE_VERSION}")
    findings = [
        _check_requirement(requirement, version_of) for requirement in required if "extra ==" not in requirement
    ]
    system = f"{platform.system()} {platform.machine()}"
    return [
        Finding("versions", "installed", f"{', '.join(shown)}, on {system}"),
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


def check_settings(report: SettingsReport) -> list[Finding]:
    """Tell every setting that is set; the others hold by default."""
    findings = [
        Finding("settings", problem.name or "file", problem.statement, Verdict.PROBLEM, problem.advice)
        for problem in report.problems
    ]
    if report.settings is None:
        findings.append(
            Finding(
                "settings",
                "everything that depends on the settings",
                "not looked at",
                Verdict.NOTE,
                "Run wan-mcp doctor again when the settings file can be read.",
            )
        )
    else:
        findings += [
            Finding("settings", "misspelt names", warning.rstrip("."), Verdict.NOTE, "Correct or remove it.")
            for warning in report.settings.warnings
        ]
    findings += [Finding("settings", origin.name, f"{origin.shown}, {origin.source}") for origin in report.origins]
    if report.settings is not None:
        findings.append(Finding("settings", f"{report.unset} other settings", "not set, so their defaults hold"))
    return findings


async def check_folder(environment: Environment, role: str, folder: Path, setting: str) -> list[Finding]:
    """Look at one folder; `role` says what it is for, `setting` is the variable that names it."""
    inspect = partial(inspect_folder, folder, environment.disk, environment.find_network_drive)
    facts = await run_in_daemon_thread(inspect)
    looked_at = f"{role} {folder}"
    if facts.problem is not None:
        help_there = "Make it writable" if facts.obstacle is None else f"Move {facts.obstacle} away"
        remedy = f"{help_there}, or name another folder in {setting}."
        return [Finding("folder", looked_at, facts.problem.rstrip("."), Verdict.PROBLEM, remedy)]
    if facts.free_bytes is not None and facts.free_bytes < LEAST_FREE_BYTES:
        found = f"only {_format_bytes(facts.free_bytes)} free; {_format_bytes(LEAST_FREE_BYTES)} are needed"
        remedy = f"Free some space there, or name another folder in {setting}."
        return [Finding("folder", looked_at, found, Verdict.PROBLEM, remedy)]
    found = [_describe_folder(facts, looked_at, setting)]
    if setting != _ALLOWED:
        found += await _check_writers("folder", looked_at, folder)
    return found


async def check_storage(environment: Environment, settings: Settings, access: StorageAccess) -> list[Finding]:
    """Look whether images can be kept in the object store: a small object is put there, and looked for."""
    looked_at = f"images in {access.address}"
    try:
        # Its packages are loaded then.
        storage = await run_in_daemon_thread(partial(open_storage, settings, environment.clock))
        await storage.find_folder(None)
    except (StorageError, SettingsError) as error:
        return [Finding("storage", looked_at, error.message.rstrip("."), Verdict.PROBLEM, error.advice)]
    return [Finding("storage", looked_at, "can be written to")]


async def check_ledger(environment: Environment, settings: Settings) -> list[Finding]:
    """Look at the ledger as a whole, at its unfinished orders, and at the orders of the last 24 hours."""
    if settings.ledger_url is not None:
        return await _check_database(environment, settings)
    path = settings.ledger_path
    now = environment.clock.now()
    looked_at = str(path)
    try:
        facts = await run_in_daemon_thread(partial(examine_ledger, path, now=now))
    except LedgerError as error:
        verdict = Verdict.NOTE if error.code in _MOMENTARY else Verdict.PROBLEM
        remedy = _REPLACE if error.code == ErrorCode.LEDGER_DAMAGED else error.advice
        return [Finding("ledger", looked_at, error.message.rstrip("."), verdict, remedy)]
    if facts is None:
        obstacle = await run_in_daemon_thread(partial(find_obstacle, settings.state_dir))
        if obstacle is not None:
            found = f"not there, and cannot be made: {obstacle} is no folder"
            return [Finding("ledger", looked_at, found, Verdict.NOTE, f"See what was found about {_STATE} first.")]
        findings = [Finding("ledger", looked_at, "not there yet; the first order makes it")]
        return [*findings, *check_limit(0, settings.daily_image_limit)]
    if facts.version > facts.newest:
        remedy = "Update wan-mcp, or name another folder in WAN_MCP_STATE_DIR."
        found = f"version {facts.version}, written by a newer release; this one knows {facts.newest}"
        return [Finding("ledger", looked_at, found, Verdict.PROBLEM, remedy)]
    if facts.damage is not None:
        return [Finding("ledger", looked_at, f"damaged: {facts.damage}", Verdict.PROBLEM, _REPLACE)]
    return [
        _describe_ledger(facts, looked_at),
        *await _check_writers("ledger", looked_at, path),
        *_tell_unreadable(facts, looked_at),
        *check_unfinished(facts.open, now),
        *check_limit(facts.images_today, settings.daily_image_limit),
    ]


async def _check_database(environment: Environment, settings: Settings) -> list[Finding]:
    """Look whether the database of the ledger answers, and at the orders of the last 24 hours."""
    try:
        # Its packages are loaded then.
        ledger = await run_in_daemon_thread(partial(open_ledger, settings, environment.clock))
        try:
            images = await ledger.reports.count_images_since(environment.clock.now() - DAY)
        finally:
            await ledger.close()
    except (LedgerError, SettingsError) as error:
        return [Finding("ledger", "the database", error.message.rstrip("."), Verdict.PROBLEM, error.advice)]
    return [Finding("ledger", "the database", "answers"), *check_limit(images, settings.daily_image_limit)]


async def _check_writers(check: str, looked_at: str, path: Path) -> list[Finding]:
    found = await run_in_daemon_thread(partial(find_writers, [path]))
    return [
        Finding(check, looked_at, f"can be written to by {writers}", Verdict.NOTE, WRITERS_ADVICE)
        for _, writers in found
    ]


def check_unfinished(orders: tuple[OpenOrder, ...], now: float) -> list[Finding]:
    """Find orders that nobody works on, above all those whose images the service soon forgets."""
    if not orders:
        return [Finding("tasks", "unfinished tasks", "none")]
    left = [order for order in orders if not order.is_held]
    near = [order for order in orders if order.ends_at - now < _NEAR]
    alone = [order for order in near if not order.is_held]
    if alone:
        found = f"{_count(len(alone), 'task')} near the end of the 24 hours, and nobody works on it: "
        found += _list_orders(alone, now)
        remedy = "Run wan-mcp collect now: after that time the service forgets the images."
        return [Finding("tasks", "unfinished tasks", found, Verdict.PROBLEM, remedy)]
    if near:
        found = f"{_count(len(near), 'task')} near the end of the 24 hours: {_list_orders(near, now)}"
        remedy = "A running wan-mcp works on it; see how far it is with wan-mcp tasks."
        return [Finding("tasks", "unfinished tasks", found, Verdict.NOTE, remedy)]
    if left:
        found = f"{_count(len(left), 'task')} that nobody works on: {_list_orders(left, now)}"
        remedy = "Run wan-mcp collect, or start a server: it saves what is ready."
        return [Finding("tasks", "unfinished tasks", found, Verdict.NOTE, remedy)]
    return [Finding("tasks", "unfinished tasks", f"{len(orders)}, and a running wan-mcp works on them")]


def check_limit(images: int, limit: int) -> list[Finding]:
    """Compare the images ordered in the last 24 hours with the operator's limit."""
    looked_at = "images ordered in the last 24 hours"
    if limit == 0:
        return [Finding("limit", looked_at, f"{images}, and no limit is set")]
    found = f"{images} of {limit}"
    remedy = "Wait until orders are older than 24 hours, or raise WAN_MCP_DAILY_IMAGE_LIMIT."
    if images >= limit:
        return [Finding("limit", looked_at, f"{found}: no more can be ordered", Verdict.PROBLEM, remedy)]
    if images >= limit * _SELDOM_LEFT:
        return [Finding("limit", looked_at, found, Verdict.NOTE, remedy)]
    return [Finding("limit", looked_at, found)]


def _check_requirement(requirement: str, version_of: Callable[[str], str]) -> Finding | None:
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return None
    name, bounds = match["name"], (match["bounds"] or "").strip()
    version = _find_version(name, version_of)
    if version is not None and _is_within(version, bounds):
        return None
    found = f"version {version}, and wan-mcp needs {bounds}" if version else "not installed"
    return Finding(
        "versions",
        f"the package {name}",
        found,
        Verdict.PROBLEM,
        "Install wan-mcp again, best in an environment of its own (uv tool install or pipx).",
    )


def _find_version(name: str, version_of: Callable[[str], str]) -> str | None:
    try:
        return version_of(name)
    except metadata.PackageNotFoundError:
        return None


def _is_within(version: str, bounds: str) -> bool:
    """Compare the numbers of a version with lower and upper bounds; what has no numbers is believed."""
    numbers = _NUMBERS.match(version)
    if numbers is None:
        return True
    own = _read_version(numbers[0])
    return all(
        own >= _read_version(text) if sign == ">=" else own < _read_version(text)
        for sign, text in _BOUND.findall(bounds)
    )


def _read_version(text: str) -> tuple[int, ...]:
    numbers = [int(each) for each in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _format_bytes(count: int) -> str:
    """Write a number of bytes for a person."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} {_UNITS[unit]}"


def _describe_folder(facts: FolderFacts, looked_at: str, setting: str) -> Finding:
    found = "can be written to" if facts.exists else f"not there yet, and can be made in {facts.base}"
    if facts.free_bytes is not None:
        found += f", {_format_bytes(facts.free_bytes)} free"
    if facts.network_drive is not None:
        found += f", on a network drive ({facts.network_drive})"
        if setting == _STATE:
            remedy = f"Name a folder on a disk of this machine in {_STATE}: locks of network drives are not reliable."
            return Finding("folder", looked_at, found, Verdict.NOTE, remedy)
    if facts.free_bytes is not None and facts.free_bytes < _LITTLE_BYTES:
        remedy = f"Free some space, or use another folder ({setting})."
        return Finding("folder", looked_at, found, Verdict.NOTE, remedy)
    return Finding("folder", looked_at, found)


def _describe_ledger(facts: LedgerFacts, looked_at: str) -> Finding:
    age = f"version {facts.version}"
    if facts.version < facts.newest:
        age += f" of {facts.newest} (the next command brings it up to date)"
    state = "sound" if facts.is_checked else "too large to be looked through while it is in use"
    return Finding("ledger", looked_at, f"{age}, {state}, {_count(facts.orders, 'order')}")


def _tell_unreadable(facts: LedgerFacts, looked_at: str) -> list[Finding]:
    """Name the rows that lists leave out and nobody works on."""
    if not facts.unreadable:
        return []
    shown = " ".join(facts.unreadable[:_MOST_SHOWN])
    more = f" And {len(facts.unreadable) - _MOST_SHOWN} more." if len(facts.unreadable) > _MOST_SHOWN else ""
    found = f"{_count(len(facts.unreadable), 'order')} left out of every list. {shown}{more}".rstrip(".")
    return [Finding("ledger", looked_at, found, Verdict.PROBLEM, _UPDATE_OR_REPLACE)]


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _list_orders(orders: list[OpenOrder], now: float) -> str:
    shown = [f"{order.id} ({_format_time_left(order.ends_at - now)})" for order in orders[:_MOST_SHOWN]]
    return ", ".join(shown) + (", and more" if len(orders) > _MOST_SHOWN else "")


def _format_time_left(seconds: float) -> str:
    if seconds <= 0:
        return "its time is over"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min left"
