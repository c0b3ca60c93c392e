"""How a command ends: its exit code, and the sentence on stderr if it failed."""

import sys
from enum import IntEnum
from typing import cast

from wan_mcp.cli.wording import in_commands
from wan_mcp.log import mask
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError, SettingsError
from wan_mcp_tools.domain.tasks import Task, TaskStatus

_SEVERAL = 2


class Exit(IntEnum):
    """The exit codes; the last is what a shell gives to a program that Ctrl-C ended."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    RUNNING = 3
    INTERRUPTED = 130


def exit_of_error(error: AppError) -> Exit:
    """Tell wrong usage and wrong settings from work that failed."""
    return Exit.REFUSED if isinstance(error, RequestRefusedError | SettingsError) else Exit.FAILED


def exit_of_task(task: Task) -> Exit:
    """
    Tell how an order went.

    It is done when every image that the service made is a file; an image that the service itself refused to
    make was not paid for and does not count.
    """
    if not task.settled or (task.open and not task.status.is_final):
        return Exit.RUNNING
    unsaved = any(image.url or image.code == "FileGone" for image in task.failed_images)
    saved = task.status is TaskStatus.SUCCEEDED and bool(task.images)
    return Exit.DONE if saved and not unsaved else Exit.FAILED


def tell_failure(error: BaseException) -> Exit | None:
    """Write an error of ours to stderr and give its exit code; None, and nothing written, for any other error."""
    found = _find_ours(error)
    if found is None:
        return None
    sys.stderr.write(f"wan-mcp: {printable(mask(in_commands(_describe(found))))}\n")
    return exit_of_error(found)


def _describe(error: AppError) -> str:
    """Give an error as a person reads it: several bad settings are a list."""
    problems = error.problems if isinstance(error, SettingsError) else ()
    if len(problems) < _SEVERAL:
        return str(error)
    return "\n".join([f"{len(problems)} things are wrong.", *(f"  - {each}" for each in problems), error.advice])


def unwrap(error: BaseException) -> BaseException:
    """Take a single error out of the groups that task groups put around it."""
    inner = _inside(error)
    return unwrap(inner[0]) if len(inner) == 1 else error


def printable(text: str) -> str:
    """Replace control characters: words of others must not steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def _find_ours(error: BaseException) -> AppError | None:
    """Find the one error that a task group may have wrapped, unless there are others beside it."""
    if isinstance(error, AppError):
        return error
    found = [_find_ours(each) for each in _inside(error)]
    return found[0] if found and all(each is not None for each in found) else None


def _inside(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("tuple[BaseException, ...]", error.exceptions)  # pyright: ignore[reportUnknownMemberType]
