"""What is opened, when, and whom it trusts."""

import ssl
import subprocess
import sys

import anyio
import pytest
import truststore
from pydantic import SecretStr

from fakes.loopback_tls import Authority
from wan_mcp.dashscope import DashScope
from wan_mcp.dashscope.http_clients import make_trust
from wan_mcp_tools.domain.errors import HostNotAllowedError, ServiceDownError, SettingsError


def test_httpx_is_not_loaded_before_the_first_call():
    program = (
        "import sys, wan_mcp.dashscope as d\n"
        "class C: now = monotonic = lambda self: 0.0\n"
        "d.DashScope({}, clock=C(), max_image_bytes=1)\n"
        "print([name for name in ('httpx', 'httpcore', 'truststore') if name in sys.modules])"
    )
    environ = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=45, env=environ
    )
    assert done.stdout.strip() == "[]"


class App:
    """A tiny application in this process; notes what it was asked."""

    def __init__(self):
        self.asked = []

    async def __call__(self, scope, receive, send):
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["method"], headers["host"], scope["path"], headers.get("authorization")))
        if scope["path"] == "/broken":
            raise RuntimeError("a mistake of the application")
        image = scope["path"].endswith(".png")
        kind = b"image/png" if image else b"application/json"
        body = b"PNG" if image else b'{"output": {"task_id": "t-1", "task_status": "PENDING"}}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def sandbox_access(kit):
    return kit.access(
        region="sandbox",
        base_url="http://sandbox.invalid/api/v1",
        api_key=SecretStr("sk-sandbox"),
        key_setting="DASHSCOPE_API_KEY_SANDBOX",
        in_process=True,
    )


@pytest.fixture
def made():
    """Give the applications that were made, in order."""
    return []


@pytest.fixture
def make_app(made):
    def make():
        made.append(App())
        return made[-1]

    return make


async def test_the_sandbox_inside_this_process_needs_no_key_and_is_made_once(
    kit, clock, sandbox_access, make_app, made
):
    async with DashScope(sandbox_access, clock=clock, max_image_bytes=1000, sandbox=make_app) as client:
        assert made == []
        sink = kit.sink()
        await kit.create(client, kit.order(region="sandbox"))
        await client.query("sandbox", "t-1")
        await client.download("sandbox", "http://sandbox.invalid/files/1.png?Signature=a%2Fb", sink)
    assert sink.content == b"PNG"
    [app] = made
    assert app.asked == [
        ("POST", "sandbox.invalid", "/api/v1/services/aigc/image-generation/generation", "Bearer sk-sandbox"),
        ("GET", "sandbox.invalid", "/api/v1/tasks/t-1", "Bearer sk-sandbox"),
        ("GET", "sandbox.invalid", "/files/1.png", None),
    ]


async def test_a_mistake_of_the_sandbox_is_trouble_of_the_service(kit, clock, sandbox_access):
    async def broken(scope, receive, send):
        raise RuntimeError("a mistake of the application")

    async with DashScope(sandbox_access, clock=clock, max_image_bytes=1000, sandbox=lambda: broken) as client:
        with pytest.raises(ServiceDownError):
            await client.query("sandbox", "t-1")


async def test_only_the_sandbox_region_reaches_the_sandbox(kit, clock, sandbox_access):
    access = {**sandbox_access, **kit.access()}
    app = App()
    async with DashScope(access, clock=clock, max_image_bytes=1000, sandbox=lambda: app) as client:
        with pytest.raises(HostNotAllowedError):
            await client.download("singapore", "http://sandbox.invalid/1.png", kit.sink())
    assert app.asked == []


async def test_without_a_sandbox_its_region_is_a_matter_of_settings(clock, sandbox_access):
    async with DashScope(sandbox_access, clock=clock, max_image_bytes=1000) as client:
        with pytest.raises(SettingsError):
            await client.query("sandbox", "t-1")


async def test_a_closed_client_opens_anew(kit, clock, sandbox_access, make_app, made):
    client = DashScope(sandbox_access, clock=clock, max_image_bytes=1000, sandbox=make_app)
    for _ in range(2):
        await client.download("sandbox", "http://sandbox.invalid/1.png", kit.sink())
        await client.aclose()
    assert len(made) == 2


async def test_many_first_calls_at_once_open_once(clock, sandbox_access, make_app, made):
    async with (
        DashScope(sandbox_access, clock=clock, max_image_bytes=1000, sandbox=make_app) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(10):
            group.start_soon(client.query, "sandbox", "t-1")
    assert len(made) == 1
    assert len(made[0].asked) == 10


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_certificates_are_always_checked(platform):
    trust = make_trust(platform)
    assert trust.verify_mode is ssl.VerifyMode.CERT_REQUIRED
    assert trust.check_hostname


def test_where_openssl_finds_no_certificates_others_of_the_system_are_looked_for(monkeypatch):
    # Blank, they name nothing; OpenSSL by itself then looks for a file and a folder of that name.
    monkeypatch.setenv("SSL_CERT_FILE", " ")
    monkeypatch.setenv("SSL_CERT_DIR", " ")
    assert isinstance(make_trust("linux"), truststore.SSLContext)


def test_what_the_system_trusts_is_read_again_only_when_it_has_changed(monkeypatch, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = Authority(tmp_path / "first"), Authority(tmp_path / "second")
    monkeypatch.setenv("SSL_CERT_FILE", str(first.path))
    read = [make_trust("linux", {}) for _ in range(2)]
    assert read[0] is read[1]
    assert read[0].cert_store_stats()["x509_ca"] == 1
    first.path.write_bytes(first.path.read_bytes() + second.path.read_bytes())
    assert make_trust("linux", {}).cert_store_stats()["x509_ca"] == 2


def count_trusted(**environ):
    return make_trust("linux", environ).cert_store_stats()["x509_ca"]


def test_a_certificate_file_is_trusted_in_the_place_of_the_usual_one(tmp_path):
    authority = Authority(tmp_path)
    assert count_trusted(SSL_CERT_FILE=str(authority.path)) == 1
    assert count_trusted(SSL_CERT_FILE=f' "{authority.path}"\n') == 1


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "which does not exist"),
        ("", "which is empty"),
        ("no certificate", "which holds no certificates"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "which holds no certificates"),
    ],
)
def test_a_certificate_file_without_certificates_is_a_matter_of_settings(tmp_path, platform, content, reason):
    file = tmp_path / "mine.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=f"SSL_CERT_FILE names {file}, {reason}"):
        make_trust(platform, {"SSL_CERT_FILE": str(file)})
