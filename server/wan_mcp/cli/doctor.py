"""`wan-mcp doctor`: what is wrong, and what helps."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import anyio
import click

from wan_mcp import __version__, log
from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.terminal.console import Console, standard_console
from wan_mcp.cli.terminal.output import ExitCode, can_move_cursor, display_width, printable, to_json

if TYPE_CHECKING:
    from wan_mcp.doctor import Environment, Finding

_COLOURS = {"problem": "red", "note": "yellow", "ok": "green"}
_INDENT_WIDTH = 9
_MIN_WIDTH = 40


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@env_file_option
@pass_context
def doctor(context: CommandContext, *, as_json: bool) -> ExitCode:
    """
    Look for what is wrong, free of charge.

    Checks versions, settings, keys, network, model, folders and ledger. What must be done comes first, each with its
    remedy; then the exit code is 1. A key that its region refuses is tried in the service's other regions.
    """
    from wan_mcp.doctor import Environment  # noqa: PLC0415 - only this command needs it, and it brings the HTTP library

    log.configure("WARNING")
    environment = Environment(context.environ, context.env_file, context.clock)
    console = standard_console(environ=context.environ)
    return anyio.run(run_doctor, environment, console, as_json)


async def run_doctor(environment: "Environment", console: Console, as_json: bool) -> ExitCode:
    """Make every check and tell what was found."""
    from wan_mcp.doctor import Verdict, run_checks  # noqa: PLC0415 - the same

    findings = await run_checks(environment)
    problems = sum(1 for finding in findings if finding.verdict is Verdict.PROBLEM)
    if as_json:
        rows = [asdict(finding) for finding in findings]
        console.print(to_json({"version": __version__, "problems": problems, "findings": rows}))
    else:
        coloured = can_move_cursor(console.out, console.environ) and not environment.environ.get("NO_COLOR")
        width = None if console.width is None else max(_MIN_WIDTH, console.width)
        for line in format_findings(findings, width=width, coloured=coloured):
            console.print(line)
    return ExitCode.FAILED if problems else ExitCode.DONE


def format_findings(findings: Sequence["Finding"], *, width: int | None, coloured: bool) -> list[str]:
    """Write findings for a person; without a width, each on one line and its remedy on another."""
    lines = [_summarize(findings)]
    spaced = True
    for finding in findings:
        if spaced or finding.remedy:
            lines.append("")
        spaced = bool(finding.remedy)
        lines += _format_finding(finding, width, coloured=coloured)
    return lines


def _format_finding(finding: "Finding", width: int | None, *, coloured: bool) -> list[str]:
    word = finding.verdict.value
    mark = (word.upper() if word == "problem" else word).ljust(_INDENT_WIDTH)
    if coloured:
        mark = click.style(mark, fg=_COLOURS[word], bold=True if word == "problem" else None)
    text = _wrap(f"{finding.check}: {finding.looked_at}: {finding.found}", width)
    if finding.remedy:
        text += _wrap(f"-> {finding.remedy}", width)
    return [f"{mark}{text[0]}", *(f"{'':{_INDENT_WIDTH}}{line}" for line in text[1:])]


def _wrap(text: str, width: int | None) -> list[str]:
    text = printable(text)
    if width is None:
        return [text]
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and display_width(joined) <= width - _INDENT_WIDTH:
            lines[-1] = joined
        else:
            # A path or a command that is longer than a line stays whole: it is to be copied.
            lines.append(word)
    return lines


def _summarize(findings: Sequence["Finding"]) -> str:
    counts = {word: sum(1 for finding in findings if finding.verdict == word) for word in _COLOURS}
    if counts["problem"]:
        much = "1 thing must be done" if counts["problem"] == 1 else f"{counts['problem']} things must be done"
    else:
        much = "Nothing must be done"
    notes = {0: "", 1: ", 1 note"}.get(counts["note"], f", {counts['note']} notes")
    return f"{much}{notes}, {counts['ok']} in order."
