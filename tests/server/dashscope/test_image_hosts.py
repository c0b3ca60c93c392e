"""An image comes from the service's hosts, from those that the operator named, and from nowhere else."""

import httpx
import pytest

from wan_mcp.dashscope import DashScope
from wan_mcp.dashscope.image_hosts import HostKind, check_image_url, parse_hosts
from wan_mcp_tools.domain.errors import HostNotAllowedError, SettingsError


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
