"""Looking through everything: every order is found in one state, and pages lose and repeat nothing."""

import itertools

import pytest

from fakes.orders import accepted, placed
from wan_mcp.ledger import ImageState, OrderImage, Stage
from wan_mcp_tools.domain.service import AlbumQuery, AlbumState
from wan_mcp_tools.domain.tasks import TaskStatus

KINDS = (AlbumState.OPEN, AlbumState.SAVED, AlbumState.FAILED, AlbumState.CANCELED)


async def find(ledger, **words):
    found = await ledger.album(AlbumQuery(**words), limit=100, before=None)
    return [order.local_id for order in found]


async def make(ledger, status, stage):
    order = await accepted(ledger, f"task-{status}-{stage}")
    changed = await ledger.advance(order, {"status": status, "stage": stage})
    return changed.local_id


async def test_every_order_is_of_one_kind_and_those_that_go_on_are_not_among_the_ended(ledger):
    for status, stage in itertools.product(TaskStatus, Stage):
        await make(ledger, status, stage)

    everything = await find(ledger)
    kinds = [await find(ledger, state=kind) for kind in KINDS]
    ended = await find(ledger, state=AlbumState.ENDED)
    assert sorted(itertools.chain(*kinds[:1], ended)) == sorted(everything)
    assert not set(kinds[0]) & set(ended)
    assert all(not set(one) & set(other) for one, other in itertools.combinations(kinds, 2))


@pytest.mark.parametrize(
    ("status", "stage", "kind"),
    [
        (TaskStatus.PENDING, Stage.QUEUED, AlbumState.OPEN),
        (TaskStatus.RUNNING, Stage.OPEN, AlbumState.OPEN),
        (TaskStatus.SUCCEEDED, Stage.OPEN, AlbumState.OPEN),
        (TaskStatus.SUBMIT_UNKNOWN, Stage.LOST, AlbumState.OPEN),
        (TaskStatus.SUCCEEDED, Stage.CLOSED, AlbumState.SAVED),
        (TaskStatus.FAILED, Stage.CLOSED, AlbumState.FAILED),
        (TaskStatus.EXPIRED, Stage.CLOSED, AlbumState.FAILED),
        (TaskStatus.UNKNOWN, Stage.OPEN, AlbumState.FAILED),
        (TaskStatus.SUBMIT_UNKNOWN, Stage.CLOSED, AlbumState.FAILED),
        (TaskStatus.CANCELED, Stage.CLOSED, AlbumState.CANCELED),
    ],
)
async def test_a_state_is_found_where_a_person_looks_for_it(ledger, status, stage, kind):
    order = await make(ledger, status, stage)

    assert [each for each in KINDS if order in await find(ledger, state=each)] == [kind]


async def test_pages_of_orders_of_one_moment_lose_and_repeat_nothing(ledger):
    orders = {(await placed(ledger)).local_id for _ in range(7)}
    seen, before = [], None
    while page := await ledger.album(AlbumQuery(), limit=2, before=before):
        seen += [order.local_id for order in page]
        before = (page[-1].created_at, page[-1].local_id)

    assert len(seen) == 7
    assert set(seen) == orders


async def test_a_survey_counts_orders_and_saved_images_and_names_what_there_is(ledger):
    order = await accepted(ledger, "one", region="beijing", model="wan2.7-image")
    images = [OrderImage(1, ImageState.SAVED, path="/a.png"), OrderImage(2, ImageState.FAILED, code="x")]
    await ledger.advance(order, {"status": TaskStatus.SUCCEEDED, "stage": Stage.CLOSED}, images)
    await placed(ledger)

    survey = await ledger.survey(AlbumQuery())
    assert (survey.orders, survey.images) == (2, 1)
    assert survey.models == ("wan2.6-t2i", "wan2.7-image")
    assert survey.regions == ("beijing", "singapore")
    assert (await ledger.survey(AlbumQuery(region="beijing"))).orders == 1
    assert (await ledger.survey(AlbumQuery(text="nothing of this"))).orders == 0
