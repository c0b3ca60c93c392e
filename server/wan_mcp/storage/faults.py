"""What a disk refuses, in our words: the place, the reason, the remedy."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wan_mcp_tools.domain.errors import StorageError

_LONGEST_SHOWN = 300
_ELSEWHERE = "or use another folder (output_dir of the call, or the setting WAN_MCP_OUTPUT_DIR)."
_REMEDIES: tuple[tuple[frozenset[int], str, str], ...] = (
    (
        frozenset({errno.ENOSPC, errno.EDQUOT}),
        "the disk is full",
        f"Free some space there, {_ELSEWHERE}",
    ),
    (
        frozenset({errno.EROFS}),
        "it is read-only",
        f"Make it writable, {_ELSEWHERE}",
    ),
    (
        frozenset({errno.EACCES, errno.EPERM}),
        "the system does not permit it",
        f"Give this program the right to it (macOS and Windows may protect the pictures folder), {_ELSEWHERE}",
    ),
    (
        frozenset({errno.ENOTDIR, errno.EEXIST}),
        "a part of the path is a file, not a folder",
        "Use another folder (output_dir of the call, or the setting WAN_MCP_OUTPUT_DIR).",
    ),
    (
        frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO}),
        "it is not there",
        f"Connect the drive or create the folder, {_ELSEWHERE}",
    ),
    (
        frozenset({errno.ENAMETOOLONG}),
        "the path is too long",
        "Use a shorter filename or a folder with a shorter path.",
    ),
)


@contextmanager
def reporting(doing: str, place: Path) -> Generator[None]:
    """
    Turn the system's errors into ours: the one gate.

    Raises:
        StorageError: with the place, the reason and the remedy.
    """
    try:
        yield
    except OSError as problem:
        raise explain(problem, doing, place) from problem


def explain(problem: OSError, doing: str, place: Path) -> StorageError:
    """Say what the disk refused, why, and what helps."""
    for codes, reason, remedy in _REMEDIES:
        if problem.errno in codes:
            error = StorageError(f"Could not {doing} {shown(place)}: {reason}.", remedy)
            error.retryable = problem.errno != errno.ENAMETOOLONG
            return error
    words = problem.strerror or type(problem).__name__
    return StorageError(f"Could not {doing} {shown(place)}: {words}.", f"Check the disk, {_ELSEWHERE}")


def shown(path: Path) -> str:
    """Give a path for a message; of a very long one its two ends."""
    text = str(path)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN // 2]}…{text[-_LONGEST_SHOWN // 2 :]}"
