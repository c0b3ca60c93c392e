"""What the tools call things, as a person types it: the one place where their words are translated."""

import re

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


def in_commands(text: str) -> str:
    """Give a text with the commands and options of the terminal in the place of tools and arguments."""
    for pattern, words in _TRANSLATIONS:
        text = pattern.sub(lambda found, words=words: words.format_map(found.groupdict()), text)
    return text
