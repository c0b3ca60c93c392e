"""The key of an entry: where it comes from, and that nobody else sees it."""

from pathlib import Path

import pytest

from wan_mcp.clients.credentials import NewKeyFile, holds_secret, redact_value, resolve_variables
from wan_mcp.clients.environment import RequestedVariables
from wan_mcp.clients.registry import find_client
from wan_mcp_tools.domain.errors import MissingKeyError, SettingsError

KEY = "sk-0123456789abcdef"
NOTHING = RequestedVariables()


def refuse(region: str) -> str:
    raise MissingKeyError(f"no key for {region}")


def resolve(client_id: str, requested=NOTHING, previous=None, ask=refuse, **environ: str):
    return resolve_variables(find_client(client_id), environ, requested, previous, ask)


def test_a_key_that_is_nowhere_is_asked_for_once() -> None:
    asked: list[str] = []

    def ask(region: str) -> str:
        asked.append(region)
        return KEY

    first = resolve("cursor", ask=ask)
    assert first.variables == {"DASHSCOPE_API_KEY": KEY}
    assert resolve("cursor", previous={"env": first.variables}, ask=ask) == first
    assert asked == ["Singapore"]
    assert KEY not in repr(first)


def test_a_wrong_key_that_was_typed_is_refused() -> None:
    with pytest.raises(SettingsError):
        resolve("cursor", ask=lambda region: "not a key")


@pytest.mark.parametrize("environ", [{}, {"DASHSCOPE_API_KEY": KEY}])
def test_a_client_that_asks_for_the_key_itself_is_given_none(environ: dict[str, str]) -> None:
    variables = resolve("vscode", DASHSCOPE_API_KEY_BEIJING=KEY, **environ).variables
    assert variables == {
        "DASHSCOPE_API_KEY": "${input:dashscope-api-key-singapore}",
        "DASHSCOPE_API_KEY_BEIJING": "${input:dashscope-api-key-beijing}",
    }
    assert not holds_secret(variables)


def test_codex_may_pass_on_a_key_of_its_own_environment() -> None:
    assert resolve("codex", previous={"env_vars": ["DASHSCOPE_API_KEY"]}).variables == {}


def test_a_key_file_that_exists_is_named_and_not_read_out(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    found = resolve("cursor", RequestedVariables(key_file=path), DASHSCOPE_API_KEY="sk-another1")
    assert (found.variables, found.new_key_file) == ({"DASHSCOPE_API_KEY_FILE_PATH": str(path)}, None)
    assert not holds_secret(found.variables)


@pytest.mark.parametrize("client_id", ["cursor", "vscode"])
@pytest.mark.parametrize("environ", [{}, {"DASHSCOPE_API_KEY": KEY}], ids=["asked", "set"])
def test_a_key_file_that_is_missing_is_to_be_made(tmp_path: Path, client_id: str, environ: dict[str, str]) -> None:
    path = tmp_path / "key"
    requested = RequestedVariables(key_file=path)
    found = resolve(client_id, requested, ask=lambda region: KEY, **environ)
    assert found.variables == {"DASHSCOPE_API_KEY_FILE_PATH": str(path)}
    assert found.new_key_file == NewKeyFile(path, KEY)
    assert KEY not in repr(found.new_key_file)
    assert not path.exists()


def test_the_sandbox_needs_no_key_and_no_key_file(tmp_path: Path) -> None:
    requested = RequestedVariables(region="sandbox", key_file=tmp_path / "key")
    found = resolve("zed", requested, DASHSCOPE_API_KEY=KEY)
    assert (found.variables, found.new_key_file) == ({"DASHSCOPE_REGION": "sandbox"}, None)


def test_secrets_are_hidden_by_name_and_by_looks() -> None:
    shown = redact_value(
        {
            "command": "x",
            "args": ["--key", KEY],
            "env": {"DASHSCOPE_API_KEY": "odd", "DASHSCOPE_API_KEY_FILE_PATH": "/k", "A_TOKEN": "$3cret!", "B": "b"},
            "headers": {"Authorization": "Bearer abcdefgh", "X_TOKEN": "${input:x}"},
        }
    )
    assert shown == {
        "command": "x",
        "args": ["--key", "***"],
        "env": {"DASHSCOPE_API_KEY": "***", "DASHSCOPE_API_KEY_FILE_PATH": "/k", "A_TOKEN": "***", "B": "b"},
        "headers": {"Authorization": "***", "X_TOKEN": "${input:x}"},
    }


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
    assert redact_value({"args": arguments}) == {"args": shown}
