"""The variables of an entry: what stood there, what is set, what was asked for."""

from pathlib import Path

import pytest

from wan_mcp.clients.environment import RequestedVariables, merge_variables, region_without_key
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError

KEY = "DASHSCOPE_API_KEY"
NOTHING = RequestedVariables()


def test_settings_are_taken_from_the_environment_and_nothing_else() -> None:
    environ = {
        KEY: "sk-abcdef1",
        "WAN_MCP_MODEL": "wan2.7-image",
        "PATH": "/bin",
        "OTHER_KEY": "x",
        "WAN_MCP_KEEPER": " ",
    }
    assert merge_variables(environ, NOTHING, {}) == {KEY: "sk-abcdef1", "WAN_MCP_MODEL": "wan2.7-image"}


@pytest.mark.parametrize("text", ["${DASHSCOPE_API_KEY}", "YOUR_API_KEY", "<your key>", ""])
def test_a_placeholder_is_no_key(text: str) -> None:
    assert merge_variables({KEY: text}, NOTHING, {}) == {}


def test_what_stood_there_stays_unless_something_newer_is_known() -> None:
    before = {KEY: "sk-old", "WAN_MCP_WAIT_SECONDS": "30", "MINE": "x"}
    assert merge_variables({}, NOTHING, before) == before
    assert merge_variables({KEY: "sk-new123"}, NOTHING, before) == {**before, KEY: "sk-new123"}


def test_what_is_asked_for_wins(tmp_path: Path) -> None:
    requested = RequestedVariables(region="CN-Beijing", workspace_id="llm-1", output_dir=tmp_path / "o")
    assert merge_variables({"DASHSCOPE_WORKSPACE_ID": "llm-0"}, requested, {}) == {
        "DASHSCOPE_REGION": "beijing",
        "DASHSCOPE_WORKSPACE_ID": "llm-1",
        "WAN_MCP_OUTPUT_DIR": str(tmp_path / "o"),
    }


def test_a_path_that_depends_on_the_folder_is_made_absolute(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env").write_text("DASHSCOPE_API_KEY=sk-abcdef1\n", encoding="utf-8")
    assert merge_variables({"DASHSCOPE_API_KEY_FILE_PATH": "key"}, NOTHING, {}) == {
        "DASHSCOPE_API_KEY_FILE_PATH": str(tmp_path / "key")
    }
    assert merge_variables({}, RequestedVariables(env_file=Path("env")), {}) == {
        "WAN_MCP_ENV_FILE": str(tmp_path / "env")
    }


def test_a_key_file_takes_the_place_of_a_key_and_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "key"
    named = {"DASHSCOPE_API_KEY_FILE_PATH": str(path)}
    assert merge_variables({KEY: "sk-abcdef1"}, RequestedVariables(key_file=path), {KEY: "sk-old"}) == named
    assert merge_variables(named, NOTHING, {KEY: "sk-old"}) == named
    assert merge_variables({KEY: "sk-abcdef1"}, NOTHING, named) == {KEY: "sk-abcdef1"}


def test_a_settings_file_with_a_key_takes_the_place_of_an_older_key(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(f"{KEY}=sk-abcdef1\n", encoding="utf-8")
    assert merge_variables({}, RequestedVariables(env_file=path), {KEY: "sk-old"}) == {"WAN_MCP_ENV_FILE": str(path)}
    path.write_text("WAN_MCP_MODEL=x\n", encoding="utf-8")
    assert merge_variables({}, RequestedVariables(env_file=path), {KEY: "sk-old"}) == {
        KEY: "sk-old",
        "WAN_MCP_ENV_FILE": str(path),
    }


def test_a_key_keeps_its_region_when_another_one_becomes_the_default() -> None:
    beijing = RequestedVariables(region="beijing")
    assert merge_variables({}, beijing, {KEY: "sk-sg", "DASHSCOPE_WORKSPACE_ID": "llm-1"}) == {
        "DASHSCOPE_REGION": "beijing",
        f"{KEY}_SINGAPORE": "sk-sg",
        "DASHSCOPE_WORKSPACE_ID_SINGAPORE": "llm-1",
    }
    set_here = {KEY: "sk-virgin", "DASHSCOPE_REGION": "virginia"}
    assert merge_variables(set_here, beijing, {}) == {"DASHSCOPE_REGION": "beijing", f"{KEY}_VIRGINIA": "sk-virgin"}


def test_a_key_without_a_region_belongs_to_the_region_that_is_asked_for() -> None:
    assert merge_variables({KEY: "sk-abcdef1"}, RequestedVariables(region="beijing"), {}) == {
        KEY: "sk-abcdef1",
        "DASHSCOPE_REGION": "beijing",
    }


def test_the_sandbox_is_given_no_keys_of_the_service(tmp_path: Path) -> None:
    environ = {KEY: "sk-abcdef1", f"{KEY}_BEIJING": "sk-two", "DASHSCOPE_API_KEY_FILE_PATH": str(tmp_path)}
    assert merge_variables(environ, RequestedVariables(region="sandbox"), {}) == {"DASHSCOPE_REGION": "sandbox"}


def test_a_region_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RequestRefusedError):
        merge_variables({}, RequestedVariables(region="mars"), {})


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "singapore"),
        ({"DASHSCOPE_REGION": "beijing", f"{KEY}_SINGAPORE": "sk-abcdef1"}, "beijing"),
        ({KEY: "sk-abcdef1"}, None),
        ({"DASHSCOPE_REGION": "sandbox"}, None),
        ({"DASHSCOPE_REGION": "beijing", f"{KEY}_BEIJING": "sk-abcdef1"}, None),
        ({KEY: "${input:dashscope-api-key-singapore}"}, None),
        ({KEY: "$DASHSCOPE_API_KEY"}, None),
    ],
)
def test_it_is_known_whether_a_key_is_missing(variables: dict[str, str], region: str | None) -> None:
    assert region_without_key(variables) == region


@pytest.mark.parametrize(
    "variables",
    [
        {"DASHSCOPE_REGION": "frankfurt", KEY: "sk-abcdef1"},
        {KEY: "sk-sp-plan123"},
        {KEY: "'sk-abcdef1'"},
        {"DASHSCOPE_API_KEY_FILE_PATH": "/nowhere/key"},
        {"WAN_MCP_WAIT_SECONDS": "long"},
    ],
)
def test_variables_that_no_server_could_use_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        region_without_key(variables)
