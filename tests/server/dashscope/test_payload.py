"""What the service writes is read leniently, and holds neither what no database takes nor a key."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_mcp.dashscope.payload import LARGEST_ANSWER, KnownKeys, as_integer, as_text, parse_object

KEY, OTHER = "sk-test-0123456789abcdef", "sk-ws-99.other_key"
KEYS = KnownKeys([KEY, OTHER, "short"])
URL = "https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com/1.png?Expires=1&Signature=a%2Fb"


def text_of(body):
    """Give the text that stands in `"text"` beside the address, which must be there."""
    payload = parse_object(body, KEYS)
    assert payload["url"] == URL
    return payload["text"]


def around(text):
    return b'{"text": "' + text + b'", "url": "' + URL.encode() + b'"}'


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"half \ud83d pair", "half \ufffd pair"),
        (rb"half \ude00 pair", "half \ufffd pair"),
        (rb"turned \ude00\ud83d", "turned \ufffd\ufffd"),
        (rb"whole \ud83d\ude00", "whole \U0001f600"),
        (rb"zero \u0000 here", "zero \ufffd here"),
        (b"bad \xff byte", "bad \ufffd byte"),
        (b"cut \xe4\xb8", "cut \ufffd"),
        (b"raw\ttab", "raw\ttab"),
        (b"raw\nline\r\nend", "raw\nline\r\nend"),
        (b"raw\x00zero\x01\x1f", "raw\ufffdzero\x01\x1f"),
        ("gbk 花".encode("gbk"), "gbk \ufffd\ufffd"),
        (b"cesu \xed\xa0\xbd\xed\xb8\x80", "cesu " + "\ufffd" * 6),
    ],
)
def test_no_character_keeps_an_answer_from_being_read(written, read):
    text = text_of(around(written))
    assert text == read
    text.encode()


@pytest.mark.parametrize(
    "member",
    [
        b'"n": ' + b"9" * 5000,
        b'"n": -' + b"9" * 5000,
        b'"n": 1e999',
        b'"n": NaN',
        b'"n": -Infinity',
        b'"n": ' + b"[" * 5000 + b"]" * 5000,
        b'"n": ' + b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'"n": ' + b'[{"]\\"}": ' * 2000 + b"1" + b"}]" * 2000,
        b'"n": "' + b"x" * 1_000_000 + b'"',
    ],
)
def test_no_member_beside_an_address_keeps_it_from_being_read(member):
    body = b'{"request_id": "r", ' + member + b', "url": "' + URL.encode() + b'"}'
    payload = parse_object(body, KEYS)
    assert payload["url"] == URL
    assert as_integer(payload.get("n")) is None
    assert len(as_text(payload.get("n")) or "") <= 20_000


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: b" \r\n\t" + body + b"\n\n",
        lambda body: body + b"<!-- added by the proxy -->",
        lambda body: body + body,
        lambda body: "\u200b".encode() + body,
        lambda body: body.decode().encode("utf-16"),
        lambda body: body.decode().encode("utf-16-le"),
        lambda body: body.decode().encode("utf-32"),
    ],
)
def test_what_stands_around_an_object_does_not_matter(change):
    assert text_of(change(around(b"x"))) == "x"


@pytest.mark.parametrize(
    "body", [b"", None, b"[1]", b"5", b"<html>", b"{", b'{"a"', b'"', b"[" * 100_000, b"\xff\xfe"]
)
def test_anything_else_is_no_object(body):
    assert parse_object(body, KEYS) is None


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        OTHER,
        KEY.upper(),
        f"Bearer {KEY}!",
        "sk-\u200btest-0123456789abcdef",
        "s k - t e s t - 0 1 2 3 4 5 6 7 8 9 a b c d e f",
        "sk-test-0123456789\nabcdef",
        "sk%2Dtest%2D0123456789abcdef",
        "sk%252Dtest-0123456789abcdef",
        "%73%6B-test-0123456789abcdef",
        r"sk\u002dtest-0123456789abcdef",
        "sk&#45;test&#x2d;0123456789abcdef",
        f"{URL}&key={KEY}",
        f"data:image/png;x={KEY};base64,{'A' * 50_000}",
        KEY * 1000,
        "x" * 19_990 + KEY + "x" * 50_000,
        "x" * 19_990 + KEY.upper() + "x" * 50_000,
    ],
)
def test_no_key_of_the_settings_is_left_in_what_the_service_echoes(spelled):
    body = json.dumps({"a": spelled, "b": [{"c": {"d": f"x{spelled}y"}}]}).encode()
    said = json.dumps(parse_object(body, KEYS), ensure_ascii=False)
    assert "…" in said
    for key in (KEY, OTHER):
        assert key.lower() not in said.lower().replace("\\n", "")
        assert key[8:] not in said


def test_what_is_no_key_is_left_alone():
    for text in ("a short prompt", "sk-", "sk-test", "sk-test-0123456789abcde", ""):
        assert KEYS.hide(text) == text
    assert KnownKeys().hide(KEY) == KEY


@pytest.mark.parametrize(("item", "part"), [('{"code":"E"}', 1), ("{}", 4), ("1", 4)])
def test_an_answer_of_very_many_values_is_read_in_seconds_or_not_at_all(item, part):
    most = (LARGEST_ANSWER - 100) // (len(item) + 1)
    many = most // part
    # What the processor does, because a busy machine takes longer for it.
    began = time.thread_time()
    payload = parse_object(f'{{"output": {{"results": [{",".join([item] * many)}]}}}}'.encode(), KEYS)
    assert len(payload["output"]["results"]) == many
    assert time.thread_time() - began < 20
    twice = parse_object(f'{{"results": [{",".join([item] * 2 * most)}]}}'.encode(), KEYS)
    assert twice is None


@settings(max_examples=200)
@given(body=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps({"a": text}).encode()))
def test_no_bytes_whatever_they_are_raise(body):
    for content in (body, b'{"a": "' + body + b'"}', b'{"a": ' + body + b"}"):
        payload = parse_object(content, KEYS)
        json.dumps(payload, ensure_ascii=False).encode()
