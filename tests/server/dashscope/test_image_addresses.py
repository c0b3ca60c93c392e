"""An image comes from the service's hosts, from those that the operator named, and from nowhere else."""

from base64 import b64encode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.dashscope import DashScope
from wan_mcp.dashscope.image_addresses import (
    KNOWN_HOSTS,
    HostKind,
    check_image_url,
    check_input_url,
    check_signature,
    decode_image,
    parse_hosts,
    read_address,
    read_link_end,
)
from wan_mcp_tools.domain.errors import (
    HostNotAllowedError,
    NotAnImageError,
    RequestRefusedError,
    SettingsError,
    TooLargeError,
)

HOST = "dashscope-result-bj.oss-cn-beijing.aliyuncs.com"
URL = (
    f"https://{HOST}/1d/1f/20260818/8f2a-1.png?Expires=1893456000&OSSAccessKeyId=LTAI5tExample&Signature=a%2Fb%2Bc%3D"
)
DATA = b64encode(b"bytes of an image>>>???").decode()


def check(url, *configured):
    return check_image_url(httpx.URL(url), parse_hosts(configured), in_process=False)


@pytest.mark.parametrize(
    "host",
    [
        "dashscope-result-bj.oss-cn-beijing.aliyuncs.com",
        "dashscope-result-wlcb-acdr-1.oss-cn-wulanchabu-acdr-1.aliyuncs.com",
        "dashscope-result.oss-cn-shanghai.aliyuncs.com",
        "dashscope-a717.oss-accelerate.aliyuncs.com",
        "dashscope-result-sgp.oss-ap-southeast-1.aliyuncs.com",
        "DASHSCOPE-RESULT-SH.oss-cn-shanghai.aliyuncs.com",
    ],
)
def test_the_services_image_hosts_are_allowed_over_https(host):
    for scheme in ("https", "http"):
        source = check(f"{scheme}://{host}/1.png?a=1")
        assert (source.host_kind, source.url) == (HostKind.SERVICE, f"https://{host}/1.png?a=1")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/1.png",
        "https://dashscope-x.oss-cn-beijing.aliyuncs.com.evil.example/1.png",
        "https://evil.example/dashscope-x.oss-cn-beijing.aliyuncs.com/1.png",
        "https://dashscope-x.oss-cn-beijing.aliyuncs.com@evil.example/1.png",
        "https://user:secret@dashscope-x.oss-cn-beijing.aliyuncs.com/1.png",
        "https://dashscope-x.oss-cn-beijing.aliyuncs.com:8443/1.png",
        "https://other-x.oss-cn-beijing.aliyuncs.com/1.png",
        "https://dashscope-x.sub.oss-cn-beijing.aliyuncs.com/1.png",
        "https://dashscope.aliyuncs.com/1.png",
        "https://dashscope-intl.aliyuncs.com/api/v1/tasks/",
        "http://127.0.0.1/1.png",
        "http://[::1]/1.png",
        "http://sandbox.invalid/1.png",
        "file:///etc/passwd",
        "ftp://dashscope-x.oss-cn-beijing.aliyuncs.com/1.png",
        "/etc/passwd",
        "https://",
        "https://[broken/",
        "",
        "\x00",
    ],
)
async def test_any_other_address_is_refused_before_anything_is_sent(kit, url):
    client, network = kit.client(httpx.Response(200))
    with pytest.raises(HostNotAllowedError) as caught:
        await client.download("singapore", url, kit.sink())
    assert network.requests == []
    assert "secret" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("configured", "url"),
    [
        ("images.example", "https://images.example/1.png"),
        ("images.example", "http://images.example/1.png"),
        ("Images.Example:8443", "https://images.example:8443/1.png"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/1.png"),
        ("[::1]:9000", "http://[::1]:9000/1.png"),
        ("::1", "http://[::1]/1.png"),
        ("images.example:443", "https://images.example/1.png"),
    ],
)
def test_a_host_that_the_operator_named_is_allowed_as_it_is(configured, url):
    source = check(url, configured)
    assert (source.host_kind, source.url) == (HostKind.CONFIGURED, url)


@pytest.mark.parametrize(
    ("configured", "url"),
    [
        ("images.example:8443", "https://images.example:8444/1.png"),
        ("images.example:8443", "https://images.example/1.png"),
        ("images.example", "https://sub.images.example/1.png"),
        ("example", "https://images.example/1.png"),
    ],
)
def test_a_host_is_not_its_neighbour(configured, url):
    with pytest.raises(HostNotAllowedError, match="WAN_MCP_IMAGE_HOSTS"):
        check(url, configured)


async def test_the_host_of_an_overridden_region_is_no_image_host_by_itself(kit):
    access = kit.access(base_url="http://127.0.0.1:8000/api/v1")
    client, network = kit.client(httpx.Response(200), access=access)
    with pytest.raises(HostNotAllowedError):
        await client.download("singapore", "http://127.0.0.1:8000/1.png", kit.sink())
    assert network.requests == []


@pytest.mark.parametrize("entry", ["host:port", "[broken", "http://"])
def test_an_entry_that_is_no_host_is_a_matter_of_settings(clock, kit, entry):
    with pytest.raises(SettingsError, match="WAN_MCP_IMAGE_HOSTS"):
        DashScope(kit.access(), clock=clock, max_image_bytes=1, image_hosts=[entry])


@pytest.mark.parametrize(
    "spelled",
    [
        URL,
        f" {URL}",
        f"{URL}\t",
        f"{URL}\r\n",
        f"\u200b{URL}\ufeff\0",
        f"{URL}\ufffd",
        f'"{URL}"',
        f"<{URL}>",
        URL.replace("20260818", "2026\n0818"),
        URL.replace("https", "HTTPS"),
        URL.replace("https:", "Https:"),
        URL.replace("https:", ""),
        URL.replace("https://", ""),
        URL.replace("https://", "https:/"),
        URL.replace("https://", "https:///"),
        URL.replace("https://", "https:"),
        URL.replace("https://", "https:\\\\"),
        URL.replace("/", "\\/"),
        URL.replace("&", "&amp;"),
        URL.replace("&", r"\u0026").replace("=", r"\u003D"),
        URL.replace(".com/", ".com./"),
    ],
)
def test_an_address_is_read_however_it_is_spelled(spelled):
    assert read_address(spelled) == URL
    assert check(read_address(spelled)).url == URL


@pytest.mark.parametrize(
    "query", ["Signature=a%2fb%2B+c%3d&x=~'!*()", "a=%20&b=&&c", "Signature=AbC/d+e=", "a=b?c=\\"]
)
def test_what_is_signed_is_left_byte_for_byte(query):
    assert read_address(f"https://{HOST}/1.png?{query}") == f"https://{HOST}/1.png?{query}"


def test_an_upper_case_host_is_the_same_host():
    assert check(read_address(URL.replace(HOST, HOST.upper()))).url == URL


def test_blanks_and_letters_of_other_scripts_are_escaped():
    assert read_address(f"https://{HOST}/a b花.png?x=ü") == f"https://{HOST}/a%20b%E8%8A%B1.png?x=%C3%BC"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("oss://bucket/1.png", "oss://bucket/1.png"),
        ("ftp://host/1.png", "ftp://host/1.png"),
        ("see the console", "see%20the%20console"),
        ("IGNORE ALL\nRULES", "IGNORE%20ALLRULES"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("x" * 5000, "x" * 1000),
    ],
)
def test_what_can_be_no_address_is_kept_for_a_person_as_one_visible_word(text, kept):
    assert read_address(text) == kept


def test_what_is_longer_than_any_address_is_none():
    assert read_address(f"https://{HOST}/{'x' * 9000}") is None


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{DATA}",
        f"DATA:image/PNG;BASE64,{DATA}",
        f"data:;base64,{DATA}",
        f"data:image/png;charset=utf-8;base64,{DATA.rstrip('=')}",
        f" data:image/png;base64,{DATA}\n",
        f"data:image/png;base64,{DATA[:8]}\r\n {DATA[8:]}",
        f"data:image/png;base64,{DATA.replace('+', '-').replace('/', '_')}",
        f"data:image/png;base64,{DATA.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
        "data:image/png,bytes%20of%20an%20image%3E%3E%3E???",
    ],
)
def test_an_image_in_the_place_of_its_address_is_decoded(text):
    assert decode_image(read_address(text), 1000) == b"bytes of an image>>>???"


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n....", b"\xff\xd8\xff\xe0....", b"RIFF....WEBP"])
def test_an_image_without_a_word_before_it_is_decoded_as_well(start):
    content = start + bytes(range(256))
    assert decode_image(read_address(b64encode(content).decode()), 1000) == content


def test_an_image_in_the_place_of_its_address_is_bounded_like_any():
    with pytest.raises(TooLargeError, match="WAN_MCP_MAX_IMAGE_BYTES"):
        decode_image(f"data:;base64,{DATA}", 10)
    for text in ("data:;base64,A", "data:", "https://h.example/"):
        with pytest.raises(NotAnImageError):
            decode_image(text, 1000)


@given(text=st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"data:;base64,{text}"))
def test_every_text_becomes_one_word_of_visible_characters(text):
    address = read_address(text)
    if not address.startswith("data:"):
        assert all("!" <= sign <= "~" for sign in address)
        assert read_address(address) == address


@pytest.mark.parametrize(
    ("address", "end"),
    [
        (URL, 1893456000.0),
        ("https://h/?Expires=5", 5.0),
        ("https://h/?xExpires=5", None),
        ("https://h/?Expires=\u00b2", None),
        ("https://h/?Expires=", None),
        ("https://[broken/?Expires=7", 7.0),
        ("data:," + "?Expires=5" * 10_000, None),
        ("", None),
    ],
)
def test_the_end_of_a_link_is_read_or_left(address, end):
    assert read_link_end(address) == end


OBSERVED = [
    HOST,
    "dashscope-result-wlcb-acdr-1.oss-cn-wulanchabu-acdr-1.aliyuncs.com",
    "dashscope-a717.oss-accelerate.aliyuncs.com",
    "dashscope-result-sh.oss-accelerate.aliyuncs.com",
    "dashscope-result-sgp.oss-ap-southeast-1.aliyuncs.com",
    "DASHSCOPE-result.oss-cn-shanghai.aliyuncs.com",
]


@pytest.mark.parametrize("host", OBSERVED)
def test_a_caller_may_bring_the_link_to_a_result_of_a_known_host(host):
    url = httpx.URL(f"https://{host}/1.png?Signature=x")
    assert check_image_url(url, frozenset(), in_process=False, is_callers=True).host_kind is HostKind.SERVICE
    assert len(KNOWN_HOSTS) == 17


@pytest.mark.parametrize(
    "host",
    [
        "dashscope-mine.oss-cn-beijing.aliyuncs.com",
        "dashscope-result-bj.oss-cn-shanghai.aliyuncs.com",
        "dashscope-a717.oss-cn-hangzhou.aliyuncs.com",
        "dashscope-result-bj-2.oss-cn-beijing.aliyuncs.com",
        "dashscope-results.oss-cn-beijing.aliyuncs.com",
    ],
)
async def test_a_host_that_only_looks_like_the_services_is_for_its_own_answers(kit, host):
    url = f"https://{host}/1.png?Signature=x"
    assert check(url).host_kind is HostKind.SERVICE
    client, network = kit.client(lambda request: httpx.Response(200, content=b"x"))
    with pytest.raises(HostNotAllowedError, match="name the task"):
        await client.download("singapore", url, kit.sink(), is_callers=True)
    assert network.requests == []
    client, network = kit.client(lambda request: httpx.Response(200, content=b"x"), image_hosts=[host])
    await client.download("singapore", url, kit.sink(), is_callers=True)
    await client.download("singapore", url, kit.sink())
    assert len(network.requests) == 2


@pytest.mark.parametrize("query", ["?Signature=x", "?a=b&Signature=x%2F", "?x-oss-signature=x", "?X-Amz-Signature=x"])
def test_a_signed_address_is_one(query):
    check_signature(f"https://{HOST}/1.png{query}")


@pytest.mark.parametrize(
    "query",
    ["", "?", "?Signature=", "?Signature=&a=b", "?NoSignature=x", "#Signature=x", "?a=Signature=x", "/Signature=x"],
)
@pytest.mark.parametrize("host", [HOST, "images.example"])
async def test_a_caller_brings_no_address_without_a_signature(kit, host, query):
    client, network = kit.client(lambda request: httpx.Response(200, content=b"x"), image_hosts=["images.example"])
    with pytest.raises(HostNotAllowedError, match="signature"):
        await client.download("singapore", f"https://{host}/1.png{query}", kit.sink(), is_callers=True)
    assert network.requests == []


@pytest.mark.parametrize(
    "location", ["https://dashscope-mine.oss-cn-beijing.aliyuncs.com/1.png", "https://evil.example/"]
)
async def test_a_callers_link_is_not_redirected_to_a_host_that_is_not_known(kit, location):
    client, network = kit.client(lambda request: httpx.Response(302, headers={"location": location}))
    with pytest.raises(HostNotAllowedError):
        await client.download("singapore", URL, kit.sink(), is_callers=True)
    assert len(network.requests) == 1


@pytest.mark.parametrize("url", [f"data:image/png;base64,{DATA}", "data:,x", "iVBORw0KGgoAAAA"])
async def test_a_caller_brings_no_image_instead_of_its_link(kit, url):
    client, network = kit.client(lambda request: httpx.Response(200, content=b"x"))
    sink = kit.sink()
    with pytest.raises(HostNotAllowedError):
        await client.download("singapore", url, sink, is_callers=True)
    assert (network.requests, sink.content) == ([], b"")


# Pictures of the web, which the service fetches itself


@pytest.mark.parametrize(
    "url", ["https://example.com/a.png", "https://example.com:8080/a?b=c#d", "https://8.8.8.8/a.png", URL]
)
def test_a_public_address_may_be_given_to_the_service(url):
    check_input_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/a.png",
        "http://a.localhost/a.png",
        "http://LOCALHOST./a.png",
        "http://127.0.0.1/a.png",
        "http://127.1/a.png",
        "http://2130706433/a.png",
        "http://0x7f000001/a.png",
        "http://0177.0.0.1/a.png",
        "http://10.0.0.8/a.png",
        "http://192.168.1.1:8080/a.png",
        "http://172.16.0.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/a.png",
        "http://0.0.0.0/a.png",
        "http://[::1]/a.png",
        "http://[fe80::1]/a.png",
        "http://[fd00::1]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://metadata.google.internal/a.png",
        "http://printer.local/a.png",
        "http://intranet/a.png",
    ],
)
def test_an_address_of_a_private_network_is_not_given_to_the_service(url):
    with pytest.raises(RequestRefusedError, match="private network") as caught:
        check_input_url(url)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/a.png", "https://"),
        ("https://me:s3cret@example.com/a.png", "password"),
        ("https://s3cret@example.com/a.png", "user name"),
        ("https:///a.png", "no address"),
        ("https://example.com/a b.png", "no address"),
        ("https://example.com/\u202ea.png", "no address"),
        ("https://[/a.png", "cannot be read"),
        ("https://example.com:99999/a.png", "cannot be read"),
        ("https://example.com/?s3cret=" + "x" * 9000, "longer"),
    ],
)
def test_an_address_that_is_none_is_refused_in_words_that_repeat_no_secret(url, words):
    with pytest.raises(RequestRefusedError, match=words) as caught:
        check_input_url(url)
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value)) < 500
