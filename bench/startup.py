"""
Time from the start of the process to the first answer, against an empty one-tool server on the same SDK.

Both are started in turn, `--rounds` times after a warm-up each; the ratio of the medians is what counts, because
machines are noisy. Run it with `python bench/startup.py`.
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


def first_answer(command: list[str], environ: dict[str, str]) -> float:
    """Give the seconds from start to the answer to `initialize`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the server has no pipes")
    process.stdin.write(json.dumps(HELLO).encode() + b"\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    seconds = time.perf_counter() - started
    process.stdin.close()
    process.wait(10)
    if b'"result"' not in answer:
        raise RuntimeError(f"no answer from {command[:3]}: {answer!r}")
    return seconds


def main() -> None:
    """Print medians and their ratio; exit 1 above the bound."""
    parser = argparse.ArgumentParser(description="Start-up against an empty server on the same SDK.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=float, default=1.15, help="the largest ratio that passes")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {"empty": [], "wan-mcp": []}
    with tempfile.TemporaryDirectory() as folder:
        environ = dict(os.environ) | {
            "WAN_MCP_STATE_DIR": folder,
            "WAN_MCP_OUTPUT_DIR": folder,
            "DASHSCOPE_REGION": "sandbox",
        }
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY, encoding="utf-8")
        commands = {"empty": [sys.executable, str(script)], "wan-mcp": [sys.executable, "-m", "wan_mcp"]}
        for command in commands.values():
            first_answer(command, environ)
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                times[name].append(first_answer(command, environ))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["wan-mcp"] / medians["empty"]
    for name, values in times.items():
        print(f"{name:8} median {medians[name]:.3f} s, fastest {min(values):.3f} s")
    print(f"ratio of medians {ratio:.3f} (at most {arguments.most})")
    sys.exit(ratio > arguments.most)


if __name__ == "__main__":
    main()
