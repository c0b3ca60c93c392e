"""
How a client starts the wan-mcp that is running now.

Clients start servers in any folder and with any PATH, so the command is a full path wherever there is one.
"""

import json
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from wan_mcp_tools.domain.record import Record

_UV_CACHE = frozenset({"archive-v0", "environments-v1", "environments-v2", "builds-v0"})
"""Folders of uv's cache that hold environments made for one run: https://docs.astral.sh/uv/concepts/tools/."""


class LaunchCommand(Record):
    """A command with its arguments."""

    command: str
    args: tuple[str, ...] = ()


class RunningProgram(Record):
    """What this process knows of itself: how it was called, its interpreter, its environment's folders."""

    argv0: str
    executable: str
    prefix: str
    scripts: str
    windows: bool
    install_source: str | None = None


def describe_this_process() -> RunningProgram:
    """Look at this process."""
    return RunningProgram(
        argv0=sys.argv[0],
        executable=sys.executable,
        prefix=sys.prefix,
        scripts=sysconfig.get_path("scripts"),
        windows=sys.platform == "win32",
        install_source=_read_install_source(),
    )


def find_launch_command(running: RunningProgram, environ: Mapping[str, str]) -> LaunchCommand:
    """Find the command that starts the same program again, tomorrow as well."""
    parts = Path(running.prefix).parts
    if _UV_CACHE & set(parts):
        # The environment is uv's and goes away; the runner finds or makes it again.
        source = ("--from", running.install_source) if running.install_source else ()
        return LaunchCommand(find_program("uvx", environ) or "uvx", (*source, "wan-mcp"))
    if "pipx" in parts and "venvs" not in parts:
        source = ("--spec", running.install_source) if running.install_source else ()
        return LaunchCommand(find_program("pipx", environ) or "pipx", ("run", *source, "wan-mcp"))
    name = "wan-mcp.exe" if running.windows else "wan-mcp"
    called = Path(running.argv0)
    if running.windows and called.suffix.lower() != ".exe":
        called = called.with_name(called.name + ".exe")
    for script in (called.absolute(), Path(running.scripts) / name):
        if script.name.lower() == name and script.is_file():
            return LaunchCommand(str(script))
    return LaunchCommand(running.executable, ("-m", "wan_mcp"))


def find_program(name: str, environ: Mapping[str, str]) -> str | None:
    """
    Find a command of this machine; None if there is none with a full path.

    Windows looks into the current folder first, where a program may lie that somebody else wrote: its path is no full
    one. Source: https://docs.python.org/3/library/shutil.html#shutil.which
    """
    found = shutil.which(name, path=environ.get("PATH", ""))
    return found if found is not None and Path(found).is_absolute() else None


def parse_install_source(text: str | None) -> str | None:
    """
    Read where a package was installed from; None where that was an index.

    Source: https://packaging.python.org/en/latest/specifications/direct-url-data-structure/
    """
    if text is None:
        return None
    data = cast("dict[str, Any]", json.loads(text))
    url, source = str(data.get("url", "")), cast("dict[str, Any]", data.get("vcs_info") or {})
    if source:
        revision = source.get("requested_revision") or source.get("commit_id")
        return f"{source.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")
    return url or None


def _read_install_source() -> str | None:
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - slow to load

    try:
        return parse_install_source(distribution("wan-mcp").read_text("direct_url.json"))
    except PackageNotFoundError:
        return None
