"""A body is unpacked once, by what its bytes are, and never beyond a bound."""

import gzip
import tracemalloc
import zlib
from itertools import product

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_mcp.dashscope.body import ResponseBody, read_body, read_start

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
JSON = b'{"output": {"task_id": "t-1"}}'
ZEROS = 32 * 1024 * 1024


def bare(content):
    """Pack as deflate without a header, which some servers send."""
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(content) + engine.flush()


def answer(content, coding=None, *, piece=1000):
    async def stream():
        for start in range(0, len(content), piece):
            yield content[start : start + piece]

    headers = {"content-encoding": coding} if coding is not None else {}
    return httpx.Response(200, headers=headers, stream=_Stream(stream()))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, pieces):
        self.pieces = pieces

    def __aiter__(self):
        return self.pieces


CODINGS = ["utf-8", "", "aws-chunked", "binary", "gzip", "x-gzip", "deflate", "br", "zstd", "identity", "gzip, gzip"]


CONTENTS = [PNG[:500], JSON, b"  " + JSON, b"\xff\xd8\xff\xe0", b"RIFF....WEBP", b"", b"{}", b"\x1f"]


@pytest.mark.parametrize("coding", CODINGS)
async def test_what_is_not_packed_comes_as_it_is_whatever_its_header_says(coding):
    for content, piece in [*product(CONTENTS, [1, 7, 100_000]), (PNG, 1000)]:
        assert await read_body(answer(content, coding, piece=piece), 100_000) == content, (content[:20], piece)


@pytest.mark.parametrize(
    ("content", "coding"),
    [
        (gzip.compress(PNG), "gzip"),
        (gzip.compress(PNG), "x-gzip"),
        (gzip.compress(PNG), "GZIP"),
        (gzip.compress(PNG), "aws-chunked, gzip"),
        (gzip.compress(PNG), None),
        (gzip.compress(PNG), "identity"),
        (gzip.compress(PNG[:5000]) + gzip.compress(PNG[5000:]), "gzip"),
        (gzip.compress(PNG) + b"behind the end", "gzip"),
        (gzip.compress(PNG)[:-4], "gzip"),
        (zlib.compress(PNG), "deflate"),
        (bare(PNG), "deflate"),
    ],
)
async def test_what_is_packed_is_unpacked(content, coding):
    for piece in (1, 1000, 100_000):
        assert await read_body(answer(content, coding, piece=piece), 100_000) == PNG, piece


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "gzip, gzip, gzip, gzip"])
async def test_a_coding_inside_a_coding_is_not_unpacked(coding):
    inner = gzip.compress(PNG)
    assert await read_body(answer(gzip.compress(inner), coding), 100_000) == inner


async def test_a_few_bytes_never_become_many():
    bomb = gzip.compress(b"\0" * ZEROS)
    tracemalloc.start()
    try:
        assert await read_body(answer(bomb, "gzip"), 1_000_000) is None
        assert await read_start(answer(bomb, "gzip"), 4096) == b"\0" * 4096
        nested = gzip.compress(gzip.compress(bomb))
        assert await read_body(answer(nested, "gzip, gzip, gzip"), 1_000_000) == gzip.decompress(nested)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x08\0\0\0\0\0\0" + b"n" * 200_000, b"\x1f\x8b" + bytes(200_000)])
async def test_what_only_begins_as_if_it_were_packed_counts_as_well(content):
    assert await read_body(answer(content, "gzip"), 100_000) is None
    assert await read_body(answer(content, "gzip"), 300_000) == content


async def test_a_part_of_a_file_is_not_taken_for_something_packed():
    response = answer(gzip.compress(PNG), None)
    pieces = [piece async for piece in ResponseBody(response, as_is=True).pieces()]
    assert b"".join(pieces) == gzip.compress(PNG)


async def test_it_is_told_how_much_came_and_whether_it_was_packed():
    packed = gzip.compress(PNG)
    for content, coding, is_packed in ((packed, "gzip", True), (PNG, "gzip", False), (PNG, None, False)):
        body = ResponseBody(answer(content, coding))
        seen = [body.is_packed async for _ in body.pieces()]
        assert set(seen) == {is_packed}
        assert (body.received, body.is_packed) == (len(content), is_packed)


@settings(max_examples=100)
@given(
    content=st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"\x1f\x8b\x08" + tail),
    coding=st.sampled_from(CODINGS),
    piece=st.integers(1, 400),
)
def test_no_bytes_whatever_they_are_break_the_reading(content, coding, piece):
    import anyio

    result = anyio.run(read_body, answer(content, coding, piece=piece), 100_000)
    assert result is not None
