"""The doctor ends in time, whatever hangs."""

import subprocess
import sys
import threading
import time

import anyio
import pytest

from wan_mcp.doctor.apart import run_apart
from wan_mcp.storage.disk import Disk


@pytest.fixture
def stuck():
    """Hangs until the test is over."""
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(30)

    yield hang
    over.set()


async def test_a_network_drive_that_hangs_holds_up_nothing_else(clinic, stuck, tmp_path):
    (tmp_path / "pictures").mkdir()
    began = time.monotonic()

    report = await clinic.examine(words={"disk": Disk(create_new=stuck), "patience": 1.0}, DASHSCOPE_REGION="sandbox")

    assert time.monotonic() - began < 5
    finding = report.problem_of("folder")
    assert finding.found == "no end after 1 seconds; given up"
    assert "WAN_MCP_OUTPUT_DIR" in finding.remedy
    assert report.of("ledger")


async def test_a_name_service_that_hangs_is_told_in_time(clinic):
    async def never(host, port):
        await anyio.sleep_forever()

    words = {"look_up": never, "reach": 0.3}
    began = time.monotonic()

    report = await clinic.examine(service=False, words=words, DASHSCOPE_API_KEY="sk-0123456789")

    assert time.monotonic() - began < 5
    assert "no name service answers" in report.problem_of("network").found


async def test_a_service_that_never_answers_is_told_in_time(clinic):
    async def never(request):
        await anyio.sleep_forever()

    import httpx

    words = {"transport": httpx.MockTransport(never), "reach": 0.3}
    began = time.monotonic()

    report = await clinic.examine(words=words, DASHSCOPE_API_KEY="sk-0123456789")

    assert time.monotonic() - began < 5
    assert "in time" in report.problem_of("network").found


def test_the_real_limits_leave_room_within_ten_seconds(clinic) -> None:
    world = clinic.world()
    assert world.reach + 2 * world.probe < world.patience < 9.5


async def test_work_apart_gives_its_result_and_its_error():
    assert await run_apart(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await run_apart(lambda: 1 / 0)


def test_work_left_behind_does_not_hold_up_the_end_of_the_program() -> None:
    program = """
import anyio, threading
from wan_mcp.doctor.apart import run_apart

async def main():
    with anyio.move_on_after(0.2):
        await run_apart(lambda: threading.Event().wait(60))
    print("over")

anyio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
