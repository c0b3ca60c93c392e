"""`wan-mcp gallery`: a real process, its address, and its end."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

from fakes.filled_ledger import fill
from fakes.stdio_client import environment
from wan_mcp.cli.gallery import has_display

_opener = build_opener(ProxyHandler({}))


@contextmanager
def showing(folder: Path, *options: str, **environ: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Start a gallery; give the process and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "gallery", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, **environ),
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def fetch(url: str) -> tuple[int, str]:
    try:
        with _opener.open(url, timeout=45) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_the_address_works_and_is_another_one_every_time_and_a_signal_ends_it_with_nothing_secret_logged(tmp_path):
    fill(tmp_path / "state", tmp_path / "pictures", 3, now=time.time(), painted=1)
    logged = {"WAN_MCP_LOG_LEVEL": "INFO"}
    with (
        showing(tmp_path, "--no-open", **logged) as (process, first),
        showing(tmp_path, "--no-open", **logged) as (other, second),
    ):
        port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{43})/", first).groups()
        assert "<wan-thumbnails>" in fetch(first)[1]
        assert '"local-000000"' in fetch(f"{first}orders")[1]
        assert (
            fetch(f"http://127.0.0.1:{port}/")
            == fetch(f"http://127.0.0.1:{port}/{token[:-1]}/")
            == (404, "Not found.")
        )
        assert second != first
        assert token not in second
        assert fetch(f"{first}open")[0] == 200
        assert fetch(f"{first}nothing")[0] == 404
        if sys.platform != "win32":  # which has no such signals
            end(process, signal.SIGINT, token)
            end(other, signal.SIGTERM, second.split("/")[3])


def end(process: subprocess.Popen[str], sign: signal.Signals, token: str) -> None:
    """End a gallery by a signal; nothing secret was logged until then."""
    process.send_signal(sign)
    out, err = process.communicate(timeout=45)
    assert out == ""
    assert token not in err
    assert "Traceback" not in err
    assert process.returncode in (130, -sign)


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "wan_mcp", "gallery", "--no-open", "--port", port],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=45,
            check=False,
        )

    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot listen at port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="BROWSER is not read there")
def test_the_browser_is_started_with_an_address_that_works_once(tmp_path):
    noted = tmp_path / "noted"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {noted}.part && mv {noted}.part {noted}\n')
    browser.chmod(0o755)
    with showing(tmp_path, BROWSER=str(browser), DISPLAY=":99", PATH=os.environ["PATH"]) as (_, url):
        ends = time.monotonic() + 20
        while not noted.exists() and time.monotonic() < ends:
            time.sleep(0.05)  # noqa: TID251 - another process rings no bell
        once = noted.read_text()
        token = url.split("/")[3]
        assert token not in once
        status, page = fetch(once)
        assert (status, "<wan-thumbnails>" in page) == (200, True)
        assert fetch(once)[0] == 404


def test_a_browser_is_started_only_where_it_has_a_window():
    assert has_display({"DISPLAY": ":0"}, "linux")
    assert has_display({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert not has_display({}, "linux")
    assert has_display({}, "darwin")
    assert has_display({}, "win32")
    assert not has_display({"SSH_CONNECTION": "10.0.0.1"}, "darwin")
