"""Which proxy leads to a host, and whether it is on the public internet."""

import pytest

from wan_mcp.dashscope.network import (
    ProxyCache,
    find_proxy,
    find_public_addresses,
    hide_password,
    resolve_name,
    resolve_name_blocking,
)
from wan_mcp_tools.domain.errors import DownloadError, HostNotAllowedError, SettingsError

HOST = "dashscope-a717.oss-accelerate.aliyuncs.com"


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "address", "expected"),
    [
        ({}, ("https", "h.example", 443), None),
        ({"https_proxy": "http://p:1"}, ("https", "h.example", 443), "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, ("https", "h.example", 443), "http://p:1"),
        ({"https_proxy": "http://p:1"}, ("http", "h.example", 80), None),
        ({"all_proxy": "socks5://p:1"}, ("http", "h.example", 80), "socks5://p:1"),
        ({"ALL_PROXY": "socks://p:1/"}, ("https", "h.example", 443), "socks5://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "*.example"}, ("https", "h.example", 443), None),
        ({"https_proxy": "http://p:abc", "no_proxy": "h.example"}, ("https", "h.example", 443), None),
        ({"https_proxy": "http://p:abc"}, ("http", "h.example", 80), None),
        ({"https_proxy": "http://p:1", "no_proxy": "h.example"}, ("https", "h.example", 443), None),
        ({"https_proxy": "http://p:1", "no_proxy": ".aliyuncs.com"}, ("https", "a.aliyuncs.com", 443), None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, ("https", "h.example", 443), None),
        ({"https_proxy": "http://p:1", "no_proxy": "other.example"}, ("https", "h.example", 443), "http://p:1"),
        ({"all_proxy": "http://p:1"}, ("http", "127.0.0.1", 8000), None),
        ({"all_proxy": "http://p:1"}, ("http", "::1", 8000), None),
        ({"all_proxy": "http://p:1"}, ("http", "localhost", 8000), None),
        ({"all_proxy": "http://p:1"}, ("http", "2400:3200::1", 80), "http://p:1"),
    ],
)
def test_the_environment_names_the_proxy(no_proxies, environment, address, expected):
    for name, value in environment.items():
        no_proxies.setenv(name, value)
    assert find_proxy(*address) == expected


def test_a_proxy_that_cannot_be_one_is_a_matter_of_settings_and_is_not_repeated(no_proxies):
    no_proxies.setenv("HTTPS_PROXY", "http://me:secret@p:abc")
    with pytest.raises(SettingsError) as caught:
        find_proxy("https", "h.example", 443)
    assert str(caught.value).startswith("HTTPS_PROXY has a port that is no number. Use an address such as")
    assert "secret" not in str(caught.value)


async def test_the_proxy_of_an_address_is_asked_for_once():
    asked = []

    def find(scheme, host, port):
        asked.append(host)

    proxies = ProxyCache(find)
    for host in ("a.example", "a.example", "b.example"):
        assert await proxies.find("https", host, 443) is None
    assert asked == ["a.example", "b.example"]


async def test_the_name_service_of_the_system_is_asked():
    assert set(await resolve_name("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert set(resolve_name_blocking("localhost", 80)) <= {"127.0.0.1", "::1"}


async def check(addresses):
    """Check a host at these addresses; give what was found, and how often it was looked up."""
    asked = []

    async def resolve(host, port):
        asked.append((host, port))
        if isinstance(addresses, Exception):
            raise addresses
        return addresses

    found = await find_public_addresses(HOST, 443, resolve=resolve)
    assert asked == [(HOST, 443)]
    return found


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.8"],
        ["192.168.1.1"],
        ["169.254.169.254"],
        ["100.100.2.148"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["fd00::1"],
        ["::ffff:10.0.0.8"],
        ["2002:0a00:0008::1"],
        ["64:ff9b::10.0.0.8"],
        ["47.88.1.1", "10.0.0.8"],
        ["fc00::5"],
        ["198.18.0.5", "10.0.0.8"],
    ],
)
async def test_a_host_that_leads_into_a_private_network_is_refused(addresses):
    with pytest.raises(HostNotAllowedError):
        await check(addresses)


@pytest.mark.parametrize(
    "addresses",
    [
        ["47.88.1.1"],
        ["2400:3200::1", "47.88.1.1"],
        ["198.18.0.5"],
        ["198.19.255.1", "fc00::5"],
        ["64:ff9b::47.88.1.1"],
    ],
)
async def test_public_and_made_up_addresses_are_allowed(addresses):
    assert await check([*addresses, addresses[0]]) == addresses


@pytest.mark.parametrize("trouble", [OSError("no such name"), UnicodeError("no name"), []])
async def test_a_name_that_cannot_be_resolved_may_be_tried_again(trouble):
    with pytest.raises(DownloadError) as caught:
        await check(trouble)
    assert type(caught.value) is DownloadError
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("http://me:pass-word@proxy.example:3128", "http://proxy.example:3128"),
        ("socks5://proxy.example", "socks5://proxy.example"),
        ("http://me:pass-word@[::1]:3128", "http://[::1]:3128"),
        ("http://me:pass-word@proxy.example:port", "that is set"),
        ("http://me:pass-word@[broken", "that is set"),
    ],
)
def test_a_proxy_is_shown_without_its_password(proxy, shown):
    assert hide_password(proxy) == shown
