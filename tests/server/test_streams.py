"""stdout is kept free for the protocol from the first instruction."""

import os
import subprocess
import sys


def run(code: str, **streams) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=not streams,
        text=True,
        timeout=45,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        **streams,
    )


def test_what_is_printed_meanwhile_goes_to_stderr_and_what_follows_to_stdout() -> None:
    done = run(
        """
import os, subprocess, sys
from wan_mcp import streams
streams.divert()
print("a library prints")
os.write(1, b"its C code writes\\n")
subprocess.run([sys.executable, "-c", "print('its child prints')"])
streams.restore()
print("the protocol")
"""
    )
    assert done.stdout == "the protocol\n"
    for text in ("a library prints", "its C code writes", "its child prints"):
        assert text in done.stderr


def test_diverting_and_restoring_may_be_repeated() -> None:
    done = run(
        """
from wan_mcp import streams
streams.restore()
for _ in range(3):
    streams.divert()
    streams.divert()
    print("aside")
    streams.restore()
    streams.restore()
    print("out")
"""
    )
    assert (done.stdout, done.stderr) == ("out\n" * 3, "aside\n" * 3)


def test_a_process_without_stdout_is_left_as_it_is() -> None:
    done = run("import os; os.close(1)\nfrom wan_mcp import streams\nstreams.divert(); streams.restore()")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_guard_loads_nothing_that_could_print() -> None:
    done = run(
        """
import sys
before = set(sys.modules)
import wan_mcp.__main__
foreign = {name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
print(sorted(foreign), "logging" in sys.modules)
"""
    )
    assert done.stdout == "['wan_mcp'] False\n"


def test_serving_loads_none_of_the_command_lines_libraries() -> None:
    done = run(
        """
import sys
import wan_mcp.__main__, wan_mcp.cli.terminal.output, wan_mcp.cli.start
print([name for name in ("click", "rich", "PIL", "httpx", "mcp", "platformdirs", "anyio") if name in sys.modules])
"""
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_wrong_setting_ends_the_server_with_one_line_on_stderr() -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("WAN_", "DASHSCOPE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "wan_mcp"],
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), "WAN_MCP_PROTOCOL": "carrier pigeon"},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "wan-mcp: WAN_MCP_PROTOCOL is 'carrier pigeon'. Use one of: async, sync."
        " Correct the environment or the settings file.\n"
    )
