"""
A process is killed at one exact point, and another finds what it left behind.

Whatever the point: at most one order at the service, one file for each paid image, and the truth about the rest.
"""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from campaigns.report import Report
from campaigns.support import (
    EDITING,
    LEGACY,
    NEW,
    is_idle,
    make_line,
    make_report,
    open_pool,
    read_order,
    second_service,
    until_killed,
)
from fakes import tiny_png
from fakes.clock import until
from fakes.dashscope import FakeService
from wan_mcp.storage.drafts import PROBE, make_temp_name


@dataclass(frozen=True)
class Point:
    """
    Where the first process dies, and what the second one then finds.

    `die` names the call of the ledger that is the last one; without it the process is killed when `when` holds for
    the service. `tasks` are created, `status` and `code` end the order. `leaves` puts temporary files
    into the folder that a kill leaves too seldom, by the order they are named after; an empty name means this one.
    `picture` is how long the sides of a picture are that is given as input, if one is.
    """

    die: str | None = None
    when: Callable[[FakeService], bool] | None = None
    faults: dict[str, object] = field(default_factory=dict)
    duration: float = 0.1
    tasks: int = 1
    status: str = "SUCCEEDED"
    code: str | None = None
    is_lost: bool = False
    leaves: tuple[str, ...] = ()
    picture: int = 0


POINTS = {
    "while it stands in line to be sent": Point("begin_sending", tasks=0, status="FAILED", code="NotSent"),
    "while its picture is read again": Point("read_input", tasks=0, status="FAILED", code="NotSent", picture=400),
    "while its picture is uploaded": Point("upload_input", tasks=0, status="FAILED", code="NotSent", picture=1800),
    "between its picture and its turn": Point("begin_sending", tasks=0, status="FAILED", code="NotSent", picture=400),
    "when it has stood in line and is written down as being sent": Point(
        "begin_sending/after", tasks=0, status="SUBMIT_UNKNOWN", code="AnswerLost"
    ),
    "when it is written down as being sent at once": Point(
        "place/after", tasks=0, status="SUBMIT_UNKNOWN", code="AnswerLost"
    ),
    "during the request": Point(when=lambda service: bool(service.tasks), faults={"create": "held"}, is_lost=True),
    "between the answer and its record": Point("accept", is_lost=True),
    "after the record of the answer": Point("accept/after"),
    "while trying whether the folder can be written": Point("accept/after", leaves=(PROBE,)),
    "while asking for the task": Point(when=lambda service: bool(service.count_queries()), duration=0.8),
    "in mid-download": Point(
        when=lambda service: any(each.sent for each in service.images_served),
        faults={"image": "held"},
    ),
    "before the name of the file is written down": Point("save/PUBLISHING"),
    "between the name in the ledger and the file": Point("save/PUBLISHING/after"),
    "between the file and the ledger": Point("save/SAVED"),
    "while writing the note beside the file": Point("save/SAVED", leaves=("",)),
}


CASES = [(point, NEW) for point in POINTS]
# What was made of an order whose answer is lost is told from other tasks by what the list of each protocol shows.
CASES += [(point, LEGACY) for point, at in POINTS.items() if at.is_lost or not at.tasks]


@dataclass(frozen=True)
class Played:
    """What was found in the end."""

    report: Report
    row: dict[str, object]
    paid: int


def the_id(folder):
    """Read as a writer: the killed process may have left a transaction that must be undone first."""
    with closing(sqlite3.connect(folder / "state" / "ledger.sqlite3")) as ledger:
        return ledger.execute("SELECT local_id FROM orders").fetchone()[0]


def make_order_line(point, model, folder):
    if not point.picture:
        return make_line(model)
    path = folder / "inputs" / "in.png"
    path.parent.mkdir()
    path.write_bytes(tiny_png.encode_noise(point.picture))
    return make_line(EDITING[model], images=[str(path)])


async def play(point, model, folder):
    with FakeService(duration=point.duration, image_padding=600_000) as service:
        for place, fault in point.faults.items():
            service.script(place, fault)
        with open_pool(folder, service) as pool:
            worker = pool.start(*(["--die", point.die] if point.die else []))
            pool.send(worker, make_order_line(point, model, folder))
            if point.when is not None:
                await until(lambda: point.when(service))
                worker.process.send_signal(signal.SIGKILL)
            await until_killed(pool, worker)
        service.faults.clear()
        for order_id in point.leaves:
            named = order_id or the_id(folder)
            (folder / "pictures" / make_temp_name(order_id=named, index=0, owner="somebody")).touch()
        async with second_service(folder, service):
            await until(is_idle(folder))
        return Played(make_report(service, folder), read_order(folder), service.paid_images())


@pytest.mark.parametrize(("point", "model"), CASES)
async def test_a_process_killed(tmp_path, point, model):
    expected = POINTS[point]
    played = await play(expected, model, tmp_path)

    assert not played.report.broken, str(played.report)
    assert played.report.creates == played.report.tasks == expected.tasks
    assert played.report.files == played.paid == 2 * expected.tasks
    assert (played.row["status"], played.row["error_code"]) == (expected.status, expected.code)
    assert played.report.recovered == expected.is_lost
    if expected.code == "NotSent":
        assert "Nothing was ordered" in played.row["error_message"]
