"""What the tools call things, as a person types it: the one place where their words are translated."""

import re

from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.next_step import NextAction, NextStep

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
    NextAction.CHECK_PLACING: "Run wan-mcp get to see where it stands, then call again.",
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

_ID = r"(?P<id>[\w.:-]*\w)"
_SEES = r"(?<![\w/.\\-])"
"""What a word of the tools does not follow: it would be a part of a path or of another word."""

_PHRASES: tuple[tuple[str, str], ...] = (
    (
        rf"Call get_task with task_id={_ID} and wait_seconds=(?P<wait>\d+)",
        "Run: wan-mcp get {id} --wait-seconds {wait}",
    ),
    (rf"Call get_task with task_id={_ID} later", "Run later: wan-mcp get {id}"),
    (rf"Call get_task with task_id={_ID}", "Run: wan-mcp get {id}"),
    (r"Call get_task to see", "Run wan-mcp get to see"),
    (r"Call (?:get|cancel)_task again in a moment", "Run the same command again in a moment"),
    (
        r"Call view_image with each of these task_ids to see which picture is yours",
        "See with wan-mcp get for each of them which picture is yours",
    ),
    (r"Use the task_id of an earlier answer, or list_tasks", "See wan-mcp tasks for the ids"),
    (r"(?:Use|Call) list_tasks to see", "Run wan-mcp tasks to see"),
    (r"(?:Use|Call) list_tasks with remote=true", "Run wan-mcp tasks --remote"),
    (r"Use list_tasks", "See wan-mcp tasks"),
    (r"list_tasks with remote=true", "wan-mcp tasks --remote"),
    (rf"download_image with task_id={_ID} and index=\d+ fetches", "wan-mcp get {id} --again fetches"),
    (r"download_image puts them", "you can copy them"),
    (r"prompt_extend=false", "--no-prompt-extend"),
    (r"fresh=true", "--fresh"),
)
_NAMES: tuple[tuple[str, str], ...] = (
    ("get_task", "wan-mcp get"),
    ("cancel_task", "wan-mcp cancel"),
    ("list_tasks", "wan-mcp tasks"),
    ("generate_image", "wan-mcp generate"),
    ("submit_task", "wan-mcp generate"),
    ("negative_prompt", "--negative-prompt"),
    ("prompt_extend", "--prompt-extend"),
    ("output_dir", "--output-dir"),
    ("wait_seconds", "--wait-seconds"),
)
_TRANSLATIONS = (
    *((re.compile(_SEES + phrase), words) for phrase, words in _PHRASES),
    *((re.compile(rf"{_SEES}{name}(?![\w/\\-])"), words) for name, words in _NAMES),
)


def describe_error(error: AppError) -> str:
    """Give an error as a person reads it at a terminal: what happened, what helps, and what to type next."""
    return with_next_step(str(error), error.next_step)


def with_next_step(words: str, step: NextStep | None) -> str:
    """Give plain words with the step that helps behind them, if there is one."""
    return words if step is None else f"{words} {describe_next_step(step)}"


def describe_next_step(step: NextStep) -> str:
    """Say which command to type next."""
    until = step.until.isoformat(timespec="seconds") if step.until else ""
    return _NEXT_STEPS[step.action].format(task_id=step.task_id, index=step.index, until=until)


def in_commands(text: str) -> str:
    """Give a text with the commands and options of the terminal in the place of tools and arguments."""
    for pattern, words in _TRANSLATIONS:
        text = pattern.sub(lambda found, words=words: words.format_map(found.groupdict()), text)
    return text
