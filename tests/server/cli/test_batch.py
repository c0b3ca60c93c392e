"""Many orders at the same time, and what is told of them at the end or at Ctrl-C."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.dashscope import FakeService
from fakes.memory_service import MemoryService
from fakes.order_service import make_settings, running_service
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.generate import run_generate
from wan_mcp.cli.main import cli
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import ExitCode
from wan_mcp_tools.domain.errors import DailyLimitError, LedgerError, MissingKeyError
from wan_mcp_tools.domain.tasks import TaskStatus


def run(service: MemoryService, *arguments: str, lines: str | bytes | None = None):
    context = CommandContext(environ={}, open_service=service.open, clock=service.clock)
    return CliRunner().invoke(cli, ["generate", *arguments], obj=context, input=lines)


class PartlyFailingService(MemoryService):
    """Refuses prompts by their words, and lets some fail or go on for ever."""

    def __init__(self, errors=None, **words) -> None:
        super().__init__(**words)
        self.errors = errors or {}

    async def order(self, request, **words):
        if request.prompt in self.errors:
            raise self.errors[request.prompt]
        return await super().order(request, **words)

    def _look(self, name):
        task = super()._look(name)
        if "fails" in task.request.prompt and task.settled:
            return replace(task, status=TaskStatus.FAILED, images=())
        if "endless" in task.request.prompt:
            return replace(task, settled=False, open=True, status=TaskStatus.RUNNING, images=())
        return task


# --- what is ordered ----------------------------------------------------------------------------------------


def test_what_is_ordered_is_said_in_all() -> None:
    done = run(MemoryService(), "-", "--n", "2", lines="a\nb\nc\n")
    assert "Ordering 6 images of 3 prompts with wan2.6-t2i in sandbox: free." in done.stderr


def test_orders_are_worked_on_side_by_side() -> None:
    service = MemoryService(duration=20)
    run(service, "-", lines="".join(f"prompt {number}\n" for number in range(12)))
    begun = sorted(service.born.values())
    assert len(begun) == 12
    # The twelfth was placed before the first had ended.
    assert begun[-1] < begun[0] + 20


def test_nothing_is_ordered_if_one_of_the_prompts_cannot_be() -> None:
    service = MemoryService()
    done = run(service, "-", lines=f"a red fox\n{'x' * 2101}\nan owl\n")
    assert (done.exit_code, done.stdout, service.orders) == (2, "", [])
    assert "1 of 3 prompts cannot be ordered, so nothing was ordered." in done.stderr
    assert "Prompt 2: The prompt has 2101 characters" in done.stderr


def test_a_wrong_option_is_told_once_and_not_for_each_prompt() -> None:
    done = run(MemoryService(), "-", "--n", "9", lines="a\nb\nc\n")
    assert done.exit_code == 2
    assert done.stderr.count("from 1 to 4") == 1


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, ["fox"]), (2, ["fox-1", "fox-2"]), (10, [*(f"fox-0{number}" for number in range(1, 10)), "fox-10"])],
)
def test_a_file_name_gets_the_number_of_its_prompt(count: int, names: list[str]) -> None:
    service = MemoryService()
    lines = "".join(f"prompt {number}\n" for number in range(count))
    assert run(service, "-", "--filename", "fox.png", lines=lines).exit_code == 0
    ordered = {request.prompt: request.filename for request, _ in service.orders}
    assert [ordered[f"prompt {number}"] for number in range(count)] == names if count > 1 else ["fox.png"]


async def test_two_lines_that_say_the_same_are_two_pictures(tmp_path: Path) -> None:
    with FakeService() as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            request = service.catalogue.make_request(prompt="a red fox", size="1280*1280")
            other = service.catalogue.make_request(prompt="an owl", size="1280*1280")
            out = io.StringIO()
            code = await run_generate(
                service, [request, other, request], Console(out, io.StringIO()), wait_seconds=30, is_list=True
            )
        paths = out.getvalue().splitlines()
        assert (code, len(set(paths)), len(paths)) == (ExitCode.DONE, 3, 3)
        assert dashscope.paid_images() == 3
    assert ["a-red-fox" in path for path in paths] == [True, False, True]
    assert all(os.path.isfile(path) for path in paths)  # noqa: ASYNC240, PTH113 - the work is over


# --- how it ends --------------------------------------------------------------------------------------------


def test_the_paths_stand_in_the_order_of_the_prompts() -> None:
    class SlowService(MemoryService):
        async def order(self, request, **words):
            if request.prompt == "slow":
                await self.clock.sleep(5)
            return await super().order(request, **words)

        async def get(self, task_id, **words):
            task = await super().get(task_id, **words)
            images = tuple(replace(image, path=f"/pictures/{task.request.prompt}.png") for image in task.images)
            return replace(task, images=images)

    done = run(SlowService(), "-", lines="slow\nquick\nlast\n")
    assert done.stdout.splitlines() == ["/pictures/slow.png", "/pictures/quick.png", "/pictures/last.png"]


def test_one_prompt_that_fails_does_not_stop_the_others() -> None:
    error = LedgerError("The disk is full.", "Make room.")
    done = run(PartlyFailingService({"b": error}), "-", lines="a\nb\nc\nthis fails\n")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 2
    assert "wan-mcp: The disk is full. Make room.\n  2/4 b\n" in done.stderr
    assert "4/4 this fails:\nwan-mcp: task task-3 is FAILED." in done.stderr


def test_the_daily_limit_refuses_the_rest_with_words_said_once() -> None:
    error = DailyLimitError("100 images were ordered in the last 24 hours.", "Wait.")
    done = run(PartlyFailingService({"c": error, "d": error}), "-", lines="a\nb\nc\nd\n")
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 2)
    assert done.stderr.count("100 images were ordered") == 1
    assert done.stderr.endswith("wan-mcp: 100 images were ordered in the last 24 hours. Wait.\n  3/4 c\n  4/4 d\n")
    # What was said of the price before is set right.
    assert "Ordered after all: 2 images of 2 prompts: free.\n" in done.stderr


def test_what_stops_all_of_them_is_a_wrong_setting() -> None:
    error = MissingKeyError("There is no key.", "Set one.")
    done = run(PartlyFailingService({"a": error, "b": error}), "-", lines="a\nb\n")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("wan-mcp: There is no key. Set one.\n")
    assert "Order" not in done.stderr


def test_a_prompt_that_still_runs_is_told_and_has_its_own_code() -> None:
    done = run(PartlyFailingService(), "-", "--wait-seconds", "40", lines="a\nendless\n")
    assert (done.exit_code, len(done.stdout.splitlines())) == (3, 1)
    assert "see it with: wan-mcp get task-2" in done.stderr


def test_a_failure_comes_before_what_still_runs() -> None:
    done = run(PartlyFailingService(), "-", "--wait-seconds", "40", lines="endless\nthis fails\n")
    assert done.exit_code == 1


def test_the_wait_is_one_for_all_of_them() -> None:
    service = PartlyFailingService()
    started = service.clock.monotonic()
    run(service, "-", "--wait-seconds", "60", lines="".join(f"endless {number}\n" for number in range(10)))
    # A clock that jumps for every sleeper runs ahead; what matters is what each call was given.
    assert max(service.waits) <= 60
    assert service.clock.monotonic() > started


def test_json_is_a_list_of_the_tools_results_in_the_order_of_the_prompts() -> None:
    error = LedgerError("The disk is full.", "Make room.")
    done = run(PartlyFailingService({"b": error}), "-", "--json", lines="a\nb\nc\n")
    results = json.loads(done.stdout)
    assert [result["prompt"] for result in results] == ["a", "b", "c"]
    assert results[0]["images"][0]["path"] == "/pictures/task-1-1.png"
    assert results[1] == {"prompt": "b", "code": error.code, "message": "The disk is full. Make room."}
    assert [result.get("status") for result in results] == ["SUCCEEDED", None, "SUCCEEDED"]
    assert done.exit_code == 1


def test_json_of_a_list_with_one_line_is_a_list() -> None:
    assert len(json.loads(run(MemoryService(), "-", "--json", lines="a\n").stdout)) == 1


# --- progress and interruption ------------------------------------------------------------------------------


def test_where_nobody_watches_each_change_is_a_line() -> None:
    done = run(MemoryService(duration=30), "-", lines="a red fox in the deep snow\nb\n")
    lines = [line for line in done.stderr.splitlines() if line.startswith("1/2")]
    assert lines == [
        "1/2 a red fox in the deep s…: Sending the order",
        "1/2 a red fox in the deep s…: PENDING",
        "1/2 a red fox in the deep s…: RUNNING",
        "1/2 a red fox in the deep s…: saved",
    ]


INTERRUPTED = """
import sys
import anyio
from fakes.memory_service import MemoryService
from wan_mcp.cli.main import cli
from wan_mcp.cli.command import CommandContext
from wan_mcp_tools.domain.errors import LedgerError

class EndlessService(MemoryService):
    left = int(sys.argv[1])

    async def order(self, request, **words):
        if "unwritten" in request.prompt:
            await self.wait()
        if "refused" in request.prompt:
            self.left -= 1
            raise LedgerError("The disk is full. Nothing was ordered.")
        return await super().order(request, **words)

    async def send(self, request):
        if "unnamed" in request.prompt:
            await self.wait()
        await super().send(request)

    async def get(self, task_id, **words):
        if "endless" in self.tasks[task_id].request.prompt:
            await self.wait()
        return await super().get(task_id, **words)

    async def wait(self):
        self.left -= 1
        if not self.left:
            await anyio.sleep(0.2)
            print("waiting", file=sys.stderr, flush=True)
        await anyio.sleep(30)

service = EndlessService()
cli.main(["generate", *sys.argv[2:]], prog_name="wan-mcp", obj=CommandContext({}, service.open, service.clock))
"""


def interrupt(waiting: int, *arguments: str, lines: str = "") -> tuple[str, str]:
    """Press Ctrl-C when so many orders wait; give stdout and stderr."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(waiting), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])},
    ) as process:
        process.stdin.write(lines)
        process.stdin.close()
        process.stdin = None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line == "waiting\n":
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=45)
    assert process.returncode == 130, "".join(seen) + err
    assert "Traceback" not in err
    return out, err


needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="a signal cannot be sent to a process of its own there"
)


@needs_signals
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("endless", "The order goes on at the service: wan-mcp collect or wan-mcp get task-1 fetches it."),
        (
            "unnamed",
            "The order local-task-1 was being sent and may have reached the service: wan-mcp get local-task-1",
        ),
        ("unwritten", "Stopped. Nothing was ordered."),
    ],
)
def test_ctrl_c_says_what_becomes_of_the_order_and_how_to_fetch_it(prompt: str, words: str) -> None:
    out, err = interrupt(1, prompt)
    assert (out, words in err) == ("", True)


@needs_signals
@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["paths", "json"])
def test_ctrl_c_says_how_to_fetch_each_order_that_goes_on(arguments: list[str]) -> None:
    lines = "endless\nquick\n" + "".join(f"unnamed {number}\n" for number in range(8)) + "never\nnever again\n"
    out, err = interrupt(9, "-", *arguments, lines=lines)
    # What was saved before is told; half a list of JSON would be none.
    assert out == ("" if arguments else "/pictures/task-2-1.png\n")
    assert "Stopped waiting. 1 order goes on at the service: wan-mcp collect fetches what is ready" in err
    assert "  wan-mcp get task-1    (1/12 endless)\n" in err
    assert "8 orders were being sent and may have reached the service: wan-mcp get ID shows what became of" in err
    for number in range(3, 11):
        assert f"  wan-mcp get local-task-{number}    ({number}/12 unnamed {number - 3})\n" in err
    assert "2 of 12 prompts were not ordered.\n" in err
    assert "Ordered after all: 10 images of 10 prompts: free.\n" in err


@needs_signals
def test_ctrl_c_calls_nothing_ordered_that_was_refused() -> None:
    _, err = interrupt(3, "-", lines="endless\nrefused\nunwritten\n")
    assert "1/3 endless" in err
    assert "wan-mcp: The disk is full. Nothing was ordered.\n  2/3 refused\n" in err
    assert "wan-mcp get task-1    (1/3 endless)\n" in err
    assert "1 of 3 prompts were not ordered.\n" in err
    assert "may have reached" not in err
