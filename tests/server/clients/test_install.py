"""What would be done for each client, and the doing of it."""

import json
import os
import stat
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wan_mcp.clients import (
    CLIENTS,
    InstallTarget,
    LaunchCommand,
    Machine,
    RequestedVariables,
    apply_plan,
    detect_clients,
    find_client,
    find_config_path,
    find_key_copies,
    plan_install,
    plan_removal,
)
from wan_mcp_tools.domain.errors import MissingKeyError, StorageError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NOTHING, SANDBOX = RequestedVariables(), RequestedVariables(region="sandbox")
KEY = "sk-0123456789abcdef"
LAUNCH = LaunchCommand("/opt/wan/bin/wan-mcp")
IDS = [client.id for client in CLIENTS]
posix = pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a client's command")


def refuse(region: str) -> str:
    raise MissingKeyError(f"no key for {region}")


def machine(tmp_path: Path, **environ: str) -> Machine:
    return Machine("linux", environ, str(tmp_path))


def make_plan(tmp_path: Path, client_id: str, requested=NOTHING, file: Path | None = None, **environ: str):
    target = InstallTarget(find_client(client_id), file=file)
    return plan_install(target, machine(tmp_path, **environ), requested, LAUNCH, refuse)


def run(tmp_path: Path, client_id: str, requested=NOTHING, **environ: str):
    plan = make_plan(tmp_path, client_id, requested, **environ)
    return plan, apply_plan(plan, NOW)


def config_of(tmp_path: Path, client_id: str) -> Path:
    return find_config_path(find_client(client_id), machine(tmp_path))


def write_config(tmp_path: Path, client_id: str, text: str) -> Path:
    path = config_of(tmp_path, client_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def entry_in(tmp_path: Path, client_id: str) -> dict:
    text = config_of(tmp_path, client_id).read_text(encoding="utf-8")
    data = tomllib.loads(text) if client_id == "codex" else json.loads(text)
    return data[find_client(client_id).servers[0]]["wan"]


@pytest.mark.parametrize("client_id", IDS)
def test_each_client_gets_an_entry_it_can_read_and_the_second_time_nothing_changes(
    tmp_path: Path, client_id: str
) -> None:
    environ = {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_REGION": "beijing", "WAN_MCP_OUTPUT_DIR": "/pictures"}
    run(tmp_path, client_id, **environ)
    key = "${input:dashscope-api-key-beijing}" if client_id == "vscode" else KEY
    variables = {**environ, "DASHSCOPE_API_KEY": key}
    expected = {"command": "/opt/wan/bin/wan-mcp", "args": [], "env": variables}
    if client_id == "opencode":
        expected = {"type": "local", "command": ["/opt/wan/bin/wan-mcp"], "environment": variables}
    if client_id in ("claude-code", "vscode"):
        expected["type"] = "stdio"
    assert entry_in(tmp_path, client_id) == expected
    path = config_of(tmp_path, client_id)
    first = path.read_bytes()
    for again in (environ, {}):
        plan, result = run(tmp_path, client_id, **again)
        assert (plan.changes_nothing, result.backup) == (True, None)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("client_id", IDS)
def test_what_was_installed_can_be_removed(tmp_path: Path, client_id: str) -> None:
    run(tmp_path, client_id, DASHSCOPE_API_KEY=KEY)
    target = InstallTarget(find_client(client_id))
    removal = plan_removal(target, machine(tmp_path))
    assert apply_plan(removal, NOW).backup is not None
    text = removal.file.path.read_text(encoding="utf-8")
    assert "wan" not in text
    assert KEY not in text
    assert plan_removal(target, machine(tmp_path)).changes_nothing


def test_a_key_file_is_made_and_then_changes_nothing(tmp_path: Path) -> None:
    requested = RequestedVariables(key_file=tmp_path / "keys" / "key")
    run(tmp_path, "cursor", requested, DASHSCOPE_API_KEY=KEY)
    assert (tmp_path / "keys" / "key").read_text(encoding="utf-8") == KEY + "\n"
    assert entry_in(tmp_path, "cursor")["env"] == {"DASHSCOPE_API_KEY_FILE_PATH": str(requested.key_file)}
    again, _ = run(tmp_path, "cursor", requested)
    assert again.changes_nothing


def test_a_key_file_goes_again_if_the_client_cannot_be_configured(tmp_path: Path) -> None:
    path = tmp_path / "key"
    plan = make_plan(tmp_path, "cursor", RequestedVariables(key_file=path), DASHSCOPE_API_KEY=KEY)
    write_config(tmp_path, "cursor", "{}")
    with pytest.raises(StorageError, match="changed by another program"):
        apply_plan(plan, NOW)
    assert not path.exists()


def test_a_key_file_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    plan = make_plan(tmp_path, "cursor", RequestedVariables(key_file=path), DASHSCOPE_API_KEY=KEY)
    path.write_text("another", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        apply_plan(plan, NOW)
    assert path.read_text(encoding="utf-8") == "another"


@pytest.mark.parametrize(("client_id", "text"), [("cursor", '{"mcpServers": []}'), ("zed", "[1]"), ("codex", "[")])
def test_a_file_that_is_not_understood_is_refused_and_untouched(tmp_path: Path, client_id: str, text: str) -> None:
    path = write_config(tmp_path, client_id, text)
    with pytest.raises(StorageError, match=r"cannot be edited: .*\. Nothing was changed"):
        run(tmp_path, client_id, SANDBOX)
    assert path.read_text(encoding="utf-8") == text
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("mode", [0o644, 0o664, 0o666, 0o640, 0o604, 0o777])
@pytest.mark.parametrize("client_id", ["cursor", "codex", "opencode", "claude-code"])
def test_a_file_with_a_key_inside_is_its_owners_alone(tmp_path: Path, client_id: str, mode: int) -> None:
    path = write_config(tmp_path, client_id, "" if client_id == "codex" else "{}")
    path.chmod(mode)
    run(tmp_path, client_id, DASHSCOPE_API_KEY=KEY)
    assert KEY in path.read_text(encoding="utf-8")
    assert mode_of(path) == mode & 0o700


@posix
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o640, 0o400])
def test_a_file_without_a_key_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = write_config(tmp_path, "cursor", "{}")
    path.chmod(mode)
    run(tmp_path, "cursor", SANDBOX)
    assert mode_of(path) == mode


@posix
def test_a_key_that_stands_in_the_open_already_is_closed_in_without_another_change(tmp_path: Path) -> None:
    run(tmp_path, "cursor", DASHSCOPE_API_KEY=KEY)
    path = config_of(tmp_path, "cursor")
    before = path.read_bytes()
    path.chmod(0o644)
    plan, result = run(tmp_path, "cursor")
    assert (plan.changes_nothing, result.backup) == (False, None)
    assert (path.read_bytes(), mode_of(path)) == (before, 0o600)
    assert make_plan(tmp_path, "cursor").changes_nothing


@posix
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("client_id", ["cursor", "codex"])
def test_what_is_no_plain_file_is_never_waited_for(tmp_path: Path, client_id: str, make) -> None:
    path = config_of(tmp_path, client_id)
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(StorageError, match=r"cannot be read: it is a .*\. Nothing was changed"):
        run(tmp_path, client_id, SANDBOX)
    (detected,) = detect_clients((find_client(client_id),), machine(tmp_path), "wan")
    assert (detected.found, detected.configured) == (True, None)


@pytest.mark.parametrize("client_id", ["claude-desktop", "vscode", "codex"])
def test_a_byte_order_mark_goes_also_where_nothing_else_changes(tmp_path: Path, client_id: str) -> None:
    run(tmp_path, client_id, SANDBOX)
    path = config_of(tmp_path, client_id)
    plain = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + plain)
    plan, result = run(tmp_path, client_id, SANDBOX)
    assert (plan.changes_nothing, result.backup is None) == (False, False)
    assert path.read_bytes() == plain


def test_codex_gets_what_was_chosen_for_it_and_keeps_it_the_next_time(tmp_path: Path) -> None:
    target = InstallTarget(find_client("codex"), options=("required", "approve"))
    apply_plan(plan_install(target, machine(tmp_path), SANDBOX, LAUNCH, refuse), NOW)
    chosen = {"required": True, "default_tools_approval_mode": "approve"}
    assert entry_in(tmp_path, "codex").items() >= chosen.items()
    again, _ = run(tmp_path, "codex", SANDBOX)
    assert again.changes_nothing
    assert entry_in(tmp_path, "codex").items() >= chosen.items()


def test_neither_is_chosen_by_itself(tmp_path: Path) -> None:
    run(tmp_path, "codex", SANDBOX)
    assert set(entry_in(tmp_path, "codex")) == {"command", "args", "env"}


# --- copies of the old file ---------------------------------------------------------------------------------


def test_three_copies_are_kept_and_the_copies_of_others_stay(tmp_path: Path) -> None:
    path = write_config(tmp_path, "cursor", "{}")
    theirs = path.with_name("mcp.json.bak-of-mine")
    theirs.touch()
    made = []
    for number in range(6):
        plan = make_plan(tmp_path, "cursor", RequestedVariables(region="sandbox", output_dir=tmp_path / str(number)))
        made.append(apply_plan(plan, NOW.replace(hour=number)).backup)
    assert sorted(path.parent.glob("*.bak-*")) == sorted([*made[-3:], theirs])


def test_of_copies_within_one_second_the_last_are_kept(tmp_path: Path) -> None:
    write_config(tmp_path, "cursor", "{}")
    made = []
    for number in range(12):
        plan = make_plan(tmp_path, "cursor", RequestedVariables(region="sandbox", output_dir=tmp_path / str(number)))
        made.append(apply_plan(plan, NOW).backup)
    kept = [each for each in made if each is not None and each.exists()]
    assert [str(each).rpartition("-")[2] for each in kept] == ["10", "11", "12"]


def test_the_copies_that_hold_the_key_are_found_and_no_others(tmp_path: Path) -> None:
    target = InstallTarget(find_client("cursor"))
    others = {"mcpServers": {"b": {"command": "b", "env": {"B_KEY": "sk-theirs-0123456789"}}}}
    path = write_config(tmp_path, "cursor", json.dumps(others))
    run(tmp_path, "cursor", DASHSCOPE_API_KEY=KEY)
    assert find_key_copies(target, path) == []
    with_key = apply_plan(plan_removal(target, machine(tmp_path)), NOW.replace(hour=1)).backup
    assert find_key_copies(target, path) == [with_key]


@posix
def test_a_key_in_a_file_that_others_read_is_pointed_out(tmp_path: Path) -> None:
    path = write_config(tmp_path, "cursor", "{}")
    path.chmod(0o644)
    assert make_plan(tmp_path, "cursor", DASHSCOPE_API_KEY=KEY).exposes_key
    assert not make_plan(tmp_path, "cursor", SANDBOX, DASHSCOPE_API_KEY=KEY).exposes_key
    path.chmod(0o600)
    assert not make_plan(tmp_path, "cursor", DASHSCOPE_API_KEY=KEY).exposes_key


@pytest.mark.parametrize(("client_id", "expected"), [("claude-desktop", True), ("vscode", True), ("codex", False)])
def test_a_program_of_the_desktop_may_run_on_the_windows_around_a_linux(tmp_path, client_id, expected) -> None:
    environ = {"WSL_DISTRO_NAME": "Debian"}
    assert make_plan(tmp_path, client_id, SANDBOX, **environ).may_run_on_windows is expected
    assert not make_plan(tmp_path, client_id, SANDBOX, tmp_path / "mine.json", **environ).may_run_on_windows


# --- a client's own command ---------------------------------------------------------------------------------

CLAUDE = """#!{python}
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "calls"), "a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
if os.path.exists(os.path.join(folder, "broken")):
    sys.exit("claude is not well")
words = sys.argv[1:]
split = words.index("--")
env = dict(words[at + 1].split("=", 1) for at in range(split) if words[at] == "--env")
path = os.path.join(os.environ["HOME"], ".claude.json")
data = json.load(open(path)) if os.path.exists(path) else {{}}
entry = {{"type": "stdio", "command": words[split + 1], "args": words[split + 2:], "env": env}}
data.setdefault("mcpServers", {{}})[words[4]] = entry
json.dump(data, open(path, "w"), indent=2)
"""


@pytest.fixture
def claude(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "claude"
    program.write_text(CLAUDE.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    return folder


def calls_of(folder: Path) -> list[tuple[list[str], dict[str, str]]]:
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@posix
def test_claude_adds_the_server_itself_when_nothing_is_secret(tmp_path: Path, claude: Path) -> None:
    environ = {"PATH": str(claude), "HOME": str(tmp_path), "DASHSCOPE_API_KEY": KEY}
    _, result = run(tmp_path, "claude-code", SANDBOX, **environ)
    assert (result.by_command, result.command_error) == (True, None)
    ((words, given),) = calls_of(claude)
    assert words[:5] == ["mcp", "add", "--scope", "user", "wan"]
    assert words[5:] == ["--env", "DASHSCOPE_REGION=sandbox", "--", "/opt/wan/bin/wan-mcp"]
    assert KEY not in json.dumps(given)
    assert entry_in(tmp_path, "claude-code")["env"] == {"DASHSCOPE_REGION": "sandbox"}
    again, _ = run(tmp_path, "claude-code", SANDBOX, **environ)
    assert again.changes_nothing
    assert len(calls_of(claude)) == 1


@posix
def test_a_key_is_never_on_the_command_line_of_another_program(tmp_path: Path, claude: Path) -> None:
    environ = {"PATH": str(claude), "HOME": str(tmp_path), "DASHSCOPE_API_KEY": KEY}
    run(tmp_path, "claude-code", **environ)
    assert calls_of(claude) == []
    assert entry_in(tmp_path, "claude-code")["env"] == {"DASHSCOPE_API_KEY": KEY}


@posix
def test_a_key_in_a_file_of_its_own_lets_claude_add_the_server(tmp_path: Path, claude: Path) -> None:
    environ = {"PATH": str(claude), "HOME": str(tmp_path), "DASHSCOPE_API_KEY": KEY}
    run(tmp_path, "claude-code", RequestedVariables(key_file=tmp_path / "key"), **environ)
    ((words, given),) = calls_of(claude)
    assert f"DASHSCOPE_API_KEY_FILE_PATH={tmp_path / 'key'}" in words
    assert KEY not in json.dumps([words, given])


@posix
def test_an_entry_that_is_there_is_changed_in_the_file(tmp_path: Path, claude: Path) -> None:
    write_config(tmp_path, "claude-code", '{"mcpServers": {"wan": {"command": "old", "args": []}}, "numStartups": 3}')
    run(tmp_path, "claude-code", SANDBOX, PATH=str(claude), HOME=str(tmp_path))
    assert calls_of(claude) == []
    assert entry_in(tmp_path, "claude-code")["command"] == "/opt/wan/bin/wan-mcp"


@posix
def test_where_the_clients_command_fails_the_file_is_edited(tmp_path: Path, claude: Path) -> None:
    (claude / "broken").touch()
    _, result = run(tmp_path, "claude-code", SANDBOX, PATH=str(claude), HOME=str(tmp_path))
    assert (result.by_command, result.command_error) == (False, "claude is not well")
    assert entry_in(tmp_path, "claude-code")["command"] == "/opt/wan/bin/wan-mcp"


@posix
def test_a_program_in_the_current_folder_is_not_taken_for_the_client(tmp_path, claude, monkeypatch) -> None:
    monkeypatch.chdir(claude)
    _, result = run(tmp_path, "claude-code", SANDBOX, PATH=".", HOME=str(tmp_path))
    assert calls_of(claude) == []
    assert not result.by_command
    assert entry_in(tmp_path, "claude-code")["command"] == "/opt/wan/bin/wan-mcp"


# --- the list -----------------------------------------------------------------------------------------------


def test_the_list_tells_what_was_found_and_what_is_configured(tmp_path: Path) -> None:
    run(tmp_path, "cursor", SANDBOX)
    (tmp_path / ".codex").mkdir()
    write_config(tmp_path, "gemini", "{")
    detected = detect_clients(CLIENTS, machine(tmp_path), "wan")
    seen = {each.client.id: (each.found, each.configured) for each in detected}
    assert seen["cursor"] == (True, True)
    assert seen["codex"] == (True, False)
    assert seen["gemini"] == (True, None)
    assert seen["zed"] == (False, False)
    assert seen["claude-code"] == (False, False)


@pytest.mark.parametrize("client_id", IDS)
@pytest.mark.parametrize("trace", [None, "file", "folder", "command"])
def test_a_client_is_found_by_the_command_where_the_list_finds_it(tmp_path: Path, client_id, trace) -> None:
    client, home = find_client(client_id), tmp_path / "home"
    environ = {"PATH": str(tmp_path / "bin")}
    here = Machine("linux", environ, str(home))
    path = find_config_path(client, here)
    home.mkdir()
    if trace in ("file", "folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
    if trace == "file":
        path.touch()
    if trace == "command":
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / (f"{client.program}.exe" if os.name == "nt" else client.program)
        program.touch(mode=0o755)
    (detected,) = detect_clients((client,), here, "wan")
    plan = plan_install(InstallTarget(client), here, SANDBOX, LAUNCH, refuse)
    assert detected.found is plan.client_found
    # The folder of Claude Code's file is the home folder, which says nothing.
    assert detected.found is (trace is not None and (trace, client_id) != ("folder", "claude-code"))
