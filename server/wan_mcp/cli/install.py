"""`wan-mcp install`: write wan-mcp into the configuration of the program that shall use it."""

import difflib
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wan_mcp.cli.command import CommandContext, env_file_option, pass_context
from wan_mcp.cli.console import Console, ask_secret, can_ask, confirm, standard_console
from wan_mcp.cli.output import ExitCode, format_table
from wan_mcp.clock import utc
from wan_mcp_tools.domain.errors import MissingKeyError, RequestRefusedError

if TYPE_CHECKING:
    from wan_mcp.clients import InstallPlan, InstallTarget, LaunchCommand, Machine, RequestedVariables

_CLIENTS = ("claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "codex", "gemini", "zed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("client", required=False, type=click.Choice(_CLIENTS, case_sensitive=False), metavar="[CLIENT]")
@click.option("--name", default="wan", show_default=True, metavar="NAME", help="What the client calls the server.")
@click.option("--region", metavar="REGION", help="The region of the key; sandbox needs none.")
@click.option("--workspace-id", metavar="ID", help="The workspace of the key; Frankfurt and Tokyo need one.")
@click.option("--output-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="Where pictures are saved.")
@click.option(
    "--key-file", type=_FILE, metavar="PATH", help="Keep the key in this file, and only its path in the client's."
)
@click.option("--file", type=_FILE, metavar="PATH", help="Edit this file in place of the client's usual one.")
@click.option(
    "--print", "print_only", is_flag=True, help="Print what to add, for CLIENT or any other; write nothing."
)
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@click.option("--remove", is_flag=True, help="Take the server out again.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@env_file_option
@pass_context
def install(
    context: CommandContext,
    *,
    client: str | None,
    name: str,
    file: Path | None,
    print_only: bool,
    dry_run: bool,
    remove: bool,
    yes: bool,
    **variables: Any,  # noqa: ANN401 - click has checked each of them
) -> ExitCode:
    """
    Configure CLIENT to start this server, or list the clients.

    CLIENT is claude-desktop, claude-code, cursor, vscode, windsurf, codex, gemini or zed. Settings come from the
    environment; a missing key is asked for without being shown. Without CLIENT, lists which were found here.
    """
    from wan_mcp.clients import (  # noqa: PLC0415 - only this command needs them
        InstallTarget,
        RequestedVariables,
        find_client,
    )

    if not _NAME.fullmatch(name):
        raise RequestRefusedError(f"{name!r} is no name for a server.", "Use letters, digits, - and _.")
    context.read_settings()
    console, machine = standard_console(), this_machine(context.environ)
    requested = RequestedVariables(**variables, env_file=context.env_file)
    if print_only:
        return print_entry(console, machine, client, name, requested)
    if client is None:
        if file is not None or dry_run or remove or yes or any(variables.values()):
            raise click.UsageError("Name a CLIENT, or use --print for one that is not listed.")
        return list_clients(console, machine, name)
    return run_install(
        InstallTarget(find_client(client), name, file),
        machine,
        requested,
        console,
        now=utc(context.clock.now()),
        dry_run=dry_run,
        remove=remove,
        yes=yes,
    )


def this_machine(environ: Mapping[str, str]) -> "Machine":
    """Give what the places of the clients' files depend on."""
    from wan_mcp.clients import Machine  # noqa: PLC0415 - only this command needs it

    home = environ.get("USERPROFILE" if os.name == "nt" else "HOME", "")
    return Machine(sys.platform, environ, home or str(Path.home()))


def list_clients(console: Console, machine: "Machine", name: str) -> ExitCode:
    """List the clients: which are on this machine, and which know the server."""
    from wan_mcp.clients import CLIENTS, detect_clients  # noqa: PLC0415 - the same

    words = {True: "yes", False: "no", None: "unreadable"}
    detected = detect_clients(CLIENTS, machine, name)
    rows = [("CLIENT", "FOUND", "CONFIGURED", "FILE")]
    rows += [(each.client.id, words[each.found], words[each.configured], str(each.file)) for each in detected]
    for line in format_table(rows):
        console.print(line)
    console.note("Configure one with: wan-mcp install CLIENT. For any other: wan-mcp install --print")
    return ExitCode.DONE


def print_entry(
    console: Console, machine: "Machine", client_id: str | None, name: str, requested: "RequestedVariables"
) -> ExitCode:
    """Print what to add to a client's file; a key is never printed."""
    from wan_mcp.clients import (  # noqa: PLC0415 - the same
        ANY_OTHER,
        EXAMPLE_KEY,
        example_variables,
        find_client,
        find_config_path,
        render_snippet,
    )

    client = ANY_OTHER if client_id is None else find_client(client_id)
    variables = example_variables(client, machine.environ, requested)
    console.print(render_snippet(client, name, _launch_command(machine), variables).rstrip("\n"))
    if client_id is not None:
        console.note(f"This belongs into {find_config_path(client, machine)}")
    if EXAMPLE_KEY in variables.values():
        console.note("Write your key in place of the sample.")
    return ExitCode.DONE


def run_install(
    target: "InstallTarget",
    machine: "Machine",
    requested: "RequestedVariables",
    console: Console,
    *,
    now: datetime,
    dry_run: bool = False,
    remove: bool = False,
    yes: bool = False,
) -> ExitCode:
    """
    Show what would change, ask, and do it.

    Raises:
        AppError: it cannot be done; then nothing was changed.
    """
    from wan_mcp.clients import apply_plan, plan_install, plan_removal  # noqa: PLC0415 - the same

    title = target.client.title
    if remove:
        plan = plan_removal(target, machine)
    else:
        plan = plan_install(target, machine, requested, _launch_command(machine), partial(_ask_key, title))
    if plan.changes_nothing:
        state = f"there is no {target.name}" if remove else f"{target.name} is set up already"
        console.print(f"{title}: {state} in {plan.file.path}")
        return ExitCode.DONE
    show_plan(console, plan)
    if dry_run:
        return ExitCode.DONE
    if not yes and not _may_write(console):
        return ExitCode.FAILED
    result = apply_plan(plan, now)
    if result.command_error is not None:
        console.note(f"{title}'s own command did not do it, so the file was edited. It said: {result.command_error}")
    if result.backup is not None:
        console.note(f"The file as it was: {result.backup}")
    console.print(f"{title}: {target.name} is {'out of' if remove else 'set up in'} {plan.file.path}")
    console.note(target.client.reload_advice)
    if not remove:
        console.note("To check key, region and folders: wan-mcp doctor")
    return ExitCode.DONE


def show_plan(console: Console, plan: "InstallPlan") -> None:
    """Show what would change, with secrets hidden; nothing of other servers is shown at all."""
    from wan_mcp.clients import hide_secrets  # noqa: PLC0415 - the same

    target, edit, path = plan.target, plan.edit, plan.file.path
    title = target.client.title
    console.note(f"{title}, {path}, {'.'.join((*target.client.servers, target.name))}:")
    old, new = (_lines(hide_secrets(each)) if each is not None else [] for each in (edit.before, edit.after))
    for line in list(difflib.unified_diff(old, new, n=1000, lineterm=""))[3:]:
        console.note(f"  {line}")
    if old == new and edit.text != plan.file.text:
        console.note("  Only what is hidden here changes.")
    if plan.client_not_found:
        console.note(f"No trace of {title} was found on this machine; the file is made all the same.")
    if plan.may_run_on_windows:
        console.note(f"This is Linux inside Windows. If {title} runs on Windows, use wan-mcp install there.")
    if plan.command is not None:
        console.note("By its own command: " + shlex.join(plan.command.line))
    if plan.new_key_file is not None:
        console.note(f"The key goes into a new file that only you can read: {plan.new_key_file.path}")
    elif plan.holds_key:
        console.note("The key will stand in that file; --key-file PATH keeps it in a file of its own.")
    if plan.exposes_key:
        console.note(f"Others on this machine may read that file. To end that: chmod 600 {path}")
    if plan.may_be_refused:
        console.note("The file has comments or trailing commas, which its program may refuse. They stay as they are.")


def _launch_command(machine: "Machine") -> "LaunchCommand":
    """Give the command that starts this wan-mcp."""
    from wan_mcp.clients import describe_this_process, find_launch_command  # noqa: PLC0415 - the same

    return find_launch_command(describe_this_process(), machine.environ)


def _ask_key(title: str, region: str) -> str:
    """
    Ask for a key.

    Raises:
        MissingKeyError: nobody is there, or nothing was typed.
    """
    advice = "Set DASHSCOPE_API_KEY, or use --key-file PATH, or try --region sandbox, which needs no key."
    if not can_ask():
        raise MissingKeyError(f"There is no key for {region}, and nobody is here to be asked.", advice)
    key = ask_secret(f"Key of {region} for {title} (not shown; --region for another region): ").strip()
    if not key:
        raise MissingKeyError("No key was given, so nothing was changed.", advice)
    return key


def _may_write(console: Console) -> bool:
    if not can_ask():
        raise RequestRefusedError("Nobody is here to be asked, so nothing was changed.", "Add --yes.")
    if confirm("Write this?"):
        return True
    console.note("Nothing was changed.")
    return False


def _lines(entry: object) -> list[str]:
    return json.dumps(entry, indent=2, ensure_ascii=False).splitlines()
