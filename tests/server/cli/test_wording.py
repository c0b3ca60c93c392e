"""At a terminal nobody is told to call a tool: the words are the commands and options that can be typed."""

import io
import re

import pytest
from click.testing import CliRunner

from contract.situations.page import read_rows
from fakes.little_service import LittleService
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.console import Console
from wan_mcp.cli.main import cli
from wan_mcp.cli.wording import in_commands
from wan_mcp_tools.domain.errors import NotFoundError

_TOOL_WORDS = re.compile(
    r"get_task|list_tasks|cancel_task|download_image|generate_image|submit_task|fresh=|task_id=|prompt_extend|output_dir|wait_seconds"
)
# What is wrong with the call of a tool is never met at a terminal.
_TOOLS_ONLY = re.compile(r"Its arguments are|^(download|view)_image takes")
_ROWS = {title: row[3].replace("\\", "").replace("‹id›", "0385dc79-2") for title, row in read_rows().items()}
_SAID = {title: words for title, words in _ROWS.items() if not _TOOLS_ONLY.search(words)}


@pytest.mark.parametrize("title", _SAID)
def test_no_situation_is_told_in_words_of_the_tools(title):
    said = in_commands(_SAID[title])

    assert not _TOOL_WORDS.search(said), said


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ("Call get_task with task_id=1f-2 and wait_seconds=45.", "Run: wan-mcp get 1f-2 --wait-seconds 45."),
        ("Call get_task with task_id=local-0a: x", "Run: wan-mcp get local-0a: x"),
        ("Order again with fresh=true only if", "Order again with --fresh only if"),
        (
            "Could not write in /home/me/get_task/output_dir: no.",
            "Could not write in /home/me/get_task/output_dir: no.",
        ),
        ("a {brace} stays", "a {brace} stays"),
    ],
)
def test_words_are_translated_and_paths_are_not(words, typed):
    assert in_commands(words) == typed


def test_the_advice_of_an_error_can_be_typed() -> None:
    class MissingTaskService(LittleService):
        async def get(self, task_id, **_):
            raise NotFoundError("It is not there.", "Call list_tasks to see the tasks that are known.")

    service = MissingTaskService()
    done = CliRunner().invoke(cli, ["get", "1"], obj=CommandContext({}, service.open, service.clock))

    assert done.stderr == "wan-mcp: It is not there. Run wan-mcp tasks to see the tasks that are known.\n"


def test_a_remark_of_any_command_is_translated(tmp_path) -> None:
    err = io.StringIO()
    Console(io.StringIO(), err).note("Held up. Call get_task with task_id=1f-2 later: it is tried again.")

    assert err.getvalue() == "Held up. Run later: wan-mcp get 1f-2: it is tried again.\n"
