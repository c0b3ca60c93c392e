"""Where the key of an entry comes from: the environment, a file, the client's own question, or a person."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wan_mcp.hosts.entry import SAMPLE_KEY, forwards_key, let_host_prompt, prompt_id, read_variables
from wan_mcp.hosts.environment import ENV_FILE, REGION, SECRETS, Wishes, check, gather, is_reference, lacks_key
from wan_mcp.hosts.files import write_secret
from wan_mcp.hosts.table import Host
from wan_mcp.settings.access import KEY, KEY_FILE
from wan_mcp_tools.catalogue.regions import SANDBOX, find_region

AskKey = Callable[[str], str]
"""Takes the title of a region and gives its key; raises where nobody can be asked."""


@dataclass(frozen=True, slots=True)
class NewKeyFile:
    """A file that is still to be written, with the key for it."""

    path: Path
    key: str

    def __repr__(self) -> str:
        return f"NewKeyFile({self.path})"

    def write(self) -> None:
        """
        Write the file, for its owner only.

        Raises:
            StorageError: the folder refuses.
        """
        write_secret(self.path, self.key)


@dataclass(frozen=True, slots=True)
class Settled:
    """The variables of an entry, with a key or a way to one; and the key file to write first, if there is one."""

    variables: Mapping[str, str]
    new_key_file: NewKeyFile | None = None

    def __repr__(self) -> str:
        return f"Settled({', '.join(self.variables)})"


def settle(
    host: Host, environ: Mapping[str, str], wishes: Wishes, before: Mapping[str, object] | None, ask: AskKey
) -> Settled:
    """
    Find the variables of an entry, and ask for the key only if nothing else has one.

    Raises:
        SettingsError: the variables cannot be used.
        AppError: what `ask` raises.
    """
    old = read_variables(before)
    path = wishes.key_file.expanduser().absolute() if wishes.key_file is not None else None
    if path is not None and not path.exists():
        return _settle_into_file(environ, replace(wishes, key_file=None), old, path, ask)
    variables = gather(environ, wishes, old)
    region = _region(variables)
    if host.prompts:
        fresh = frozenset(name for name in SECRETS if name in variables and variables[name] != old.get(name))
        variables = let_host_prompt(variables, region, fresh)
    if lacks_key(variables) is None or forwards_key(before):
        return Settled(variables)
    if host.prompts:
        return Settled({**variables, KEY: f"${{input:{prompt_id(KEY, region)}}}"})
    variables = {KEY: ask(find_region(region).title), **variables}
    lacks_key(variables)
    return Settled(variables)


def sample(host: Host, environ: Mapping[str, str], wishes: Wishes) -> dict[str, str]:
    """
    Give the variables of an entry that is only shown: where a key would stand, something stands for it.

    Raises:
        AppError: the wishes cannot be used.
    """
    variables = gather(environ, wishes, {})
    region = _region(variables)
    ways = {KEY, f"{KEY}_{region.upper()}", KEY_FILE, ENV_FILE}
    if region != SANDBOX.name and not ways & set(variables):
        variables = {KEY: SAMPLE_KEY, **variables}
    if host.prompts:
        return let_host_prompt(variables, region, SECRETS)
    return {name: SAMPLE_KEY if name in SECRETS else text for name, text in variables.items()}


def holds_secret(variables: Mapping[str, str]) -> bool:
    """Tell whether a key stands in the variables, and not just the way to one."""
    return any(name in SECRETS and not is_reference(text) for name, text in variables.items())


def _settle_into_file(
    environ: Mapping[str, str], wishes: Wishes, old: Mapping[str, str], path: Path, ask: AskKey
) -> Settled:
    variables = gather(environ, wishes, old)
    if lacks_key(variables) is not None:
        variables = {**variables, KEY: ask(find_region(_region(variables)).title)}
        lacks_key(variables)
    settings = check(variables)
    access = settings.regions[settings.default_region]
    key = access.api_key.get_secret_value() if access.api_key is not None else ""
    if access.in_process or not key:
        return Settled(variables)
    names = (KEY, f"{KEY}_{access.region.upper()}")
    rest = {name: text for name, text in variables.items() if name not in names}
    return Settled({KEY_FILE: str(path), **rest}, NewKeyFile(path, key))


def _region(variables: Mapping[str, str]) -> str:
    return find_region(variables.get(REGION, "singapore")).name
