"""The command `wan-mcp` without arguments: a server, quickly, and nothing but the protocol on stdout."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import wan_mcp

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}

NOISY_LIBRARY = """
import os
from pathlib import Path
print("a library says hello")
os.write(1, b"and so does its C code\\n")
def user_pictures_path():
    return Path(os.environ["HOME"]) / "Pictures"
def user_state_path(*_, **__):
    return Path(os.environ["HOME"]) / "state"
"""


def environment(home: Path, *folders: Path, **more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("WAN_", "DASHSCOPE_"))}
    path = os.pathsep.join([*map(str, folders), *sys.path])
    return {**kept, "PYTHONPATH": path, "HOME": str(home), "WAN_MCP_STATE_DIR": str(home / "state"), **more}


def answer_of(*arguments: str, env: dict[str, str], options: tuple[str, ...] = ()) -> tuple[str, str, int]:
    """Start the server, say hello, and give its first line, all of its stderr, and its exit code once stdin ends."""
    with subprocess.Popen(
        [sys.executable, *options, "-m", "wan_mcp", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        process.stdin.write(json.dumps(HELLO) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        rest, errors = process.communicate(timeout=45)
        assert rest == ""
        return line, errors, process.returncode


@pytest.mark.parametrize("arguments", [("serve",), ("serve", "--transport", "stdio")])
def test_the_first_line_on_stdout_is_the_answer_even_if_a_library_prints(arguments, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "platformdirs.py").write_text(NOISY_LIBRARY, encoding="utf-8")
    line, errors, code = answer_of(*arguments, env=environment(tmp_path, library))
    assert json.loads(line)["result"]["serverInfo"]["name"] == "wan"
    assert "a library says hello" in errors
    assert "and so does its C code" in errors
    assert code == 0


def read_loaded(errors: str) -> set[str]:
    """Give the names of the modules that Python says it has loaded."""
    return {row.rpartition("|")[2].strip() for row in errors.splitlines() if row.startswith("import time:")}


COMMAND_LINE = {"wan_mcp.cli.main", "wan_mcp.cli.command", "tomlkit", "rich", "rich.logging"}
TEAM = {
    "wan_mcp.http_app",
    "wan_mcp.auth",
    "wan_mcp.telemetry",
    "wan_mcp.storage.s3",
    "wan_mcp.ledger.backends.postgres",
    "wan_mcp.web.team_gallery",
    "psycopg",
    "psycopg_pool",
    "obstore",
    "jwt",
    "opentelemetry.sdk",
    "prometheus_client",
}
NEEDED_LATER = {
    "wan_mcp.sandbox",
    "wan_mcp.doctor",
    "wan_mcp_tools.prompts",
    "PIL",
    "httpx",
    "httpcore",
    "truststore",
}
UNUSED = {"difflib", "platformdirs.windows"}


def test_a_server_without_a_key_loads_what_its_answer_needs_says_nothing_and_ends_with_its_client(
    tmp_path: Path,
) -> None:
    line, errors, code = answer_of(env=environment(tmp_path), options=("-X", "importtime"))
    assert line.startswith("{")
    assert [row for row in errors.splitlines() if not row.startswith("import time:")] == []
    assert code == 0
    loaded = read_loaded(errors)
    assert {"wan_mcp.mcp_server", "wan_mcp.settings"} <= loaded
    assert loaded & (COMMAND_LINE | TEAM | NEEDED_LATER | UNUSED) == set()


MADE = """
import gc
import wan_mcp.app, wan_mcp.mcp_server
from wan_mcp_tools.domain.record import Record
kinds = [kind for kind in gc.get_objects() if isinstance(kind, type) and issubclass(kind, Record)]
print(len(kinds), sum("__init__" in vars(kind) for kind in kinds))
"""


def test_a_start_writes_the_methods_of_few_records(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MADE],
        capture_output=True,
        text=True,
        timeout=45,
        check=True,
        env=environment(tmp_path),
    )
    kinds, complete = map(int, done.stdout.split())
    assert complete < kinds / 2


def test_the_version_is_told_with_nothing_loaded(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wan_mcp", "--version"],
        capture_output=True,
        text=True,
        timeout=45,
        check=True,
        env=environment(tmp_path),
    )
    assert done.stdout == f"wan-mcp {wan_mcp.__version__}\n"
    loaded = {name.partition(".")[0] for name in read_loaded(done.stderr)}
    assert loaded & {"click", "mcp", "pydantic", "anyio", "wan_mcp_tools"} == set()


def test_an_http_address_that_is_taken_is_told_and_is_wrong_usage(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "wan_mcp", "serve", "--transport", "http", "--port", port],
            capture_output=True,
            text=True,
            timeout=45,
            check=False,
            env=environment(tmp_path),
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"wan-mcp: The server cannot listen at 127.0.0.1, port {port}." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_the_server_says_what_it_is_waiting_for(tmp_path: Path) -> None:
    import pty

    master, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "wan_mcp"],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path),
        ) as process:
            try:
                assert "waiting for an MCP client" in process.stderr.readline()
            finally:
                process.kill()
                out, _ = process.communicate(timeout=45)
        assert out == ""
    finally:
        os.close(master)
        os.close(terminal)
