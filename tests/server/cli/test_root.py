"""The command line as a whole: help, version, usage errors, the sandbox command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

import wan_mcp
from fakes.little_service import LittleService
from wan_mcp.cli.root import root
from wan_mcp.cli.sandbox import make_options
from wan_mcp.cli.shell import Shell


def run(*arguments: str, environ: dict[str, str] | None = None):
    service = LittleService()
    return CliRunner().invoke(root, arguments, obj=Shell(environ or {}, service.open, service.clock))


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"wan-mcp {wan_mcp.__version__}\n"


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    done = run("--help")
    assert done.exit_code == 0
    assert "Exit codes: 0 done, 1 the work failed, 2 wrong usage or settings" in done.stdout
    for name in root.commands:
        assert re.search(rf"^  {name} +\S.*\.$", done.stdout, re.MULTILINE), name
    assert "..." not in done.stdout.split("Commands:")[1]


@pytest.mark.parametrize("name", sorted(root.commands))
def test_every_command_explains_each_of_its_options(name: str) -> None:
    options = [each for each in root.commands[name].params if isinstance(each, click.Option)]
    assert all(option.help for option in options), name
    assert "--env-file" in {flag for option in options for flag in option.opts}
    assert run(name, "--help").exit_code == 0


def test_an_unknown_command_is_wrong_usage() -> None:
    done = run("paint")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No such command 'paint'" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_http_is_served_to_this_machine_only(host: str) -> None:
    done = run("serve", "--transport", "http", "--host", host)
    assert done.exit_code == 2
    assert "nobody has to sign in" in done.stderr
    assert "127.0.0.1" in done.stderr


def test_an_address_without_http_is_wrong_usage() -> None:
    done = run("serve", "--port", "9000")
    assert done.exit_code == 2
    assert "--host and --port belong to --transport http." in done.stderr


def test_a_wrong_setting_stops_the_http_server_with_a_sentence() -> None:
    done = run("serve", "--transport", "http", environ={"WAN_MCP_WAIT_SECONDS": "long"})
    assert done.exit_code == 2
    assert done.stderr.startswith("wan-mcp: WAN_MCP_WAIT_SECONDS is 'long'.")


def test_a_missing_settings_file_is_a_wrong_setting(tmp_path: Path) -> None:
    done = run("tasks", "--env-file", str(tmp_path / "none"))
    assert done.exit_code == 2
    assert "cannot be read: No such file" in done.stderr


def test_a_misspelt_setting_is_warned_of() -> None:
    done = run("tasks", environ={"WAN_MCP_WAIT": "5"})
    assert done.exit_code == 0
    assert "WAN_MCP_WAIT is no setting and is ignored" in done.stderr


def test_the_switches_of_the_sandbox_are_its_options() -> None:
    options = make_options(keys=("a", "b"), duration=5.0, throttle=None, concurrency=2)
    assert (options.keys, options.duration, options.concurrency) == (frozenset({"a", "b"}), 5.0, 2)
    assert make_options(duration=0.1).pending == 0.1
    assert make_options().keys is None


def test_switches_that_contradict_one_another_are_wrong_usage() -> None:
    done = run("sandbox", "--duration", "1", "--pending", "2")
    assert done.exit_code == 2
    assert "pending must lie between 0 and duration." in done.stderr


def test_the_sandbox_serves_and_its_first_line_is_the_base_url(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("WAN_", "DASHSCOPE_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "sandbox", "--port", "0", "--api-key", "sk-right"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), "WAN_MCP_STATE_DIR": str(tmp_path)},
    ) as process:
        try:
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1", url), url or process.stderr.read()
            with httpx.Client(trust_env=False, timeout=10) as client:
                wrong = client.get(f"{url}/tasks/x", headers={"Authorization": "Bearer sk-wrong"})
                right = client.get(f"{url}/tasks/x", headers={"Authorization": "Bearer sk-right"})
            assert (wrong.status_code, right.status_code) == (401, 200)
        finally:
            process.terminate()
            process.communicate(timeout=15)
