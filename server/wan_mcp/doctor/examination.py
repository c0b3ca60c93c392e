"""All checks, side by side, each with an end."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio

from wan_mcp.doctor.apart import run_apart
from wan_mcp.doctor.books import check_ledger
from wan_mcp.doctor.choices import check_settings
from wan_mcp.doctor.finding import Finding, Verdict, seal, sort_findings
from wan_mcp.doctor.keys import check_keys
from wan_mcp.doctor.models import check_model
from wan_mcp.doctor.network import check_clock, check_network
from wan_mcp.doctor.places import check_folder
from wan_mcp.doctor.versions import check_program, check_versions
from wan_mcp.doctor.visits import visit_regions
from wan_mcp.doctor.world import World
from wan_mcp.settings import Settings
from wan_mcp.settings.provenance import SettingsReport, examine_settings

_SERVICE_SETTINGS = "DASHSCOPE_"
_OUTPUT, _ALLOWED, _STATE = "WAN_MCP_OUTPUT_DIR", "WAN_MCP_ALLOWED_DIRS", "WAN_MCP_STATE_DIR"

Look = Callable[[], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: a name, what it looks at, how, and what may be wrong if it does not end."""

    name: str
    looked_at: str
    look: Look
    suspicion: str


async def examine(world: World) -> list[Finding]:
    """
    Make every check; what must be done comes first.

    Nothing is ordered, and nothing stays on the disk. The whole ends a little after `world.patience` seconds.
    """
    report = await run_apart(partial(examine_settings, world.environ, env_file=world.env_file))
    checks = [
        Check("versions", "installed packages", partial(_look_at_program, world), "The disk may be slow."),
        *_plan(world, report),
    ]
    found: dict[int, list[Finding]] = {}

    async def make(number: int, check: Check) -> None:
        found[number] = await _bounded(check, world.patience)

    async with anyio.create_task_group() as group:
        for number, check in enumerate(checks):
            group.start_soon(make, number, check)
    ordered = [finding for number in sorted(found) for finding in found[number]]
    findings = [*ordered, *check_settings(report)]
    return sort_findings(seal(finding, report.secrets) for finding in findings)


def _plan(world: World, report: SettingsReport) -> list[Check]:
    settings = report.settings
    if settings is None:
        return []
    refused = {problem.name or "" for problem in report.problems}
    checks: list[Check] = []
    if any(name.startswith(_SERVICE_SETTINGS) for name in refused):
        # With a region or an address that was mistyped, a key could go where it was not meant to.
        checks.append(Check("network", "the regions", _skip_regions, ""))
    else:
        names = frozenset(origin.name for origin in report.origins)
        checks.append(
            Check(
                "network",
                "the regions",
                partial(_look_at_regions, world, settings, names),
                "The network may be slow: run wan-mcp doctor again.",
            )
        )
    folders = [("images in", settings.output_dir, _OUTPUT)]
    folders += [("also allowed:", folder, _ALLOWED) for folder in settings.allowed_dirs]
    folders += [("the ledger's folder", settings.state_dir, _STATE)]
    for role, folder, setting in folders:
        if setting not in refused:
            look = partial(check_folder, world, role, folder, setting)
            checks.append(Check("folder", f"{role} {folder}", look, f"Is its drive connected? {setting} names it."))
    if _STATE not in refused:
        look = partial(check_ledger, world, settings)
        checks.append(Check("ledger", str(settings.state_dir), look, f"Is its drive connected? {_STATE} names it."))
    return checks


async def _bounded(check: Check, seconds: float) -> list[Finding]:
    with anyio.move_on_after(seconds):
        return await check.look()
    found = f"no end after {seconds:g} seconds; given up"
    return [Finding(check.name, check.looked_at, found, Verdict.PROBLEM, check.suspicion)]


async def _look_at_program(world: World) -> list[Finding]:
    def look() -> list[Finding]:
        return [*check_versions(), *check_program(world.program, world.find_program)]

    return await run_apart(look)


async def _look_at_regions(world: World, settings: Settings, names_set: frozenset[str]) -> list[Finding]:
    visits = await visit_regions(world, settings)
    model = await run_apart(partial(check_model, settings, visits))
    return [*check_keys(visits, names_set), *check_network(visits), *check_clock(visits), *model]


async def _skip_regions() -> list[Finding]:
    remedy = "Correct the settings named above, and run wan-mcp doctor again."
    return [Finding("network", "regions, keys and models", "not looked at", Verdict.NOTE, remedy)]
