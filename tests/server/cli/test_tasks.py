"""`wan-mcp tasks`, `get`, `cancel` and `collect` over a studio without a service."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from fakes.little_studio import LittleStudio, Summary
from wan_mcp.cli.root import root
from wan_mcp.cli.shell import Shell


def run(studio: LittleStudio, *arguments: str):
    return CliRunner().invoke(root, arguments, obj=Shell({}, studio.open, studio.clock))


def studio_with(*prompts: str, **options) -> LittleStudio:
    studio = LittleStudio(**options)

    async def silence(*_):
        pass

    async def fill() -> None:
        for prompt in prompts:
            request = studio.offer.request(prompt=prompt)
            await studio.order(request, wait_seconds=0, until_named=True, fresh=True, report=silence)

    anyio.run(fill)
    return studio


def test_tasks_are_listed_newest_first_as_a_table() -> None:
    done = run(studio_with("a red fox", "a blue\nwhale\x1b[2J that is long enough to be cut off"), "tasks")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "TASK    STATUS   REGION   MODEL       CREATED (UTC)     FILES  PROMPT",
        "task-2  PENDING  sandbox  wan2.6-t2i  2026-01-02 03:04  0      a blue whale [2J that is long enough ...",
        "task-1  PENDING  sandbox  wan2.6-t2i  2026-01-02 03:04  0      a red fox",
    ]


LISTING = """
import anyio
from fakes.little_studio import LittleStudio
from wan_mcp.cli.root import root
from wan_mcp.cli.shell import Shell

studio = LittleStudio()

async def silence(*_):
    pass

async def fill():
    request = studio.offer.request(prompt="a red fox")
    await studio.order(request, wait_seconds=0, until_named=True, fresh=True, report=silence)

anyio.run(fill)
root.main(["tasks"], prog_name="wan-mcp", obj=Shell({}, studio.open, studio.clock))
"""


def test_a_reader_that_goes_away_ends_a_listing_without_a_traceback() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    try:
        done = subprocess.run(
            [sys.executable, "-c", LISTING],
            stdout=writable,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])},
        )
    finally:
        os.close(writable)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_empty_ledger_is_told_on_stderr() -> None:
    done = run(LittleStudio(), "tasks")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No tasks.\n")


def test_tasks_come_by_state_and_in_pages() -> None:
    studio = studio_with("a", "b", "c")
    first = run(studio, "tasks", "--limit", "2")
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["TASK", "task-3", "task-2"]
    assert first.stderr == "There are more: wan-mcp tasks --cursor 2\n"
    assert "task-1" in run(studio, "tasks", "--cursor", "2").stdout
    assert run(studio, "tasks", "--status", "failed").stderr == "No tasks.\n"
    assert "task-1" in run(studio, "tasks", "--status", "pending").stdout


def test_tasks_as_json_are_results_of_the_tool() -> None:
    page = json.loads(run(studio_with("a", "b"), "tasks", "--json", "--limit", "1", "--remote").stdout)
    assert [task["task_id"] for task in page["tasks"]] == ["task-2"]
    assert page["cursor"] == "1"
    assert page["notes"] == ["Asked the service too."]


@pytest.mark.parametrize("arguments", [["--status", "lost"], ["--limit", "0"], ["--limit", "101"]])
def test_a_wrong_filter_is_wrong_usage(arguments: list[str]) -> None:
    assert run(LittleStudio(), "tasks", *arguments).exit_code == 2


def test_a_list_follows_nothing_in_the_background() -> None:
    studio = LittleStudio()
    run(studio, "tasks")
    assert [follow for _, follow in studio.opened] == [False]


def test_get_answers_at_once_unless_it_is_told_to_wait() -> None:
    studio = studio_with("a red fox", duration=20)
    now = run(studio, "get", "task-1")
    assert (now.exit_code, now.stdout, studio.waits[-1]) == (3, "", 0)
    later = run(studio, "get", "task-1", "--wait-seconds", "60")
    assert (later.exit_code, later.stdout) == (0, "/pictures/task-1-1.png\n")


def test_get_as_json_is_the_result_of_the_tool() -> None:
    done = run(studio_with("a red fox"), "get", "task-1", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["status"] == "PENDING"


def test_a_task_that_nobody_knows_is_failed_work() -> None:
    done = run(LittleStudio(), "get", "task-9")
    assert (done.exit_code, done.stderr) == (1, "wan-mcp: There is no task task-9. See wan-mcp tasks.\n")


def test_a_waiting_task_can_be_canceled() -> None:
    studio = studio_with("a red fox")
    done = run(studio, "cancel", "task-1")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "Task task-1 is CANCELED.\n")
    assert run(studio, "get", "task-1").exit_code == 1


def test_a_cancel_that_comes_too_late_is_failed_work() -> None:
    studio = studio_with("a red fox")
    run(studio, "get", "task-1", "--wait-seconds", "60")
    done = run(studio, "cancel", "task-1", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Task task-1 is SUCCEEDED. Let it end." in done.stderr


def test_a_cancel_as_json_is_the_result_of_the_tool() -> None:
    done = run(studio_with("a red fox"), "cancel", "task-1", "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (0, "CANCELED")


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(), 0),
        (Summary(finished=2, saved=3), 0),
        (Summary(finished=1, saved=1, open=1), 3),
        (Summary(problems=("The disk is full.",)), 1),
        (Summary(open=1, problems=("The disk is full.",)), 1),
    ],
)
def test_collect_tells_what_it_came_to(summary: Summary, code: int) -> None:
    done = run(LittleStudio(summary=summary), "collect")
    assert done.exit_code == code
    assert done.stdout == f"{summary.finished} finished, {summary.saved} images saved, {summary.open} still open\n"
    assert ("wan-mcp: The disk is full." in done.stderr) is bool(summary.problems)


def test_collect_as_json_gives_the_counts() -> None:
    done = run(LittleStudio(summary=Summary(finished=1, saved=2)), "collect", "--json", "--until-idle")
    assert json.loads(done.stdout) == {"finished": 1, "saved": 2, "open": 0, "problems": []}
    assert done.stderr == "Looking after 0 tasks to the end\n"
