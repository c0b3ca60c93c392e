"""The entry of a server in the text of a client's file."""

import json

import pytest

from wan_mcp.clients.entry import Entry, client_may_refuse, make_entry, put_entry, read_entry, remove_entry
from wan_mcp.clients.launch import LaunchCommand
from wan_mcp.clients.registry import find_client

LAUNCH = LaunchCommand("/opt/wan/bin/wan-mcp")


def put(client_id: str, text: str, **variables: str) -> str:
    client = find_client(client_id)
    entry = make_entry(client, LAUNCH, variables, read_entry(client, text, "wan"))
    return put_entry(client, text, "wan", entry).text


def test_an_entry_of_another_kind_becomes_one_of_ours() -> None:
    old = {"url": "http://127.0.0.1:8000/mcp", "headers": {"A": "b"}, "env": {"OLD": "1"}, "disabled": True}
    text = put("cursor", json.dumps({"mcpServers": {"wan": old}}, indent=1), DASHSCOPE_REGION="sandbox")
    assert json.loads(text)["mcpServers"]["wan"] == {
        "disabled": True,
        "command": "/opt/wan/bin/wan-mcp",
        "args": [],
        "env": {"DASHSCOPE_REGION": "sandbox"},
    }


REMOTE = {
    "codex": {
        "url": "https://a.example/mcp",
        "bearer_token_env_var": "A",
        "bearer_token": "a",
        "http_headers": {"A": "b"},
        "env_http_headers": {"A": "B"},
        "http_headers_helper": "a",
        "oauth": {"client_id": "a"},
        "oauth_resource": "a",
        "auth": "a",
        "scopes": ["a"],
        "type": "streamable_http",
    },
    "gemini": {
        "httpUrl": "https://a.example/mcp",
        "tcp": "a",
        "type": "http",
        "headers": {"A": "b"},
        "oauth": {"enabled": True},
        "authProviderType": "google_credentials",
        "targetAudience": "a",
        "targetServiceAccount": "a",
    },
    "claude-code": {"url": "https://a.example/mcp", "headers": {}, "headersHelper": "a", "oauth": {}, "type": "sse"},
    "cursor": {"url": "https://a.example/mcp", "transport": "sse", "auth": {"CLIENT_ID": "a"}},
    "windsurf": {"serverUrl": "https://a.example/mcp", "transportType": "http"},
    "opencode": {
        "url": "https://a.example/mcp",
        "headers": {},
        "oauth": False,
        "type": "remote",
        "env": {},
        "args": [],
    },
}
KEPT = {
    "codex": {"tool_timeout_sec": 120, "enabled": False, "enabled_tools": ["generate_image"]},
    "gemini": {"trust": True},
}


@pytest.mark.parametrize("client_id", REMOTE)
def test_every_member_of_a_remote_server_goes_when_a_command_takes_its_place(client_id: str) -> None:
    client, kept = find_client(client_id), KEPT.get(client_id, {"timeout": 9000, "disabled": True})
    text = put_entry(client, "", "wan", Entry({**REMOTE[client_id], **kept})).text
    entry = read_entry(client, put(client_id, text), "wan")
    own = {"command", "args"} if client_id != "opencode" else {"command"}
    assert set(entry) == {*own, *kept, *({"type"} if client.transport else ())}
    assert {name: entry[name] for name in kept} == kept


@pytest.mark.parametrize("kind", ["stdio", "local"])
def test_the_type_of_a_server_that_the_client_starts_stays(kind: str) -> None:
    text = put("cursor", json.dumps({"mcpServers": {"wan": {"type": kind, "command": "x"}}}))
    assert json.loads(text)["mcpServers"]["wan"]["type"] == kind


def test_each_key_that_vs_code_asks_for_has_its_input() -> None:
    references = {f"K{number}": f"${{input:dashscope-api-key-{name}}}" for number, name in enumerate(("tokyo", "x"))}
    inputs = json.loads(put("vscode", "", **references))["inputs"]
    assert inputs == [
        {
            "type": "promptString",
            "id": f"dashscope-api-key-{region}",
            "description": f"Alibaba Cloud Model Studio API key ({region})",
            "password": True,
        }
        for region in ("tokyo", "x")
    ]


def test_the_inputs_of_others_in_vs_code_stay() -> None:
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
    done = put("vscode", text, DASHSCOPE_API_KEY="${input:dashscope-api-key-singapore}")
    assert '"theirs"}, // theirs\n    {\n' in done
    assert remove_entry(find_client("vscode"), done, "wan").text == text


@pytest.mark.parametrize(
    ("client_id", "text", "reason"),
    [
        ("cursor", '{"mcpServers": {', "the text ends too early"),
        ("cursor", '{"mcpServers": []}', "no list of servers"),
        ("cursor", '{"mcpServers": {"wan": 3}}', "no description of a server"),
        ("cursor", '{"mcpServers": {"wan": %s}}' % ("9" * 5000), "limit"),
        ("zed", "[1]", "does not begin with an object"),
        ("codex", "[", "Expected|Invalid|Cannot"),
        ("codex", "mcp_servers = 1", "no list of servers"),
    ],
)
def test_a_text_that_is_not_understood_is_refused(client_id: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        put(client_id, text)


def test_a_client_that_reads_plain_json_only_is_known() -> None:
    assert client_may_refuse(find_client("claude-desktop"), "{} // mine")
    assert not client_may_refuse(find_client("claude-desktop"), "{}")
    assert not client_may_refuse(find_client("zed"), "{} // mine")
