"""Reading the environment and the settings file: what holds, and that all that is wrong is told at once."""

import os
from pathlib import Path

import pytest

from wan_mcp.settings import read_settings
from wan_mcp_tools.domain.errors import SettingsError

KEY = "sk-0123456789abcdef"


def test_without_any_setting_there_are_defaults_and_no_error() -> None:
    settings = read_settings({})
    assert (settings.default_region, settings.model) == ("singapore", "wan2.6-t2i")
    assert settings.output_dir.name == "wan-mcp"
    assert settings.output_dir.is_absolute()
    assert settings.state_dir.is_absolute()
    assert (settings.wait_seconds, settings.daily_image_limit, settings.max_image_bytes) == (45, 100, 67_108_864)
    assert (settings.prefer_sync, settings.collect_in_background, settings.log_level) == (False, False, "WARNING")
    assert (settings.allowed_dirs, settings.image_hosts, settings.extra_models) == ((), (), ())


def test_reading_the_settings_makes_no_folder(tmp_path: Path) -> None:
    read_settings({"WAN_MCP_OUTPUT_DIR": str(tmp_path / "out"), "WAN_MCP_STATE_DIR": str(tmp_path / "state")})
    assert list(tmp_path.iterdir()) == []


def test_each_choice_of_the_operator_arrives(tmp_path: Path) -> None:
    settings = read_settings(
        {
            "WAN_MCP_MODEL": "wan2.7-image",
            "WAN_MCP_OUTPUT_DIR": str(tmp_path / "o"),
            "WAN_MCP_STATE_DIR": str(tmp_path / "s"),
            "WAN_MCP_ALLOWED_DIRS": os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b c")]),
            "WAN_MCP_WAIT_SECONDS": "12.5",
            "WAN_MCP_DAILY_IMAGE_LIMIT": "0",
            "WAN_MCP_IMAGE_HOSTS": "Images.example.com, 127.0.0.1:8080 ,[::1]:9",
            "WAN_MCP_MAX_IMAGE_BYTES": "1000",
            "WAN_MCP_PROTOCOL": "SYNC",
            "WAN_MCP_EXTRA_MODELS": '[{"id": "wan9", "protocol": "async"}]',
            "WAN_MCP_LOG_LEVEL": "debug",
            "WAN_MCP_KEEPER": "1",
        }
    )
    assert settings.model == "wan2.7-image"
    assert (settings.output_dir, settings.state_dir) == (tmp_path / "o", tmp_path / "s")
    assert settings.allowed_dirs == (tmp_path / "a", tmp_path / "b c")
    assert (settings.wait_seconds, settings.daily_image_limit, settings.max_image_bytes) == (12.5, 0, 1000)
    assert settings.image_hosts == ("images.example.com", "127.0.0.1:8080", "[::1]:9")
    assert (settings.prefer_sync, settings.log_level, settings.collect_in_background) == (True, "DEBUG", True)
    assert settings.extra_models == ({"id": "wan9", "protocol": "async"},)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("", 0o600), ("600", 0o600), ("0640", 0o640), ("0o644", 0o644), (" 400 ", 0o400), ("770", 0o770)],
)
def test_the_rights_of_files_are_written_in_octal(text: str, mode: int) -> None:
    assert read_settings({"WAN_MCP_FILE_MODE": text}).file_mode == mode


def test_a_folder_may_begin_in_the_home_folder() -> None:
    assert read_settings({"WAN_MCP_OUTPUT_DIR": "~/art"}).output_dir == Path("~/art").expanduser()


def test_all_wrong_values_are_told_at_once_and_no_key_among_them() -> None:
    names = ("DASHSCOPE_REGION", "WAN_MCP_PROTOCOL", "WAN_MCP_OUTPUT_DIR", "WAN_MCP_EXTRA_MODELS")
    with pytest.raises(SettingsError) as caught:
        read_settings({**dict.fromkeys(names, KEY), "DASHSCOPE_WORKSPACE_ID": f"{KEY}/x"})
    problems = caught.value.problems
    assert {problem.partition(" ")[0] for problem in problems} == {*names, "DASHSCOPE_WORKSPACE_ID"}
    assert str(caught.value) == f"{' '.join(problems)} {caught.value.advice}"
    assert KEY not in str(caught.value)


def test_a_misspelt_setting_is_pointed_out() -> None:
    settings = read_settings(
        {"WAN_MCP_OUTPUT_DIRECTORY": "/x", "WAN_MCP_FOO": "1", "DASHSCOPE_API_KEY_BEJING": KEY, "PATH": "/bin"}
    )
    assert settings.warnings == (
        "DASHSCOPE_API_KEY_BEJING is no setting and is ignored. Did you mean DASHSCOPE_API_KEY_BEIJING?",
        "WAN_MCP_FOO is no setting and is ignored.",
        "WAN_MCP_OUTPUT_DIRECTORY is no setting and is ignored. Did you mean WAN_MCP_OUTPUT_DIR?",
    )


def test_a_settings_file_is_read_only_if_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("WAN_MCP_MODEL=from-file\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert read_settings({}).model == "wan2.6-t2i"
    assert read_settings({"WAN_MCP_ENV_FILE": str(path)}).model == "from-file"
    assert read_settings({}, env_file=path).model == "from-file"
    assert read_settings({}, env_file=path).env_file == path


def test_the_environment_wins_over_the_file_unless_it_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("WAN_MCP_MODEL=from-file\nDASHSCOPE_REGION=beijing\n", encoding="utf-8")
    environment = {"WAN_MCP_MODEL": "from-environment", "DASHSCOPE_REGION": "${DASHSCOPE_REGION}"}
    settings = read_settings(environment, env_file=path)
    assert (settings.model, settings.default_region) == ("from-environment", "beijing")


# --- the ledger of several servers -------------------------------------------------------------------------------

LEDGER = "postgresql://wan:secret-password@db.example.com/ledger"


def test_the_ledgers_database_is_read_from_its_variable_or_from_a_file_and_is_never_shown(tmp_path):
    file = tmp_path / "url"
    file.write_text(f"\ufeff{LEDGER}\n", encoding="utf-8")
    for environ in ({"WAN_MCP_LEDGER_URL": LEDGER}, {"WAN_MCP_LEDGER_URL_FILE": str(file)}):
        settings = read_settings(environ)
        assert settings.ledger_url.get_secret_value() == LEDGER
        assert "secret-password" not in repr(settings)
    assert read_settings({}).ledger_url is None


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WAN_MCP_LEDGER_URL": "mysql://wan:secret-password@db/x"}, "is no address of a database"),
        ({"WAN_MCP_LEDGER_URL_FILE": "/nowhere/url"}, "names /nowhere/url, which cannot be read"),
        ({"WAN_MCP_LEDGER_URL_FILE": os.devnull}, "it is a device"),
    ],
)
def test_a_database_that_cannot_be_read_is_refused_without_its_password(environ, said):
    with pytest.raises(SettingsError, match=said) as caught:
        read_settings(environ)
    assert "secret-password" not in str(caught.value)
