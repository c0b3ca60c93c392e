"""What a folder is good for, found out without making it. Everything here asks the disk: call it in a thread."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wan_mcp.storage.disk import Disk
from wan_mcp.storage.faults import explain
from wan_mcp.storage.folders import try_writing
from wan_mcp.storage.mounts import find_file_system
from wan_mcp_tools.domain.errors import StorageError

FindFileSystem = Callable[[Path], str | None]
"""Takes a folder that exists; gives the kind of its network drive, or None for a disk of this machine."""


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """
    What is known of a folder.

    `exists` is False for one that would be made when it is needed; then the rest is told of the nearest folder above
    it. `trouble` says why nothing can be saved there. `free_bytes` is None where the disk does not say. `network` is
    the kind of the network drive that it is on.
    """

    exists: bool
    base: Path
    trouble: str | None = None
    free_bytes: int | None = None
    network: str | None = None


def survey_folder(
    folder: Path, disk: Disk | None = None, find_file_system: FindFileSystem = find_file_system
) -> FolderFacts:
    """Look at a folder. An empty file is made in it for a moment; a folder that is missing is not made."""
    disk = disk or Disk()
    exists, base = False, folder
    try:
        base = _find_base(folder)
        exists = base == folder
        if exists:
            try_writing(folder, disk)
        elif not os.access(base, os.W_OK | os.X_OK):
            return FolderFacts(exists, base, f"{base}, where it would be made, cannot be written to.")
        return FolderFacts(exists, base, None, disk.count_free_bytes(base), find_file_system(base))
    except StorageError as error:
        return FolderFacts(exists, base, error.message)
    except OSError as error:
        return FolderFacts(exists, base, explain(error, "look at", base).message)


def _find_base(folder: Path) -> Path:
    """
    Find the folder itself, or the nearest one above it.

    Raises:
        StorageError: something else than a folder is in the way.
    """
    for each in (folder, *folder.parents):
        if each.is_dir():
            return each
        if os.path.lexists(each):
            raise StorageError(f"{each} is no folder.")
    raise StorageError(f"No part of {folder} exists on this machine.")
