"""All checks, side by side, each with an end."""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from wan_mcp.concurrency import run_in_daemon_thread
from wan_mcp.doctor.local_checks import (
    check_folder,
    check_ledger,
    check_program,
    check_settings,
    check_storage,
    check_versions,
)
from wan_mcp.doctor.region_probe import probe_regions
from wan_mcp.doctor.service_checks import (
    check_clock,
    check_keys,
    check_model,
    check_network,
    check_network_variables,
)
from wan_mcp.doctor.sign_in_checks import check_sign_in
from wan_mcp.doctor.types import Environment, Finding, Verdict, redact_finding, sort_findings
from wan_mcp.settings import Settings
from wan_mcp.settings.provenance import SettingsReport, examine_settings
from wan_mcp.settings.settings import OUTPUT_DIR, STATE_DIR
from wan_mcp.settings.storage_access import STORAGE_URL
from wan_mcp_tools.domain.record import Record

_SERVICE_SETTINGS = "DASHSCOPE_"
_ALLOWED = "WAN_MCP_ALLOWED_DIRS"


class _Check(Record):
    """One check: a name, what it looks at, how it runs, and what to look for if it does not end."""

    name: str
    looked_at: str
    run: Callable[[], Awaitable[list[Finding]]]
    advice: str


async def run_checks(environment: Environment) -> list[Finding]:
    """
    Make every check; what must be done comes first.

    Nothing is ordered, and nothing stays on the disk. The whole ends a little after `environment.check_seconds`.
    """
    read = partial(examine_settings, environment.environ, env_file=environment.env_file)
    report = await run_in_daemon_thread(read)
    checks = _list_checks(environment, report)
    found: dict[int, list[Finding]] = {}

    async def run(number: int, check: _Check) -> None:
        found[number] = await _run_in_time(check, environment.check_seconds)

    async with anyio.create_task_group() as group:
        for number, check in enumerate(checks):
            group.start_soon(run, number, check)
    ordered = [finding for number in sorted(found) for finding in found[number]]
    findings = [*ordered, *check_settings(report)]
    return sort_findings(redact_finding(finding, report.secrets) for finding in findings)


def _list_checks(environment: Environment, report: SettingsReport) -> list[_Check]:
    """Choose what can be checked: what rests on a setting that was refused is left out."""
    run = partial(_check_program, environment)
    checks = [_Check("versions", "installed packages", run, "The disk may be slow.")]
    settings = report.settings
    if settings is None:
        return checks
    refused = {problem.name or "" for problem in report.problems}
    if any(name.startswith(_SERVICE_SETTINGS) for name in refused):
        # With a region or an address that was mistyped, a key could go where it was not meant to.
        checks.append(_Check("network", "the regions", _skip_regions, ""))
    else:
        run = partial(_check_regions, environment, settings, frozenset(origin.name for origin in report.origins))
        advice = "The network may be slow: run wan-mcp doctor again."
        checks.append(_Check("network", "the regions", run, advice))
    folders = [("images in", settings.output_dir, OUTPUT_DIR)]
    if settings.storage is not None or STORAGE_URL in refused:
        folders.clear()
    if settings.storage is not None:
        run = partial(check_storage, environment, settings, settings.storage)
        advice = "Check AWS_ENDPOINT_URL, and that the object store runs."
        checks.append(_Check("storage", settings.storage.address, run, advice))
    folders += [("also allowed:", folder, _ALLOWED) for folder in settings.allowed_dirs]
    folders += [("the ledger's folder", settings.state_dir, STATE_DIR)]
    for role, folder, setting in folders:
        if setting in settings.folders_to_set:
            checks.append(_Check("folder", role, partial(_miss_folder, role, setting), ""))
        elif setting not in refused:
            run = partial(check_folder, environment, role, folder, setting)
            checks.append(_Check("folder", f"{role} {folder}", run, f"Is its drive connected? {setting} names it."))
    if STATE_DIR not in refused and STATE_DIR not in settings.folders_to_set:
        run = partial(check_ledger, environment, settings)
        checks.append(
            _Check("ledger", str(settings.state_dir), run, f"Is its drive connected? {STATE_DIR} names it.")
        )
    if settings.has_sign_in or settings.ledger_url is not None:
        run = partial(check_sign_in, environment, settings)
        checks.append(
            _Check("sign-in", "how people sign in", run, "The issuer may be slow: run wan-mcp doctor again.")
        )
    return checks


async def _run_in_time(check: _Check, seconds: float) -> list[Finding]:
    with anyio.move_on_after(seconds):
        return await check.run()
    found = f"no end after {seconds:g} seconds; given up"
    return [Finding(check.name, check.looked_at, found, Verdict.PROBLEM, check.advice)]


async def _check_program(environment: Environment) -> list[Finding]:
    def check() -> list[Finding]:
        return [*check_versions(), *check_program(environment.program, environment.find_program)]

    return await run_in_daemon_thread(check)


async def _check_regions(environment: Environment, settings: Settings, names_set: frozenset[str]) -> list[Finding]:
    probes = await probe_regions(environment, settings)
    model = await run_in_daemon_thread(partial(check_model, settings, probes))
    variables = await run_in_daemon_thread(partial(check_network_variables, environment.environ, probes))
    return [*check_keys(probes, names_set), *check_network(probes), *variables, *check_clock(probes), *model]


async def _miss_folder(role: str, setting: str) -> list[Finding]:
    found = "nowhere, because this user has no home folder"
    return [Finding("folder", role, found, Verdict.PROBLEM, f"Set {setting} to a full path.")]


async def _skip_regions() -> list[Finding]:
    remedy = "Correct the settings named above, and run wan-mcp doctor again."
    return [Finding("network", "regions, keys and models", "not looked at", Verdict.NOTE, remedy)]
