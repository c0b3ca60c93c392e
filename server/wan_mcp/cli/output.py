"""
What every command writes, and how it ends: exit codes, errors, tables and JSON as text.

The plain server ends through this module too, so it imports no library of the command line.
"""

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import cast

from wan_mcp.cli.wording import describe_error, in_commands
from wan_mcp.log import mask
from wan_mcp_tools.domain.errors import AppError, ErrorCode, RequestRefusedError, SettingsError
from wan_mcp_tools.domain.tasks import Task, TaskStatus

_SEVERAL = 2


class ExitCode(IntEnum):
    """The exit codes; the last is what a shell gives to a program that Ctrl-C ended."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    RUNNING = 3
    INTERRUPTED = 130


def exit_code_of_error(error: AppError) -> ExitCode:
    """Tell wrong usage and wrong settings from work that failed."""
    return ExitCode.REFUSED if isinstance(error, RequestRefusedError | SettingsError) else ExitCode.FAILED


def exit_code_of_task(task: Task) -> ExitCode:
    """
    Tell how an order went.

    It is done when every image that the service made is a file; an image that the service itself refused to
    make was not paid for and does not count.
    """
    if not task.settled or (task.open and not task.status.is_final):
        return ExitCode.RUNNING
    unsaved = any(image.url or image.code == ErrorCode.FILE_GONE for image in task.failed_images)
    saved = task.status is TaskStatus.SUCCEEDED and bool(task.images)
    return ExitCode.DONE if saved and not unsaved else ExitCode.FAILED


def write_error(error: BaseException) -> ExitCode | None:
    """Write an error of ours to stderr and give its exit code; None, and nothing written, for any other error."""
    found = _find_app_error(error)
    if found is None:
        return None
    sys.stderr.write(f"wan-mcp: {printable(mask(in_commands(_format_error(found))))}\n")
    return exit_code_of_error(found)


def unwrap(error: BaseException) -> BaseException:
    """Take a single error out of the groups that task groups put around it."""
    members = _members_of(error)
    return unwrap(members[0]) if len(members) == 1 else error


def printable(text: str) -> str:
    """Replace control characters: words of others must not steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def format_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Give rows as lines, the words of each column padded to the same width."""
    widths = [max(len(word) for word in column) for column in zip(*rows, strict=True)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def to_json(data: object) -> str:
    """Give data as JSON that passes through any terminal and any pipe."""
    return json.dumps(data, indent=2)


def _format_error(error: AppError) -> str:
    """Give an error as a person reads it: several bad settings are a list."""
    problems = error.problems if isinstance(error, SettingsError) else ()
    if len(problems) < _SEVERAL:
        return describe_error(error)
    return "\n".join([f"{len(problems)} things are wrong.", *(f"  - {each}" for each in problems), error.advice])


def _find_app_error(error: BaseException) -> AppError | None:
    """Find the one error that a task group may have wrapped, unless there are others beside it."""
    if isinstance(error, AppError):
        return error
    found = [_find_app_error(each) for each in _members_of(error)]
    return found[0] if found and all(each is not None for each in found) else None


def _members_of(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("tuple[BaseException, ...]", error.exceptions)  # pyright: ignore[reportUnknownMemberType]
