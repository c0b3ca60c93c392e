"""How a command ends when something goes wrong: one sentence on stderr that can be acted on here, and an exit code."""

import re
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from contract.situations.page import read_rows
from fakes.memory_service import MemoryService
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp.cli.terminal.output import (
    cut_to_width,
    describe_next_step,
    display_width,
    fit_table,
    format_table,
    with_next_step,
    with_options,
)
from wan_mcp_tools import results
from wan_mcp_tools.domain.errors import MissingKeyError, NotFoundError, ServiceDownError
from wan_mcp_tools.domain.next_step import NextAction, NextStep

TOOL_WORDS = re.compile(
    r"get_task|list_tasks|cancel_task|download_image|view_image|generate_image|submit_task"
    r"|fresh=|remote=|task_id|negative_prompt|prompt_extend\b|output_dir|wait_seconds"
)
# What is wrong with the call of a tool is never met at a terminal; what was joined is told there in other words.
TOOLS_ONLY = re.compile(r"Its arguments are|^(download|view)_image takes|^wait_seconds is|Pass fresh=true")
ROWS = {title: row[3].replace("\\", "") for title, row in read_rows().items()}
STEPS = [NextStep(action, "‹id›", 1, datetime(2026, 11, 28, tzinfo=UTC)) for action in NextAction]


def run(service: MemoryService, *arguments: str, environ: dict[str, str] | None = None):
    return CliRunner().invoke(cli, arguments, obj=CommandContext(environ or {}, service.open, service.clock))


def last_line(done) -> str:
    return done.stderr.splitlines()[-1]


class RefusingService(MemoryService):
    """Answers each order with an error, alone or wrapped as a task group wraps it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def order(self, request, **_):
        raise self.error


def test_a_missing_key_is_a_wrong_setting() -> None:
    error = MissingKeyError("There is no key for Singapore.", "Set DASHSCOPE_API_KEY.")
    done = run(RefusingService(error), "generate", "x")
    assert (done.exit_code, last_line(done)) == (2, "wan-mcp: There is no key for Singapore. Set DASHSCOPE_API_KEY.")


def test_an_error_of_the_service_is_failed_work_even_inside_a_group() -> None:
    group = ExceptionGroup("unhandled", [ExceptionGroup("more", [ServiceDownError("It is down.", "Wait.")])])
    done = run(RefusingService(group), "generate", "x")
    assert (done.exit_code, last_line(done)) == (1, "wan-mcp: It is down. Wait.")


def test_an_error_that_is_not_ours_is_not_hidden() -> None:
    done = run(RefusingService(ExceptionGroup("mixed", [ServiceDownError("down"), KeyError("bug")])), "generate", "x")
    assert isinstance(done.exception, ExceptionGroup)


def test_a_key_in_a_message_is_not_printed() -> None:
    error = ServiceDownError("It said: key sk-0123456789abcdef is odd.\x1b[2J")
    done = run(RefusingService(error), "generate", "x")
    assert last_line(done) == "wan-mcp: It said: key sk-*** is odd. [2J"
    assert "\x1b" not in done.stderr


def test_several_wrong_settings_are_a_list_with_a_line_for_each() -> None:
    environ = {"WAN_MCP_PROTOCOL": "smoke", "WAN_MCP_WAIT_SECONDS": "soon", "DASHSCOPE_REGION": "mars"}
    done = run(MemoryService(), "tasks", environ=environ)
    lines = done.stderr.splitlines()

    assert done.exit_code == 2
    assert lines[0] == "wan-mcp: 3 things are wrong."
    assert all(line.startswith("  - ") for line in lines[1:4])
    assert lines[4] == "Correct the environment or the settings file."
    assert len(lines) == 5


def test_several_bad_lines_of_a_settings_file_are_a_list_too(tmp_path) -> None:
    path = tmp_path / "settings"
    path.write_text("this is no line\nWAN_MCP_MODEL=x\n='y'\n")
    done = run(MemoryService(), "tasks", "--env-file", str(path))

    assert [line[:4] for line in done.stderr.splitlines()[1:3]] == ["  - ", "  - "]


def without_next_steps(text: str) -> str:
    told = (results.describe_next_step(step).replace("2026-11-28T00:00:00+00:00", "‹time›") for step in STEPS)
    # A longer one may have a shorter one in it.
    for words in sorted(told, key=len, reverse=True):
        text = text.replace(words, "")
    return text


@pytest.mark.parametrize("title", [title for title, text in ROWS.items() if not TOOLS_ONLY.search(text)])
def test_nothing_but_a_next_step_names_what_only_a_tool_has(title) -> None:
    told = with_options(without_next_steps(ROWS[title]))
    assert not TOOL_WORDS.search(told)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.action)
def test_every_next_step_can_be_typed(step) -> None:
    told = describe_next_step(step)
    assert not TOOL_WORDS.search(told)
    assert "{" not in told


def test_the_next_step_of_an_error_comes_behind_it() -> None:
    class Strange(MemoryService):
        async def get(self, task_id, **_):
            raise NotFoundError("It is not there.", next_step=NextStep(NextAction.LIST_KNOWN_TASKS))

    done = run(Strange(), "get", "task-1")
    assert done.stderr == "wan-mcp: It is not there. Run wan-mcp tasks to see the tasks that are known.\n"


def test_an_argument_that_is_named_is_an_option_here_and_a_path_stays_a_path() -> None:
    told = with_options("Use another folder (output_dir, or a setting) or prompt_extend=false, not /me/output_dir/x.")
    assert told == "Use another folder (--output-dir, or a setting) or --no-prompt-extend, not /me/output_dir/x."
    step = NextStep(NextAction.WAIT_FIRST, task_id="{braces}")
    assert with_next_step("A {brace}.", step) == "A {brace}. Run: wan-mcp get {braces} --wait-seconds 45 first."


# --- texts as wide as they are seen ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width"),
    [("fox", 3), ("花店", 4), ("💐", 2), ("e\u0301", 1), ("\u200b", 0), ("ﾊﾝ", 2), ("Ａ", 2), ("", 0)],
)
def test_a_text_is_as_wide_as_it_is_seen(text: str, width: int) -> None:
    assert display_width(text) == width


@pytest.mark.parametrize(
    ("text", "most", "cut"),
    [
        ("a red fox", 9, "a red fox"),
        ("a red fox", 8, "a red..."),
        ("花店里的红狐狸", 14, "花店里的红狐狸"),
        ("花店里的红狐狸", 13, "花店里的红..."),
        ("花店里的红狐狸", 12, "花店里的..."),
        ("花店", 3, "..."),
        ("花店", 2, ".."),
        ("花店", 0, ""),
        ("e\u0301" * 9, 8, "e\u0301" * 5 + "..."),
        ("👨\u200d👩\u200d👧 and more", 4, "..."),
        ("e" + "\u0301" * 5_000 + "花" * 9, 8, "e" + "\u0301" * 63 + "..."),
    ],
)
def test_a_cut_counts_columns_and_parts_no_letter(text: str, most: int, cut: str) -> None:
    assert cut_to_width(text, most) == cut


def test_the_columns_of_a_table_stand_below_each_other_whatever_is_in_them() -> None:
    lines = format_table([("PROMPT", "N"), ("花店", "1"), ("e\u0301", "2"), ("💐", "3")])
    assert lines == ["PROMPT  N", "花店    1", "e\u0301       2", "💐      3"]


ROWS_TO_FIT = [("ID", "PLACE", "WORDS"), ("0123456789", "singapore", "a red fox in the snow")]
SHORT_ROWS = [("ID", "PLACE", "WORDS"), ("0123", "singapore", "a red fox in the snow")]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (60, "0123456789  singapore  a red fox in the snow"),
        (40, "0123456789  singapore  a red fox in t..."),
        (30, "0123  singapore  a red fox ..."),
        (20, "0123  a red fox i..."),
        (10, "0123  a..."),
        (5, "0123"),
        (3, "..."),
    ],
)
def test_a_table_that_is_too_wide_gets_shorter_words_then_fewer_columns(width: int, line: str) -> None:
    lines = fit_table([ROWS_TO_FIT, SHORT_ROWS], width, stretching=2, least=12, droppable=[1])
    assert lines[1] == line
    assert max(map(display_width, lines)) <= width
