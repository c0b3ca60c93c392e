"""`wan-mcp doctor` as a person and as a machine meet it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.dashscope import FakeService
from fakes.loopback_tls import Authority, proxying, serving_tls
from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.doctor import format_findings
from wan_mcp.cli.main import cli
from wan_mcp.doctor import Finding, Verdict

KEY = "sk-0123456789abcdef0123456789abcdef"
HOSTS = {
    "singapore": "dashscope-intl.aliyuncs.com",
    "beijing": "dashscope.aliyuncs.com",
    "virginia": "dashscope-us.aliyuncs.com",
    "hongkong": "cn-hongkong.dashscope.aliyuncs.com",
}


def run(tmp_path: Path, *arguments: str, **environ: str):
    where = {"WAN_MCP_OUTPUT_DIR": str(tmp_path / "pictures"), "WAN_MCP_STATE_DIR": str(tmp_path / "state")}
    return CliRunner().invoke(cli, ["doctor", *arguments], obj=CommandContext({**where, **environ}))


STRANGE = ("WAN_", "DASHSCOPE_", "HTTP", "http", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


def in_network(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """Let this process have the variables of a network, and none of this machine's own."""
    for name in [name for name in os.environ if name.startswith(STRANGE)]:
        monkeypatch.delenv(name)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)


def start(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it as a program, with nothing of this machine's own settings."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith(STRANGE)}
    where = {"WAN_MCP_OUTPUT_DIR": str(tmp_path / "pictures"), "WAN_MCP_STATE_DIR": str(tmp_path / "state")}
    return subprocess.run(
        [sys.executable, "-m", "wan_mcp", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**plain, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1", **where, **environ},
    )


def test_on_the_sandbox_all_is_green_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = run(tmp_path, DASHSCOPE_REGION="sandbox")

    assert done.exit_code == 0, done.output
    first, blank, *lines = done.stdout.splitlines()
    assert first.startswith("Nothing must be done, ")
    assert blank == ""
    assert all(line.startswith("ok ") for line in lines), done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_json_lists_every_finding(tmp_path: Path) -> None:
    done = run(tmp_path, "--json", DASHSCOPE_REGION="sandbox", WAN_MCP_WAIT_SECONDS="long")

    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["problems"] == 1
    assert told["findings"][0] == {
        "check": "settings",
        "looked_at": "WAN_MCP_WAIT_SECONDS",
        "found": "is 'long'",
        "verdict": "problem",
        "remedy": "Use a number of seconds from 0 to 3600.",
    }
    assert {"versions", "key", "model", "folder", "ledger", "limit"} <= {row["check"] for row in told["findings"]}


def test_a_settings_file_of_the_command_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_text("DASHSCOPE_REGION=sandbox\n")

    done = run(tmp_path, "--env-file", str(path))

    assert done.exit_code == 0
    assert f"settings: DASHSCOPE_REGION: sandbox, from {path}" in done.stdout


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="the system's own trust store decides there")
def test_a_beijing_key_in_a_singapore_setting_is_named_on_the_first_screen(tmp_path: Path, monkeypatch) -> None:
    # The whole program, through a proxy of this machine, to TLS hosts that bear the service's names.
    asked = []

    def answer(host: str, key: str | None):
        asked.append((host, key))
        if key == KEY and host == HOSTS["beijing"]:
            return 200, {"request_id": "r", "output": {"task_id": "0", "task_status": "UNKNOWN"}}
        return 401, {"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "r"}

    authority = Authority(tmp_path)
    with serving_tls(authority.certify(*HOSTS.values()), answer) as port, proxying(port) as (proxy, _):
        network = {"HTTPS_PROXY": proxy.replace("//", "//me:password@"), "SSL_CERT_FILE": str(authority.path)}
        done = start(tmp_path, DASHSCOPE_API_KEY=KEY, **network)
        assert {host for host, key in asked if key} == set(HOSTS.values())
        in_network(monkeypatch, network)
        told = run(tmp_path, "--json", DASHSCOPE_API_KEY=KEY, **network)

    assert (done.returncode, told.exit_code) == (1, 1), done.stderr
    named = ("DASHSCOPE_API_KEY in Singapore: refused at", '"DASHSCOPE_API_KEY in Singapore"')
    for text, name in zip((done.stdout, told.stdout), named, strict=True):
        screen = "\n".join(text.splitlines()[:24])
        assert name in screen
        assert "it is a key of China (Beijing)" in screen
        assert "Set DASHSCOPE_REGION=beijing." in screen
        assert "\x1b" not in text
    for secret in (KEY, KEY[3:], "password"):
        assert secret not in done.stdout + done.stderr + told.output


def test_a_key_that_the_service_takes_is_green(tmp_path: Path) -> None:
    with FakeService(keys=KEY) as service:
        done = run(tmp_path, DASHSCOPE_API_KEY=KEY, DASHSCOPE_HTTP_BASE_URL=service.base_url)
        created = service.tasks

    assert done.exit_code == 0, done.stdout
    assert "key: DASHSCOPE_API_KEY in Singapore: taken at 127.0.0.1" in done.stdout
    assert KEY not in done.stdout
    assert not created


def test_with_a_dead_network_it_ends_in_time(tmp_path: Path, monkeypatch) -> None:
    network = {"HTTPS_PROXY": "http://127.0.0.1:9"}
    in_network(monkeypatch, network)
    done = run(tmp_path, DASHSCOPE_API_KEY=KEY, **network)

    assert done.exit_code == 1
    assert "the proxy http://127.0.0.1:9 refuses the connection" in done.stdout.splitlines()[2]
    assert KEY not in done.output


def test_what_must_be_done_stands_apart_with_its_remedy() -> None:
    findings = [
        Finding("key", "KEY", "refused", Verdict.PROBLEM, "Use another."),
        Finding("clock", "clock", "slow", Verdict.NOTE, "Set it."),
        Finding("model", "model", "offered"),
        Finding("limit", "images", "0 of 100"),
    ]

    assert format_findings(findings, width=None, coloured=False) == [
        "1 thing must be done, 1 note, 2 in order.",
        "",
        "PROBLEM  key: KEY: refused",
        "         -> Use another.",
        "",
        "note     clock: clock: slow",
        "         -> Set it.",
        "",
        "ok       model: model: offered",
        "ok       limit: images: 0 of 100",
    ]


def test_a_terminal_gets_colours_and_lines_that_fit() -> None:
    lines = format_findings([Finding("key", "KEY", "word " * 30)], width=50, coloured=True)

    assert lines[2].startswith("\x1b[32mok")
    assert all(len(line) <= 50 for line in lines[3:])
    assert len(lines) > 4


def test_words_of_others_do_not_steer_the_terminal() -> None:
    (_, _, line) = format_findings([Finding("key", "KEY", "\x1b[2Jgone")], width=None, coloured=False)

    assert "\x1b" not in line
