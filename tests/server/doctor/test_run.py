"""The doctor ends in time, whatever hangs."""

import threading

import anyio
import pytest

from fakes.clock import LONGEST
from wan_mcp.storage.disk import Disk


@pytest.fixture
def stuck():
    """Hangs until the test is over."""
    over = threading.Event()

    def hang(*_: object):
        over.wait()

    yield hang
    over.set()


async def test_a_network_drive_that_hangs_holds_up_nothing_else(doctor, stuck, tmp_path):
    (tmp_path / "pictures").mkdir()

    with anyio.fail_after(LONGEST):
        report = await doctor.run(
            parts={"disk": Disk(create_new=stuck), "check_seconds": 1.0}, DASHSCOPE_REGION="sandbox"
        )

    finding = report.problem_of("folder")
    assert finding.found == "no end after 1 seconds; given up"
    assert "WAN_MCP_OUTPUT_DIR" in finding.remedy
    assert report.of("ledger")


async def test_a_name_service_that_hangs_is_told_in_time(doctor):
    async def never(host, port):
        await anyio.sleep_forever()

    parts = {"resolve_name": never, "reach_seconds": 0.3}

    with anyio.fail_after(LONGEST):
        report = await doctor.run(service=False, parts=parts, DASHSCOPE_API_KEY="sk-0123456789")

    assert "no name service answers" in report.problem_of("network").found


async def test_a_service_that_never_answers_is_told_in_time(doctor):
    async def never(request):
        await anyio.sleep_forever()

    import httpx

    parts = {"transport": httpx.MockTransport(never), "reach_seconds": 0.3}

    with anyio.fail_after(LONGEST):
        report = await doctor.run(parts=parts, DASHSCOPE_API_KEY="sk-0123456789")

    assert "in time" in report.problem_of("network").found


def test_the_real_limits_leave_room_within_ten_seconds(doctor):
    environment = doctor.environment()
    assert environment.reach_seconds + 2 * environment.question_seconds < environment.check_seconds < 9.5
