"""
What every command writes, and how it ends: exit codes, errors and next steps, tables and JSON as text.

The plain server ends through this module too, so it imports no library of the command line.
"""

import errno
import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TextIO, cast

from wan_mcp.log import redact
from wan_mcp_tools.domain.errors import AppError, ErrorCode, RequestRefusedError, SettingsError
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.tasks import Task, TaskStatus

_SEVERAL = 2
_STREAM_ERRORS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT})
_PLAIN_TERMINALS = frozenset({"dumb", "unknown"})
_JOINER = "\u200d"
"""What makes one emoji of two."""
_MOST_SIGNS = 8
"""Characters for each column that a text takes; a family of four as one emoji has seven for two."""
_GAP = 2
"""Columns between two columns of a table."""

_GET = "wan-mcp get {task_id}"
_WAIT = f"Run: {_GET} --wait-seconds 45"
_AT_RISK = "Order again with --fresh only if a second charge is acceptable."
_NEXT_STEPS = {
    NextAction.WAIT_FOR_RESULT: f"{_WAIT} for the result. It is saved in any case.",
    NextAction.WAIT_FOR_CONFIRMATION: f"{_WAIT}. The service has not confirmed the order yet; do not order again.",
    NextAction.WAIT_FOR_FILES: f"{_WAIT}: the images are being saved.",
    NextAction.WAIT_FOR_SEARCH: f"{_WAIT}. Do not order again meanwhile, it may be paid for.",
    NextAction.WAIT_FIRST: f"{_WAIT} first.",
    NextAction.GET_LATER: (
        f"Run later: {_GET}: saving is tried again until expires_at. Do not order again: it is paid."
    ),
    NextAction.GET_TASK: f"Run: {_GET}.",
    NextAction.GET_TASK_TO_COLLECT: f"Run: {_GET} to collect it.",
    NextAction.GET_TASK_FOR_REASON: f"Run: {_GET} to see why.",
    NextAction.GET_TASK_AGAIN: "Run the same command again in a moment.",
    NextAction.CHECK_CANCELLATION: "Run wan-mcp get to see whether it was cancelled.",
    NextAction.CHECK_DOWNLOAD: "Run wan-mcp get to see where it stands, then call again.",
    NextAction.CANCEL_AGAIN: "Run the same command again in a moment.",
    NextAction.ORDER_AT_RISK: _AT_RISK,
    NextAction.COMPARE_CANDIDATES: (
        "See with wan-mcp get for each of them which picture is yours. Order again with --fresh only if none is "
        "and a second charge is acceptable."
    ),
    NextAction.LIST_SERVICE_OR_ORDER_AT_RISK: (
        f"Run wan-mcp tasks --remote to see the service's recent tasks. {_AT_RISK}"
    ),
    NextAction.LIST_TASKS: "Run wan-mcp tasks to see the tasks that are known.",
    NextAction.LIST_KNOWN_TASKS: "Run wan-mcp tasks to see the tasks that are known.",
    NextAction.LIST_LEDGER: "Run wan-mcp tasks to see those that are.",
    NextAction.LIST_LEDGER_OR_ASK: (
        "Run wan-mcp tasks to see those that are, or wan-mcp get to ask the service for it."
    ),
    NextAction.CORRECT_TASK_ID: "See wan-mcp tasks for the ids.",
    NextAction.FETCH_AGAIN: (
        "If it is wanted, wan-mcp get {task_id} --again fetches it again, free of charge, until {until}."
    ),
    NextAction.REPLACE_LEDGER: (
        "Move the file away (keep it) and call again; wan-mcp tasks --remote finds the tasks of the last 24 hours."
    ),
}
"""What a person is told to type; every command that a next step names stands here and nowhere else."""

_OPTIONS = {
    "list_tasks": "wan-mcp tasks",
    "negative_prompt": "--negative-prompt",
    "output_dir": "--output-dir",
    "prompt_extend": "--prompt-extend",
    "prompt_extend=false": "--no-prompt-extend",
}
"""How to type what the sentences of errors call by its name in a tool's call."""


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
    """
    Write an error of ours to stderr and give its exit code; None, and nothing written, for any other error.

    That a standard stream cannot be written to counts as one of ours; that nobody reads it any more is not told.
    """
    stream_error = _find_stream_error(error)
    if stream_error is not None:
        if stream_error.errno != errno.EPIPE:
            sys.stderr.write(f"wan-mcp: Standard output cannot be written to: {stream_error.strerror}.\n")
        return ExitCode.FAILED
    found = _find_app_error(error)
    if found is None:
        return None
    sys.stderr.write(f"wan-mcp: {printable(redact(_format_error(found)))}\n")
    return exit_code_of_error(found)


def describe_error(error: AppError) -> str:
    """Give an error as a person reads it at a terminal: what happened, what helps, and what to type next."""
    return with_next_step(str(error), error.next_step)


def with_next_step(text: str, step: NextStep | None) -> str:
    """Give the sentences of an error, a task or an image with the step that helps behind them, if there is one."""
    text = with_options(text)
    return text if step is None else f"{text} {describe_next_step(step)}"


def describe_next_step(step: NextStep) -> str:
    """Say which command to type next."""
    until = step.until.isoformat(timespec="seconds") if step.until else ""
    return _NEXT_STEPS[step.action].format(task_id=step.task_id, index=step.index, until=until)


def with_options(text: str) -> str:
    """Give sentences that name arguments of a tool with the options of the terminal in their place."""
    return " ".join(map(_spell_option, text.split(" ")))


def unwrap(error: BaseException) -> BaseException:
    """Take a single error out of the groups that task groups put around it."""
    members = _members_of(error)
    return unwrap(members[0]) if len(members) == 1 else error


def printable(text: str) -> str:
    """Replace control characters: words of others must not steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def can_move_cursor(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """
    Say whether a stream is a terminal that takes more than plain lines: colours, and a cursor that moves.

    One that calls itself `dumb`, or does not say what it is where others do, takes none.
    """
    term = environ.get("TERM", "").lower()
    return stream.isatty() and term not in _PLAIN_TERMINALS and (bool(term) or sys.platform == "win32")


def terminal_width(stream: TextIO) -> int | None:
    """Give the columns of the terminal behind a stream (`COLUMNS` wins over what it says); None if it is none."""
    if not stream.isatty():
        return None
    from shutil import get_terminal_size  # noqa: PLC0415 - the plain server never asks

    return get_terminal_size().columns


def display_width(text: str) -> int:
    """Give the columns that a text takes: two for a wide letter or an emoji, none for a mark that combines."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - most texts need no tables of letters

    return cell_len(text)


def cut_to_width(text: str, most: int, mark: str = "...") -> str:
    """Give a text that takes at most `most` columns; a cut is shown by a mark, and parts no letter from accents."""
    if display_width(text) <= most:
        return text
    room = max(0, most - display_width(mark))
    # A letter may carry marks without end, and each of them would be measured anew.
    text = text[: most * _MOST_SIGNS]
    end = next((end for end in range(len(text)) if display_width(text[: end + 1]) > room), len(text))
    return text[:end].rstrip(_JOINER) + mark[:most]


def format_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Give rows as lines, the words of each column padded to the same width."""
    widths = _measure(rows)
    return [
        "  ".join(
            word + " " * (width - display_width(word)) for word, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def fit_table(
    forms: Sequence[Sequence[tuple[str, ...]]],
    width: int,
    *,
    stretching: int,
    least: int,
    droppable: Sequence[int] = (),
) -> list[str]:
    """
    Give rows as lines of at most `width` columns.

    `forms` are the same rows in ever shorter words; the first that fits is taken. If none does, the columns of
    `droppable` are left out of the last, one after another. One fits if `least` columns are left for the words of
    the column `stretching`, or as many as they take; they are cut to what is left.
    """
    columns = list(range(len(forms[0][0])))
    fitting = [(rows, columns) for rows in forms]
    for dropped in droppable:
        columns = [column for column in columns if column != dropped]
        fitting.append((forms[-1], columns))
    rows, room = fitting[0][0], 0
    for rows, columns in fitting:
        widths = _measure(rows)
        room = max(0, width - sum(widths[column] + _GAP for column in columns if column != stretching))
        if room >= min(least, widths[stretching]):
            break
    stretched = [(*row[:stretching], cut_to_width(row[stretching], room), *row[stretching + 1 :]) for row in rows]
    lines = format_table([tuple(row[column] for column in columns) for row in stretched])
    return [cut_to_width(line, width) for line in lines]


def to_json(data: object) -> str:
    """Give data as JSON that passes through any terminal and any pipe."""
    return json.dumps(data, indent=2)


def _measure(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [max(map(display_width, column)) for column in zip(*rows, strict=True)]


def _format_error(error: AppError) -> str:
    """Give an error as a person reads it: several bad settings are a list."""
    problems = error.problems if isinstance(error, SettingsError) else ()
    if len(problems) < _SEVERAL:
        return describe_error(error)
    return "\n".join([f"{len(problems)} things are wrong.", *(f"  - {each}" for each in problems), error.advice])


def _spell_option(word: str) -> str:
    name = word.strip("(),.;:")
    return word.replace(name, _OPTIONS[name]) if name in _OPTIONS else word


def _find_app_error(error: BaseException) -> AppError | None:
    """Find the one error that a task group may have wrapped, unless there are others beside it."""
    if isinstance(error, AppError):
        return error
    found = [_find_app_error(each) for each in _members_of(error)]
    return found[0] if found and all(each is not None for each in found) else None


def _find_stream_error(error: BaseException) -> OSError | None:
    """Find the error of a stream: unlike those of files, it has no name of a file."""
    single = unwrap(error)
    if not isinstance(single, OSError) or single.filename is not None or single.errno not in _STREAM_ERRORS:
        return None
    return single


def _members_of(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("tuple[BaseException, ...]", error.exceptions)  # pyright: ignore[reportUnknownMemberType]
