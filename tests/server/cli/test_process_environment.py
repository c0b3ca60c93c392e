"""Commands and the server where what is around them is odd: streams, home, time zone, locale, working folder."""

import json
import os
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.dashscope import FakeService
from fakes.filled_ledger import fill
from fakes.stdio_client import environment
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
CALLS = (
    HELLO,
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    *(
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        for number, name, arguments in (
            (3, "list_tasks", {}),
            (4, "generate_image", {"prompt": "a red fox"}),
        )
    ),
)
ANSWERS = 4
WAN_MCP = f"{sys.executable} -m wan_mcp"
GENERATE = "generate 'a red fox' --wait-seconds 30"


@pytest.fixture(scope="module")
def service() -> Iterator[FakeService]:
    with FakeService(duration=0.1) as service:
        yield service


def run(
    words: str,
    folder: Path,
    redirect: str = "",
    *,
    service: FakeService | None = None,
    before: str = "",
    answers: int = 0,
    **variables: str | None,
) -> subprocess.CompletedProcess[str]:
    """
    Run a command in a shell, on the sandbox or the service that is given; a variable of None is taken away.

    A server is spoken to by `CALLS`, and has given `answers` before its client goes away.
    """
    known = environment(folder, service) | variables
    with subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {before} {WAN_MCP} {words} {redirect}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={name: value for name, value in {"PATH": os.environ["PATH"], **known}.items() if value is not None},
    ) as process:
        if answers:
            process.stdin.write("".join(json.dumps(call) + "\n" for call in CALLS))
            process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(answers)]
        rest, errors = process.communicate(timeout=50)
    assert "Traceback" not in errors, errors
    assert "Exception ignored" not in errors, errors
    return subprocess.CompletedProcess(words, process.returncode, "".join(lines) + rest, errors)


def invoke(words: str, folder: Path, **variables: str | None) -> Result:
    """Run a command in this process, where what is odd is not what a process begins with."""
    known = environment(folder) | variables
    environ = {name: value for name, value in known.items() if value is not None}
    return CliRunner().invoke(cli, shlex.split(words), obj=CommandContext(environ))


def read_orders(folder: Path) -> list[tuple[str, str]]:
    """Give the prompt and the status of each order in the ledger."""
    with closing(sqlite3.connect(folder / "state" / "ledger.sqlite3")) as ledger:
        rows = ledger.execute("SELECT request, status FROM orders").fetchall()
    return [(json.loads(request)["prompt"], status) for request, status in rows]


def read_answers(done: subprocess.CompletedProcess[str]) -> dict[int, dict]:
    """Give the results of a server by the numbers of the requests."""
    return {answer["id"]: answer["result"] for answer in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize(
    ("words", "redirect", "code"),
    [
        ("tasks --json", ">&-", 0),
        ("get nothing", "2>&-", 1),
        ("nonsense", "2>/dev/full", 2),
        ("nonsense", ">&- 2>&- <&-", 2),
    ],
)
def test_a_stream_that_is_closed_changes_no_exit_code(tmp_path, redirect, words, code) -> None:
    assert run(words, tmp_path, redirect).returncode == code


@pytest.mark.parametrize("redirect", [">&- 2>&- <&-", "2>/dev/full >&-"])
def test_an_order_is_finished_although_nobody_can_be_told(tmp_path, service, redirect) -> None:
    assert run(GENERATE, tmp_path, redirect, service=service).returncode == 0
    # Nor do the results of the command go into a file that took the number of a closed stream.
    [picture] = (tmp_path / "pictures").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert read_orders(tmp_path) == [("a red fox", "SUCCEEDED")]


@pytest.mark.parametrize("words", ["--help", GENERATE])
def test_a_result_that_cannot_be_written_is_told_and_counts_as_failed(tmp_path, service, words) -> None:
    done = run(words, tmp_path, ">/dev/full", service=service)
    assert done.returncode == 1
    assert done.stderr.endswith("wan-mcp: Standard output cannot be written to: No space left on device.\n")
    if words == GENERATE:
        assert len(list((tmp_path / "pictures").glob("*.png"))) == 1


def test_a_result_that_nobody_reads_any_more_is_no_sentence(tmp_path) -> None:
    done = run("tasks --json", tmp_path, "| true")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(("words", "redirect"), [("", ">&-"), ("serve --transport stdio", "<&-")])
def test_a_server_without_a_stream_to_its_client_says_so(tmp_path, words, redirect) -> None:
    done = run(words, tmp_path, redirect)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "wan-mcp: There is no client to talk to: standard input or standard output is closed."
    )


def test_a_server_whose_stderr_is_full_answers(tmp_path, service) -> None:
    done = run("", tmp_path, "2>/dev/full", service=service, answers=ANSWERS, WAN_MCP_LOG_LEVEL="DEBUG")
    assert done.returncode == 0
    answers = read_answers(done)
    assert len(answers[2]["tools"]) == 7
    assert not answers[4]["isError"]


@pytest.mark.parametrize(("redirect", "told"), [(">/dev/full", "cannot be written to"), ("| true", "")])
def test_a_server_that_cannot_answer_ends_with_a_sentence_at_most(tmp_path, redirect, told) -> None:
    done = run("", tmp_path, redirect, answers=1)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.parametrize("zone", ["UTC-167", ":/nowhere/at all", "x"])
def test_costs_are_summed_by_day_in_any_time_zone(tmp_path, monkeypatch, zone) -> None:
    fill(tmp_path / "state", tmp_path / "pictures", 1, now=time.time())
    with monkeypatch.context() as changed:
        changed.setenv("TZ", zone)
        time.tzset()
        done = invoke("tasks --costs --days 3", tmp_path)
    time.tzset()
    assert done.exit_code == 0, done.output
    assert "1 image made" in done.stdout


def test_names_are_in_utf_8_whatever_the_locale_is(tmp_path, service) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(GENERATE.replace("a red fox", "花店 💐"), tmp_path, service=service, **plain)
    assert done.returncode == 0, done.stderr
    assert "花店" in done.stdout
    assert Path(done.stdout.strip()).exists()
    assert read_orders(tmp_path) == [("花店 💐", "SUCCEEDED")]


def test_a_working_folder_that_is_gone_is_not_needed(tmp_path, service) -> None:
    gone = tmp_path / "gone"
    done = run(GENERATE, tmp_path, service=service, before=f"mkdir {gone}; cd {gone}; rmdir {gone};")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def _gone(tmp_path, monkeypatch) -> None:
    """Take the working folder away."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()


@pytest.mark.usefixtures("_gone")
def test_doctor_needs_no_working_folder(tmp_path) -> None:
    done = invoke("doctor --json", tmp_path)
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("_gone")
@pytest.mark.parametrize("words", [f"{GENERATE} --output-dir here", "--env-file here tasks"])
def test_a_relative_path_in_a_working_folder_that_is_gone_is_refused(tmp_path, words) -> None:
    done = invoke(words, tmp_path)
    assert done.exit_code == 2
    assert "here leads nowhere: the working folder is gone. Give a full path." in done.stderr


@pytest.mark.parametrize("words", [f"{GENERATE} --output-dir '~nobody-here/x'", "--env-file '~nobody-here/x' tasks"])
def test_an_unknown_home_folder_is_refused(tmp_path, words) -> None:
    done = invoke(words, tmp_path)
    assert done.exit_code == 2
    assert "~nobody-here/x names a home folder that is not known." in done.stderr


# --- a user without a home ---------------------------------------------------------------------------------------

HOMELESS = {"HOME": None, "WAN_MCP_OUTPUT_DIR": None, "WAN_MCP_STATE_DIR": None}
NO_ENTRY = """
import pwd

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
"""
"""Stands for a system whose table of users has no entry for this one, as in a container."""


def run_homeless(
    words: str, folder: Path, *, service: FakeService | None = None, answers: int = 0, **options: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who has neither a home folder nor an entry among the users."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(NO_ENTRY)
    search_path = os.pathsep.join([str(folder / "site"), environment(folder)["PYTHONPATH"]])
    return run(words, folder, service=service, answers=answers, **HOMELESS | {"PYTHONPATH": search_path} | options)


def test_without_a_home_folder_commands_name_the_settings_to_make(tmp_path, monkeypatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.delenv("HOME")
    for words in ("tasks", GENERATE):
        done = invoke(words, tmp_path, **HOMELESS)
        assert done.exit_code == 2, done.stderr
        assert done.stderr == (
            "wan-mcp: This user has no home folder in which pictures and the ledger could lie. "
            "Set WAN_MCP_OUTPUT_DIR and WAN_MCP_STATE_DIR to full paths.\n"
        )
    found = json.loads(invoke("doctor --json", tmp_path, **HOMELESS).stdout)["findings"]
    remedies = [each["remedy"] for each in found if each["check"] == "folder"]
    assert remedies == [f"Set {name} to a full path." for name in ("WAN_MCP_OUTPUT_DIR", "WAN_MCP_STATE_DIR")]


def test_without_a_home_folder_the_server_starts_lists_and_says_what_to_set(tmp_path) -> None:
    answers = read_answers(run_homeless("", tmp_path, answers=ANSWERS))
    assert len(answers[2]["tools"]) == 7
    for number in (3, 4):
        assert answers[number]["isError"]
        text = answers[number]["content"][0]["text"]
        assert "WAN_MCP_STATE_DIR" in text
        assert "WAN_MCP_OUTPUT_DIR" in text


def test_a_user_without_a_home_folder_can_order_once_the_folders_are_set(tmp_path, service) -> None:
    folders = {"WAN_MCP_OUTPUT_DIR": str(tmp_path / "pictures"), "WAN_MCP_STATE_DIR": str(tmp_path / "state")}
    done = run_homeless(GENERATE, tmp_path, service=service, **folders)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).exists()
