"""Commands and the server where what is around them is odd: streams, home, time zone, locale, working folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.stdio_client import environment

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
        for number, name, arguments in ((3, "list_tasks", {}), (4, "generate_image", {"prompt": "a red fox"}))
    ),
)
ANSWERS = 4
WAN_MCP = f"{sys.executable} -m wan_mcp"
GENERATE = "generate 'a red fox' --wait-seconds 30"


def run(
    words: str, folder: Path, redirect: str = "", *, before: str = "", answers: int = 0, **variables: str | None
) -> subprocess.CompletedProcess[str]:
    """
    Run a command in a shell; a variable of None is taken away.

    A server is spoken to by `CALLS`, and has given `answers` before its client goes away.
    """
    known = environment(folder) | variables
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


def read_answers(done: subprocess.CompletedProcess[str]) -> dict[int, dict]:
    """Give the results of a server by the numbers of the requests."""
    return {answer["id"]: answer["result"] for answer in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize(
    ("words", "redirect", "code"),
    [
        ("tasks --json", ">&-", 0),
        ("get nothing", "2>&-", 1),
        ("collect", ">&- 2>&-", 0),
        ("nonsense", "2>/dev/full", 2),
        ("tasks --json", ">&- 2>&- <&-", 0),
        ("nonsense", ">&- 2>&- <&-", 2),
    ],
)
def test_a_stream_that_is_closed_changes_no_exit_code(tmp_path, redirect, words, code) -> None:
    assert run(words, tmp_path, redirect).returncode == code


@pytest.mark.parametrize("redirect", [">&- 2>&- <&-", "2>/dev/full >&-"])
def test_an_order_is_finished_although_nobody_can_be_told(tmp_path, redirect) -> None:
    assert run(GENERATE, tmp_path, redirect).returncode == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1


@pytest.mark.parametrize("words", ["--help", "doctor", GENERATE])
def test_a_result_that_cannot_be_written_is_told_and_counts_as_failed(tmp_path, words) -> None:
    done = run(words, tmp_path, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith("wan-mcp: Standard output cannot be written to: No space left on device.\n")
    if words == GENERATE:
        assert len(list((tmp_path / "pictures").glob("*.png"))) == 1


def test_a_result_that_nobody_reads_any_more_is_no_sentence(tmp_path) -> None:
    done = run("tasks --json", tmp_path, "| true")
    assert (done.returncode, done.stderr) == (1, "")


def test_the_results_of_a_command_do_not_go_into_a_file_that_took_the_number_of_a_closed_stream(tmp_path) -> None:
    run(GENERATE, tmp_path, ">&- 2>&- <&-")
    [picture] = (tmp_path / "pictures").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("tasks", tmp_path).stdout.count("SUCCEEDED") == 1


@pytest.mark.parametrize(("words", "redirect"), [("", ">&-"), ("serve --transport stdio", "<&-")])
def test_a_server_without_a_stream_to_its_client_says_so(tmp_path, words, redirect) -> None:
    done = run(words, tmp_path, redirect)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "wan-mcp: There is no client to talk to: standard input or standard output is closed."
    )


def test_a_server_whose_stderr_is_full_answers(tmp_path) -> None:
    done = run("", tmp_path, "2>/dev/full", answers=ANSWERS, WAN_MCP_LOG_LEVEL="DEBUG")
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
def test_costs_are_summed_by_day_in_any_time_zone(tmp_path, zone) -> None:
    run(GENERATE, tmp_path, TZ=zone)
    done = run("tasks --costs --days 3", tmp_path, TZ=zone)
    assert done.returncode == 0
    assert "1 image made" in done.stdout


def test_names_are_in_utf_8_whatever_the_locale_is(tmp_path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("generate '花店 💐' --wait-seconds 30", tmp_path, **plain)
    assert done.returncode == 0, done.stderr
    assert "花店" in done.stdout
    assert "花店 💐" in run("tasks", tmp_path, **plain).stdout


@pytest.mark.parametrize("words", ["doctor --json", GENERATE])
def test_a_working_folder_that_is_gone_is_not_needed(tmp_path, words) -> None:
    gone = tmp_path / "gone"
    done = run(words, tmp_path, before=f"mkdir {gone}; cd {gone}; rmdir {gone};")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [f"{GENERATE} --output-dir here", "--env-file here tasks"])
def test_a_relative_path_in_a_working_folder_that_is_gone_is_refused(tmp_path, words) -> None:
    gone = tmp_path / "gone"
    done = run(words, tmp_path, before=f"mkdir {gone}; cd {gone}; rmdir {gone};")
    assert done.returncode == 2
    assert "here leads nowhere: the working folder is gone. Give a full path." in done.stderr


@pytest.mark.parametrize("words", [f"{GENERATE} --output-dir '~nobody-here/x'", "--env-file '~nobody-here/x' tasks"])
def test_an_unknown_home_folder_is_refused(tmp_path, words) -> None:
    done = run(words, tmp_path)
    assert done.returncode == 2
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
    words: str, folder: Path, *, answers: int = 0, **options: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who has neither a home folder nor an entry among the users."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(NO_ENTRY)
    search_path = os.pathsep.join([str(folder / "site"), environment(folder)["PYTHONPATH"]])
    return run(words, folder, answers=answers, **HOMELESS | {"PYTHONPATH": search_path} | options)


def test_without_a_home_folder_commands_name_the_settings_to_make(tmp_path) -> None:
    for words in ("tasks", GENERATE):
        done = run_homeless(words, tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stderr == (
            "wan-mcp: This user has no home folder in which pictures and the ledger could lie. "
            "Set WAN_MCP_OUTPUT_DIR and WAN_MCP_STATE_DIR to full paths.\n"
        )
    found = json.loads(run_homeless("doctor --json", tmp_path).stdout)["findings"]
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


def test_a_user_without_a_home_folder_can_order_once_the_folders_are_set(tmp_path) -> None:
    folders = {"WAN_MCP_OUTPUT_DIR": str(tmp_path / "pictures"), "WAN_MCP_STATE_DIR": str(tmp_path / "state")}
    done = run_homeless(GENERATE, tmp_path, **folders)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).exists()
