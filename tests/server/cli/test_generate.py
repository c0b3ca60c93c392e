"""`wan-mcp generate`, from the command line to the exit code, over a service without a service."""

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
import rich  # noqa: F401 - as the command does before its event loop
from click.testing import CliRunner

from fakes.memory_service import MemoryService
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.generate import allow_images, quote_prompt, run_generate, split_prompts
from wan_mcp.cli.main import cli
from wan_mcp.cli.terminal.console import Console
from wan_mcp.cli.terminal.output import ExitCode
from wan_mcp.settings import read_settings
from wan_mcp_tools.domain.tasks import FailedImage, NameChange, NameReason, Problem, SavedImage, TaskStatus


def run(
    service: MemoryService, *arguments: str, environ: dict[str, str] | None = None, lines: str | bytes | None = None
):
    context = CommandContext(environ or {}, service.open, service.clock)
    return CliRunner().invoke(cli, ["generate", *arguments], obj=context, input=lines)


def prompts_of(service: MemoryService) -> list[str]:
    return [request.prompt for request, _ in service.orders]


def test_the_saved_paths_are_all_that_is_on_stdout() -> None:
    service = MemoryService()
    done = run(service, "a red fox")
    assert (done.exit_code, done.stdout) == (0, "/pictures/task-1-1.png\n")
    assert "Sending the order" in done.stderr
    assert service.closed == 1


def test_the_options_are_the_arguments_of_the_tool() -> None:
    service = MemoryService()
    done = run(
        service,
        *("a red fox", "--negative-prompt", "text", "--model", "wan2.6-t2i", "--size", "16:9", "--n", "2"),
        *("--seed", "7", "--no-prompt-extend", "--watermark", "--region", "sandbox", "--filename", "fox", "--fresh"),
    )
    assert done.exit_code == 0
    ((request, fresh),) = service.orders
    assert fresh is True
    assert request == service.catalogue.make_request(
        prompt="a red fox",
        negative_prompt="text",
        model="wan2.6-t2i",
        size="16:9",
        n=2,
        seed=7,
        prompt_extend=False,
        watermark=True,
        region="sandbox",
        filename="fox",
    )


def test_one_image_is_ordered_unless_more_are_asked_for() -> None:
    service = MemoryService()
    run(service, "a red fox")
    ((request, fresh),) = service.orders
    assert (request.n, request.watermark, fresh) == (1, False, False)


def test_a_person_may_save_in_any_folder_that_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    service = MemoryService()
    run(service, "a red fox", "--output-dir", "art")
    ((settings, follow),) = service.opened
    assert settings.allowed_dirs == (tmp_path / "art",)
    assert service.orders[0][0].output_dir == str(tmp_path / "art")
    assert follow is True


def test_a_name_that_became_another_is_said_beside_the_path() -> None:
    change = NameChange("fox.jpg", (NameReason.ENDING,))
    image = SavedImage(1, "/pictures/fox.png", 1280, 1280, 2345, name_change=change)
    service = MemoryService(outcome={"images": (image,)})
    done = run(service, "a red fox", "--filename", "fox.jpg")
    assert (done.exit_code, done.stdout) == (0, "/pictures/fox.png\n")
    assert "fox.jpg is saved as fox.png: the ending follows the picture's format." in done.stderr


def test_json_is_the_result_of_the_tool() -> None:
    done = run(MemoryService(), "a red fox", "--json")
    result = json.loads(done.stdout)
    assert result["task_id"] == "task-1"
    assert result["status"] == "SUCCEEDED"
    assert result["images"] == [{"path": "/pictures/task-1-1.png", "width": 1280, "height": 1280, "bytes": 2345}]
    assert "failed_images" not in result


def test_a_wait_that_is_over_leaves_the_order_and_says_how_to_fetch_it() -> None:
    service = MemoryService(duration=100)
    done = run(service, "a red fox", "--wait-seconds", "20")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "task task-1 is PENDING" in done.stderr
    assert "wan-mcp get task-1" in done.stderr
    assert service.clock.monotonic() - service.born["task-1"] == 20


def test_the_time_that_naming_took_is_part_of_the_wait() -> None:
    service = MemoryService(duration=100, naming=15)
    run(service, "a red fox", "--wait-seconds", "20")
    assert service.waits == [30, 5]


def test_no_wait_still_leaves_the_service_the_time_to_name_the_order() -> None:
    service = MemoryService()
    done = run(service, "a red fox", "--wait-seconds", "0")
    assert done.exit_code == 3
    assert service.waits == [30]


def test_a_task_that_failed_is_told_in_words() -> None:
    service = MemoryService(
        outcome={
            "status": TaskStatus.FAILED,
            "images": (),
            "problem": Problem("DataInspectionFailed", "The prompt was refused."),
        }
    )
    done = run(service, "a red fox")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "wan-mcp: task task-1 is FAILED: The prompt was refused. (DataInspectionFailed)" in done.stderr


def test_an_image_that_was_refused_is_told_and_the_others_count() -> None:
    failed = (FailedImage(2, "DataInspectionFailed", "The picture was refused."),)
    done = run(MemoryService(outcome={"failed_images": failed}), "a red fox", "--n", "2")
    assert (done.exit_code, done.stdout) == (0, "/pictures/task-1-1.png\n")
    assert "Image 2 is no file: The picture was refused. (DataInspectionFailed)" in done.stderr


def test_a_paid_image_that_is_not_saved_is_a_failure() -> None:
    failed = (FailedImage(2, "Storage", "The disk is full.", url="https://images.example.com/2.png"),)
    assert run(MemoryService(outcome={"failed_images": failed}), "a red fox", "--n", "2").exit_code == 1


def test_what_the_ordering_knew_is_still_told_at_the_end() -> None:
    service = MemoryService(outcome={"deduplicated": True, "first_notes": ("Ordered in beijing.",)})
    done = run(service, "a red fox")
    assert "An identical order was there already" in done.stderr
    assert "Ordered in beijing." in done.stderr


def test_what_is_ordered_is_said_before_with_its_cost() -> None:
    keyed = {"DASHSCOPE_API_KEY_BEIJING": "sk-x"}
    done = run(MemoryService(), "x", "--n", "2", "--region", "beijing", environ=keyed)
    words = "Ordering 2 images with wan2.6-t2i in beijing: about 0.40 CNY (indicative, prices of 2026-05)."
    assert done.stderr.splitlines()[0] == words


# --- where the prompts come from ----------------------------------------------------------------------------


def test_each_line_of_standard_input_is_an_order() -> None:
    service = MemoryService()
    done = run(service, "-", lines="a red fox\n\n  # not this\n  an owl  \r\n花店\n")
    assert done.exit_code == 0
    assert sorted(prompts_of(service)) == ["a red fox", "an owl", "花店"]
    assert done.stdout.splitlines() == [f"/pictures/task-{number}-1.png" for number in (1, 2, 3)]


def test_a_file_of_prompts_is_read_with_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffa red fox\nan owl".encode())
    service = MemoryService()
    assert run(service, "--prompts", str(path)).exit_code == 0
    assert prompts_of(service) == ["a red fox", "an owl"]


def test_a_dash_is_standard_input_for_the_option_too() -> None:
    service = MemoryService()
    assert run(service, "--prompts", "-", lines="a red fox\n").exit_code == 0
    assert prompts_of(service) == ["a red fox"]


def test_only_a_line_feed_ends_a_prompt() -> None:
    assert split_prompts("a\u2028b\x0bc\n #d\n") == ["a\u2028b\x0bc"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [("", "Standard input has no prompts."), ("# a\n \n", "has no prompts."), (b"\x89PNG\xff", "is no UTF-8 text")],
)
def test_a_list_without_prompts_is_wrong_usage(lines: str | bytes, words: str) -> None:
    service = MemoryService()
    done = run(service, "-", lines=lines)
    assert (done.exit_code, done.stdout, service.opened) == (2, "", [])
    assert words in done.stderr


def test_a_file_that_is_not_there_is_wrong_usage() -> None:
    done = run(MemoryService(), "--prompts", "/nowhere/prompts.txt")
    assert done.exit_code == 2
    assert "cannot be read from /nowhere/prompts.txt: No such file or directory." in done.stderr


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "--n", "5"], "from 1 to 4"),
        (["x", "--model", "dall-e"], "dall-e"),
        (["x", "--region", "mars"], "There is no region 'mars'"),
        (["", "--json"], "The prompt is empty."),
    ],
)
def test_an_argument_that_the_offer_refuses_is_wrong_usage(arguments: list[str], words: str) -> None:
    done = run(MemoryService(), *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("wan-mcp: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--n", "two"],
        ["x", "--colour"],
        [],
        ["x", "--wait-seconds", "3601"],
        ["x", "--wait-seconds", "nan"],
        ["x", "--wait-seconds", "inf"],
        ["x", "--show", "--json"],
        ["x", "--prompts", "list.txt"],
    ],
)
def test_an_option_that_cannot_be_read_is_wrong_usage(arguments: list[str]) -> None:
    service = MemoryService()
    assert run(service, *arguments).exit_code == 2
    assert service.opened == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a", "red", "fox"], 'came as 3 arguments. Put it in quotes: wan-mcp generate "a red fox"'),
        (["a", "red", "fox", "--n", "2"], 'wan-mcp generate "a red fox"'),
        (["--fresh", "fruit", "bowl"], 'wan-mcp generate "fruit bowl"'),
        (["-", "a", "fox"], 'wan-mcp generate -- "- a fox"'),
        (["x" * 50, "y" * 50], f'wan-mcp generate "{"x" * 50} yyyyyy..."'),
        (["-a red fox"], "begins with a dash, so that it was taken for an option. Write -- before it, behind"),
        (["-a red fox"], 'wan-mcp generate -- "-a red fox"'),
        (["-help me"], 'wan-mcp generate -- "-help me"'),
        (["--moody street", "--n", "2"], 'wan-mcp generate -- "--moody street"'),
        (["--fresh fruit"], 'wan-mcp generate -- "--fresh fruit"'),
        (["--moody", "street"], "No such option '--moody'."),
        (["--moody", "street"], "If it is part of a prompt, put all of the prompt in quotes"),
        (["a", "--moody", "street"], 'write -- before it, behind all options: wan-mcp generate -- "--moody ..."'),
        (["--colour"], "No such option '--colour'."),
        (["--", "-a red fox", "--n", "2"], "Write options before it, and the prompt in quotes"),
    ],
)
def test_a_prompt_that_the_shell_made_something_else_of_is_explained_and_nothing_is_ordered(
    arguments: list[str], words: str
) -> None:
    service = MemoryService()
    done = run(service, *arguments)
    assert (done.exit_code, done.stdout, service.opened) == (2, "", [])
    assert words in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="other shells quote otherwise")
@pytest.mark.parametrize("prompt", ['say "hi" for $5', "it's `late`!", "a \\ b", "-$HOME"])
def test_a_prompt_that_is_advised_comes_through_the_shell_as_it_was(prompt: str) -> None:
    assert shlex.split(quote_prompt(prompt)) == [*(["--"] if prompt.startswith("-") else []), prompt]


@pytest.mark.parametrize("prompt", ["-a red fox", "--moody street", "--", "--n 2"])
def test_a_prompt_behind_two_dashes_is_ordered_as_it_stands(prompt: str) -> None:
    service = MemoryService()
    done = run(service, "--n", "2", "--", prompt)
    assert done.exit_code == 0, done.stderr
    assert [(request.prompt, request.n) for request, _ in service.orders] == [(prompt, 2)]


# --- what it costs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "arguments", "code"),
    [
        ({"DASHSCOPE_API_KEY": ""}, [], 2),
        ({"WAN_MCP_DAILY_IMAGE_LIMIT": "1"}, ["--n", "2"], 2),
        ({"WAN_MCP_OUTPUT_DIR": "{file}"}, [], 1),
        ({"WAN_MCP_STATE_DIR": "{file}/state"}, [], 1),
        ({}, ["--filename", "a/b"], 2),
    ],
    ids=["key", "limit", "folder", "ledger", "name"],
)
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_no_price_is_told_of_an_order_that_is_refused(
    tmp_path: Path, variables: dict[str, str], arguments: list[str], code: int, is_list: bool
) -> None:
    (tmp_path / "file").write_text("")
    environ = {
        "WAN_MCP_OUTPUT_DIR": str(tmp_path / "pictures"),
        "WAN_MCP_STATE_DIR": str(tmp_path / "state"),
        "DASHSCOPE_API_KEY": "sk-test-singapore",
        "DASHSCOPE_HTTP_BASE_URL": "http://127.0.0.1:1/api/v1",
    }
    environ |= {name: text.format(file=tmp_path / "file") for name, text in variables.items()}
    words = ["--prompts", "-"] if is_list else ["a red fox"]
    done = CliRunner().invoke(cli, ["generate", *words, *arguments], obj=CommandContext(environ), input="a\nb\n")
    assert (done.exit_code, done.stdout) == (code, ""), done.stderr
    assert "wan-mcp: " in done.stderr
    assert "Order" not in done.stderr.replace("Order fewer", "").replace("Order without", "")
    assert "USD" not in done.stderr


def test_no_price_is_told_of_an_order_that_was_there_already() -> None:
    done = run(MemoryService(outcome={"deduplicated": True}), "a red fox")
    assert done.exit_code == 0
    assert "Ordering" not in done.stderr
    assert "An identical order was there already" in done.stderr


def test_a_wrong_setting_is_told_before_anything_is_opened() -> None:
    service = MemoryService()
    done = run(service, "x", environ={"WAN_MCP_PROTOCOL": "smoke"})
    assert done.exit_code == 2
    assert done.stderr.startswith("wan-mcp: WAN_MCP_PROTOCOL is 'smoke'")
    assert service.opened == []


def test_the_named_settings_file_is_read_wherever_the_option_stands(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("WAN_MCP_MODEL=wan2.7-image\n", encoding="utf-8")
    for arguments in (["--env-file", str(path), "generate", "x"], ["generate", "x", "--env-file", str(path)]):
        service = MemoryService()
        context = CommandContext(environ={}, open_service=service.open, clock=service.clock)
        assert CliRunner().invoke(cli, arguments, obj=context).exit_code == 0
        assert service.opened[0][0].model == "wan2.7-image"


# --- progress -----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


async def test_progress_moves_on_a_terminal_and_stays_off_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, err = io.StringIO(), Terminal()
    service = MemoryService(duration=30)
    request = service.catalogue.make_request(prompt="a red fox")
    code = await run_generate(service, [request], Console(out, err, service.clock))
    assert (code, out.getvalue()) == (ExitCode.DONE, "/pictures/task-1-1.png\n")
    assert "RUNNING" in err.getvalue()
    assert "of about 3" in err.getvalue()
    assert "\x1b[" in err.getvalue()


async def test_progress_is_plain_and_sparse_where_nobody_watches() -> None:
    out, err = io.StringIO(), io.StringIO()
    service = MemoryService(duration=60)
    request = service.catalogue.make_request(prompt="a red fox")
    await run_generate(service, [request], Console(out, err, service.clock))
    assert err.getvalue().splitlines() == [
        "Ordering 1 image with wan2.6-t2i in sandbox: free.",
        "Sending the order",
        "PENDING, usually about 60 s",
        "RUNNING, usually about 60 s",
    ]


def test_a_picture_may_be_any_file_that_the_person_can_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "fox.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "there" / "fox.png")
    fox = (tmp_path / "there" / "fox.png").resolve()
    references = ["there/fox.png", "link.png", fox.as_uri(), "https://example.com/a.png", "task-1#2"]

    settings, named = allow_images(read_settings({}), references)

    assert named == [str(fox)] * 3 + ["https://example.com/a.png", "task-1#2"]
    assert set(settings.input_files) == {fox}


def test_pictures_and_options_reach_the_request_of_every_prompt(tmp_path):
    service = MemoryService()
    fox = tmp_path / "fox.png"
    fox.write_bytes(b"")
    result = run(
        service,
        "--prompts",
        "-",
        "--image",
        str(fox),
        "--image",
        "https://example.com/a.png",
        "--options",
        '{"enable_sequential": true}',
        "--option",
        "bbox_list=[[[1, 2, 3, 4]], []]",
        lines="a blue door\na red door\n",
    )
    assert result.exit_code == ExitCode.DONE, result.output
    for request, _ in service.orders:
        assert request.model == "wan2.7-image"
        assert [image.reference for image in request.images] == [str(fox.resolve()), "https://example.com/a.png"]
        assert request.options == {"enable_sequential": True, "bbox_list": [[[1, 2, 3, 4]], []]}


def test_the_same_prompt_twice_with_one_picture_is_two_orders(tmp_path):
    service = MemoryService()
    result = run(service, "-", "--image", "https://example.com/a.png", lines="a blue door\na blue door\n")
    assert result.exit_code == ExitCode.DONE, result.output
    assert len(service.orders) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--options", "{"], "is no JSON"),
        (["--options", "[1]"], "must be a JSON object"),
        (["--option", "enable_sequential"], "write NAME=VALUE"),
        (["--option", "style=vivid"], "has no option 'style'"),
        (["--image", " "], "names no picture"),
        (["--image", "data:image/png;base64,AAAA"], "takes no data: addresses"),
    ],
)
def test_what_cannot_be_a_picture_or_an_option_is_wrong_usage(arguments, words):
    service = MemoryService()
    result = run(service, "a blue door", "--model", "wan2.7-image", *arguments)
    assert result.exit_code == ExitCode.REFUSED
    assert words in result.output
    assert not service.orders
