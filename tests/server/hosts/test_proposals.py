"""What would be done for each client, and the doing of it."""

import json
import os
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wan_mcp.hosts import (
    HOSTS,
    Launch,
    Order,
    Wishes,
    World,
    carry_out,
    find_host,
    hide_secrets,
    locate,
    look_around,
    propose,
    propose_removal,
)
from wan_mcp_tools.domain.errors import MissingKeyError, SettingsError, StorageError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NO_WISH = Wishes()
KEY = "sk-0123456789abcdef"
LAUNCH = Launch("/opt/wan/bin/wan-mcp")
IDS = [host.id for host in HOSTS]
posix = pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a client's command")


def nobody(region: str) -> str:
    raise MissingKeyError(f"no key for {region}")


def world(tmp_path: Path, **environ: str) -> World:
    return World("linux", environ, str(tmp_path))


def run(tmp_path: Path, host_id: str, wishes: Wishes = NO_WISH, ask=nobody, **environ: str):
    proposal = propose(Order(find_host(host_id)), world(tmp_path, **environ), wishes, LAUNCH, ask)
    return proposal, carry_out(proposal, NOW)


def entry_in(tmp_path: Path, host_id: str) -> dict:
    host = find_host(host_id)
    text = locate(host, world(tmp_path)).read_text(encoding="utf-8")
    data = tomllib.loads(text) if host_id == "codex" else json.loads(text)
    return data[host.servers[0]]["wan"]


@pytest.mark.parametrize("host_id", IDS)
def test_each_client_gets_an_entry_it_can_read(tmp_path: Path, host_id: str) -> None:
    run(tmp_path, host_id, DASHSCOPE_API_KEY=KEY, DASHSCOPE_REGION="beijing", WAN_MCP_OUTPUT_DIR="/pictures")
    key = "${input:dashscope-api-key-beijing}" if host_id == "vscode" else KEY
    expected = {
        "command": "/opt/wan/bin/wan-mcp",
        "args": [],
        "env": {"DASHSCOPE_API_KEY": key, "DASHSCOPE_REGION": "beijing", "WAN_MCP_OUTPUT_DIR": "/pictures"},
    }
    if host_id in ("claude-code", "vscode"):
        expected["type"] = "stdio"
    assert entry_in(tmp_path, host_id) == expected


@pytest.mark.parametrize("host_id", IDS)
def test_the_second_time_nothing_changes(tmp_path: Path, host_id: str) -> None:
    run(tmp_path, host_id, DASHSCOPE_API_KEY=KEY)
    path = locate(find_host(host_id), world(tmp_path))
    first = path.read_bytes()
    for environ in ({"DASHSCOPE_API_KEY": KEY}, {}):
        proposal, outcome = run(tmp_path, host_id, **environ)
        assert (proposal.changes_nothing, outcome.backup) == (True, None)
    assert path.read_bytes() == first
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("host_id", IDS)
def test_what_was_installed_can_be_removed(tmp_path: Path, host_id: str) -> None:
    run(tmp_path, host_id, DASHSCOPE_API_KEY=KEY)
    order = Order(find_host(host_id))
    removal = propose_removal(order, world(tmp_path))
    assert carry_out(removal, NOW).backup is not None
    text = removal.file.path.read_text(encoding="utf-8")
    assert "wan" not in text
    assert KEY not in text
    assert propose_removal(order, world(tmp_path)).changes_nothing


@pytest.mark.parametrize("host_id", [each for each in IDS if each != "vscode"])
def test_a_key_that_is_nowhere_is_asked_for_once(tmp_path: Path, host_id: str) -> None:
    asked: list[str] = []

    def ask(region: str) -> str:
        asked.append(region)
        return KEY

    run(tmp_path, host_id, ask=ask)
    run(tmp_path, host_id, ask=ask)
    assert asked == ["Singapore"]
    assert entry_in(tmp_path, host_id)["env"] == {"DASHSCOPE_API_KEY": KEY}


def test_vs_code_asks_for_the_key_itself_and_it_stands_in_no_file(tmp_path: Path) -> None:
    run(tmp_path, "vscode", DASHSCOPE_API_KEY=KEY, DASHSCOPE_API_KEY_BEIJING=KEY)
    path = tmp_path / ".config/Code/User/mcp.json"
    text = path.read_text(encoding="utf-8")
    assert KEY not in text
    assert json.loads(text)["inputs"] == [
        {
            "type": "promptString",
            "id": f"dashscope-api-key-{region}",
            "description": f"Alibaba Cloud Model Studio API key ({region})",
            "password": True,
        }
        for region in ("singapore", "beijing")
    ]


def test_the_inputs_of_others_in_vs_code_stay(tmp_path: Path) -> None:
    path = tmp_path / ".config/Code/User/mcp.json"
    path.parent.mkdir(parents=True)
    text = """{
  // shared
  "inputs": [
    {"type": "promptString", "id": "theirs"}, // theirs
  ],
  "servers": {
    "their": {"command": "x", "env": {"K": "${input:theirs}"}},
  },
}
"""
    path.write_text(text, encoding="utf-8")
    run(tmp_path, "vscode")
    assert '"theirs"}, // theirs\n    {\n' in path.read_text(encoding="utf-8")
    carry_out(propose_removal(Order(find_host("vscode")), world(tmp_path)), NOW)
    assert path.read_text(encoding="utf-8") == text


def test_a_key_file_that_exists_is_named_and_not_read_out(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    proposal, _ = run(tmp_path, "cursor", Wishes(key_file=path), DASHSCOPE_API_KEY="sk-another1")
    assert entry_in(tmp_path, "cursor")["env"] == {"DASHSCOPE_API_KEY_FILE_PATH": str(path)}
    assert not proposal.secret


def test_a_key_file_that_is_missing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key"
    proposal, _ = run(tmp_path, "cursor", Wishes(key_file=path), DASHSCOPE_API_KEY=KEY)
    assert path.read_text(encoding="utf-8") == KEY + "\n"
    assert entry_in(tmp_path, "cursor")["env"] == {"DASHSCOPE_API_KEY_FILE_PATH": str(path)}
    assert KEY not in repr(proposal.new_key_file)
    again, _ = run(tmp_path, "cursor", Wishes(key_file=path))
    assert again.changes_nothing


def test_a_key_file_is_made_of_a_key_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    run(tmp_path, "vscode", Wishes(key_file=path), ask=lambda region: KEY)
    assert path.read_text(encoding="utf-8") == KEY + "\n"
    assert entry_in(tmp_path, "vscode")["env"] == {"DASHSCOPE_API_KEY_FILE_PATH": str(path)}


def test_a_key_file_goes_again_if_the_client_cannot_be_configured(tmp_path: Path) -> None:
    path = tmp_path / "key"
    order, wishes = Order(find_host("cursor")), Wishes(key_file=path)
    proposal = propose(order, world(tmp_path, DASHSCOPE_API_KEY=KEY), wishes, LAUNCH, nobody)
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StorageError, match="changed by another program"):
        carry_out(proposal, NOW)
    assert not path.exists()


def test_a_key_file_of_somebody_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    order, wishes = Order(find_host("cursor")), Wishes(key_file=path)
    proposal = propose(order, world(tmp_path, DASHSCOPE_API_KEY=KEY), wishes, LAUNCH, nobody)
    path.write_text("another", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        carry_out(proposal, NOW)
    assert path.read_text(encoding="utf-8") == "another"


def test_the_sandbox_needs_no_key_and_no_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    run(tmp_path, "zed", Wishes(region="sandbox", key_file=path), DASHSCOPE_API_KEY=KEY)
    assert entry_in(tmp_path, "zed")["env"] == {"DASHSCOPE_REGION": "sandbox"}
    assert not path.exists()


def test_a_wrong_key_that_was_typed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        run(tmp_path, "cursor", ask=lambda region: "not a key")
    assert not list(tmp_path.iterdir())


def test_an_entry_of_another_kind_becomes_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    old = {"mcpServers": {"wan": {"url": "http://127.0.0.1:8000/mcp", "headers": {"A": "b"}, "disabled": True}}}
    path.write_text(json.dumps(old, indent=1), encoding="utf-8")
    run(tmp_path, "cursor", Wishes(region="sandbox"))
    assert entry_in(tmp_path, "cursor") == {
        "disabled": True,
        "command": "/opt/wan/bin/wan-mcp",
        "args": [],
        "env": {"DASHSCOPE_REGION": "sandbox"},
    }


def test_codex_may_pass_on_a_key_of_its_own_environment(tmp_path: Path) -> None:
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text('[mcp_servers.wan]\ncommand = "x"\nenv_vars = ["DASHSCOPE_API_KEY"]\n', encoding="utf-8")
    run(tmp_path, "codex")
    assert entry_in(tmp_path, "codex")["env_vars"] == ["DASHSCOPE_API_KEY"]


@pytest.mark.parametrize(
    ("host_id", "text", "reason"),
    [
        ("cursor", '{"mcpServers": {', "the text ends too early"),
        ("cursor", '{"mcpServers": []}', "no list of servers"),
        ("cursor", '{"mcpServers": {"wan": 3}}', "no description of a server"),
        ("zed", "[1]", "does not begin with an object"),
        ("codex", "[", "Expected|Invalid|Cannot"),
        ("codex", "mcp_servers = 1", "no list of servers"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_and_untouched(tmp_path, host_id, text, reason) -> None:
    path = locate(find_host(host_id), world(tmp_path))
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StorageError, match=reason) as caught:
        run(tmp_path, host_id, Wishes(region="sandbox"))
    assert "Nothing was changed" in str(caught.value)
    assert path.read_text(encoding="utf-8") == text
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@posix
def test_a_key_in_a_file_that_others_read_is_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o644)
    order, here = Order(find_host("cursor")), world(tmp_path, DASHSCOPE_API_KEY=KEY)
    assert propose(order, here, Wishes(), LAUNCH, nobody).exposes
    assert not propose(order, here, Wishes(region="sandbox"), LAUNCH, nobody).exposes
    path.chmod(0o600)
    assert not propose(order, here, Wishes(), LAUNCH, nobody).exposes


def test_a_client_that_reads_plain_json_only_is_known(tmp_path: Path) -> None:
    for host_id, loose in (("claude-desktop", True), ("zed", False)):
        path = locate(find_host(host_id), world(tmp_path))
        path.parent.mkdir(parents=True)
        path.write_text("{} // mine", encoding="utf-8")
        order = Order(find_host(host_id))
        assert propose(order, world(tmp_path), Wishes(region="sandbox"), LAUNCH, nobody).loose is loose


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
    here = {"PATH": str(claude), "HOME": str(tmp_path), "DASHSCOPE_API_KEY": KEY}
    _, outcome = run(tmp_path, "claude-code", Wishes(region="sandbox"), **here)
    assert (outcome.by_command, outcome.complaint) == (True, None)
    ((words, environ),) = calls_of(claude)
    assert words[:5] == ["mcp", "add", "--scope", "user", "wan"]
    assert words[5:] == ["--env", "DASHSCOPE_REGION=sandbox", "--", "/opt/wan/bin/wan-mcp"]
    assert KEY not in json.dumps(environ)
    assert entry_in(tmp_path, "claude-code")["env"] == {"DASHSCOPE_REGION": "sandbox"}
    again, _ = run(tmp_path, "claude-code", Wishes(region="sandbox"), **here)
    assert again.changes_nothing
    assert len(calls_of(claude)) == 1


@posix
def test_a_key_is_never_on_the_command_line_of_another_program(tmp_path: Path, claude: Path) -> None:
    here = {"PATH": str(claude), "HOME": str(tmp_path)}
    run(tmp_path, "claude-code", DASHSCOPE_API_KEY=KEY, **here)
    assert calls_of(claude) == []
    assert entry_in(tmp_path, "claude-code")["env"] == {"DASHSCOPE_API_KEY": KEY}


@posix
def test_a_key_in_a_file_of_its_own_lets_claude_add_the_server(tmp_path: Path, claude: Path) -> None:
    here = {"PATH": str(claude), "HOME": str(tmp_path), "DASHSCOPE_API_KEY": KEY}
    run(tmp_path, "claude-code", Wishes(key_file=tmp_path / "key"), **here)
    ((words, environ),) = calls_of(claude)
    assert f"DASHSCOPE_API_KEY_FILE_PATH={tmp_path / 'key'}" in words
    assert KEY not in json.dumps([words, environ])


@posix
def test_an_entry_that_is_there_is_changed_in_the_file(tmp_path: Path, claude: Path) -> None:
    path = tmp_path / ".claude.json"
    path.write_text('{"mcpServers": {"wan": {"command": "old", "args": []}}, "numStartups": 3}', encoding="utf-8")
    run(tmp_path, "claude-code", Wishes(region="sandbox"), PATH=str(claude), HOME=str(tmp_path))
    assert calls_of(claude) == []
    assert entry_in(tmp_path, "claude-code")["command"] == "/opt/wan/bin/wan-mcp"


@posix
def test_where_the_clients_command_fails_the_file_is_edited(tmp_path: Path, claude: Path) -> None:
    (claude / "broken").touch()
    _, outcome = run(tmp_path, "claude-code", Wishes(region="sandbox"), PATH=str(claude), HOME=str(tmp_path))
    assert (outcome.by_command, outcome.complaint) == (False, "claude is not well")
    assert entry_in(tmp_path, "claude-code")["command"] == "/opt/wan/bin/wan-mcp"


@posix
def test_a_program_in_the_current_folder_is_not_taken_for_the_client(tmp_path, claude, monkeypatch) -> None:
    monkeypatch.chdir(claude)
    _, outcome = run(tmp_path, "claude-code", Wishes(region="sandbox"), PATH=".", HOME=str(tmp_path))
    assert calls_of(claude) == []
    assert not outcome.by_command
    assert entry_in(tmp_path, "claude-code")["command"] == "/opt/wan/bin/wan-mcp"


@pytest.mark.parametrize(("host_id", "elsewhere"), [("claude-desktop", True), ("vscode", True), ("codex", False)])
def test_a_program_of_the_desktop_may_run_on_the_windows_around_a_linux(tmp_path, host_id, elsewhere) -> None:
    wishes = Wishes(region="sandbox")
    proposal, _ = run(tmp_path, host_id, wishes, WSL_DISTRO_NAME="Debian")
    assert proposal.elsewhere is elsewhere
    named = Order(find_host(host_id), file=tmp_path / "mine.json")
    assert not propose(named, world(tmp_path, WSL_DISTRO_NAME="Debian"), wishes, LAUNCH, nobody).elsewhere


# --- the list, and what eyes may see ------------------------------------------------------------------------


def test_the_list_tells_what_was_found_and_what_is_configured(tmp_path: Path) -> None:
    run(tmp_path, "cursor", Wishes(region="sandbox"))
    (tmp_path / ".codex").mkdir()
    broken = tmp_path / ".gemini" / "settings.json"
    broken.parent.mkdir()
    broken.write_text("{", encoding="utf-8")
    seen = {each.host.id: (each.found, each.configured) for each in look_around(HOSTS, world(tmp_path), "wan")}
    assert seen["cursor"] == (True, True)
    assert seen["codex"] == (True, False)
    assert seen["gemini"] == (True, None)
    assert seen["zed"] == (False, False)
    assert seen["claude-code"] == (False, False)


def test_secrets_are_hidden_by_name_and_by_looks() -> None:
    shown = hide_secrets(
        {
            "command": "x",
            "args": ["--key", KEY],
            "env": {"DASHSCOPE_API_KEY": "odd", "DASHSCOPE_API_KEY_FILE_PATH": "/k", "A_TOKEN": "t", "B": "b"},
            "headers": {"Authorization": "Bearer abcdefgh"},
        }
    )
    assert shown == {
        "command": "x",
        "args": ["--key", "***"],
        "env": {"DASHSCOPE_API_KEY": "***", "DASHSCOPE_API_KEY_FILE_PATH": "/k", "A_TOKEN": "***", "B": "b"},
        "headers": {"Authorization": "***"},
    }
    assert hide_secrets({"DASHSCOPE_API_KEY": "${input:x}"}) == {"DASHSCOPE_API_KEY": "${input:x}"}


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--api-key", "pa55word"], ["--api-key", "***"]),
        (["--api-key=pa55word", "--port=80"], ["--api-key=***", "--port=80"]),
        (["--header", "Authorization: Bearer abcdefgh"], ["--header", "Authorization: Bearer ***"]),
        (["--token", "--verbose", "word"], ["--token", "--verbose", "word"]),
        (["--from", "https://example.com/key?a=b"], ["--from", "https://example.com/key?a=b"]),
        (["--key", "$MY_KEY", 3], ["--key", "$MY_KEY", 3]),
    ],
)
def test_secrets_among_arguments_are_hidden(arguments, shown) -> None:
    assert hide_secrets({"args": arguments}) == {"args": shown}


def test_a_password_that_begins_like_a_reference_is_hidden() -> None:
    assert hide_secrets({"A_TOKEN": "$3cret!", "B_TOKEN": "${input:b}"}) == {
        "A_TOKEN": "***",
        "B_TOKEN": "${input:b}",
    }
