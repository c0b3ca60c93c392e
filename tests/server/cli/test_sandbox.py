"""`wan-mcp sandbox`: its options, and a real process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
from click.testing import CliRunner

from fakes.serving import NO_CERTIFICATES
from wan_mcp.cli.main import cli
from wan_mcp.cli.sandbox import make_options


def test_what_is_given_becomes_the_options_of_the_sandbox() -> None:
    options = make_options(keys=("a", "b"), duration=5.0, throttle=None, concurrency=2)
    assert (options.keys, options.duration, options.concurrency) == (frozenset({"a", "b"}), 5.0, 2)
    assert make_options(duration=0.1).pending == 0.1
    assert make_options().keys is None


def test_options_that_contradict_one_another_are_wrong_usage() -> None:
    done = CliRunner().invoke(cli, ["sandbox", "--duration", "1", "--pending", "2"])
    assert done.exit_code == 2
    assert "pending must lie between 0 and duration." in done.stderr


def test_the_sandbox_serves_and_its_first_line_is_the_base_url(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("WAN_", "DASHSCOPE_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "sandbox", "--port", "0", "--api-key", "sk-right"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), "WAN_MCP_STATE_DIR": str(tmp_path)},
    ) as process:
        try:
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1", url), url or process.stderr.read()
            with httpx.Client(trust_env=False, verify=NO_CERTIFICATES, timeout=45) as client:
                wrong = client.get(f"{url}/tasks/x", headers={"Authorization": "Bearer sk-wrong"})
                right = client.get(f"{url}/tasks/x", headers={"Authorization": "Bearer sk-right"})
            assert (wrong.status_code, right.status_code) == (401, 200)
        finally:
            process.terminate()
            process.communicate(timeout=45)
