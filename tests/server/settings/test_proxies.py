"""What the environment says of proxies: read where its meaning is plain, named where it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.settings.network_variables import find_proxy_variable, find_remarks, is_left_out, names_any_proxy


def proxy_of(scheme="https", **environ):
    variable = find_proxy_variable(environ, scheme)
    return None if variable is None else variable.address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://p:3128", "http://p:3128"),
        ("http://p", "http://p"),
        ("p:3128", "http://p:3128"),
        ("me:pass@p:3128", "http://me:pass@p:3128"),
        ("https://p:443/", "https://p:443"),
        ("HTTP://P:3128/", "http://p:3128"),
        ("socks5://p:1080", "socks5://p:1080"),
        ("socks5h://p:1080", "socks5h://p:1080"),
        ("socks://127.0.0.1:1080/", "socks5://127.0.0.1:1080"),
        ("SOCKS://p:1080", "socks5://p:1080"),
        (" http://p:3128", "http://p:3128"),
        ("http://p:3128\n", "http://p:3128"),
        ("http://p:3128\r\n", "http://p:3128"),
        ('"http://p:3128"', "http://p:3128"),
        ("'p:3128'", "http://p:3128"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("http://proxy_1.corp.example.:8080", "http://proxy_1.corp.example.:8080"),
    ],
)
def test_an_address_that_can_be_meant_in_one_way_only_is_read(text, address):
    assert proxy_of(HTTPS_PROXY=text) == address


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("http://p:abc", "has a port that is no number"),
        ("http://p:", None),
        ("http://p:80 80", "holds a blank or a line end in its address"),
        ("http://p:3128\nx", "holds a blank or a line end in its address"),
        ('http://"p":3128', "holds a quote in its address"),
        ("http://p:99999", "has a port outside of 1 to 65535"),
        ("http://p:0", "has a port outside of 1 to 65535"),
        ("http://p:-1", "has a port that is no number"),
        ("http://p:3128:99", "has a port that is no number"),
        ("http://p:٣", "has a port that is no number"),
        ("p:${PORT}", "has a port that is no number"),
        ("http://", "names no host"),
        ("http://:3128", "names no host"),
        ("http://<host>:3128", "names a host that cannot be one"),
        ("http://[::1", "names a host that cannot be one"),
        ("http:/p:3128", "has no :// in its address"),
        ("socks5:p:1080", "has no :// in its address"),
        ("socks4://p:1080", "names a proxy of another kind (socks4://), and only http, https and socks5"),
        ("ftp://p:21", "names a proxy of another kind (ftp://)"),
        ("pac+http://p/", "names a proxy of another kind (pac+http://)"),
        ("http://p/proxy.pac", "names a file for the automatic choice of a proxy"),
    ],
)
def test_an_address_that_cannot_work_is_named_with_what_is_wrong_and_never_repeated(text, trouble):
    variable = find_proxy_variable({"ALL_PROXY": text.replace("://", "://me:secret@", 1)}, "https")
    if trouble is None:
        assert variable.problem is None
        return
    plain = find_proxy_variable({"ALL_PROXY": text}, "https")
    assert plain.address is None
    assert plain.problem.name == "ALL_PROXY"
    assert plain.problem.statement.startswith(trouble)
    assert "secret" not in str(variable.problem)


@given(st.text())
def test_whatever_stands_there_is_an_address_or_a_problem(text):
    variable = find_proxy_variable({"HTTPS_PROXY": text}, "https")
    assert variable is None or (variable.address is None) is (variable.problem is not None)


@pytest.mark.parametrize("text", ["", "  ", '""', "${HTTPS_PROXY}", "{env:HTTPS_PROXY}", "undefined", "null"])
def test_what_nobody_filled_in_counts_as_not_set(text):
    assert find_proxy_variable({"HTTPS_PROXY": text}, "https") is None
    assert not names_any_proxy({"HTTPS_PROXY": text})


def test_small_letters_win_and_switch_off_and_the_proxy_of_all_stands_behind():
    both = {"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1"}
    assert proxy_of(**both) == "http://a:1"
    assert proxy_of(HTTPS_PROXY="http://b:1", https_proxy="") is None
    assert proxy_of(HTTPS_PROXY="http://b:1", https_proxy="", all_proxy="http://c:1") == "http://c:1"
    assert proxy_of("http", HTTPS_PROXY="http://b:1", ALL_PROXY="http://c:1") == "http://c:1"
    assert proxy_of(Https_Proxy="http://d:1") == "http://d:1"
    assert proxy_of("http", HTTP_PROXY="http://evil:1", REQUEST_METHOD="GET") is None


@pytest.mark.parametrize(
    ("entries", "host", "expected"),
    [
        ("*.aliyuncs.com", "dashscope.aliyuncs.com", True),
        ("*.aliyuncs.com", "aliyuncs.com", True),
        ("*.aliyuncs.com", "aliyuncs.com.evil.example", False),
        ("*aliyuncs.com", "dashscope.aliyuncs.com", True),
        (".aliyuncs.com", "dashscope.aliyuncs.com", True),
        ("aliyuncs.com", "dashscope.aliyuncs.com", True),
        ("aliyuncs.com", "notaliyuncs.com", False),
        ("DashScope.AliYunCS.com", "dashscope.aliyuncs.com", True),
        ("dashscope.aliyuncs.com.", "dashscope.aliyuncs.com", True),
        ("a.example dashscope.aliyuncs.com", "dashscope.aliyuncs.com", True),
        (" a.example ,\n'dashscope.aliyuncs.com' ", "dashscope.aliyuncs.com", True),
        ('"a.example,dashscope.aliyuncs.com"', "dashscope.aliyuncs.com", True),
        ("https://dashscope.aliyuncs.com", "dashscope.aliyuncs.com", True),
        ("dashscope.aliyuncs.com:443", "dashscope.aliyuncs.com", True),
        ("dashscope.aliyuncs.com:8443", "dashscope.aliyuncs.com", False),
        ("*", "dashscope.aliyuncs.com", True),
        ("10.0.0.0/8", "10.2.3.4", True),
        ("10.0.0.0/8", "11.2.3.4", False),
        ("10.0.0.0/8", "dashscope.aliyuncs.com", False),
        ("[2400:3200::1]:443", "2400:3200::1", True),
        ("2400:3200::/32", "2400:3200::1", True),
        ("", "dashscope.aliyuncs.com", False),
        ("*.", "dashscope.aliyuncs.com", False),
        (",,;", "dashscope.aliyuncs.com", False),
    ],
)
def test_what_is_left_out_is_read_as_people_write_it(entries, host, expected):
    assert is_left_out({"NO_PROXY": entries}, host, 443) is expected


@given(st.text(), st.text(min_size=1))
def test_whatever_is_left_out_nothing_breaks(entries, host):
    is_left_out({"no_proxy": entries}, host, 443)


def test_what_other_programs_may_stumble_over_is_told():
    told = dict(
        find_remarks(
            {"HTTPS_PROXY": '"http://p:1"', "HTTP_PROXY": "http://p:1 ", "NO_PROXY": "a.example,*.b.example"}
        )
    )
    assert told == {
        "HTTPS_PROXY": "has quotes around its address, which are passed over here",
        "HTTP_PROXY": "has blanks or a line end around its address, which are passed over here",
        "NO_PROXY": "holds *.b.example, which is read as .b.example here",
    }
    # This is what desktops write.
    assert find_remarks({"ALL_PROXY": "socks://p:1/", "NO_PROXY": "a.example"}) == []
