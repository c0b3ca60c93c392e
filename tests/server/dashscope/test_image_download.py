"""An image comes whole, without the key, and on from where it broke off."""

import gzip
import tracemalloc
import zlib
from base64 import b64encode

import anyio
import httpx
import pytest

from wan_mcp.dashscope import DashScope, Timeouts
from wan_mcp_tools.domain.errors import (
    DownloadError,
    HostNotAllowedError,
    LinkExpiredError,
    StorageError,
    TooLargeError,
)

PICTURE = bytes(range(256)) * 40
PNG = b"\x89PNG\r\n\x1a\n" + PICTURE
TAG = '"5B3C1A2E053D763E1B002CC607C5A0FE"'
EXPIRED = (
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired.</Message>'
    "<Expires>2026-08-19T00:00:00.000Z</Expires></Error>"
)


def picture(request, content=PICTURE, **headers):
    """Serve a picture as the image host does, parts of it included."""
    names = {"content-type": "image/png", "etag": TAG, **headers}
    wanted = request.headers.get("range")
    if wanted and request.headers.get("if-range", names["etag"]) == names["etag"]:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        names["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return httpx.Response(206, content=content[start:], headers=names)
    return httpx.Response(200, content=content, headers=names)


def cut(keep, **headers):
    """Serve the beginning of the picture, with the length of the whole, and break off."""

    async def stream():
        yield PICTURE[:keep]
        raise httpx.ReadError("gone")

    def answer(request):
        names = {"content-type": "image/png", "etag": TAG, "content-length": str(len(PICTURE)), **headers}
        return httpx.Response(200, content=stream(), headers=names)

    return answer


def xml(status, body):
    return lambda request: httpx.Response(status, text=body, headers={"content-type": "application/xml"})


def redirect(location, status=302):
    return lambda request: httpx.Response(status, headers={"location": location})


async def test_an_image_is_fetched_without_the_key_and_with_its_address_byte_for_byte(kit):
    client, network = kit.client(picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE
    assert network.last.url.raw_path == (
        b"/1d/1f/20260818/cdc59fa6/8f2a-1.png?Expires=1893456000&OSSAccessKeyId=LTAI5tExample&Signature=a%2Fb%2Bc%3D"
    )
    assert "authorization" not in network.last.headers
    assert "cookie" not in network.last.headers
    assert network.last.headers["accept-encoding"] == "identity"
    assert kit.key not in str(network.last.headers.raw)


@pytest.mark.parametrize("query", ["Signature=a%2fb%2B+c%3d&x=~'!*()", "a=%20&b=&&c", "Signature=AbC/d+e="])
async def test_the_query_is_never_written_anew(kit, query):
    client, network = kit.client(picture)
    await client.download(
        "singapore", f"http://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/1.png?{query}", kit.sink()
    )
    assert network.last.url.query == query.encode()
    assert network.last.url.scheme == "https"


async def test_a_cookie_of_one_image_host_is_not_sent_again(kit):
    client, network = kit.client(lambda request: picture(request, **{"set-cookie": "a=b; Domain=aliyuncs.com"}))
    for _ in range(2):
        await client.download("singapore", kit.image_url, kit.sink())
    assert "cookie" not in network.last.headers


async def test_a_redirect_to_an_allowed_host_is_followed(kit):
    target = "https://dashscope-result-sh.oss-cn-shanghai.aliyuncs.com/2.png?Signature=x%2Fy"
    client, network = kit.client(redirect(target), picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert [str(request.url) for request in network.requests] == [kit.image_url, target]
    assert sink.content == PICTURE


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/1.png",
        "http://169.254.169.254/latest/meta-data/",
        "//evil.example/1.png",
        "file:///etc/passwd",
        "https://[broken/",
    ],
)
async def test_a_redirect_elsewhere_is_refused_before_it_is_followed(kit, location):
    client, network = kit.client(redirect(location), picture)
    with pytest.raises(HostNotAllowedError):
        await client.download("singapore", kit.image_url, kit.sink())
    assert len(network.requests) == 1


async def test_a_redirect_to_nowhere_is_a_broken_transfer(kit):
    client, network = kit.client(redirect("https://host:port/"))
    with pytest.raises(DownloadError):
        await client.download("singapore", kit.image_url, kit.sink())
    assert len(network.requests) == 3


async def test_a_host_that_the_operator_named_is_reached_without_a_look_up(kit):
    async def resolve(host, port):
        raise AssertionError("a configured host needs no look-up")

    client, network = kit.client(picture, image_hosts=["images.example"], resolve=resolve)
    await client.download("singapore", "http://images.example/1.png", kit.sink())
    assert network.last.url == "http://images.example/1.png"


@pytest.mark.parametrize(
    "location",
    [
        "javascript:alert(1)",
        "http://xn--/",
        "http://xn--a/",
        "https://xn--\u00e4-/",
        "http://[",
        "http://[::1",
        "http://a..b/",
        "http://" + "a" * 300 + "/",
        "http://\u2024/",
        "https://\xff\xfe/",
        "https://h.example:99999999/",
        "https://h.example:-1/",
        "https:",
        "https:///",
        "data:image/png;base64,AAAA",
        "\x00",
        "mailto:a@b",
        "//",
        "http:/\\",
        "https://%00/",
        "https://" + "x." * 2000 + "/",
        "x" * 70_000,
    ],
)
async def test_a_redirect_to_what_is_no_address_is_an_error_of_this_image(kit, location):
    client, network = kit.client(redirect(location.encode("utf-8")))
    with pytest.raises(DownloadError) as caught:
        await client.download("singapore", kit.image_url, kit.sink())
    assert len(network.requests) <= 6
    assert caught.value.message
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "trouble", [RuntimeError("x"), ValueError("x"), UnicodeError("x"), KeyError("x"), RecursionError()]
)
async def test_whatever_breaks_is_an_error_of_this_image(kit, trouble):
    client, _ = kit.client(trouble)
    with pytest.raises(DownloadError):
        await client.download("singapore", kit.image_url, kit.sink())


@pytest.mark.parametrize(
    "url", ["", " ", "http://xn--/", "http://[", "javascript:alert(1)", "oss://a/b", "?", "https:", "\0"]
)
async def test_an_address_that_is_none_is_an_error_of_this_image(kit, url):
    client, network = kit.client(picture)
    with pytest.raises(DownloadError) as caught:
        await client.download("singapore", url, kit.sink())
    assert not caught.value.retryable
    assert network.requests == []


async def test_only_so_many_versions_are_remembered(kit):
    client, _ = kit.client(*[cut(10)] * 3 * 300, picture)
    sinks = []
    for number in range(300):
        sinks.append(kit.sink())
        with pytest.raises(DownloadError):
            await client.download("singapore", f"{kit.image_url}&x={number}", sinks[-1])
    for number, restarts in ((0, 1), (299, 0)):
        before = sinks[number].restarts
        await client.download("singapore", f"{kit.image_url}&x={number}", sinks[number])
        assert sinks[number].content == PICTURE
        assert sinks[number].restarts - before == restarts


async def test_a_circle_of_redirects_ends(kit):
    client, network = kit.client(redirect("/again.png"))
    with pytest.raises(DownloadError):
        await client.download("singapore", kit.image_url, kit.sink())
    assert len(network.requests) == 6


async def test_a_transfer_that_breaks_off_is_continued(kit, clock):
    client, network = kit.client(cut(4000), picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE
    assert sink.restarts == 0
    assert network.last.headers["range"] == "bytes=4000-"
    assert network.last.headers["if-range"] == TAG
    assert clock.slept == [0.5]


async def test_what_came_stays_in_the_sink_and_a_later_call_continues(kit):
    client, network = kit.client(cut(1000), httpx.ReadTimeout("x"), httpx.ConnectError("x"), picture)
    sink = kit.sink()
    with pytest.raises(DownloadError) as caught:
        await client.download("singapore", kit.image_url, sink)
    assert type(caught.value) is DownloadError
    assert caught.value.retryable
    assert sink.content == PICTURE[:1000]
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE
    assert network.last.headers["range"] == "bytes=1000-"
    assert len(network.requests) == 4


async def test_fewer_bytes_than_promised_are_a_broken_transfer(kit):
    def short(request):
        return httpx.Response(
            200, content=PICTURE[:10], headers={"content-type": "image/png", "content-length": "10240"}
        )

    client, network = kit.client(short)
    with pytest.raises(DownloadError, match="10 of 10240 bytes"):
        await client.download("singapore", kit.image_url, kit.sink())
    assert len(network.requests) == 3


async def test_bytes_of_an_unknown_version_are_dropped(kit):
    client, network = kit.client(picture)
    sink = kit.sink(b"something else")
    await client.download("singapore", kit.image_url, sink)
    assert (sink.content, sink.restarts) == (PICTURE, 1)
    assert "range" not in network.last.headers


@pytest.mark.parametrize("tag", ['W/"weak"', "", "no quotes", '"with \x7f"'])
async def test_without_a_strong_etag_a_transfer_starts_over(kit, tag):
    client, network = kit.client(cut(4000, etag=tag), picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert (sink.content, sink.restarts) == (PICTURE, 1)
    assert "range" not in network.last.headers


async def test_a_changed_image_starts_over(kit):
    changed = PICTURE[::-1]
    client, _ = kit.client(cut(4000), lambda request: picture(request, changed, etag='"new"'))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert (sink.content, sink.restarts) == (changed, 1)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-range": "bytes 5-10239/10240"},
        {"content-range": "bytes */10240"},
        {},
        {"content-range": "bytes 4000-10239/10240", "etag": '"new"'},
    ],
)
async def test_a_part_that_does_not_fit_starts_over(kit, headers):
    def wrong_part(request):
        return httpx.Response(206, content=b"wrong", headers={"content-type": "image/png", **headers})

    client, network = kit.client(cut(4000), wrong_part, picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert (sink.content, sink.restarts) == (PICTURE, 1)
    assert "range" not in network.last.headers


@pytest.mark.parametrize("status", [200, 201, 203, 206])
async def test_a_whole_image_is_taken_whatever_the_host_calls_it(kit, status):
    headers = {"content-range": f"bytes 0-{len(PICTURE) - 1}/{len(PICTURE)}"} if status == 206 else {}
    client, network = kit.client(lambda request: httpx.Response(status, content=PICTURE, headers=headers))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE
    assert len(network.requests) == 1


async def test_a_part_that_nobody_asked_for_is_not_taken_for_the_whole(kit):
    def part(request):
        names = {"content-type": "image/png", "content-range": "bytes 0-4/10240"}
        return httpx.Response(206, content=b"wrong", headers=names)

    client, _ = kit.client(part)
    sink = kit.sink()
    with pytest.raises(DownloadError, match="5 of 10240 bytes"):
        await client.download("singapore", kit.image_url, sink)


@pytest.mark.parametrize(("size", "complete"), [(len(PICTURE), True), (len(PICTURE) + 1, False)])
async def test_a_range_past_the_end_means_complete_only_if_the_length_fits(kit, size, complete):
    def past_the_end(request):
        return httpx.Response(416, headers={"content-range": f"bytes */{len(PICTURE)}"})

    client, _ = kit.client(cut(10), past_the_end, picture)
    sink = kit.sink()
    original = sink.write

    async def write(chunk):
        await original(chunk if len(chunk) > 10 else (PICTURE + b"!")[:size])

    sink.write = write
    await client.download("singapore", kit.image_url, sink)
    assert (sink.content, sink.restarts) == (PICTURE, 0 if complete else 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_passing_trouble_of_the_image_host_is_tried_again_a_little_later(kit, clock, status):
    client, network = kit.client(xml(status, "busy"), xml(status, "busy"), picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE
    assert clock.slept == [0.5, 1.0]
    assert len(network.requests) == 3


async def test_lasting_trouble_of_the_image_host_ends_after_three_attempts(kit):
    client, network = kit.client(xml(503, "busy"))
    with pytest.raises(DownloadError) as caught:
        await client.download("singapore", kit.image_url, kit.sink())
    assert caught.value.retryable
    assert len(network.requests) == 3


@pytest.mark.parametrize(
    ("status", "body", "url_change"),
    [
        (403, EXPIRED, ("", "")),
        (404, "<Error><Code>NoSuchKey</Code></Error>", ("", "")),
        (410, "", ("", "")),
        (403, "no reason", ("Expires=1893456000", "Expires=1700000000")),
    ],
)
async def test_a_link_that_is_over_says_so_at_once(kit, status, body, url_change):
    client, network = kit.client(xml(status, body))
    with pytest.raises(LinkExpiredError) as caught:
        await client.download("singapore", kit.image_url.replace(*url_change), kit.sink())
    assert not caught.value.retryable
    assert len(network.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, "<Error><Code>SignatureDoesNotMatch</Code></Error>" + "x" * 9000),
        (404, "<Error><Code>NoSuchBucket</Code></Error>"),
        (400, ""),
    ],
)
async def test_any_other_refusal_is_final_and_shows_no_signature(kit, status, body):
    client, network = kit.client(xml(status, body))
    with pytest.raises(DownloadError) as caught:
        await client.download("singapore", kit.image_url, kit.sink())
    assert type(caught.value) is DownloadError
    assert not caught.value.retryable
    assert len(network.requests) == 1
    assert "dashscope-a717.oss-accelerate.aliyuncs.com" in str(caught.value)
    assert "Signature=" not in str(caught.value)
    assert "1d/1f" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream", "image/png"])
async def test_the_bytes_are_taken_whatever_the_host_calls_them(kit, kind):
    client, _ = kit.client(lambda request: httpx.Response(200, content=b"bytes", headers={"content-type": kind}))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == b"bytes"


def packed(content, coding, keep=None):
    """Serve a body that is packed, or called so, and perhaps break off."""

    async def stream():
        yield content[:keep]
        if keep is not None:
            raise httpx.ReadError("gone")

    def answer(request):
        names = {"content-encoding": coding, "etag": TAG, "content-length": str(len(content))}
        return httpx.Response(200, content=stream(), headers=names)

    return answer


@pytest.mark.parametrize(
    "coding", ["utf-8", "", "aws-chunked", "binary", "gzip", "x-gzip", "deflate", "br", "zstd", "none"]
)
async def test_what_a_header_calls_packed_and_is_not_is_taken_as_it_is(kit, coding):
    client, network = kit.client(packed(PNG, coding))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PNG
    assert len(network.requests) == 1


@pytest.mark.parametrize(
    ("content", "coding"),
    [
        (gzip.compress(PNG), "gzip"),
        (gzip.compress(PNG), ""),
        (zlib.compress(PNG), "deflate"),
        (gzip.compress(PNG), "br"),
    ],
)
async def test_what_is_packed_although_none_was_asked_for_is_unpacked(kit, content, coding):
    client, _ = kit.client(packed(content, coding))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PNG


async def test_a_packed_image_that_breaks_off_is_fetched_from_its_beginning(kit):
    content = gzip.compress(PNG, compresslevel=0)
    client, network = kit.client(packed(content, "gzip", keep=5000), packed(content, "gzip"))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PNG
    assert "range" not in network.last.headers
    short = kit.client(packed(content[:5000] + bytes(9), "gzip"))[0]
    await short.download("singapore", kit.image_url, kit.sink())


async def test_a_packed_image_is_bounded_by_what_it_becomes(kit):
    client, _ = kit.client(packed(gzip.compress(bytes(50_000_000)), "gzip"), max_image_bytes=100_000)
    sink = kit.sink()
    with pytest.raises(TooLargeError):
        await client.download("singapore", kit.image_url, sink)
    assert sink.size <= 100_000


async def test_the_text_of_a_refusal_is_bounded_as_well(kit):
    bomb = gzip.compress(bytes(30_000_000))
    client, _ = kit.client(
        lambda request: httpx.Response(403, stream=httpx.ByteStream(bomb), headers={"content-encoding": "gzip"})
    )
    tracemalloc.start()
    try:
        with pytest.raises(DownloadError):
            await client.download("singapore", kit.image_url, kit.sink())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


async def test_an_image_that_stands_in_its_address_is_written_without_a_call(kit):
    client, network = kit.client(picture, max_image_bytes=len(PNG))
    sink = kit.sink(b"something else")
    await client.download("singapore", f"data:image/png;base64,{b64encode(PNG).decode()}", sink)
    assert (sink.content, network.requests) == (PNG, [])
    with pytest.raises(TooLargeError):
        await client.download("singapore", f"data:image/png;base64,{b64encode(PNG + b'!').decode()}", sink)
    with pytest.raises(DownloadError):
        await client.download("singapore", "data:image/png;base64,A", sink)


async def test_an_image_over_the_limit_is_refused_by_its_length(kit):
    client, network = kit.client(cut(10), max_image_bytes=len(PICTURE) - 1)
    sink = kit.sink()
    with pytest.raises(TooLargeError, match="WAN_MCP_MAX_IMAGE_BYTES"):
        await client.download("singapore", kit.image_url, sink)
    assert sink.content == b""
    assert len(network.requests) == 1


async def test_an_image_that_hides_its_length_is_stopped_at_the_limit(kit):
    async def endless():
        while True:
            yield b"x" * 100

    client, _ = kit.client(lambda request: httpx.Response(200, content=endless()), max_image_bytes=1050)
    sink = kit.sink()
    with pytest.raises(TooLargeError):
        await client.download("singapore", kit.image_url, sink)
    assert sink.size == 1000


async def test_the_rest_of_an_image_counts_toward_the_limit(kit):
    client, _ = kit.client(
        cut(4000, **{"content-length": "9000"}), lambda request: picture(request, PICTURE), max_image_bytes=9500
    )
    with pytest.raises(TooLargeError):
        await client.download("singapore", kit.image_url, kit.sink())


async def test_an_image_of_exactly_the_limit_is_accepted(kit):
    client, _ = kit.client(picture, max_image_bytes=len(PICTURE))
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE


async def test_trouble_of_the_disk_is_not_mistaken_for_trouble_of_the_network(kit):
    sink = kit.sink()

    async def write(chunk):
        raise StorageError("The disk is full.")

    sink.write = write
    client, network = kit.client(picture)
    with pytest.raises(StorageError):
        await client.download("singapore", kit.image_url, sink)
    assert len(network.requests) == 1


async def test_a_transfer_without_end_is_put_down_and_taken_up_again(kit, clock):
    async def slow():
        for start in range(0, len(PICTURE), 1024):
            clock.time += 400
            yield PICTURE[start : start + 1024]

    def slowly(request):
        names = {"content-type": "image/png", "etag": TAG, "content-length": str(len(PICTURE))}
        return httpx.Response(200, content=slow(), headers=names)

    client, network = kit.client(slowly, picture)
    sink = kit.sink()
    await client.download("singapore", kit.image_url, sink)
    assert sink.content == PICTURE
    assert network.last.headers["range"] == "bytes=3072-"


@pytest.mark.timeout(20)
async def test_a_host_that_never_comes_to_an_end_of_its_answer_is_left_after_a_time(kit):
    """Its head, or the text of its refusal, may trickle for ever without one read being late."""

    async def trickle():
        while True:
            yield b"x"
            await anyio.sleep(0.02)

    async def never(request):
        await anyio.sleep_forever()

    class Slow(httpx.AsyncBaseTransport):
        def __init__(self, answer):
            self.answer = answer
            self.count = 0

        async def handle_async_request(self, request):
            self.count += 1
            return await self.answer(request)

    async def refuse(request):
        return httpx.Response(503, content=trickle())

    for answer in (never, refuse):
        transport = Slow(answer)
        client = DashScope(
            kit.access(),
            clock=kit.clock,
            transport=transport,
            max_image_bytes=1000,
            timeouts=Timeouts(image_total=0.2),
        )
        with pytest.raises(DownloadError) as raised:
            await client.download("singapore", kit.image_url, kit.sink())
        assert raised.value.retryable
        assert transport.count == 3
