"""
What would be done for one client, and the doing of it.

The plan is worked out first, as a value that can be shown; only then is it applied.
"""

import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from wan_mcp.clients.credentials import AskKey, NewKeyFile, holds_secret, resolve_variables
from wan_mcp.clients.entry import Edit, Entry, client_may_refuse, make_entry, put_entry, read_entry, remove_entry
from wan_mcp.clients.environment import SECRETS, RequestedVariables, read_variables
from wan_mcp.clients.files import ConfigFile, find_backups, make_private, read_config, replace_config
from wan_mcp.clients.launch import LaunchCommand, find_program
from wan_mcp.clients.registry import Client, Machine, find_config_path
from wan_mcp.log import redact
from wan_mcp.settings.files import full_path
from wan_mcp.settings.region_access import KEY_FILE
from wan_mcp_tools.domain.errors import StorageError
from wan_mcp_tools.domain.record import Record

_COMMAND_TIMEOUT = 60.0
"""Seconds for a client's own command, which only writes a file."""


class InstallTarget(Record):
    """A client, the name of the server in it, another file than the client's usual one, and the options chosen."""

    client: Client
    name: str = "wan"
    file: Path | None = None
    options: tuple[str, ...] = ()


class AddCommand(Record):
    """The full command line of a client that adds a server, and what it needs of the environment."""

    line: tuple[str, ...]
    environ: Mapping[str, str]


class InstallPlan(Record):
    """
    What would be done.

    With a `command` the client adds the entry itself. `holds_key` says that a key would stand in the file,
    `client_found` that something on this machine hints at the client, `may_be_refused` that the client does not read
    this file as it is, `may_run_on_windows` that the client may run on the Windows around this Linux, and read its
    file there.
    """

    target: InstallTarget
    file: ConfigFile
    edit: Edit
    entry: Entry | None = None
    command: AddCommand | None = None
    new_key_file: NewKeyFile | None = None
    holds_key: bool = False
    client_found: bool = True
    may_be_refused: bool = False
    may_run_on_windows: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Tell whether everything is so already."""
        return not self.changes_text and self.new_key_file is None and not self.exposes_key

    @property
    def key_file(self) -> str | None:
        """Give the path of the key's own file that the entry named before, if it named one."""
        return read_variables(self.edit.before, self.target.client.variables).get(KEY_FILE)

    @property
    def changes_text(self) -> bool:
        """Tell whether the bytes of the file would change."""
        return self.edit.text != self.file.text or (self.file.bom and self.edit.before is not None)

    @property
    def exposes_key(self) -> bool:
        """Tell whether a key would stand where others of this machine may read it; then the file is made private."""
        return self.holds_key and self.file.open_to_others


class InstallResult(Record):
    """How it went: the copy of the old file, whether the client's own command did it, and why that did not."""

    backup: Path | None = None
    by_command: bool = False
    command_error: str | None = None


class DetectedClient(Record):
    """What is known of one client on this machine; `configured` is None where its file cannot be understood."""

    client: Client
    file: Path
    found: bool
    configured: bool | None


def detect_clients(clients: tuple[Client, ...], machine: Machine, name: str) -> list[DetectedClient]:
    """Find out which clients are on this machine, and which of them know the server of this name."""
    return [_detect(client, machine, name) for client in clients]


def plan_install(
    target: InstallTarget, machine: Machine, requested: RequestedVariables, launch: LaunchCommand, ask: AskKey
) -> InstallPlan:
    """
    Work out what to do so that the client starts this server.

    Raises:
        SettingsError: the variables cannot be used.
        StorageError: the client's file cannot be read or edited.
    """
    client = target.client
    file, previous = _open(target, _path_of(target, machine))
    resolved = resolve_variables(client, machine.environ, requested, previous, ask)
    entry = make_entry(client, launch, resolved.variables, previous, target.options)
    command = None
    if client.adds_servers and target.file is None and previous is None and client.program is not None:
        program = find_program(client.program, machine.environ)
        command = _make_add_command(program, target.name, launch, resolved.variables, machine.environ)
    return InstallPlan(
        target,
        file,
        _edit(target, file, entry),
        entry,
        command,
        resolved.new_key_file,
        holds_key=holds_secret(resolved.variables),
        client_found=target.file is not None or _is_found(client, machine, file.path),
        may_be_refused=client_may_refuse(client, file.text),
        may_run_on_windows=client.desktop and target.file is None and machine.is_wsl,
    )


def plan_removal(target: InstallTarget, machine: Machine) -> InstallPlan:
    """
    Work out what to do so that the client forgets this server.

    Raises:
        StorageError: the client's file cannot be read or edited.
    """
    file, _ = _open(target, _path_of(target, machine))
    try:
        return InstallPlan(target, file, remove_entry(target.client, file.text, target.name))
    except ValueError as error:
        raise _cannot_edit(file.path, error) from error


def apply_plan(plan: InstallPlan, now: datetime) -> InstallResult:
    """
    Do what was planned.

    If the client's own command fails, the file is edited after all.

    Raises:
        StorageError: the file cannot be written; then nothing was changed.
    """
    with _new_key_file(plan.new_key_file):
        return _apply(plan, now)


@contextmanager
def _new_key_file(new: NewKeyFile | None) -> Generator[None]:
    """Write a key file for what is done meanwhile; it goes again if that fails."""
    if new is not None:
        new.write()
    try:
        yield
    except BaseException:
        if new is not None:
            new.path.unlink(missing_ok=True)
        raise


def _apply(plan: InstallPlan, now: datetime) -> InstallResult:
    file, text, command_error = plan.file, plan.edit.text, None
    if plan.command is not None and plan.entry is not None:
        command_error = _run_add_command(plan.command) or _check_added(plan)
        if command_error is None:
            return InstallResult(by_command=True)
        file = read_config(file.path)
        text = _edit(plan.target, file, plan.entry).text
    if text == file.text and not plan.changes_text:
        if plan.exposes_key:
            make_private(file)
        return InstallResult(command_error=command_error)
    backup = replace_config(file, text, now, private=plan.holds_key)
    return InstallResult(backup, command_error=command_error)


def find_key_copies(target: InstallTarget, path: Path) -> list[Path]:
    """Find the copies of a client's file in which our entry has a key, the newest first."""
    return [each for each in find_backups(path) if _may_hold_key(target, each)]


def _may_hold_key(target: InstallTarget, path: Path) -> bool:
    try:
        text = read_config(path).text
    except StorageError:
        return False
    try:
        return holds_secret(read_variables(read_entry(target.client, text, target.name), target.client.variables))
    except ValueError:
        # It cannot be understood any more: what looks like a key in it counts as ours.
        return redact(text) != text


def _path_of(target: InstallTarget, machine: Machine) -> Path:
    return full_path(target.file) if target.file else find_config_path(target.client, machine)


def _open(target: InstallTarget, path: Path) -> tuple[ConfigFile, Mapping[str, object] | None]:
    file = read_config(path)
    try:
        return file, read_entry(target.client, file.text, target.name)
    except ValueError as error:
        raise _cannot_edit(path, error) from error


def _edit(target: InstallTarget, file: ConfigFile, entry: Entry) -> Edit:
    try:
        return put_entry(target.client, file.text, target.name, entry)
    except ValueError as error:
        raise _cannot_edit(file.path, error) from error


def _cannot_edit(path: Path, error: ValueError) -> StorageError:
    return StorageError(
        f"{path} cannot be edited: {error}.",
        "Nothing was changed. Correct the file, or add by hand what --print shows.",
    )


def _make_add_command(
    program: str | None, name: str, launch: LaunchCommand, variables: Mapping[str, str], environ: Mapping[str, str]
) -> AddCommand | None:
    """
    Make the command of the client that adds the server, or None where it must not be used.

    It is used only when nothing secret would stand on its command line, where every user of the machine could read
    it, and only to add: what is there already is changed in the file, one entry and nothing else. Clients whose files
    are meant to be written by people are configured through the file in any case, which keeps comments and makes a
    copy. `program` is its full path; a batch file is not used, because its arguments are parsed a second time.

    Source: https://code.claude.com/docs/en/mcp#installing-mcp-servers
    """
    if program is None or holds_secret(variables) or Path(program).suffix.lower() in (".cmd", ".bat"):
        return None
    settings = [part for each, text in variables.items() for part in ("--env", f"{each}={text}")]
    line = (program, "mcp", "add", "--scope", "user", name, *settings, "--", launch.command, *launch.args)
    # The command has no use for the keys of another service.
    rest = {each: text for each, text in environ.items() if each not in SECRETS}
    return AddCommand(line, rest)


def _run_add_command(command: AddCommand) -> str | None:
    """Run it; give what went wrong, or None."""
    try:
        done = subprocess.run(  # noqa: S603 - a full path and a list of arguments, no shell
            command.line,
            env=dict(command.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).decode("utf-8", errors="replace").strip()
    return said or f"it ended with code {done.returncode}"


def _check_added(plan: InstallPlan) -> str | None:
    """Read back what the client's own command has written; give what is missing, or None."""
    try:
        _, found = _open(plan.target, plan.file.path)
    except StorageError as error:
        return str(error)
    wanted = plan.edit.after or {}
    if found is None or found.get("command") != wanted.get("command"):
        return "it did not add the entry"
    same = (found.get("args") or []) == (wanted.get("args") or []) and read_variables(found) == read_variables(wanted)
    return None if same else "it did not add the whole entry"


def _detect(client: Client, machine: Machine, name: str) -> DetectedClient:
    path = find_config_path(client, machine)
    found = _is_found(client, machine, path)
    try:
        configured = read_entry(client, read_config(path).text, name) is not None
    except (ValueError, StorageError):
        configured = None
    return DetectedClient(client, path, found, configured)


def _is_found(client: Client, machine: Machine, path: Path) -> bool:
    """Tell whether anything hints at a client: its file, the folder of it, or its command."""
    if path.is_file() or (path.parent != Path(machine.home) and path.parent.is_dir()):
        return True
    return client.program is not None and find_program(client.program, machine.environ) is not None
