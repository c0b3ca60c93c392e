"""The settings: where each came from, and what is wrong with them."""

from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.settings.origins import Examined

_CHECK = "settings"


def check_settings(examined: Examined) -> list[Finding]:
    """Tell every setting that is set; the others hold by default."""
    findings = [
        Finding(
            _CHECK,
            complaint.name or "file",
            complaint.trouble.rstrip("."),
            Verdict.PROBLEM,
            complaint.remedy,
        )
        for complaint in examined.complaints
    ]
    if examined.settings is None:
        findings.append(
            Finding(
                _CHECK,
                "everything that depends on the settings",
                "not looked at",
                Verdict.NOTE,
                "Run wan-mcp doctor again when the settings file can be read.",
            )
        )
    else:
        findings += [
            Finding(_CHECK, "misspelt names", warning.rstrip("."), Verdict.NOTE, "Correct or remove it.")
            for warning in examined.settings.warnings
        ]
    findings += [Finding(_CHECK, origin.name, f"{origin.shown}, {origin.source}") for origin in examined.origins]
    if examined.settings is not None:
        findings.append(Finding(_CHECK, f"{examined.unset} other settings", "not set, so their defaults hold"))
    return findings
