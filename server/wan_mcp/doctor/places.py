"""The folders: can they be written to, is there room, are they on this machine."""

from functools import partial
from pathlib import Path

from wan_mcp.doctor.apart import run_apart
from wan_mcp.doctor.finding import Finding, Verdict
from wan_mcp.doctor.world import World
from wan_mcp.storage.folders import LEAST_FREE_BYTES, FolderFacts, inspect_folder

_CHECK = "folder"
_STATE = "WAN_MCP_STATE_DIR"
_LITTLE_BYTES = 1 << 30
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


async def check_folder(world: World, role: str, folder: Path, setting: str) -> list[Finding]:
    """Look at one folder; `role` says what it is for, `setting` is the variable that names it."""
    facts = await run_apart(partial(inspect_folder, folder, world.disk, world.find_network_drive))
    looked_at = f"{role} {folder}"
    if facts.problem is not None:
        remedy = f"Make it writable, or name another folder in {setting}."
        return [Finding(_CHECK, looked_at, facts.problem.rstrip("."), Verdict.PROBLEM, remedy)]
    if facts.free_bytes is not None and facts.free_bytes < LEAST_FREE_BYTES:
        found = f"only {show_bytes(facts.free_bytes)} free; {show_bytes(LEAST_FREE_BYTES)} are needed"
        remedy = f"Free some space there, or name another folder in {setting}."
        return [Finding(_CHECK, looked_at, found, Verdict.PROBLEM, remedy)]
    return [_describe(facts, looked_at, setting)]


def show_bytes(count: int) -> str:
    """Write a number of bytes for a person."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} {_UNITS[unit]}"


def _describe(facts: FolderFacts, looked_at: str, setting: str) -> Finding:
    found = "can be written to" if facts.exists else f"not there yet, and can be made in {facts.base}"
    if facts.free_bytes is not None:
        found += f", {show_bytes(facts.free_bytes)} free"
    if facts.network_drive is not None:
        found += f", on a network drive ({facts.network_drive})"
        if setting == _STATE:
            remedy = f"Name a folder on a disk of this machine in {_STATE}: locks of network drives are not reliable."
            return Finding(_CHECK, looked_at, found, Verdict.NOTE, remedy)
    if facts.free_bytes is not None and facts.free_bytes < _LITTLE_BYTES:
        return Finding(_CHECK, looked_at, found, Verdict.NOTE, f"Free some space, or use another folder ({setting}).")
    return Finding(_CHECK, looked_at, found)
