"""
A client's own command for adding a server.

It is run only when nothing secret would stand on its command line, where every user of the machine could read it,
and only to add: what is there already is changed in the file, one entry and nothing else. Clients whose files are
meant to be written by people are configured through the file in any case, which keeps comments and makes a copy.

Source: https://code.claude.com/docs/en/mcp#installing-mcp-servers
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wan_mcp.hosts.environment import SECRETS, is_reference
from wan_mcp.hosts.launch import Launch

_LONGEST = 60.0
"""Seconds; it only writes a file."""


@dataclass(frozen=True, slots=True)
class OwnCommand:
    """The full command line, and what it needs of the environment."""

    line: tuple[str, ...]
    environ: Mapping[str, str]


def make_command(
    program: str | None, name: str, launch: Launch, variables: Mapping[str, str], environ: Mapping[str, str]
) -> OwnCommand | None:
    """
    Make the command that adds the server, or None where it must not be used.

    `program` is its full path; a batch file is not used, because its arguments are parsed a second time.
    """
    secret = any(each in SECRETS and not is_reference(text) for each, text in variables.items())
    if program is None or secret or Path(program).suffix.lower() in (".cmd", ".bat"):
        return None
    settings = [part for each, text in variables.items() for part in ("--env", f"{each}={text}")]
    line = (program, "mcp", "add", "--scope", "user", name, *settings, "--", launch.command, *launch.args)
    # The command has no use for the keys of another service.
    rest = {each: text for each, text in environ.items() if each not in SECRETS}
    return OwnCommand(line, rest)


def run_command(command: OwnCommand) -> str | None:
    """Run it; give what went wrong, or None."""
    try:
        done = subprocess.run(  # noqa: S603 - a full path and a list of arguments, no shell
            command.line,
            env=dict(command.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).decode("utf-8", errors="replace").strip()
    return said or f"it ended with code {done.returncode}"
