"""`wan-mcp tasks`, `get`, `cancel` and `collect` over a service without a service."""

import io
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from fakes.dashscope import FakeService
from fakes.memory_service import MemoryService, Summary
from fakes.order_service import make_settings, order, running_service
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli
from wan_mcp.cli.tasks import run_cancel, run_get
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import ExitCode
from wan_mcp.cli.terminal.task_output import format_costs, shorten_ids
from wan_mcp_tools.catalogue.prices import ImageCount, make_report
from wan_mcp_tools.domain.errors import NotConnectedError, RequestRefusedError
from wan_mcp_tools.list_tasks import list_tasks


def run(service: MemoryService, *arguments: str):
    return CliRunner().invoke(cli, arguments, obj=CommandContext({}, service.open, service.clock))


def service_with(*prompts: str, **options) -> MemoryService:
    service = MemoryService(**options)

    async def silence(*_):
        pass

    async def fill() -> None:
        for prompt in prompts:
            request = service.catalogue.make_request(prompt=prompt)
            await service.order(request, wait_seconds=0, until_accepted=True, fresh=True, report=silence)

    anyio.run(fill)
    return service


def test_tasks_are_listed_newest_first_as_a_table() -> None:
    done = run(service_with("a red fox", "a blue\nwhale\x1b[2J that is long enough to be cut off"), "tasks")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "TASK    STATUS   REGION   MODEL       CREATED (UTC)     FILES  PROMPT",
        "task-2  PENDING  sandbox  wan2.6-t2i  2026-01-02 03:04  0      a blue whale [2J that is long enough ...",
        "task-1  PENDING  sandbox  wan2.6-t2i  2026-01-02 03:04  0      a red fox",
    ]


LISTING = """
import anyio
from fakes.memory_service import MemoryService
from wan_mcp.cli.main import cli
from wan_mcp.cli.command import CommandContext

service = MemoryService()

async def silence(*_):
    pass

async def fill():
    request = service.catalogue.make_request(prompt="a red fox")
    await service.order(request, wait_seconds=0, until_accepted=True, fresh=True, report=silence)

anyio.run(fill)
cli.main(["tasks"], prog_name="wan-mcp", obj=CommandContext({}, service.open, service.clock))
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
            timeout=45,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])},
        )
    finally:
        os.close(writable)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_empty_ledger_is_told_on_stderr() -> None:
    done = run(MemoryService(), "tasks")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No tasks.\n")


def test_tasks_come_by_state_and_in_pages() -> None:
    service = service_with("a", "b", "c")
    first = run(service, "tasks", "--limit", "2")
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["TASK", "task-3", "task-2"]
    assert first.stderr == "There are more: wan-mcp tasks --cursor 2\n"
    assert "task-1" in run(service, "tasks", "--cursor", "2").stdout
    assert run(service, "tasks", "--status", "failed").stderr == "No tasks.\n"
    assert "task-1" in run(service, "tasks", "--status", "pending").stdout


@pytest.mark.parametrize("arguments", [["--status", "lost"], ["--limit", "0"], ["--limit", "101"]])
def test_a_wrong_filter_is_wrong_usage(arguments: list[str]) -> None:
    assert run(MemoryService(), "tasks", *arguments).exit_code == 2


def test_a_list_follows_nothing_in_the_background() -> None:
    service = MemoryService()
    run(service, "tasks")
    assert [follow for _, follow in service.opened] == [False]


def test_tasks_as_json_are_results_of_the_tool() -> None:
    service = service_with("a", "b")
    printed = json.loads(run(service, "tasks", "--json", "--limit", "1", "--remote").stdout)

    async def ask() -> dict[str, object]:
        tool = list_tasks(service)
        answer = await tool.run(tool.arguments(limit=1, remote=True), None)
        return answer.result.model_dump(mode="json", exclude_none=True)

    assert printed == anyio.run(ask)
    assert [task["task_id"] for task in printed["tasks"]] == ["task-2"]


# --- costs --------------------------------------------------------------------------------------------------

DAY = date(2026, 1, 2)


def service_that_counts(*counts: ImageCount) -> MemoryService:
    service = MemoryService()
    service.counts = list(counts)
    return service


def test_costs_are_told_by_day_region_and_model_and_summed_for_each_currency() -> None:
    service = service_that_counts(
        ImageCount(DAY, "beijing", "wan2.6-t2i", charged=2),
        ImageCount(DAY, "singapore", "wan2.7-image-pro", charged=3, open=1, unclear=2),
        ImageCount(date(2026, 1, 1), "frankfurt", "wan2.6-t2i", charged=1, found=4),
        ImageCount(date(2026, 1, 1), "sandbox", "wan2.6-t2i", open=1),
    )
    done = run(service, "tasks", "--costs")
    assert (done.exit_code, done.stderr, service.periods) == (0, "", [("30 days", None)])
    money = "about 0.40 CNY and 0.225 USD and 1 image of unknown price"
    assert done.stdout.splitlines() == [
        "DAY         REGION     MODEL             IMAGES  COST       OPEN",
        "2026-01-02  beijing    wan2.6-t2i        2       0.40 CNY   -",
        "2026-01-02  singapore  wan2.7-image-pro  3       0.225 USD  1",
        "2026-01-01  frankfurt  wan2.6-t2i        1       not known  -",
        "2026-01-01  sandbox    wan2.6-t2i        0       -          1",
        "",
        f"6 images made from 2025-12-04 to 2026-01-02: {money} (indicative, prices of 2026-05)",
        "2 images ordered and not made yet: about 0.075 USD (indicative, prices of 2026-05)",
        "2 images of orders whose outcome is not known: charged or not",
        "4 images of tasks found at the service, ordered elsewhere: in no sum",
    ]


def test_a_period_is_given_in_days_or_by_its_two_ends() -> None:
    service = MemoryService()
    run(service, "tasks", "--costs", "--since", "yesterday")
    run(service, "tasks", "--costs", "--until", "2026-01-01")
    run(service, "tasks", "--since", "2026-01-01", "--until", "today")
    run(service, "tasks")

    expected = [("yesterday", None), (None, "2026-01-01"), ("2026-01-01", "today"), (None, None)]
    assert service.periods == expected


def test_costs_as_json_have_every_count() -> None:
    service = service_that_counts(ImageCount(DAY, "singapore", "wan2.6-t2i", charged=3))
    done = run(service, "tasks", "--costs", "--days", "7", "--json")
    facts = json.loads(done.stdout)
    assert service.periods == [("7 days", None)]
    assert (facts["since"], facts["until"]) == ("2025-12-27", "2026-01-02")
    assert facts["charged"] == {"images": 3, "cost": {"USD": "0.09"}}
    assert facts["lines"][0]["model"] == "wan2.6-t2i"


def test_no_images_cost_nothing_and_that_is_said() -> None:
    done = run(MemoryService(), "tasks", "--costs", "--days", "1")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No images were ordered from 2026-01-02 to 2026-01-02.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--costs", "--status", "failed"],
        ["--costs", "--remote"],
        ["--days", "3"],
        ["--costs", "--days", "0"],
        ["--costs", "--days", "3", "--since", "today"],
    ],
)
def test_costs_take_no_other_filter_than_a_period(arguments: list[str]) -> None:
    service = MemoryService()
    assert run(service, "tasks", *arguments).exit_code == 2
    assert service.opened == []


async def test_the_costs_of_a_real_ledger_are_those_of_what_was_ordered(tmp_path: Path) -> None:
    with FakeService() as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            before = await service.report_costs(since="today", until=None)
            assert (before.lines, (tmp_path / "state").exists()) == ((), False)
            assert (await order(service, "a red fox", n=2)).settled
            report = await service.report_costs(since="today", until=None)
        assert dashscope.paid_images() == 2
    assert (report.charged.images, report.charged.free, report.open.images) == (2, 0, 0)
    assert [str(money) for money in report.charged.amounts] == ["0.06 USD"]
    assert report.since == report.until


# --- one task -----------------------------------------------------------------------------------------------


def test_get_answers_at_once_unless_it_is_told_to_wait() -> None:
    service = service_with("a red fox", duration=20)
    now = run(service, "get", "task-1")
    assert (now.exit_code, now.stdout, service.waits[-1]) == (3, "", 0)
    later = run(service, "get", "task-1", "--wait-seconds", "60")
    assert (later.exit_code, later.stdout) == (0, "/pictures/task-1-1.png\n")


def test_get_as_json_is_the_result_of_the_tool() -> None:
    done = run(service_with("a red fox"), "get", "task-1", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["status"] == "PENDING"


def test_a_task_that_nobody_knows_is_failed_work() -> None:
    done = run(MemoryService(), "get", "task-9")
    assert (done.exit_code, done.stderr) == (1, "wan-mcp: There is no task task-9. See wan-mcp tasks.\n")


def test_a_waiting_task_can_be_canceled() -> None:
    service = service_with("a red fox")
    done = run(service, "cancel", "task-1")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "Task task-1 is CANCELED.\n")
    assert run(service, "get", "task-1").exit_code == 1


def test_a_cancel_that_comes_too_late_is_failed_work() -> None:
    service = service_with("a red fox")
    run(service, "get", "task-1", "--wait-seconds", "60")
    done = run(service, "cancel", "task-1", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Task task-1 is SUCCEEDED. Let it end." in done.stderr


def test_a_cancel_as_json_is_the_result_of_the_tool() -> None:
    done = run(service_with("a red fox"), "cancel", "task-1", "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (0, "CANCELED")


@pytest.mark.parametrize("command", ["get", "cancel"])
def test_a_beginning_that_one_task_has_stands_for_its_id(command: str) -> None:
    service = service_with("a red fox", "an owl")
    service.tasks["second-3"] = replace(service.tasks.pop("task-2"), task_id="second-3")
    service.born["second-3"] = service.born["task-2"]
    done = run(service, command, "second", "--json")
    assert json.loads(done.stdout)["task_id"] == "second-3", done.stderr
    assert run(service, "get", "task-1", "--json").exit_code == 3


@pytest.mark.parametrize("command", ["get", "cancel"])
def test_a_beginning_that_several_tasks_have_is_wrong_usage_and_names_them(command: str) -> None:
    service = service_with(*(f"花店 {number}" for number in range(10)))
    done = run(service, command, "task")
    assert (done.exit_code, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "wan-mcp: Several tasks begin with task. Type more of the one that you mean:"
    assert lines[1:3] == ["  task-10  PENDING  花店 9", "  task-9   PENDING  花店 8"]
    assert lines[-1] == "  and more"
    assert all(task.status != "CANCELED" for task in service.tasks.values())
    # A whole id is meant although another one begins with it.
    assert run(service, "get", "task-1", "--json").stdout.count('"task-1"') == 1


def test_less_than_a_beginning_is_wrong_usage() -> None:
    done = run(service_with("a red fox"), "get", "tas")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Type at least 4 characters; wan-mcp tasks lists the ids." in done.stderr


async def test_only_the_letters_of_an_id_find_it(tmp_path: Path) -> None:
    with FakeService() as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            task = await order(service, "a red fox")
            for typed in ("%%%%", "____", "task_", "t%s-", "TASK-", "ask-1", "task-1 "):
                assert await service.find_by_beginning(typed, limit=9) == ()
            for any_id in (task.task_id, task.local_id):
                for length in (4, 8, len(any_id)):
                    (found,) = await service.find_by_beginning(any_id[:length], limit=9)
                    assert found.local_id == task.local_id


async def refuse_id(service, command, typed: str) -> None:
    more = {"wait_seconds": 0} if command is run_get else {}
    with pytest.raises(RequestRefusedError, match=r"is not a task id|is empty"):
        await command(service, typed, Console(io.StringIO(), io.StringIO()), as_json=False, **more)


async def test_what_can_be_no_id_is_refused_as_before(tmp_path: Path) -> None:
    with FakeService() as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            await order(service, "a red fox")
            for typed, command in itertools.product(
                ("花店花店", "\udcff\udcff\udcff\udcff", "a b c d", ""), (run_get, run_cancel)
            ):
                await refuse_id(service, command, typed)


def test_ids_are_shortened_to_what_tells_them_apart() -> None:
    ids = ["0123456789ab", "0123456789cd", "local-0123456789ab", "short"]
    assert shorten_ids(ids) == {
        "0123456789ab": "0123456789a",
        "0123456789cd": "0123456789c",
        "local-0123456789ab": "local-0123456789a",
        "short": "short",
    }


def test_costs_fit_a_narrow_terminal() -> None:
    catalogue = MemoryService().catalogue
    counts = [ImageCount(DAY, "singapore", "wan2.7-image-pro", charged=30, open=1)]
    report = make_report(counts, catalogue, since=DAY, until=DAY)
    assert format_costs(report.lines, 60)[1] == "01-02  singapore  wan2.7-image-pro  30      2.25 USD  1"
    assert format_costs(report.lines, 40)[1] == "01-02  wan2.7-image...  30      2.25 USD"
    assert max(map(len, format_costs(report.lines, 40))) <= 40


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
    done = run(MemoryService(summary=summary), "collect")
    assert done.exit_code == code
    assert done.stdout == f"{summary.finished} finished, {summary.saved} images saved, {summary.open} still open\n"
    assert ("wan-mcp: The disk is full." in done.stderr) is bool(summary.problems)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (None, "Looking after 0 tasks\n"),
        ("--wait", "Looking after 0 tasks to the end\n"),
        ("--until-idle", "Looking after 0 tasks to the end\n"),
    ],
)
def test_collect_as_json_gives_the_counts_and_stays_only_if_it_is_told_to(option: str | None, told: str) -> None:
    words = ["collect", "--json", *([option] if option else [])]
    done = run(MemoryService(summary=Summary(finished=1, saved=2)), *words)
    assert json.loads(done.stdout) == {"finished": 1, "saved": 2, "open": 0, "problems": []}
    assert done.stderr == told


def test_the_older_name_of_an_option_of_collect_is_not_shown() -> None:
    shown = run(MemoryService(), "collect", "--help").stdout
    assert "--wait" in shown
    assert "--until-idle" not in shown


@pytest.fixture
async def saved(tmp_path: Path):
    """A real service, and an order of two images that are saved."""
    with FakeService() as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            yield service, await order(service, "a red fox", n=2)


async def test_files_that_are_gone_are_fetched_again_on_request(saved) -> None:
    service, task = saved
    first, second = (Path(image.path) for image in task.images)
    before = first.read_bytes()
    first.unlink()

    console = Console(io.StringIO(), io.StringIO())
    assert await run_get(service, task.task_id, console, wait_seconds=0, as_json=False) is ExitCode.FAILED
    assert f"wan-mcp get {task.task_id} --again fetches it again, free of charge" in console.err.getvalue()
    assert not first.exists()

    console = Console(io.StringIO(), io.StringIO())
    assert await run_get(service, task.task_id, console, wait_seconds=0, again=True, as_json=False) is ExitCode.DONE
    assert console.out.getvalue().split() == [str(first), str(second)]
    assert first.read_bytes() == before


async def test_a_file_that_cannot_be_fetched_again_is_told_and_the_others_are_fetched(saved) -> None:
    service, task = saved
    first, second = (Path(image.path) for image in task.images)
    first.unlink()
    second.unlink()

    class Refusing:
        async def download_image(self, *, index, **words):
            if index == 1:
                raise NotConnectedError("The image host gives no answer.", "Try again.")
            return await service.download_image(index=index, **words)

        def __getattr__(self, name):
            return getattr(service, name)

    console = Console(io.StringIO(), io.StringIO())
    code = await run_get(Refusing(), task.task_id, console, wait_seconds=0, again=True, as_json=False)

    assert code is ExitCode.FAILED
    assert console.out.getvalue().split() == [str(second)]
    assert "Image 1: The image host gives no answer. Try again." in console.err.getvalue()


def test_nothing_is_fetched_again_unless_something_is_gone() -> None:
    done = run(service_with("a red fox", duration=0.0), "get", "task-1", "--again")
    assert done.exit_code in (0, 3)
    assert "task-1" in done.stdout + done.stderr
