"""An answer is recorded whenever it comes; what a search finds may be wrong, and takes no task from another order."""

from dataclasses import replace

import pytest

from fakes.orders import (
    CLOSED,
    FAILED,
    LEASE,
    LOST,
    accept,
    accepted,
    claim,
    list_ids,
    make_found,
    make_request,
    save,
    sent,
    take_over,
)
from wan_mcp.ledger import ImageState, OrderImage, Origin, Stage
from wan_mcp.orders import lifecycle
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")

GIVEN_UP = LOST | {"stage": Stage.CLOSED}
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png", sha256="00")
OPEN = {"stage": Stage.OPEN, "status": TaskStatus.RUNNING, "accepted_at": 1.0}

meanwhile_is = pytest.mark.parametrize(
    "meanwhile", [{}, LOST, GIVEN_UP, None], ids=["sending", "lost", "given up", "closed by anybody"]
)


async def take_from(ledger, clock, order, meanwhile):
    """Let another process take an order over and make something of it."""
    clock.advance(LEASE)
    [taken] = await take_over(ledger)
    if meanwhile is None:
        return await ledger.orders.close(replace(order, **GIVEN_UP), stages=(Stage.SENDING,))
    return await save(ledger, taken, **meanwhile)


# --- answers -----------------------------------------------------------------------------------------------------


async def test_an_answer_names_the_task_and_leaves_the_lease_with_its_holder(ledger):
    order = await sent(ledger)
    answered = await accept(ledger, order)

    assert (answered.task_id, answered.stage, answered.status) == ("task", Stage.OPEN, TaskStatus.PENDING)
    assert (answered.worker_id, answered.version) == (order.worker_id, order.version)
    assert answered.lease_until == order.lease_until
    assert answered.best_id == "task"
    assert await ledger.orders.get("task") == await ledger.orders.get(order.local_id) == answered


@meanwhile_is
@pytest.mark.parametrize("follower", ["me", "other", "third"])
async def test_a_late_answer_is_recorded_whatever_became_of_the_order_and_anybody_may_follow_it(
    ledger, clock, meanwhile, follower
):
    order = await sent(ledger)
    taken = await take_from(ledger, clock, order, meanwhile)
    answered = await accept(ledger, order)
    assert (answered.task_id, answered.stage, answered.status) == ("task", Stage.OPEN, TaskStatus.PENDING)
    assert answered.error_code is None

    # Whoever held it cannot undo what it missed; it works on other orders and keeps renewing.
    assert await save(ledger, taken, **GIVEN_UP) is None
    await ledger.leases.renew("other", lease=LEASE)
    assert await claim(ledger, follower) == [order.local_id]


async def test_the_holder_of_a_lost_order_that_hears_the_answer_keeps_the_lease(ledger):
    order = await save(ledger, await sent(ledger), **LOST)
    answered = await accept(ledger, order)

    assert (answered.worker_id, answered.version, answered.stage) == ("me", order.version, Stage.OPEN)


async def test_the_same_answer_twice_changes_nothing(ledger):
    order = await sent(ledger)
    answered = await accept(ledger, order)

    assert await accept(ledger, order) == answered


async def test_a_task_that_another_row_has_moves_to_its_order_with_all_that_is_known_of_it(ledger):
    order = await sent(ledger)
    await ledger.orders.adopt(make_found("task"))
    [adopted] = await take_over(ledger)
    publishing = OrderImage(
        1, ImageState.PUBLISHING, url="http://image", path="/pictures/a.png", sha256="00", bytes=5
    )
    learned = {"duration": 9.5, "actual_prompt": "a shop", "finished_at": 7.0}
    await save(ledger, adopted, status=TaskStatus.SUCCEEDED, images=(publishing,), **learned)

    answered = await accept(ledger, order)
    assert (answered.local_id, answered.task_id, answered.images) == (order.local_id, "task", (publishing,))
    assert (answered.stage, answered.status) == (Stage.OPEN, TaskStatus.SUCCEEDED)
    assert {name: getattr(answered, name) for name in learned} == learned
    assert (answered.fingerprint, answered.request, answered.origin) == (
        order.fingerprint,
        order.request,
        Origin.ORDERED,
    )
    assert await list_ids(ledger) == [order.local_id]
    # Who followed the row that is gone writes nothing more.
    assert await save(ledger, adopted, **FAILED) is None
    assert await ledger.orders.get(adopted.local_id) is None


async def test_the_reason_why_a_task_failed_moves_with_it(ledger):
    order = await sent(ledger)
    reason = {"error_code": "DataInspectionFailed", "error_message": "The prompt was refused."}
    await ledger.orders.adopt(make_found("task", **FAILED, **reason))

    answered = await accept(ledger, order)
    assert (answered.stage, answered.status) == (Stage.CLOSED, TaskStatus.FAILED)
    assert (answered.error_code, answered.error_message) == ("DataInspectionFailed", "The prompt was refused.")


async def test_a_second_task_of_an_order_gets_a_row_of_its_own_and_is_not_counted_twice(ledger):
    order = await sent(ledger, request=make_request("a shop"), images_ordered=2)
    first = await accept(ledger, order, "first")
    second = await accept(ledger, order, "second")

    assert (second.task_id, second.origin, second.stage) == ("second", Origin.RECOVERED, Stage.OPEN)
    assert second.local_id != order.local_id
    inherited = ("region", "account", "model", "wire_model", "protocol", "request", "folder")
    assert all(getattr(second, name) == getattr(order, name) for name in inherited)
    assert await ledger.orders.get("first") == first
    assert await claim(ledger) == [second.local_id]
    assert await ledger.reports.count_images_since(0) == 2


async def test_a_second_task_that_has_a_row_keeps_it(ledger):
    order = await sent(ledger)
    await accept(ledger, order, "first")
    adopted = await ledger.orders.adopt(make_found("second"))

    assert await accept(ledger, order, "second") == adopted


async def test_an_answer_without_a_task_brings_its_images(ledger):
    order = await sent(ledger, protocol="sync", images_ordered=2)
    images = tuple(OrderImage(index, ImageState.WAITING, url=f"http://image/{index}") for index in (1, 2))
    answered = await accept(ledger, order, None, images=images, status=TaskStatus.SUCCEEDED, finished_at=5.0)

    assert (answered.task_id, answered.best_id, answered.stage) == (None, order.local_id, Stage.OPEN)
    assert (answered.images, answered.finished_at, answered.version) == (images, 5.0, order.version)


@meanwhile_is
async def test_a_late_answer_without_a_task_opens_an_order_that_was_given_up(ledger, clock, meanwhile):
    order = await sent(ledger, protocol="sync")
    await take_from(ledger, clock, order, meanwhile)
    image = OrderImage(1, ImageState.WAITING, url="http://image/1")
    await accept(ledger, order, None, images=(image,))

    [again] = await take_over(ledger, "third")
    assert (again.stage, again.images) == (Stage.OPEN, (image,))


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_an_answer_is_recorded_even_when_its_orders_row_went_with_the_file(ledger, path):
    order = await sent(ledger, images_ordered=2)
    path.unlink()
    answered = await accept(ledger, order)

    assert (answered.task_id, answered.stage, answered.request) == ("task", Stage.OPEN, order.request)
    assert (answered.worker_id, answered.version) == (order.worker_id, order.version)
    assert await ledger.reports.count_images_since(0) == 2


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
async def test_an_answer_to_an_order_whose_row_is_another_orders_by_now_is_an_error(ledger, path):
    order = await accepted(ledger)
    path.unlink()
    await ledger.orders.adopt(make_found("task"))

    with pytest.raises(LedgerError, match="no longer in the ledger") as raised:
        await accept(ledger, order)
    assert raised.value.code == "LedgerRowGone"


# --- findings ----------------------------------------------------------------------------------------------------


async def lost(ledger, **changes):
    return await save(ledger, await sent(ledger, **changes), **LOST)


async def assign(ledger, order, task_id="task", **changes):
    found = replace(order, task_id=task_id, error_code=None, **OPEN | changes)
    return await ledger.orders.assign_task(order, found, displace=lifecycle.displaced)


async def offer(ledger, order, *candidates):
    return await ledger.orders.save_candidates(order, replace(order, stage=Stage.CLOSED), candidates)


async def test_a_lost_order_gets_the_task_that_was_found(ledger):
    order = await lost(ledger)
    found = await assign(ledger, order, notes=("found again",))

    assert (found.task_id, found.stage, found.lost_at, found.error_code) == ("task", Stage.OPEN, 2.0, None)
    assert (found.worker_id, found.version, found.notes) == (order.worker_id, order.version, ("found again",))


async def test_a_task_that_another_order_has_by_now_is_not_taken_from_it(ledger):
    order = await lost(ledger)
    other = await accepted(ledger)

    assert await assign(ledger, order) == order
    assert await ledger.orders.get("task") == other


async def test_a_task_that_somebody_asked_for_by_its_id_moves_to_the_order_it_is_of(ledger):
    order = await lost(ledger)
    await ledger.orders.adopt(make_found("task"))
    [adopted] = await take_over(ledger)
    await save(ledger, adopted, **CLOSED, images=(SAVED,))
    found = await assign(ledger, order)

    assert (found.local_id, found.stage, found.images) == (order.local_id, Stage.CLOSED, (SAVED,))
    assert await ledger.orders.get(adopted.local_id) is None


async def test_who_has_lost_the_lease_finds_nothing(ledger, clock):
    order = await lost(ledger)
    clock.advance(LEASE)
    assert await claim(ledger) == [order.local_id]

    assert await assign(ledger, order) is None
    assert await offer(ledger, order, make_found("task")) is None
    assert await ledger.orders.get("task") is None


async def test_everything_that_may_be_the_orders_is_written_down_with_its_end(ledger, clock):
    order = await lost(ledger)
    candidates = [make_found(task, origin=Origin.RECOVERED, notes=("whose?",)) for task in ("one", "two")]
    ended = await offer(ledger, order, *candidates)

    assert (ended.stage, ended.task_id) == (Stage.CLOSED, None)
    for candidate in candidates:
        assert await ledger.orders.get(candidate.task_id) == replace(candidate, created_at=clock.now())
    assert sorted(await claim(ledger)) == ["local-of-one", "local-of-two"]


async def test_a_candidate_that_has_a_row_is_left_as_it_is(ledger):
    order = await lost(ledger)
    other = await accepted(ledger, "one")
    await offer(ledger, order, make_found("one"), make_found("two"))

    assert await ledger.orders.get("one") == other
    assert await ledger.orders.get("local-of-one") is None


async def test_an_answer_that_names_a_task_found_for_another_order_sends_that_order_back_into_the_search(ledger):
    wrong = await assign(ledger, await lost(ledger), notes=("found again",))
    wrong = await save(ledger, wrong, **CLOSED, images=(SAVED,))
    await ledger.orders.mark_delivered(wrong.local_id)
    right = await sent(ledger)

    answered = await accept(ledger, right)
    assert (answered.task_id, answered.status, answered.images) == ("task", TaskStatus.SUCCEEDED, (SAVED,))
    again = await ledger.orders.get(wrong.local_id)
    assert (again.task_id, again.stage, again.status) == (None, Stage.LOST, TaskStatus.SUBMIT_UNKNOWN)
    assert (again.images, again.notes, again.delivered_at, again.lost_at) == ((), (), None, 2.0)
    assert (again.request, again.sent_at) == (wrong.request, wrong.sent_at)
    assert await save(ledger, wrong, **FAILED) is None
    assert await claim(ledger) == [wrong.local_id]
