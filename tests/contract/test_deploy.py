"""What is deployed for a team: every setting exists, every secret is made, and nginx takes its configuration."""

import re
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from fakes.loopback_tls import Authority
from fakes.nginx import NAME, find_nginx, running_nginx, write_configuration
from wan_mcp.settings import SETTING_ROWS, expand_name

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SETTINGS = {name for row in SETTING_ROWS for name in expand_name(row.name)}


def test_every_setting_of_the_compose_file_exists():
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    given = set(re.findall(r"^ +((?:WAN_MCP|DASHSCOPE)_[A-Z_]+):", text, re.MULTILINE))
    assert given
    assert given <= SETTINGS


@pytest.mark.skipif(sys.platform == "win32", reason="it is a script of the shell")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the secrets")
def test_the_script_makes_every_secret_once_and_every_variable_that_the_compose_file_needs(tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    script = tmp_path / "deploy" / "prepare"
    for _ in range(2):
        subprocess.run(["bash", str(script), "pictures.example.com"], check=True, timeout=60, capture_output=True)
        made = {path.name: path.read_text() for path in (tmp_path / "deploy" / "secrets").iterdir()}
        variables = (tmp_path / "deploy" / ".env").read_text()
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")

    assert set(made) == set(re.findall(r"file: \./secrets/(\w+)", text))
    assert len(made["secret_key"]) >= 32
    assert made["postgres_password"] in made["ledger_url"]
    assert (tmp_path / "deploy" / "secrets").stat().st_mode & 0o77 == 0
    for name in set(re.findall(r"(?<!\$)\$\{(\w+):\?", text)):
        assert re.search(rf"^{name}=\S+$", variables, re.MULTILINE), name


@pytest.mark.skipif(sys.platform == "win32", reason="it is a script of the shell")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the secrets")
def test_the_script_refuses_another_name_than_before_and_changes_nothing(tmp_path):
    script = tmp_path / "prepare"
    shutil.copy(DEPLOY / "prepare", script)
    subprocess.run(["bash", str(script), "pictures.example.com"], check=True, timeout=60, capture_output=True)
    before = (tmp_path / ".env").read_text()

    words = ["bash", str(script), "other.example.com"]
    done = subprocess.run(words, timeout=60, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "other.example.com" in done.stderr
    assert "PUBLIC_HOST" in done.stderr
    assert (tmp_path / ".env").read_text() == before


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_nginx_takes_its_configuration(tmp_path):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=pictures.example.com"]
    subprocess.run(
        [*words, "-keyout", str(key), "-out", str(certificate)], check=True, timeout=60, capture_output=True
    )
    path = write_configuration(tmp_path, certificate, key=key)
    done = subprocess.run(["nginx", "-t", "-c", str(path)], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")
def test_no_log_of_nginx_has_the_signature_of_a_picture_while_no_replica_answers(tmp_path):
    authority, folder = Authority(tmp_path), tmp_path / "front"
    # Whoever holds a port and does not listen lets nobody connect to it.
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        certificate = authority.certify(NAME, "127.0.0.1")
        with running_nginx(folder, certificate, [dead.getsockname()[1]]) as port:
            trust = ssl.create_default_context(cafile=authority.path)
            with httpx.Client(verify=trust, headers={"Host": NAME}, trust_env=False) as client:
                for path in ("/images/task-1?signature=secret", "/mcp"):
                    assert client.get(f"https://127.0.0.1:{port}{path}").status_code == 502
    logs = {path.name: path.read_text(errors="replace") for path in folder.iterdir() if path.is_file()}
    # The others are told of, or this would say nothing.
    assert "GET /mcp" in logs["error.log"]
    assert "/images/task-1" in logs["access.log"]
    assert not [name for name, text in logs.items() if "secret" in text]
