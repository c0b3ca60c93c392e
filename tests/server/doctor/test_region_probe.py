"""What stands between this machine and the service: proxies, names, certificates."""

import socket

import pytest

from fakes.loopback_tls import Authority, proxying, serving_tls
from wan_mcp.dashscope.network import find_proxy
from wan_mcp.doctor import Verdict

KEY = "sk-0123456789abcdef0123456789abcdef"
SINGAPORE = "dashscope-intl.aliyuncs.com"


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def authority(tmp_path, monkeypatch):
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority = Authority(folder)
    # The operating system's own way to be told of further certificates.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    return authority


def service_error(host, key):
    return 401, {"code": "InvalidApiKey", "message": "No API-key provided.", "request_id": "r"}


async def resolve_name(host, port):
    return ["127.0.0.1"]


def local(base_url: str) -> dict[str, str]:
    return {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_HTTP_BASE_URL": base_url}


async def run(doctor, *, proxy=None, resolve_name=resolve_name, **environ):
    """Run the checks with the real network, that is, the loopback."""
    parts = {"resolve_name": resolve_name, "find_proxy": lambda scheme, host, port: proxy}
    return await doctor.run(service=False, parts=parts, **environ)


async def test_on_the_sandbox_nothing_is_sent_anywhere(doctor, service):
    report = await doctor.run(service=False, parts={"find_proxy": None}, DASHSCOPE_REGION="sandbox")

    assert (report.problems, report.notes) == ([], [])
    assert report.one("network").found == "not needed: the sandbox is inside this program"


async def test_a_proxy_that_does_not_run_is_named_with_its_setting(doctor, free_port):
    proxy = f"http://user:password@127.0.0.1:{free_port}"

    report = await run(doctor, proxy=proxy, DASHSCOPE_API_KEY=KEY, HTTPS_PROXY=proxy)

    finding = report.problem_of("network")
    assert f"the proxy http://127.0.0.1:{free_port} refuses the connection" in finding.found
    assert "Correct HTTPS_PROXY" in finding.remedy
    assert finding.looked_at.count(" at ") == 4
    assert "password" not in report.text


@pytest.mark.parametrize(
    ("refusal", "found", "remedy"),
    [
        ("407 Proxy Authentication Required", "wants a user name and a password", "USER:PASSWORD@HOST"),
        ("403 Forbidden", "refuses to connect to it (HTTP 403)", "NO_PROXY"),
    ],
)
async def test_what_a_proxy_refuses_is_told(doctor, refusal, found, remedy):
    with proxying(None, refusal=refusal) as (proxy, _):
        finding = (await run(doctor, proxy=proxy, DASHSCOPE_API_KEY=KEY, all_proxy=proxy)).problem_of("network")

    assert found in finding.found
    assert "all_proxy" in finding.remedy
    assert remedy in finding.remedy


async def test_a_proxy_of_a_kind_that_cannot_be_used_is_told(doctor):
    report = await run(doctor, proxy="gopher://127.0.0.1:70", DASHSCOPE_API_KEY=KEY)

    assert "The proxy that the environment names cannot be used" in report.problem_of("network").found


async def test_a_host_that_nobody_listens_at_is_told(doctor, free_port):
    report = await run(doctor, **local(f"http://127.0.0.1:{free_port}/api/v1"))

    assert report.problem_of("network").found == "it refuses the connection"
    assert report.one("key").verdict is Verdict.NOTE


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "is not known to this machine's name service"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "no name service answers"),
    ],
)
async def test_an_unknown_name_is_told_from_a_name_service_that_is_silent(doctor, error, found):
    async def fail(host, port):
        raise error

    finding = (await run(doctor, resolve_name=fail, DASHSCOPE_API_KEY=KEY)).of("network")[0]

    assert f"{SINGAPORE}" in finding.looked_at
    assert found in finding.found


async def test_a_trusted_certificate_is_in_order(doctor, authority):
    with serving_tls(authority.certify("localhost"), service_error) as port:
        report = await run(doctor, **local(f"https://localhost:{port}/api/v1"))

    assert report.one("network").found == "reached directly, with a certificate that this system trusts"


@pytest.mark.parametrize(
    ("names", "days", "said", "remedy"),
    [
        (["localhost"], -1, "certificate has expired", "date and time"),
        (["other.example.com"], 30, "ostname mismatch", "Something else answers under the name localhost"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_told_with_the_reason(  # noqa: PLR0917 - two fixtures, four values
    doctor, authority, names, days, said, remedy
):
    with serving_tls(authority.certify(*names, days=days), service_error) as port:
        report = await run(doctor, **local(f"https://localhost:{port}/api/v1"))

    finding = report.problem_of("network")
    assert "its certificate is not trusted" in finding.found
    assert said in finding.found
    assert remedy in finding.remedy


async def test_a_certificate_of_an_unknown_authority_names_the_setting_for_ones_own(doctor, authority, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    with serving_tls(Authority(stranger, name="Stranger").certify("localhost"), service_error) as port:
        report = await run(doctor, **local(f"https://localhost:{port}/api/v1"))

    finding = report.problem_of("network")
    assert "unable to get local issuer certificate" in finding.found
    assert "SSL_CERT_FILE" in finding.remedy


async def test_no_key_goes_to_a_host_whose_certificate_is_not_trusted(doctor, authority):
    seen = []

    def note(host, key):
        seen.append(key)
        return service_error(host, key)

    with serving_tls(authority.certify("other.example.com"), note) as port:
        await run(doctor, **local(f"https://localhost:{port}/api/v1"))

    assert seen == []


async def test_a_server_without_tls_is_told(doctor):
    def speak() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        report = await run(doctor, **local(f"https://127.0.0.1:{listener.getsockname()[1]}/api/v1"))
        thread.join(45)

    assert "does not speak TLS as it should" in report.problem_of("network").found


async def test_the_whole_way_through_a_proxy_is_in_order(doctor, authority):
    with serving_tls(authority.certify(SINGAPORE), service_error) as port, proxying(port) as (proxy, asked):
        report = await run(doctor, proxy=proxy, DASHSCOPE_API_KEY=KEY, HTTPS_PROXY=proxy)

    (reached,) = [finding for finding in report.of("network") if finding.found.startswith("reached")]
    assert reached.looked_at == f"Singapore at {SINGAPORE}"
    assert reached.found.startswith(f"reached through the proxy {proxy} (HTTPS_PROXY)")
    assert f"{SINGAPORE}:443" in asked


# --- what the environment says of the network ---------------------------------------------------------------


@pytest.fixture
def network_variables(monkeypatch):
    """Let the program's own finding of proxies see these variables and no others of this machine."""

    def set_them(**environ):
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
            for spelling in (name, name.upper()):
                monkeypatch.delenv(spelling, raising=False)
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        return environ

    return set_them


async def run_with_variables(doctor, environ, **settings):
    parts = {"resolve_name": resolve_name, "find_proxy": find_proxy}
    return await doctor.run(service=False, parts=parts, **{"DASHSCOPE_API_KEY": KEY, **environ, **settings})


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("ALL_PROXY", "http://p:abc", "ALL_PROXY has a port that is no number"),
        ("https_proxy", "socks4://p:1", "https_proxy names a proxy of another kind (socks4://)"),
        ("HTTPS_PROXY", "http://me:secret@p:8o8o", "HTTPS_PROXY has a port that is no number"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE names /nowhere/ca.pem, which does not exist"),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR names /nowhere, which does not exist"),
    ],
)
async def test_a_variable_that_cannot_work_is_named_with_what_is_wrong(doctor, network_variables, name, text, found):
    report = await run_with_variables(doctor, network_variables(**{name: text}))

    assert report.problem_of("network").found.startswith(found)
    assert "secret" not in str(report.findings)
    assert len(report.problems) == 1


async def test_a_variable_that_no_address_needs_is_worth_a_note(doctor, network_variables, free_port):
    environ = network_variables(HTTP_PROXY="http://p:abc", NO_PROXY="*.example.com", HTTPS_PROXY='"http://p:1"')
    report = await run_with_variables(doctor, environ, DASHSCOPE_REGION="sandbox")

    assert report.problems == []
    assert {(note.looked_at, note.found) for note in report.notes} == {
        ("HTTP_PROXY", "has a port that is no number"),
        ("NO_PROXY", "holds *.example.com, which is read as .example.com here"),
        ("HTTPS_PROXY", "has quotes around its address, which are passed over here"),
    }


@pytest.mark.parametrize("address", ["socks://127.0.0.1:{}/", "socks5://127.0.0.1:{}", " 'socks5h://127.0.0.1:{}'\n"])
async def test_the_whole_way_through_a_socks_proxy_is_in_order(doctor, authority, monkeypatch, address):
    with serving_tls(authority.certify(SINGAPORE), service_error) as port, proxying(port) as (proxy, asked):
        text = address.format(proxy.rpartition(":")[2])
        monkeypatch.setenv("ALL_PROXY", text)
        report = await run_with_variables(doctor, {"ALL_PROXY": text})

    assert any(finding.found.startswith("reached through the proxy socks5") for finding in report.of("network"))
    assert f"{SINGAPORE}:443" in asked
