"""
Time from the start of the process to the first answer, against an empty one-tool server on the same SDK.

Both are started in pairs, each as often first as second, and are ended at once after their answer. What counts is the
time that the process was on a processor, so that other work on the machine costs little. The ratio of the medians
and the median of the ratios of the pairs must both pass; the least times, of one lucky start each, and the time that
passed are printed for information. Run it with `python bench/startup.py`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

EMPTY = """
from mcp.server import MCPServer
server = MCPServer("empty")
@server.tool()
async def nothing() -> str:
    "Do nothing."
    return "nothing"
server.run()
"""
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "0"}},
}


class Start(NamedTuple):
    """The seconds that one start took: on a processor, and in all."""

    on_cpu: float
    passed: float


def first_answer(command: list[str], environ: dict[str, str]) -> Start:
    """
    Start a server and end it right after its answer to `initialize`.

    Raises:
        RuntimeError: it has not answered.
    """
    started = time.perf_counter()
    # Waited for below by its id: only so are the figures those of this one process.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the server has no pipes")
    with process.stdin, process.stdout:
        process.stdin.write(json.dumps(HELLO).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        passed = time.perf_counter() - started
        # Not asked to end: what that takes is no part of a start.
        process.kill()
        _, process.returncode, usage = os.wait4(process.pid, 0)
    if b'"result"' not in answer:
        raise RuntimeError(f"no answer from {command[:3]}: {answer!r}")
    return Start(usage.ru_utime + usage.ru_stime, passed)


def main() -> None:
    """Print the times and their ratios; exit 1 above the bound."""
    parser = argparse.ArgumentParser(description="Start-up against an empty server on the same SDK.")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--most", type=float, default=1.08, help="the largest ratio that passes")
    arguments = parser.parse_args()
    starts: dict[str, list[Start]] = {"empty": [], "wan-mcp": []}
    with tempfile.TemporaryDirectory() as folder:
        # What is installed has its bytecode beside it; so has this project after the warm-up.
        environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
            "WAN_MCP_STATE_DIR": folder,
            "WAN_MCP_OUTPUT_DIR": folder,
            "DASHSCOPE_REGION": "sandbox",
        }
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY, encoding="utf-8")
        commands = {"empty": [sys.executable, str(script)], "wan-mcp": [sys.executable, "-m", "wan_mcp"]}
        for command in commands.values():
            first_answer(command, environ)
        for number in range(arguments.rounds):
            for name in sorted(commands, reverse=bool(number % 2)):
                starts[name].append(first_answer(commands[name], environ))
    on_cpu = {name: [each.on_cpu for each in values] for name, values in starts.items()}
    for name, values in starts.items():
        passed = statistics.median(each.passed for each in values)
        print(
            f"{name:8} on-CPU: median {statistics.median(on_cpu[name]):.3f} s, least {min(on_cpu[name]):.3f} s;"
            f" passed: median {passed:.3f} s"
        )
    medians = statistics.median(on_cpu["wan-mcp"]) / statistics.median(on_cpu["empty"])
    pairs = statistics.median(ours / empty for ours, empty in zip(on_cpu["wan-mcp"], on_cpu["empty"], strict=True))
    print(f"ratio of the medians {medians:.3f}, median of the ratios {pairs:.3f} (each at most {arguments.most})")
    print(f"ratio of the least times {min(on_cpu['wan-mcp']) / min(on_cpu['empty']):.3f}")
    sys.exit(max(medians, pairs) > arguments.most)


if __name__ == "__main__":
    main()
