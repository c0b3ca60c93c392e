"""What a check is given, the environment, and what it gives, a finding."""

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.concurrency import run_in_daemon_thread
from wan_mcp.dashscope.network import ProxyFinder, Resolver, find_proxy, resolve_name_blocking
from wan_mcp.log import redact
from wan_mcp.storage.disk import Disk, find_network_drive
from wan_mcp.storage.folders import FindNetworkDrive
from wan_mcp_tools.domain.record import Record

_SHORTEST_SECRET = 6


async def _resolve_name(host: str, port: int) -> list[str]:
    return await run_in_daemon_thread(partial(resolve_name_blocking, host, port))


class Environment(Record):
    """
    The machine and the network: everything outside the program.

    `transport` takes the place of the network; then `resolve_name` should be None. `check_seconds` is the time that
    each check has, and all of them run side by side; in it, `reach_seconds` are for reaching a region and
    `question_seconds` for one question to it.
    """

    environ: Mapping[str, str]
    env_file: Path | None = None
    clock: Clock = field(default_factory=SystemClock)
    program: str = field(default_factory=lambda: sys.argv[0])
    find_program: Callable[[str], str | None] = shutil.which
    disk: Disk = field(default_factory=Disk)
    find_network_drive: FindNetworkDrive = find_network_drive
    transport: Any = None
    resolve_name: Resolver | None = _resolve_name
    find_proxy: ProxyFinder = find_proxy
    check_seconds: float = 9.0
    reach_seconds: float = 3.5
    question_seconds: float = 2.5


class Verdict(StrEnum):
    """Whether somebody must act."""

    PROBLEM = "problem"
    """Something must be done."""
    NOTE = "note"
    """Worth knowing; things work as they are."""
    OK = "ok"
    """As it should be."""


class Finding(Record):
    """
    One thing that was looked at: what it was, what was found, and what helps.

    Together, `looked_at` and `found` read as a sentence around a colon; neither has a full stop.
    """

    check: str
    looked_at: str
    found: str
    verdict: Verdict = Verdict.OK
    remedy: str = ""


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Put what must be done first; otherwise keep the order."""
    rank = list(Verdict)
    return sorted(findings, key=lambda finding: rank.index(finding.verdict))


def redact_finding(finding: Finding, secrets: Sequence[str]) -> Finding:
    """Take keys out of every text, whatever way they got in."""

    def redact_text(text: str) -> str:
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return redact(text)

    return replace(
        finding,
        looked_at=redact_text(finding.looked_at),
        found=redact_text(finding.found),
        remedy=redact_text(finding.remedy),
    )
