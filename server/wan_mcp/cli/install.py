"""`wan-mcp install`: write wan-mcp into the configuration of the program that shall use it."""

import difflib
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
from wan_mcp.cli.terminal.console import Console, ask_secret, can_ask, confirm, standard_console
from wan_mcp.cli.terminal.output import ExitCode, format_table
from wan_mcp.clock import utc
from wan_mcp_tools.domain.errors import MissingKeyError, RequestRefusedError, SettingsError

if TYPE_CHECKING:
    from wan_mcp.clients import InstallPlan, InstallTarget, LaunchCommand, Machine, RequestedVariables

_CLIENTS = (
    "claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "codex", "gemini", "qwen", "opencode", "zed"
)  # fmt: skip
_OPTIONS = ("required", "approve")
"""What only some clients have, as switches of the command; the registry says which."""
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
@click.option(
    "--delete-copies", is_flag=True, help="With --remove: delete the copies of the file that hold the key, too."
)
@click.option("--required", is_flag=True, help="Codex: wait for the server, and refuse to start without it.")
@click.option("--approve", is_flag=True, help="Codex: let it order pictures, which cost money, without asking.")
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
    delete_copies: bool,
    yes: bool,
    **chosen: Any,  # noqa: ANN401 - click has checked each of them
) -> ExitCode:
    """
    Configure CLIENT to start this server, or list the clients.

    CLIENT is claude-desktop, claude-code, cursor, vscode, windsurf, codex, gemini, qwen, opencode or zed. Settings
    come from the environment; a missing key is asked for without being shown. Without CLIENT, lists which were found.
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
    options = tuple(option for option in _OPTIONS if chosen.pop(option))
    requested = RequestedVariables(**chosen, env_file=context.env_file)
    if client is None:
        if options or file is not None or dry_run or remove or delete_copies or yes:
            raise click.UsageError("Name a CLIENT, or use --print for one that is not listed.")
        if print_only:
            return print_entry(console, machine, None, requested, name)
        if any(chosen.values()):
            raise click.UsageError("Name a CLIENT, or use --print for one that is not listed.")
        return list_clients(console, machine, name)
    if delete_copies and not remove:
        raise click.UsageError("--delete-copies goes with --remove.")
    target = InstallTarget(find_client(client), name, file, options)
    _check_options(target)
    if print_only:
        return print_entry(console, machine, target, requested, name)
    now = utc(context.clock.now())
    if remove:
        return run_removal(target, machine, console, now=now, dry_run=dry_run, yes=yes, delete_copies=delete_copies)
    return run_install(target, machine, requested, console, now=now, dry_run=dry_run, yes=yes)


def _check_options(target: "InstallTarget") -> None:
    for option in target.options:
        if option not in target.client.options:
            raise click.UsageError(f"--{option} is for codex; {target.client.title} has nothing like it.")


def this_machine(environ: Mapping[str, str]) -> "Machine":
    """Give what the places of the clients' files depend on."""
    from wan_mcp.clients import Machine  # noqa: PLC0415 - only this command needs it

    home = environ.get("USERPROFILE" if os.name == "nt" else "HOME", "")
    try:
        return Machine(sys.platform, environ, home or str(Path.home()))
    except RuntimeError as error:
        raise SettingsError(
            "This user has no home folder, where clients keep their configurations.", "Set HOME to a full path."
        ) from error


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
    console: Console, machine: "Machine", target: "InstallTarget | None", requested: "RequestedVariables", name: str
) -> ExitCode:
    """Print what to add to a client's file, or to that of any other client; a key is never printed."""
    from wan_mcp.clients import (  # noqa: PLC0415 - the same
        ANY_OTHER,
        EXAMPLE_KEY,
        example_variables,
        find_config_path,
        render_snippet,
    )

    client, options = (ANY_OTHER, ()) if target is None else (target.client, target.options)
    variables = example_variables(client, machine.environ, requested)
    console.print(render_snippet(client, name, _launch_command(machine), variables, options).rstrip("\n"))
    if target is not None:
        console.note(f"This belongs into {target.file or find_config_path(client, machine)}")
    for option in options:
        console.note(client.options[option].consequence)
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
    yes: bool = False,
) -> ExitCode:
    """
    Show what would change, ask, and do it.

    Raises:
        AppError: it cannot be done; then nothing was changed.
    """
    from wan_mcp.clients import apply_plan, plan_install  # noqa: PLC0415 - the same

    title = target.client.title
    plan = plan_install(target, machine, requested, _launch_command(machine), partial(_ask_key, title))
    if plan.changes_nothing:
        console.print(f"{title}: {target.name} is set up already in {plan.file.path}")
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
    console.print(f"{title}: {target.name} is set up in {plan.file.path}")
    console.note(target.client.reload_advice)
    console.note("To check key, region and folders: wan-mcp doctor")
    return ExitCode.DONE


def run_removal(
    target: "InstallTarget",
    machine: "Machine",
    console: Console,
    *,
    now: datetime,
    dry_run: bool = False,
    yes: bool = False,
    delete_copies: bool = False,
) -> ExitCode:
    """
    Show what would go, ask, take it out, and tell where the key is left.

    Raises:
        AppError: it cannot be done; then nothing was changed.
    """
    from wan_mcp.clients import apply_plan, plan_removal  # noqa: PLC0415 - the same

    title = target.client.title
    plan = plan_removal(target, machine)
    if plan.changes_nothing:
        console.print(f"{title}: there is no {target.name} in {plan.file.path}")
    else:
        show_plan(console, plan)
        if not dry_run:
            if not yes and not _may_write(console):
                return ExitCode.FAILED
            result = apply_plan(plan, now)
            if result.backup is not None:
                console.note(f"The file as it was: {result.backup}")
            console.print(f"{title}: {target.name} is out of {plan.file.path}")
            console.note(target.client.reload_advice)
    if plan.key_file is not None:
        console.note(f"The file with the key stays: {plan.key_file}")
    if not dry_run:
        _offer_to_delete_copies(console, target, plan.file.path, delete=delete_copies, ask=not yes)
    return ExitCode.DONE


def _offer_to_delete_copies(
    console: Console, target: "InstallTarget", path: Path, *, delete: bool, ask: bool
) -> None:
    """Tell which copies of a client's file hold the key, and delete them if that is wanted."""
    from wan_mcp.clients import delete_backups, find_key_copies  # noqa: PLC0415 - the same

    copies = find_key_copies(target, path)
    if not copies:
        return
    console.note("Copies of the file as it was still hold the key:")
    for each in copies:
        console.note(f"  {each}")
    if delete or (ask and can_ask() and confirm("Delete these copies?", default=False)):
        delete_backups(copies)
        console.note("They are deleted.")
    else:
        console.note(f"To delete them: wan-mcp install {target.client.id} --remove --delete-copies")


def show_plan(console: Console, plan: "InstallPlan") -> None:
    """Show what would change, with secrets hidden; nothing of other servers is shown at all."""
    from wan_mcp.clients import redact_value, render_entry  # noqa: PLC0415 - the same

    target, edit, path = plan.target, plan.edit, plan.file.path
    client = target.client
    console.note(f"{client.title}, {path}, {'.'.join((*client.servers, target.name))}:")
    old, new = (
        render_entry(client, target.name, redact_value(each)).splitlines() if each is not None else []
        for each in (edit.before, edit.after)
    )
    for line in list(difflib.unified_diff(old, new, n=1000, lineterm=""))[3:]:
        console.note(f"  {line}")
    if old == new:
        hidden = edit.text != plan.file.text
        console.note("  Only what is hidden here changes." if hidden else "  What it says stays as it is.")
    for remark in _list_remarks(plan):
        console.note(remark)


def _list_remarks(plan: "InstallPlan") -> list[str]:
    client, path = plan.target.client, plan.file.path
    title, command, new_key_file = client.title, plan.command, plan.new_key_file
    remarks = (
        (not plan.client_found, f"No trace of {title} was found on this machine; the file is made all the same."),
        (
            plan.may_run_on_windows,
            f"This is Linux inside Windows. If {title} runs on Windows, use wan-mcp install there.",
        ),
        (command is not None, f"By its own command: {shlex.join(command.line) if command else ''}"),
        (
            new_key_file is not None,
            f"The key goes into a new file that only you can read: {new_key_file.path if new_key_file else ''}",
        ),
        (
            new_key_file is None and plan.holds_key,
            "The key will stand in that file; --key-file PATH keeps it in a file of its own.",
        ),
        (
            plan.exposes_key,
            f"Others on this machine may read {path}. With the key in it, it becomes yours alone (chmod 600).",
        ),
        (
            plan.file.bom and plan.changes_text,
            "The file begins with a byte order mark, which many programs refuse; it goes.",
        ),
        (
            plan.may_be_refused,
            "The file has comments or trailing commas, which its program may refuse. They stay as they are.",
        ),
    )
    said = [text for applies, text in remarks if applies]
    return said + [client.options[option].consequence for option in plan.target.options]


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
