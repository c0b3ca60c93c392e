"""The settings file: what a line may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.settings.files import parse_env, read_env_file
from wan_mcp_tools.domain.errors import SettingsError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  A = b c  ", "b c"),
        ("export A=b", "b"),
        ("A=", ""),
        ("A=b # why", "b"),
        ("A=# why", ""),
        ("A=b#c", "b#c"),
        ("A=it's", "it's"),
        ("A='b # c'", "b # c"),
        ("A='b' # why", "b"),
        ("A='[{\"id\": 1}]'", '[{"id": 1}]'),
        ('A="b # c"', "b # c"),
        (r'A="say \"b\" \\ c"', r'say "b" \ c'),
        (r'A="C:\new\temp"', r"C:\new\temp"),
        (r"A=C:\new\temp", r"C:\new\temp"),
        ("A=b=c", "b=c"),
        ("A=${B}", "${B}"),
        ("A=ключ", "ключ"),
    ],
)
def test_a_line_gives_its_value(line: str, value: str) -> None:
    assert parse_env(line, source="file") == {"A": value}


def test_comments_and_empty_lines_say_nothing() -> None:
    assert parse_env("\n# A=1\n   \n  # B=2\r\n", source="file") == {}


def test_the_last_of_two_lines_holds() -> None:
    assert parse_env("A=1\nA=2", source="file") == {"A": "2"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("just words", "this is not NAME=value"),
        ("1A=b", "this is not NAME=value"),
        ("A-B=c", "this is not NAME=value"),
        ("=b", "this is not NAME=value"),
        ("A='b", "the quote around the value of A is never closed"),
        ('A="b\\"', "the quote around the value of A is never closed"),
        ("A='b' c", "more text follows the closing quote of A"),
        ('A="b"c', "more text follows the closing quote of A"),
    ],
)
def test_a_line_that_cannot_be_understood_is_named_by_its_number(line: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_env(f"OK=1\n\n{line}\n", source="my.env")
    assert caught.value.message == f"my.env, line 3: {reason}."


def test_all_bad_lines_are_told_and_none_is_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_env("sk-secret1\nA=1\nB='sk-secret2", source="my.env")
    assert "line 1" in caught.value.message
    assert "line 3" in caught.value.message
    assert "secret" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path) -> None:
    path = tmp_path / "settings"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert read_env_file(path) == {"A": "1", "B": "2"}


@given(st.text(alphabet=st.characters(exclude_characters="'", exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_single_quotes_keep_any_value_of_one_line(value: str) -> None:
    assert parse_env(f"A='{value}'", source="file") == {"A": value}


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_double_quotes_keep_any_value_once_it_is_escaped(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_env(f'A="{escaped}"', source="file") == {"A": value}


@given(st.text())
def test_any_text_gives_values_or_an_error_of_ours(text: str) -> None:
    try:
        values = parse_env(text, source="file")
    except SettingsError:
        return
    assert all(name.isidentifier() for name in values)
