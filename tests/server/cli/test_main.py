"""The command line as a whole: help, version, usage errors."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import wan_mcp
from fakes.memory_service import MemoryService
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli


def run(*arguments: str, environ: dict[str, str] | None = None):
    service = MemoryService()
    return CliRunner().invoke(cli, arguments, obj=CommandContext(environ or {}, service.open, service.clock))


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"wan-mcp {wan_mcp.__version__}\n"


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    done = run("--help")
    assert done.exit_code == 0
    assert "Exit codes: 0 done, 1 the work failed, 2 wrong usage or settings" in done.stdout
    for name in cli.commands:
        assert re.search(rf"^  {name} +\S.*\.$", done.stdout, re.MULTILINE), name
    assert "..." not in done.stdout.split("Commands:")[1]


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_explains_each_of_its_options(name: str) -> None:
    options = [each for each in cli.commands[name].params if isinstance(each, click.Option)]
    assert all(option.help for option in options), name
    assert "--env-file" in {flag for option in options for flag in option.opts}
    assert run(name, "--help").exit_code == 0


@pytest.mark.parametrize("columns", ["30", "40", "80"])
@pytest.mark.parametrize("name", ["", *sorted(cli.commands)])
def test_the_help_of_every_command_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, name: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    # What the library of the tests would put in the place of the terminal's width.
    monkeypatch.setattr("click.formatting.FORCED_WIDTH", None)
    done = run(*([name] if name else []), "--help")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns), max(lines, key=len)
    # Nothing is left out of it.
    words = " ".join(done.stdout.split())
    command = cli.commands[name] if name else cli
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert all(flag in words for flag in option.opts)
            assert option.help in words
    for each in () if name else cli.commands.values():
        assert each.get_short_help_str(1_000) in words


def test_a_prompt_in_the_place_of_a_command_is_told_where_it_belongs() -> None:
    done = run("a red fox")
    assert (done.exit_code, done.stdout) == (2, "")
    assert 'wan-mcp generate "a red fox"' in done.stderr


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
    assert "--host, --port and --metrics-port belong to --transport http." in done.stderr


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
