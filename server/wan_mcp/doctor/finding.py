"""What a check has found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from wan_mcp.log import mask

_SHORTEST_SECRET = 6


class Verdict(StrEnum):
    """Whether somebody must act."""

    PROBLEM = "problem"
    """Something must be done."""
    NOTE = "note"
    """Worth knowing; things work as they are."""
    OK = "ok"
    """As it should be."""


@dataclass(frozen=True, slots=True)
class Finding:
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


def seal(finding: Finding, secrets: Sequence[str]) -> Finding:
    """Take keys out of every text, whatever way they got in."""

    def clean(text: str) -> str:
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return mask(text)

    return replace(
        finding, looked_at=clean(finding.looked_at), found=clean(finding.found), remedy=clean(finding.remedy)
    )
