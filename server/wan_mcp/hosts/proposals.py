"""What would be done for one client, and the doing of it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from wan_mcp.hosts.commands import OwnCommand, make_command, run_command
from wan_mcp.hosts.entry import Entry, make_entry, read_variables
from wan_mcp.hosts.environment import Wishes
from wan_mcp.hosts.files import ConfigFile, read_config, replace_config
from wan_mcp.hosts.keys import AskKey, NewKeyFile, holds_secret, settle
from wan_mcp.hosts.launch import Launch, find_program
from wan_mcp.hosts.places import World
from wan_mcp.hosts.plans import CannotEditError, Change, is_loose, plan_entry, plan_removal, read_entry
from wan_mcp.hosts.table import Host
from wan_mcp_tools.domain.errors import StorageError


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants: a client, the name of the server in it, and another file than the client's usual one."""

    host: Host
    name: str = "wan"
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """
    What would be done.

    With a `command` the client adds the entry itself. `exposes` says that a key would stand in a file that others
    of this machine may read, `loose` that the client does not read this file as it is, `elsewhere` that the client
    may run on the Windows around this Linux, and read its file there.
    """

    order: Order
    file: ConfigFile
    change: Change
    entry: Entry | None = None
    command: OwnCommand | None = None
    new_key_file: NewKeyFile | None = None
    secret: bool = False
    loose: bool = False
    elsewhere: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Tell whether everything is so already."""
        return self.change.text == self.file.text and self.new_key_file is None

    @property
    def without_a_trace(self) -> bool:
        """Tell whether nothing on this machine hints at the client."""
        return self.order.file is None and self.file.data is None and not self.file.path.parent.is_dir()

    @property
    def exposes(self) -> bool:
        """Tell whether a key would stand where others may read it."""
        return self.secret and self.file.open_to_others


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: the copy of the old file, whether the client's own command did it, and why that did not."""

    backup: Path | None = None
    by_command: bool = False
    complaint: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is known of one client on this machine; `configured` is None where its file cannot be understood."""

    host: Host
    file: Path
    found: bool
    configured: bool | None


def locate(host: Host, world: World) -> Path:
    """Find a client's file: one that exists, else the first whose folder does, else the plain place."""
    candidates = [Path(place) for place in host.places(world)]
    for each in candidates:
        if each.is_file():
            return each
    for each in candidates:
        if each.parent.is_dir():
            return each
    return candidates[-1]


def look_around(hosts: tuple[Host, ...], world: World, name: str) -> list[Sighting]:
    """See which clients are on this machine, and which of them know the server."""
    return [_look_at(host, world, name) for host in hosts]


def propose(order: Order, world: World, wishes: Wishes, launch: Launch, ask: AskKey) -> Proposal:
    """
    Work out what to do so that the client starts this server.

    Raises:
        SettingsError: the variables cannot be used.
        StorageError: the client's file cannot be read or edited.
    """
    file, before = _open(order.host, order.name, _path(order, world))
    settled = settle(order.host, world.environ, wishes, before, ask)
    entry = make_entry(order.host, launch, settled.variables, before)
    command = None
    if order.host.adds and order.file is None and before is None and order.host.program is not None:
        program = find_program(order.host.program, world.environ)
        command = make_command(program, order.name, launch, settled.variables, world.environ)
    return Proposal(
        order,
        file,
        _plan(order, file, entry),
        entry,
        command,
        settled.new_key_file,
        secret=holds_secret(settled.variables),
        loose=is_loose(order.host, file.text),
        elsewhere=order.host.windowed and order.file is None and world.inside_windows,
    )


def propose_removal(order: Order, world: World) -> Proposal:
    """
    Work out what to do so that the client forgets this server.

    Raises:
        StorageError: the client's file cannot be read or edited.
    """
    file, _ = _open(order.host, order.name, _path(order, world))
    try:
        return Proposal(order, file, plan_removal(order.host, file.text, order.name))
    except CannotEditError as error:
        raise _refusal(file.path, error) from error


def carry_out(proposal: Proposal, now: datetime) -> Outcome:
    """
    Do it.

    If the client's own command fails, the file is edited after all.

    Raises:
        StorageError: the file cannot be written; then nothing was changed.
    """
    with _key_file(proposal.new_key_file):
        return _write(proposal, now)


@contextmanager
def _key_file(new: NewKeyFile | None) -> Generator[None]:
    """Write a key file for what is done meanwhile; it goes again if that fails."""
    if new is not None:
        new.write()
    try:
        yield
    except BaseException:
        if new is not None:
            new.path.unlink(missing_ok=True)
        raise


def _write(proposal: Proposal, now: datetime) -> Outcome:
    file, text, complaint = proposal.file, proposal.change.text, None
    if proposal.command is not None and proposal.entry is not None:
        complaint = run_command(proposal.command) or _check(proposal)
        if complaint is None:
            return Outcome(by_command=True)
        file = read_config(file.path)
        text = _plan(proposal.order, file, proposal.entry).text
    backup = replace_config(file, text, now) if text != file.text else None
    return Outcome(backup, complaint=complaint)


def snippet(host: Host, name: str, launch: Launch, variables: Mapping[str, str]) -> str:
    """Write what a client's file would hold if there were nothing else in it."""
    entry = make_entry(host, launch, variables)
    return plan_entry(host, "", name, entry).text


def _path(order: Order, world: World) -> Path:
    return order.file.expanduser().absolute() if order.file else locate(order.host, world)


def _open(host: Host, name: str, path: Path) -> tuple[ConfigFile, Mapping[str, object] | None]:
    file = read_config(path)
    try:
        return file, read_entry(host, file.text, name)
    except CannotEditError as error:
        raise _refusal(path, error) from error


def _plan(order: Order, file: ConfigFile, entry: Entry) -> Change:
    try:
        return plan_entry(order.host, file.text, order.name, entry)
    except CannotEditError as error:
        raise _refusal(file.path, error) from error


def _refusal(path: Path, error: CannotEditError) -> StorageError:
    return StorageError(
        f"{path} cannot be edited: {error}.",
        "Nothing was changed. Correct the file, or add by hand what --print shows.",
    )


def _check(proposal: Proposal) -> str | None:
    """Read back what the client's own command has written; give what is missing, or None."""
    order = proposal.order
    try:
        _, found = _open(order.host, order.name, proposal.file.path)
    except StorageError as error:
        return str(error)
    wanted = proposal.change.after or {}
    if found is None or found.get("command") != wanted.get("command"):
        return "it did not add the entry"
    same = (found.get("args") or []) == (wanted.get("args") or []) and read_variables(found) == read_variables(wanted)
    return None if same else "it did not add the whole entry"


def _look_at(host: Host, world: World, name: str) -> Sighting:
    path = locate(host, world)
    home = Path(world.home)
    found = path.is_file() or (path.parent != home and path.parent.is_dir())
    found = found or (host.program is not None and find_program(host.program, world.environ) is not None)
    try:
        configured = read_entry(host, read_config(path).text, name) is not None
    except (CannotEditError, StorageError):
        configured = None
    return Sighting(host, path, found, configured)
