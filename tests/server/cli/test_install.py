"""`wan-mcp install`, from the command line; the home folder is always a temporary one."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.memory_service import MemoryService
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.install import _CLIENTS, install
from wan_mcp.cli.main import cli
from wan_mcp.clients import CLIENTS

KEY = "sk-0123456789abcdef"


def run(home: Path, *arguments: str, **environ: str):
    service = MemoryService()
    context = CommandContext({"HOME": str(home), "USERPROFILE": str(home), **environ}, service.open, service.clock)
    return CliRunner().invoke(cli, ["install", *arguments], obj=context)


def files_below(home: Path) -> list[str]:
    return sorted(each.name for each in home.rglob("*") if each.is_file())


def test_the_clients_of_the_command_are_those_of_the_registry() -> None:
    assert list(_CLIENTS) == [client.id for client in CLIENTS]
    assert all(client in install.help for client in _CLIENTS)


def test_a_client_is_configured_in_one_command_and_the_second_one_changes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "cursor", "--yes", DASHSCOPE_API_KEY=KEY)
    path = tmp_path / ".cursor" / "mcp.json"
    assert (done.exit_code, done.stdout) == (0, f"Cursor: wan is set up in {path}\n")
    assert json.loads(path.read_text(encoding="utf-8"))["mcpServers"]["wan"]["env"] == {"DASHSCOPE_API_KEY": KEY}
    assert "Restart Cursor" in done.stderr
    assert "wan-mcp doctor" in done.stderr
    assert KEY not in done.output
    before = path.read_bytes()
    again = run(tmp_path, "cursor", "--yes")
    assert (again.exit_code, again.stdout, again.stderr) == (0, f"Cursor: wan is set up already in {path}\n", "")
    assert path.read_bytes() == before
    assert files_below(tmp_path) == ["mcp.json"]


def test_nothing_is_written_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "cursor", DASHSCOPE_API_KEY=KEY)
    assert done.exit_code == 2
    assert "Add --yes." in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_key_is_told_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = run(tmp_path, "cursor", "--yes")
    assert done.exit_code == 2
    assert "There is no key for Singapore" in done.stderr
    assert "--key-file PATH" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_dry_run_shows_the_change_and_writes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "zed", "--dry-run", DASHSCOPE_API_KEY=KEY, WAN_MCP_MODEL="wan2.7-image")
    assert (done.exit_code, done.stdout) == (0, "")
    assert '+    "DASHSCOPE_API_KEY": "***"' in done.stderr
    assert '+    "WAN_MCP_MODEL": "wan2.7-image"' in done.stderr
    assert "The key will stand in that file; --key-file PATH keeps it" in done.stderr
    assert "No trace of Zed was found" in done.stderr
    assert KEY not in done.output
    assert not list(tmp_path.iterdir())


def test_a_change_shows_only_our_entry_and_never_a_secret_of_others(tmp_path: Path) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    others = '{"mcpServers": {"b": {"command": "b", "env": {"B_TOKEN": "their-secret"}}}}'
    path.write_text(others, encoding="utf-8")
    done = run(tmp_path, "cursor", "--yes", "--region", "sandbox")
    assert done.exit_code == 0
    assert "their-secret" not in done.output
    (backup,) = path.parent.glob("mcp.json.bak-*")
    assert backup.read_text(encoding="utf-8") == others
    assert str(backup) in done.stderr
    new = run(tmp_path, "cursor", "--dry-run", "--output-dir", str(tmp_path / "p"), "--region", "sandbox")
    assert f'+    "WAN_MCP_OUTPUT_DIR": "{tmp_path / "p"}"' in new.stderr
    assert '+    "DASHSCOPE_REGION": "sandbox",' in new.stderr


def test_a_new_key_is_a_change_that_does_not_show(tmp_path: Path) -> None:
    run(tmp_path, "cursor", "--yes", DASHSCOPE_API_KEY=KEY)
    done = run(tmp_path, "cursor", "--dry-run", DASHSCOPE_API_KEY="sk-another-key-2")
    assert "Only what is hidden here changes." in done.stderr
    assert "another-key" not in done.output


def test_a_server_is_removed_again(tmp_path: Path) -> None:
    run(tmp_path, "codex", "--yes", "--region", "sandbox", "--name", "pictures")
    path = tmp_path / ".codex" / "config.toml"
    assert "[mcp_servers.pictures]" in path.read_text(encoding="utf-8")
    none = run(tmp_path, "codex", "--remove")
    assert none.stdout == f"Codex: there is no wan in {path}\n"
    done = run(tmp_path, "codex", "--remove", "--yes", "--name", "pictures")
    assert done.stdout == f"Codex: pictures is out of {path}\n"
    assert "pictures" not in path.read_text(encoding="utf-8")


def test_inside_windows_a_program_of_the_desktop_is_pointed_out(tmp_path: Path) -> None:
    words = "This is Linux inside Windows. If Cursor runs on Windows, use wan-mcp install there."
    arguments = ("cursor", "--region", "sandbox", "--dry-run")
    assert (words in run(tmp_path, *arguments, WSL_DISTRO_NAME="Debian").stderr) is (sys.platform == "linux")
    assert words not in run(tmp_path, *arguments).stderr


def test_another_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "project" / ".mcp.json"
    done = run(tmp_path, "claude-code", "--file", str(path), "--yes", "--region", "sandbox")
    assert done.exit_code == 0
    assert "wan" in json.loads(path.read_text(encoding="utf-8"))["mcpServers"]


def test_a_settings_file_is_named_and_its_key_stays_in_it(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text(f"DASHSCOPE_API_KEY={KEY}\n", encoding="utf-8")
    done = run(tmp_path, "gemini", "--yes", "--env-file", str(path))
    assert done.exit_code == 0
    entry = json.loads((tmp_path / ".gemini" / "settings.json").read_text(encoding="utf-8"))["mcpServers"]["wan"]
    assert entry["env"] == {"WAN_MCP_ENV_FILE": str(path)}


def test_a_broken_file_fails_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text('{\n  "mcpServers": oops\n}', encoding="utf-8")
    done = run(tmp_path, "cursor", "--yes", "--region", "sandbox")
    assert done.exit_code == 1
    assert "cannot be edited: line 2, column 17: a value is expected. Nothing was changed." in done.stderr
    assert path.read_text(encoding="utf-8") == '{\n  "mcpServers": oops\n}'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["emacs"], "is not one of"),
        (["cursor", "--name", "a b", "--region", "sandbox"], "is no name for a server"),
        (["cursor", "--region", "mars"], "There is no region 'mars'"),
        (["cursor", "--region", "frankfurt", "--yes"], "set DASHSCOPE_WORKSPACE_ID"),
        (["--yes"], "Name a CLIENT"),
        (["--remove"], "Name a CLIENT"),
        (["--required"], "Name a CLIENT"),
        (["cursor", "--required"], "--required is for codex; Cursor has nothing like it"),
        (["claude-code", "--approve"], "--approve is for codex; Claude Code has nothing like it"),
        (["cursor", "--delete-copies"], "goes with --remove"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run(tmp_path, *arguments, DASHSCOPE_API_KEY=KEY)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_region_that_needs_a_workspace_takes_one(tmp_path: Path) -> None:
    done = run(tmp_path, "cursor", "--region", "frankfurt", "--workspace-id", "llm-1", "--yes", DASHSCOPE_API_KEY=KEY)
    assert done.exit_code == 0


def test_without_a_client_all_of_them_are_listed(tmp_path: Path) -> None:
    run(tmp_path, "zed", "--region", "sandbox", "--yes")
    done = run(tmp_path)
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["CLIENT", "FOUND", "CONFIGURED", "FILE"]
    assert [row[0] for row in rows[1:]] == list(_CLIENTS)
    assert rows[-1][:3] == ["zed", "yes", "yes"]
    assert rows[3][:3] == ["cursor", "no", "no"]


# --- what is said to a person -------------------------------------------------------------------------------


def test_a_file_that_its_program_may_refuse_or_others_may_read_is_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / ".codeium" / "windsurf" / "mcp_config.json"
    path.parent.mkdir(parents=True)
    path.write_text("{} // mine", encoding="utf-8")
    path.chmod(0o644)
    done = run(tmp_path, "windsurf", "--dry-run", DASHSCOPE_API_KEY=KEY)
    assert "which its program may refuse" in done.stderr
    if os.name == "posix":
        assert f"Others on this machine may read {path}. With the key in it, it becomes yours alone" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a client's command")
def test_a_clients_own_command_is_shown_and_its_failure_told(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho 'not signed in' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    done = run(tmp_path, "claude-code", "--region", "sandbox", "--yes", PATH=str(tmp_path))
    assert done.exit_code == 0
    assert f"By its own command: {program} mcp add --scope user wan --env DASHSCOPE_REGION=sandbox" in done.stderr
    assert "the file was edited. It said: not signed in" in done.stderr
    assert "wan" in json.loads((tmp_path / ".claude.json").read_text(encoding="utf-8"))["mcpServers"]


def test_what_codex_would_do_is_said_before_it_is_written(tmp_path: Path) -> None:
    done = run(tmp_path, "codex", "--region", "sandbox", "--required", "--approve", "--yes")
    assert "Codex then waits for this server, and refuses to start without it." in done.stderr
    assert "Codex then orders pictures, which cost money, without asking." in done.stderr
    assert '+default_tools_approval_mode = "approve"' in done.stderr
    entry = tomllib.loads((tmp_path / ".codex" / "config.toml").read_text(encoding="utf-8"))["mcp_servers"]["wan"]
    assert (entry["required"], entry["default_tools_approval_mode"]) == (True, "approve")
    plain = run(tmp_path / "other", "codex", "--region", "sandbox", "--print", "--required")
    assert "required = true" in plain.stdout
    assert "approval" not in plain.stdout


def test_the_difference_shows_the_words_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    old = '[mcp_servers.wan]\ncommand = "old"\n\n[mcp_servers.wan.tools.generate_image]\napproval_mode = "approve"\n'
    path.write_text(old, encoding="utf-8")
    done = run(tmp_path, "codex", "--region", "sandbox", "--dry-run")
    assert " [mcp_servers.wan.tools.generate_image]\n" in done.stderr
    assert '-command = "old"\n' in done.stderr
    assert "wan-mcp generate" not in done.stderr
    gemini = tmp_path / ".gemini" / "settings.json"
    gemini.parent.mkdir()
    listed = {"mcpServers": {"wan": {"command": "old", "includeTools": ["get_task", "list_tasks"]}}}
    gemini.write_text(json.dumps(listed), encoding="utf-8")
    done = run(tmp_path, "gemini", "--region", "sandbox", "--dry-run")
    assert '"get_task"' in done.stderr
    assert '"list_tasks"' in done.stderr


def test_removing_tells_which_copies_hold_the_key_and_deletes_them_when_told(tmp_path: Path) -> None:
    run(tmp_path, "cursor", "--yes", DASHSCOPE_API_KEY=KEY)
    removed = run(tmp_path, "cursor", "--remove", "--yes")
    (copy,) = (tmp_path / ".cursor").glob("*.bak-*")
    assert "Copies of the file as it was still hold the key:" in removed.stderr
    assert str(copy) in removed.stderr
    assert "wan-mcp install cursor --remove --delete-copies" in removed.stderr
    dry = run(tmp_path, "cursor", "--remove", "--delete-copies", "--dry-run")
    assert copy.exists()
    assert dry.exit_code == 0
    again = run(tmp_path, "cursor", "--remove", "--delete-copies", "--yes")
    assert again.exit_code == 0
    assert "They are deleted." in again.stderr
    assert files_below(tmp_path) == ["mcp.json"]
    assert KEY not in (tmp_path / ".cursor" / "mcp.json").read_text(encoding="utf-8")


def test_removing_tells_that_the_keys_own_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    run(tmp_path, "cursor", "--yes", "--key-file", str(path), DASHSCOPE_API_KEY=KEY)
    done = run(tmp_path, "cursor", "--remove", "--yes")
    assert f"The file with the key stays: {path}" in done.stderr
    assert "still hold the key" not in done.stderr
    assert path.exists()


# --- printing -----------------------------------------------------------------------------------------------


def test_a_snippet_for_any_client_is_printed_without_the_key(tmp_path: Path) -> None:
    done = run(tmp_path, "--print", DASHSCOPE_API_KEY=KEY, DASHSCOPE_REGION="beijing")
    assert done.exit_code == 0
    entry = json.loads(done.stdout)["mcpServers"]["wan"]
    assert entry["env"] == {"DASHSCOPE_API_KEY": "sk-your-key", "DASHSCOPE_REGION": "beijing"}
    assert Path(entry["command"]).is_absolute()
    assert "Write your key in place of the sample." in done.stderr
    assert KEY not in done.output
    assert not list(tmp_path.iterdir())


def test_a_snippet_for_one_client_has_its_form(tmp_path: Path) -> None:
    codex = run(tmp_path, "codex", "--print", "--region", "sandbox")
    assert codex.stdout.startswith("[mcp_servers.wan]\ncommand = ")
    assert str(tmp_path / ".codex" / "config.toml") in codex.stderr
    code = json.loads(run(tmp_path, "vscode", "--print").stdout)
    assert code["servers"]["wan"]["env"] == {"DASHSCOPE_API_KEY": "${input:dashscope-api-key-singapore}"}
    assert [each["id"] for each in code["inputs"]] == ["dashscope-api-key-singapore"]
    named = run(tmp_path, "--print", "--key-file", str(tmp_path / "k"))
    assert json.loads(named.stdout)["mcpServers"]["wan"]["env"] == {
        "DASHSCOPE_API_KEY_FILE_PATH": str(tmp_path / "k")
    }


# --- at a terminal ------------------------------------------------------------------------------------------

needs_terminals = pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are of POSIX")


class Terminal:
    """A terminal with `wan-mcp install` in it, and somebody who types when a question appears."""

    def __init__(self, home: Path, *arguments: str) -> None:
        environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}
        pid, self.descriptor = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "wan_mcp", "install", *arguments], environment)
        self.pid, self.shown = pid, ""

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + 30
        while words not in self.shown:
            assert time.monotonic() < until, self.shown
            if select.select([self.descriptor], [], [], 0.1)[0]:
                self.shown += self._read()

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def end(self) -> int:
        try:
            while part := self._read():
                self.shown += part
        finally:
            os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> str:
        try:
            return os.read(self.descriptor, 65536).decode()
        except OSError:
            return ""


@needs_terminals
def test_a_key_is_typed_without_being_shown_and_the_change_is_asked_first(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "cursor")
    terminal.wait_for("Key of Singapore for Cursor (not shown")
    terminal.type(KEY + "\n")
    terminal.wait_for("Write this? [Y/n]")
    assert not (tmp_path / ".cursor").exists()
    terminal.type("y\n")
    assert terminal.end() == 0
    assert KEY not in terminal.shown
    entry = json.loads((tmp_path / ".cursor" / "mcp.json").read_text(encoding="utf-8"))["mcpServers"]["wan"]
    assert entry["env"] == {"DASHSCOPE_API_KEY": KEY}


@needs_terminals
def test_a_no_changes_nothing(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "cursor", "--region", "sandbox")
    terminal.wait_for("Write this? [Y/n]")
    terminal.type("n\n")
    assert terminal.end() == 1
    assert "Nothing was changed." in terminal.shown
    assert not list(tmp_path.iterdir())


@needs_terminals
@pytest.mark.parametrize(("typed", "left"), [("y", 0), ("", 1)])
def test_removing_asks_whether_copies_with_the_key_shall_go(tmp_path: Path, typed: str, left: int) -> None:
    run(tmp_path, "cursor", "--yes", DASHSCOPE_API_KEY=KEY)
    terminal = Terminal(tmp_path, "cursor", "--remove")
    terminal.wait_for("Write this? [Y/n]")
    terminal.type("y\n")
    terminal.wait_for("Delete these copies? [y/N]")
    terminal.type(f"{typed}\n")
    assert terminal.end() == 0
    assert len(list((tmp_path / ".cursor").glob("*.bak-*"))) == left


@needs_terminals
def test_an_empty_key_changes_nothing(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "cursor")
    terminal.wait_for("Key of Singapore")
    terminal.type("\n")
    assert terminal.end() == 2
    assert "No key was given" in terminal.shown
    assert not list(tmp_path.iterdir())


def test_the_server_that_was_configured_starts_and_answers(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("WAN_", "DASHSCOPE_"))}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-m", "wan_mcp", "install", "cursor", "--region", "sandbox", "--yes"]
    subprocess.run(words, env={**environment, "WAN_MCP_STATE_DIR": str(tmp_path / "s")}, check=True, timeout=45)
    entry = json.loads((tmp_path / ".cursor" / "mcp.json").read_text(encoding="utf-8"))["mcpServers"]["wan"]
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    done = subprocess.run(
        [entry["command"], *entry["args"]],
        env={**environment, **entry["env"]},
        input=json.dumps(hello) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=45,
    )
    assert re.search(r'"serverInfo":\s*\{.*"name":\s*"wan"', done.stdout), done.stderr
