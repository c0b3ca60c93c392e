"""`wan-mcp token`: tokens are made, listed and revoked, and shown once."""

import json

from click.testing import CliRunner

from wan_mcp.auth.tokens import read_tokens
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli


def run(tmp_path, *arguments, **environ):
    settings = {
        "WAN_MCP_STATE_DIR": str(tmp_path / "state"),
        "WAN_MCP_TOKENS_FILE": str(tmp_path / "tokens"),
    } | environ
    return CliRunner().invoke(cli, ["token", *arguments], obj=CommandContext(settings))


def test_a_token_is_alone_on_stdout_and_shown_once(tmp_path):
    made = run(tmp_path, "create", "ada", "--scopes", "wan:order,wan:cancel")

    token = made.stdout.strip()
    assert made.exit_code == 0
    assert token.startswith("wanmcp_")
    assert len(token.split()) == 1
    assert token not in made.stderr
    assert token not in (tmp_path / "tokens").read_text()
    listed = run(tmp_path, "list")
    assert "ada" in listed.stdout
    assert "wan:cancel,wan:order" in listed.stdout
    assert token not in listed.stdout


def test_tokens_are_listed_for_programs_and_revoked_by_name(tmp_path):
    for name in ("ada", "bot"):
        run(tmp_path, "create", name, "--scopes", "wan:admin")
    assert run(tmp_path, "revoke", "bot").exit_code == 0

    assert json.loads(run(tmp_path, "list", "--json").stdout) == {
        "tokens": [{"name": "ada", "scopes": ["wan:admin"]}]
    }
    again = run(tmp_path, "revoke", "bot")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "no token of that name" in again.stderr


def test_without_scopes_a_token_is_for_ordering_and_cancelling(tmp_path):
    run(tmp_path, "create", "ada")

    assert {scope.value for scope in read_tokens(tmp_path / "tokens")[0].scopes} == {"wan:order", "wan:cancel"}


def test_wrong_usage_is_told_and_nothing_is_written(tmp_path):
    for arguments, words in (
        (("create", "ada", "--scopes", "wan:fly"), "wan:read, wan:order, wan:cancel, wan:admin"),
        (("create", "a:b"), "cannot be the name"),
        (("list",), "Run wan-mcp token create"),
    ):
        done = run(tmp_path, *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in done.stderr
    unset = run(tmp_path, "create", "ada", WAN_MCP_TOKENS_FILE="")
    assert unset.exit_code == 2
    assert "Set WAN_MCP_TOKENS_FILE" in unset.stderr
    assert not (tmp_path / "tokens").exists()
