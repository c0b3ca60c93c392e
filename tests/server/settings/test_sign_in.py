"""The settings by which people sign in."""

import pytest

from wan_mcp.settings import read_settings
from wan_mcp_tools.domain.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://pictures.example.com", "https://pictures.example.com"),
        ("HTTPS://Pictures.Example.com/Art/", "https://pictures.example.com/Art"),
        ("https://pictures.example.com:8443", "https://pictures.example.com:8443"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("", None),
        ("${PUBLIC_URL}", None),
    ],
)
def test_the_public_address_is_kept_without_a_slash_at_its_end(text, found):
    assert read_settings({"WAN_MCP_PUBLIC_URL": text}).public_url == found


@pytest.mark.parametrize("name", ["WAN_MCP_PUBLIC_URL", "WAN_MCP_AUTH_ISSUER"])
@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("pictures.example.com", "is no web address"),
        ("ftp://pictures.example.com", "is no web address"),
        ("https://", "is no web address"),
        ("https://pictures.example.com:port", "is no URL"),
        ("https://pictures.example.com/a b", "is no web address"),
        ('https://pictures.example.com/"x', "is no web address"),
        ("http://pictures.example.com", "over plain http tokens could be read"),
        ("https://pictures.example.com/?a=b", "has more than a path"),
        ("https://pictures.example.com/#", "has more than a path"),
        ("https://ada:secret-word@pictures.example.com", "holds a user name or a password"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(name, text, trouble):
    with pytest.raises(SettingsError) as error:
        read_settings({name: text})

    assert f"{name} " in str(error.value)
    assert trouble in str(error.value)
    assert "secret-word" not in str(error.value)


def test_the_public_address_has_no_endpoint():
    with pytest.raises(SettingsError, match="Leave /mcp out"):
        read_settings({"WAN_MCP_PUBLIC_URL": "https://pictures.example.com/mcp"})


def test_an_issuer_is_kept_letter_for_letter():
    assert (
        read_settings({"WAN_MCP_AUTH_ISSUER": "https://Login.example.com/"}).auth_issuer
        == "https://Login.example.com/"
    )


def test_a_secret_is_read_from_its_file_and_a_short_one_is_refused_unseen(tmp_path):
    path = tmp_path / "key"
    path.write_text("k" * 40 + "\n")

    assert read_settings({"WAN_MCP_SECRET_KEY_FILE": str(path)}).secret_key.get_secret_value() == "k" * 40
    with pytest.raises(SettingsError) as error:
        read_settings({"WAN_MCP_SECRET_KEY": "a-short-secret"})
    assert "has only 14 characters" in str(error.value)
    assert "a-short-secret" not in str(error.value)


def test_people_sign_in_by_tokens_or_by_an_issuer(tmp_path):
    assert not read_settings({"WAN_MCP_PUBLIC_URL": "https://pictures.example.com"}).has_sign_in
    assert read_settings({"WAN_MCP_TOKENS_FILE": str(tmp_path / "tokens")}).has_sign_in
    assert read_settings({"WAN_MCP_AUTH_ISSUER": "https://login.example.com"}).has_sign_in
