"""Orders are on disk before anybody hears of them, and never more of them than the operator allows."""

import os
import sqlite3

import pytest

from fakes.orders import OPEN, claim, new_order, place, placed, sent
from fakes.rivals import Rivals
from wan_mcp.ledger import Stage
from wan_mcp_tools.domain.errors import DailyLimitError
from wan_mcp_tools.domain.tasks import TaskStatus

DAY = 86_400.0
REFUSED = {"stage": Stage.CLOSED, "status": TaskStatus.FAILED, "error_code": "InvalidParameter"}


async def test_an_order_is_on_disk_when_placing_it_returns(ledger, path, clock):
    new = new_order(images=3, request='{"prompt": "ein Blumenladen 花店"}')
    await ledger.place(new, owner="me", lease=30, wanted_until=clock.now() + 45, daily_limit=100, join=True)

    with sqlite3.connect(path) as another:
        another.row_factory = sqlite3.Row
        row = dict(another.execute("SELECT * FROM orders").fetchone())
    another.close()
    assert (row["local_id"], row["task_id"], row["stage"], row["status"]) == (new.local_id, None, "QUEUED", "PENDING")
    assert (row["request"], row["images_ordered"], row["folder"]) == (new.request, 3, "/pictures")
    assert (row["created_at"], row["owner"], row["lease_until"]) == (clock.now(), "me", clock.now() + 30)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
async def test_the_file_is_the_owners_alone(ledger, path):
    await placed(ledger)

    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert all(beside.stat().st_mode & 0o077 == 0 for beside in path.parent.iterdir())


async def test_nothing_is_made_before_the_first_call(ledger, path):
    assert not await ledger.exists()
    assert await ledger.token() is None
    assert not path.parent.exists()


async def test_the_daily_limit_is_kept_to_the_image(ledger):
    await place(ledger, images=4, daily_limit=10)
    await place(ledger, images=4, daily_limit=10)
    with pytest.raises(DailyLimitError, match=r"^8 images .* 10\b"):
        await place(ledger, images=3, daily_limit=10)
    await place(ledger, images=2, daily_limit=10)
    with pytest.raises(DailyLimitError, match=r"^10 images"):
        await place(ledger, images=1, daily_limit=10)


async def test_a_refused_order_leaves_no_row(ledger):
    with pytest.raises(DailyLimitError):
        await place(ledger, images=2, daily_limit=1)

    assert await ledger.page(status=None, limit=10, before=None) == []


async def test_images_are_free_again_after_24_hours(ledger, clock):
    await place(ledger, images=4, daily_limit=4)
    clock.advance(DAY - 1)
    with pytest.raises(DailyLimitError):
        await place(ledger, images=1, daily_limit=4)
    clock.advance(1)
    await place(ledger, images=4, daily_limit=4)


async def test_a_limit_of_zero_is_no_limit(ledger):
    for _ in range(30):
        await place(ledger, images=4, daily_limit=0)

    assert await ledger.images_since(0) == 120


async def test_an_order_that_the_service_refused_gives_its_images_back(ledger):
    order = await sent(ledger, images=4)
    await ledger.advance(order, REFUSED)

    await place(ledger, images=4, daily_limit=4)


async def test_an_order_that_was_never_sent_gives_its_images_back(ledger):
    order = await placed(ledger, images=4)
    await ledger.advance(order, {"stage": Stage.CLOSED, "status": TaskStatus.FAILED, "error_code": "NotSent"})

    await place(ledger, images=4, daily_limit=4)


async def test_a_cancelled_order_gives_its_images_back(ledger):
    order = await placed(ledger, images=4)
    cancelled = {"stage": Stage.CLOSED, "status": TaskStatus.CANCELED}
    await ledger.override(order.local_id, cancelled, stages=(Stage.QUEUED,))

    await place(ledger, images=4, daily_limit=4)


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.EXPIRED, TaskStatus.SUCCEEDED])
async def test_an_order_that_the_service_took_counts_whatever_came_of_it(ledger, status):
    order = await sent(ledger, images=4)
    taken = await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)
    await ledger.advance(taken, {"stage": Stage.CLOSED, "status": status})

    with pytest.raises(DailyLimitError):
        await place(ledger, images=1, daily_limit=4)


async def test_an_order_whose_answer_was_lost_counts(ledger):
    order = await sent(ledger, images=4)
    await ledger.advance(order, {"stage": Stage.CLOSED, "status": TaskStatus.SUBMIT_UNKNOWN})

    with pytest.raises(DailyLimitError):
        await place(ledger, images=1, daily_limit=4)


async def test_a_fresh_order_belongs_to_whoever_placed_it(ledger):
    await placed(ledger, owner="me")

    assert await claim(ledger, "other") == []


def test_four_processes_together_keep_the_daily_limit_to_the_image(path):
    with Rivals(4) as rivals:
        answers = rivals.race("place", path=path, count=20, images=3, daily_limit=100)
        looks = rivals.race("look", path=path)

    assert [answer["troubles"] for answer in answers] == [[]] * 4
    assert sum(answer["placed"] for answer in answers) == 33
    assert sum(answer["refused"] for answer in answers) == 80 - 33
    assert {look["images"] for look in looks} == {99}
