"""`wan-mcp install`: write wan-mcp into the configuration of the program that shall use it."""

import difflib
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wan_mcp.cli.console import Console, standard_console
from wan_mcp.cli.exits import Exit
from wan_mcp.cli.person import Person, ask_key, the_person
from wan_mcp.cli.shell import Shell, env_file_option, pass_shell
from wan_mcp.cli.table import lay_out
from wan_mcp.clock import utc
from wan_mcp_tools.domain.errors import RequestRefusedError

if TYPE_CHECKING:
    from wan_mcp.clients import InstallPlan, InstallTarget, LaunchCommand, Machine, RequestedVariables

_CLIENTS = ("claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "codex", "gemini", "zed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Manner:
    """How it shall be done."""

    yes: bool = False
    dry_run: bool = False
    remove: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a command runs: its streams, its person, its environment and the time."""

    console: Console
    person: Person
    environ: Mapping[str, str]
    now: datetime

    def machine(self) -> "Machine":
        """Give what the places of files depend on."""
        from wan_mcp.clients import Machine  # noqa: PLC0415 - only this command needs it

        home = self.environ.get("USERPROFILE" if os.name == "nt" else "HOME", "")
        return Machine(sys.platform, self.environ, home or str(Path.home()))

    def launch(self) -> "LaunchCommand":
        """Give the command that starts this wan-mcp."""
        from wan_mcp.clients import describe_this_process, find_launch_command  # noqa: PLC0415 - the same

        return find_launch_command(describe_this_process(), self.environ)


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
@pass_shell
@click.pass_context
def install(
    context: click.Context,
    shell: Shell,
    *,
    client: str | None,
    name: str,
    file: Path | None,
    print_only: bool,
    **options: Any,  # noqa: ANN401 - click has checked each of them
) -> None:
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
    shell.read_settings()
    scene = Scene(standard_console(), the_person(), shell.environ, utc(shell.clock.now()))
    manner = Manner(options["yes"], options["dry_run"], options["remove"])
    requested = RequestedVariables(
        options["region"], options["workspace_id"], options["output_dir"], options["key_file"], shell.env_file
    )
    if print_only:
        context.exit(run_print(scene, client, name, requested))
    if client is None:
        if file is not None or any(options.values()):
            raise click.UsageError("Name a CLIENT, or use --print for one that is not listed.")
        context.exit(run_list(scene, name))
    context.exit(run_install(scene, InstallTarget(find_client(client), name, file), requested, manner))


def run_list(scene: Scene, name: str) -> Exit:
    """List the clients: which are on this machine, and which know the server."""
    from wan_mcp.clients import CLIENTS, detect_clients  # noqa: PLC0415 - the same

    said = {True: "yes", False: "no", None: "unreadable"}
    seen = detect_clients(CLIENTS, scene.machine(), name)
    rows = [("CLIENT", "FOUND", "CONFIGURED", "FILE")]
    rows += [(each.client.id, said[each.found], said[each.configured], str(each.file)) for each in seen]
    for line in lay_out(rows):
        scene.console.say(line)
    scene.console.note("Configure one with: wan-mcp install CLIENT. For any other: wan-mcp install --print")
    return Exit.DONE


def run_print(scene: Scene, client: str | None, name: str, requested: "RequestedVariables") -> Exit:
    """Print what to add to a client's file; a key is never printed."""
    from wan_mcp.clients import (  # noqa: PLC0415 - the same
        ANY_OTHER,
        EXAMPLE_KEY,
        example_variables,
        find_client,
        find_config_path,
        render_snippet,
    )

    chosen = ANY_OTHER if client is None else find_client(client)
    variables = example_variables(chosen, scene.environ, requested)
    scene.console.say(render_snippet(chosen, name, scene.launch(), variables).rstrip("\n"))
    if client is not None:
        scene.console.note(f"This belongs into {find_config_path(chosen, scene.machine())}")
    if EXAMPLE_KEY in variables.values():
        scene.console.note("Write your key in place of the sample.")
    return Exit.DONE


def run_install(scene: Scene, target: "InstallTarget", requested: "RequestedVariables", manner: Manner) -> Exit:
    """
    Show what would change, ask, and do it.

    Raises:
        AppError: it cannot be done; then nothing was changed.
    """
    from wan_mcp.clients import apply_plan, plan_install, plan_removal  # noqa: PLC0415 - the same

    def ask(region: str) -> str:
        return ask_key(scene.person, target.client.title, region)

    console, title = scene.console, target.client.title
    if manner.remove:
        plan = plan_removal(target, scene.machine())
    else:
        plan = plan_install(target, scene.machine(), requested, scene.launch(), ask)
    if plan.changes_nothing:
        state = f"there is no {target.name}" if manner.remove else f"{target.name} is set up already"
        console.say(f"{title}: {state} in {plan.file.path}")
        return Exit.DONE
    show(console, plan)
    if manner.dry_run:
        return Exit.DONE
    if not manner.yes and not _ask_leave(scene):
        return Exit.FAILED
    result = apply_plan(plan, scene.now)
    if result.command_error is not None:
        console.note(f"{title}'s own command did not do it, so the file was edited. It said: {result.command_error}")
    if result.backup is not None:
        console.note(f"The file as it was: {result.backup}")
    console.say(f"{title}: {target.name} is {'out of' if manner.remove else 'set up in'} {plan.file.path}")
    console.note(target.client.reload_advice)
    if not manner.remove:
        console.note("To check key, region and folders: wan-mcp doctor")
    return Exit.DONE


def show(console: Console, plan: "InstallPlan") -> None:
    """Show what would change, with secrets hidden; nothing of other servers is shown at all."""
    from wan_mcp.clients import hide_secrets  # noqa: PLC0415 - the same

    target, edit, path = plan.target, plan.edit, plan.file.path
    console.note(f"{target.client.title}, {path}, {'.'.join((*target.client.servers, target.name))}:")
    old, new = (_lines(hide_secrets(each)) if each is not None else [] for each in (edit.before, edit.after))
    for line in list(difflib.unified_diff(old, new, n=1000, lineterm=""))[3:]:
        console.note(f"  {line}")
    if old == new and edit.text != plan.file.text:
        console.note("  Only what is hidden here changes.")
    if plan.client_not_found:
        console.note(f"No trace of {target.client.title} was found on this machine; the file is made all the same.")
    if plan.may_run_on_windows:
        title = target.client.title
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


def _ask_leave(scene: Scene) -> bool:
    if not scene.person.present:
        raise RequestRefusedError("Nobody is here to be asked, so nothing was changed.", "Add --yes.")
    if scene.person.confirm("Write this?"):
        return True
    scene.console.note("Nothing was changed.")
    return False


def _lines(entry: object) -> list[str]:
    return json.dumps(entry, indent=2, ensure_ascii=False).splitlines()
