"""The settings: where each came from, and what is wrong with them."""

from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.settings.provenance import SettingsReport

_CHECK = "settings"


def check_settings(report: SettingsReport) -> list[Finding]:
    """Tell every setting that is set; the others hold by default."""
    findings = [
        Finding(
            _CHECK,
            problem.name or "file",
            problem.trouble,
            Verdict.PROBLEM,
            problem.remedy,
        )
        for problem in report.problems
    ]
    if report.settings is None:
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
            for warning in report.settings.warnings
        ]
    findings += [Finding(_CHECK, origin.name, f"{origin.shown}, {origin.source}") for origin in report.origins]
    if report.settings is not None:
        findings.append(Finding(_CHECK, f"{report.unset} other settings", "not set, so their defaults hold"))
    return findings
