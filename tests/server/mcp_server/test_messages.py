"""What is no message is answered under its own id wherever that can be read."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.mcp_server.messages import (
    HEAD_BYTES,
    MOST_BYTES,
    TAIL_BYTES,
    UnreadableMessageError,
    read_message,
    too_long,
)

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


def call(**more):
    message = {
        "method": "tools/call",
        "params": {"name": "list_tasks", "arguments": {"a": 1}},
        "jsonrpc": "2.0",
        "id": 7,
    }
    return json.dumps(message | more).encode()


def refusal(data):
    with pytest.raises(UnreadableMessageError) as caught:
        read_message(data)
    for answer in caught.value.answers:
        assert len(answer.model_dump_json()) < 2_000
    return caught.value.code, list(caught.value.ids), str(caught.value)


def put(value: bytes) -> bytes:
    """Put a value, as it is, in the place of an argument."""
    return call().replace(b'"a": 1', b'"a": ' + value)


@pytest.mark.parametrize("request_id", [7, "seven", "", 0, -1, 2**63])
def test_a_message_is_given_as_it_is(request_id):
    assert read_message(call(id=request_id)) == call(id=request_id)


def test_a_byte_order_mark_before_a_message_is_passed_over():
    assert read_message(b"\xef\xbb\xbf" + call()) == call()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (put(rb'"\ud83d"'), "half a character"),
        (put(rb'"\ud83d and more"'), "half a character"),
        (put(rb'"\udc00"'), "half a character"),
        (put(b"1" * 5_000), "number out of range"),
        (put(b"[" * 300 + b"]" * 300), "recursion limit"),
        (put(b'{"a":' * 300 + b"1" + b"}" * 300), "recursion limit"),
        (put(b"[" * 100_000), "recursion limit"),
        (put(b'"\xff"'), "not UTF-8 at byte"),
        (put(b'"\xed\xa0\xbd"'), "not UTF-8 at byte"),
        (put(b'"a\x00b"'), "control character"),
        (put(b"'a'"), "expected value"),
        (put(b"1,"), "trailing comma"),
        (put(b"undefined"), "expected"),
        (call()[:-1] + b", }", "trailing comma"),
        (call() + b"}", "trailing characters"),
    ],
)
def test_what_cannot_be_read_is_answered_under_its_id_wherever_that_stands(data, words):
    first = data.replace(b'{"method"', b'{"id": 7, "method"').replace(b', "id": 7', b"")
    for each in (data, first):
        code, ids, text = refusal(each)
        assert (code, ids) == (PARSE_ERROR, [7])
        assert words in text
        assert text.endswith("Send it again as well-formed JSON in UTF-8.")


@pytest.mark.parametrize(
    "data", [b"hello", b"<html>", b"{", b'{"id"', b'{"params": {"id": 7', b'["id", 7', b"\xff\xfe{\x00", b'"id": 7']
)
def test_what_has_no_id_that_can_be_read_is_answered_without_one(data):
    assert refusal(data)[:2] == (PARSE_ERROR, [None])


def test_half_a_message_has_the_id_at_its_beginning():
    data = call()
    first = b'{"jsonrpc":"2.0","id":"a\\u0041","method":"tools/list","params":{"id":8,"x":["'

    assert refusal(first)[1] == ["aA"]
    assert refusal(data[:-30])[1] == [None]


def test_an_id_inside_the_parameters_is_none():
    assert refusal(b'{"params": {"id": 8, "text": "\\"id\\": 9"}, "x": \xff, "id": 7}')[1] == [7]
    assert refusal(b'{"params": {"id": 8, "text": ", \\"id\\": 9}"}, "x": \xff}')[1] == [None]


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (b'{"jsonrpc": "2.0", "id": 7}', [7]),
        (b'{"jsonrpc": "1.0", "id": 7, "method": "ping"}', [7]),
        (b'{"id": "a", "method": "ping"}', ["a"]),
        (call(params=[]), [7]),
        (call(params="x"), [7]),
        (call(method=5), [7]),
        (call(method="x" * 100_000), [7]),
        (call(id=None), [None]),
        (call(id=1.5), [None]),
        (call(id=True), [None]),
        (call(id={}), [None]),
        (call(id="x" * 100_000), [None]),
        (call(id=10**60), [None]),
        (b'{"jsonrpc": "2.0", "id": 7, "error": 5}', [None]),
        (b"[" + call() + b"," + call(id="b") + b", 5]", [7, "b"]),
        (b"[]", [None]),
        (b"5", [None]),
        (b"null", [None]),
        (b'"text"', [None]),
    ],
)
def test_what_is_json_and_no_message_is_an_invalid_request(data, ids):
    assert refusal(data)[:2] == (INVALID_REQUEST, ids)


def test_a_batch_of_thousands_has_a_bounded_number_of_answers():
    assert len(refusal(b"[" + b",".join(call(id=n) for n in range(5_000)) + b"]")[1]) == 100


def test_a_message_that_is_too_long_has_the_id_at_either_end():
    text = b"x" * MOST_BYTES
    last = put(b'"' + text + b'"')
    first = last.replace(b'{"method"', b'{"id":"first", "method"').replace(b', "id": 7', b"")
    for data, found in ((last, 7), (first, "first")):
        code, ids, words = refusal(data)
        assert (code, ids) == (INVALID_REQUEST, [found])
        assert f"this one has {len(data)}" in words
        assert too_long(data[:HEAD_BYTES], data[-TAIL_BYTES:], len(data)).ids == [found]


@pytest.mark.parametrize("part", [b"[", b'{"', b'"', b'\\"', b'{"id":', b'"id":1,', b",", b"[1],"])
def test_no_data_takes_long_to_be_judged(part):
    for data in (part * (3_000_000 // len(part)), b'{"x":"' + part * (3_000_000 // len(part))):
        started = time.thread_time()
        refusal(data)
        assert time.thread_time() - started < 2


def ids(data):
    """Give the ids under which data is answered, none if it is a message."""
    try:
        read_message(data)
    except UnreadableMessageError as error:
        return list(error.ids)
    return []


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_a_message_or_answered(before, after):
    for data in (before, b'{"jsonrpc":"2.0","id":7,' + after, before + call() + after, call()[: len(before)] + after):
        assert len(ids(data)) <= 1


@given(st.integers(0, len(call()) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_message_is_answered_under_its_own_id_or_none(position, damage):
    assert ids(call()[:position] + damage + call()[position + len(damage) :]) in ([], [7], [None])
