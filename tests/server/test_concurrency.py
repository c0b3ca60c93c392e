"""Work beside the event loop."""

import subprocess
import sys

import pytest

from wan_mcp.concurrency import run_in_daemon_thread


async def test_work_in_a_daemon_thread_gives_its_result_and_its_error():
    assert await run_in_daemon_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(lambda: 1 / 0)


def test_work_left_behind_does_not_hold_up_the_end_of_the_program():
    program = """
import anyio, threading
from wan_mcp.concurrency import run_in_daemon_thread

async def main():
    with anyio.move_on_after(0.2):
        await run_in_daemon_thread(lambda: threading.Event().wait(60))
    print("over")

anyio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=45,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
