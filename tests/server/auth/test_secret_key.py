"""The key that links are signed with."""

import stat
import sys
import threading

import pytest

from wan_mcp.auth.secret_key import derive_key, load_secret_key
from wan_mcp_tools.domain.errors import SettingsError


def test_the_operators_key_holds_and_nothing_is_written(tmp_path):
    assert load_secret_key("k" * 32, tmp_path) == b"k" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_this_machine_is_made_once_and_for_its_user_alone(tmp_path):
    folder = tmp_path / "state"

    key = load_secret_key(None, folder)

    assert load_secret_key(None, folder) == key
    assert len(key) >= 32
    assert [each.name for each in folder.iterdir()] == ["secret-key"]
    assert stat.S_IMODE((folder / "secret-key").stat().st_mode) == 0o600 or sys.platform == "win32"


def test_servers_that_start_at_once_have_the_same_key(tmp_path):
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_secret_key(None, tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_file_that_holds_no_key_is_told(tmp_path):
    (tmp_path / "secret-key").write_text("short\n")

    with pytest.raises(SettingsError, match="holds no key"):
        load_secret_key(None, tmp_path)


def test_where_nothing_can_be_written_a_key_lasts_as_long_as_the_server(tmp_path, caplog):
    (tmp_path / "file").write_text("")

    first, second = (load_secret_key(None, tmp_path / "file" / "state") for _ in range(2))

    assert first != second
    assert "Links end with this server" in caplog.text


def test_a_key_for_one_purpose_is_worth_nothing_for_another():
    assert derive_key(b"k" * 32, "links") != derive_key(b"k" * 32, "request state")
    assert len(derive_key(b"k" * 32, "links")) == 32
