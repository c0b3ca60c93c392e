"""The service's answer to an order is recorded whenever it comes, whoever follows the order by then."""

import pytest

from fakes.orders import LEASE, LONGEST, OPEN, accepted, claim, placed, sent
from wan_mcp.ledger import ImageState, OrderImage, Origin, Slot, Stage
from wan_mcp_tools.domain.errors import LedgerError
from wan_mcp_tools.domain.tasks import TaskStatus

LOST = {"stage": Stage.LOST, "status": TaskStatus.SUBMIT_UNKNOWN, "error_code": "AnswerLost", "lost_at": 2.0}
GIVEN_UP = {"stage": Stage.CLOSED, "status": TaskStatus.SUBMIT_UNKNOWN, "error_code": "AnswerLost"}
ANSWER = OPEN | {"error_code": None, "error_message": None}
SLOT = Slot("create/singapore", 6.0)


async def answer(ledger, order, task_id="task", **words):
    return await ledger.accept(order.local_id, task_id, slot=None, changes=ANSWER, held=order, **words)


async def adopt(ledger, task_id="task", **changes):
    return await ledger.adopt(
        local_id=f"local-of-{task_id}",
        task_id=task_id,
        origin=Origin.ADOPTED,
        region="singapore",
        account="account",
        changes={"stage": Stage.OPEN, "status": TaskStatus.RUNNING} | changes,
    )


async def test_an_answer_names_the_task_and_leaves_the_lease_with_its_holder(ledger):
    order = await sent(ledger, owner="me")
    named = await answer(ledger, order)

    assert (named.task_id, named.stage, named.status) == ("task", Stage.OPEN, TaskStatus.PENDING)
    assert (named.owner, named.version, named.lease_until) == (order.owner, order.version, order.lease_until)
    assert named.best_id == "task"
    assert await ledger.get("task") == await ledger.get(order.local_id) == named


async def test_an_answer_frees_the_slot(ledger):
    order = await sent(ledger, slot=SLOT)
    assert not await ledger.take_slot(SLOT, "another order")
    await ledger.accept(order.local_id, "task", slot=SLOT, changes=ANSWER, held=order)

    assert await ledger.take_slot(SLOT, "another order")


@pytest.mark.parametrize("meanwhile", [{}, LOST, GIVEN_UP], ids=["sending", "lost", "given up"])
async def test_a_late_answer_is_recorded_whatever_another_process_made_of_the_order(ledger, clock, meanwhile):
    order = await sent(ledger, owner="me")
    clock.advance(LEASE)
    [taken] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    taken = await ledger.advance(taken, meanwhile)

    named = await answer(ledger, order)
    assert (named.task_id, named.stage, named.status) == ("task", Stage.OPEN, TaskStatus.PENDING)
    assert named.error_code is None


@pytest.mark.parametrize("meanwhile", [{}, LOST, GIVEN_UP], ids=["sending", "lost", "given up"])
async def test_after_a_late_answer_the_process_that_missed_it_cannot_undo_it(ledger, clock, meanwhile):
    order = await sent(ledger, owner="me")
    clock.advance(LEASE)
    [taken] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    taken = await ledger.advance(taken, meanwhile)
    await answer(ledger, order)

    assert await ledger.advance(taken, GIVEN_UP) is None
    assert (await ledger.get("task")).stage is Stage.OPEN


@pytest.mark.parametrize("meanwhile", [{}, LOST, GIVEN_UP], ids=["sending", "lost", "given up"])
@pytest.mark.parametrize("follower", ["me", "other", "third"])
async def test_after_a_late_answer_anybody_may_follow_the_order_at_once(ledger, clock, meanwhile, follower):
    order = await sent(ledger, owner="me")
    clock.advance(LEASE)
    [taken] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    await ledger.advance(taken, meanwhile)
    await answer(ledger, order)
    # Whoever held it works on other orders and keeps renewing.
    await ledger.renew("other", lease=LEASE)

    assert await claim(ledger, follower) == [order.local_id]


async def test_the_holder_of_a_lost_order_that_finds_its_task_keeps_the_lease(ledger):
    order = await ledger.advance(await sent(ledger, owner="me"), LOST)
    found = await answer(ledger, order)

    assert (found.owner, found.version, found.stage) == ("me", order.version, Stage.OPEN)


async def test_the_same_answer_twice_changes_nothing(ledger):
    order = await sent(ledger)
    named = await answer(ledger, order)

    assert await answer(ledger, order) == named


async def test_an_id_that_another_row_has_moves_to_its_order_with_all_that_is_known_of_it(ledger, clock):
    order = await sent(ledger)
    adopted = await adopt(ledger)
    [adopted] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    staged = OrderImage(1, ImageState.STAGED, url="http://image", path="/pictures/a.png", sha256="00", bytes=5)
    await ledger.advance(
        adopted,
        {"status": TaskStatus.SUCCEEDED, "duration": 9.5, "actual_prompt": "a shop", "finished_at": 7.0},
        [staged],
    )

    named = await answer(ledger, order)
    assert (named.local_id, named.task_id, named.images) == (order.local_id, "task", (staged,))
    assert (named.stage, named.status) == (Stage.OPEN, TaskStatus.SUCCEEDED)
    assert (named.duration, named.actual_prompt, named.finished_at) == (9.5, "a shop", 7.0)
    assert (named.fingerprint, named.request, named.origin) == (order.fingerprint, order.request, Origin.ORDERED)
    assert await ledger.get(adopted.local_id) is None
    assert len(await ledger.page(status=None, limit=10, before=None)) == 1


async def test_the_follower_of_a_row_whose_task_has_moved_writes_nothing_more(ledger):
    order = await sent(ledger)
    await adopt(ledger)
    [adopted] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    await answer(ledger, order)

    assert await ledger.advance(adopted, {"status": TaskStatus.FAILED}) is None
    assert (await ledger.get("task")).local_id == order.local_id
    assert await ledger.get(adopted.local_id) is None


async def test_the_reason_why_a_task_failed_moves_with_its_id(ledger):
    order = await sent(ledger)
    why = {"error_code": "DataInspectionFailed", "error_message": "The prompt was refused."}
    await adopt(ledger, stage=Stage.CLOSED, status=TaskStatus.FAILED, **why)

    named = await answer(ledger, order)
    assert (named.stage, named.status) == (Stage.CLOSED, TaskStatus.FAILED)
    assert (named.error_code, named.error_message) == ("DataInspectionFailed", "The prompt was refused.")


async def test_a_second_id_for_an_order_gets_a_row_of_its_own(ledger):
    order = await sent(ledger, request='{"prompt": "a shop"}')
    first = await answer(ledger, order, "first")
    second = await answer(ledger, order, "second")

    assert (second.task_id, second.origin, second.stage) == ("second", Origin.RECOVERED, Stage.OPEN)
    assert second.local_id != order.local_id
    assert (second.region, second.account, second.wire_model) == (order.region, order.account, order.wire_model)
    assert (second.request, second.folder) == (order.request, order.folder)
    assert await ledger.get("first") == first
    assert await claim(ledger) == [second.local_id]


async def test_a_second_id_is_not_counted_as_ordered_twice(ledger):
    order = await sent(ledger, images=2)
    await answer(ledger, order, "first")
    await answer(ledger, order, "second")

    assert await ledger.images_since(0) == 2


async def test_a_second_id_that_has_a_row_keeps_it(ledger):
    order = await sent(ledger)
    await answer(ledger, order, "first")
    adopted = await adopt(ledger, "second")

    assert await answer(ledger, order, "second") == adopted


async def test_an_answer_without_an_id_brings_its_images(ledger):
    order = await sent(ledger, protocol="sync", images=2)
    images = [OrderImage(index, ImageState.WAITING, url=f"http://image/{index}") for index in (1, 2)]
    named = await answer(ledger, order, None, images=images)

    assert (named.task_id, named.best_id, named.stage) == (None, order.local_id, Stage.OPEN)
    assert named.images == tuple(images)
    assert named.version == order.version


async def test_a_late_answer_without_an_id_opens_an_order_that_was_given_up(ledger, clock):
    order = await sent(ledger, owner="me", protocol="sync")
    clock.advance(LEASE)
    [taken] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    await ledger.advance(taken, GIVEN_UP)
    image = OrderImage(1, ImageState.WAITING, url="http://image/1")
    await answer(ledger, order, None, images=[image])

    [again] = await ledger.claim("third", lease=LEASE, limit=1, longest_lease=LONGEST)
    assert (again.stage, again.images) == (Stage.OPEN, (image,))


async def test_an_answer_to_an_order_that_never_was_is_an_error(ledger):
    with pytest.raises(LedgerError, match="no longer in the ledger") as raised:
        await ledger.accept("local-never", "task", slot=None, changes=ANSWER)
    assert raised.value.code == "LedgerRowGone"


async def test_adopting_a_task_twice_gives_the_one_row(ledger):
    first = await adopt(ledger)
    again = await ledger.adopt(
        local_id="another", task_id="task", origin=Origin.RECOVERED, region="beijing", account="x", changes=OPEN
    )

    assert again == first
    assert await claim(ledger) == [first.local_id]


async def test_an_order_whose_id_is_known_is_not_among_the_unanswered(ledger):
    unnamed = await sent(ledger)
    lost = await ledger.advance(await sent(ledger), LOST)
    await accepted(ledger, "task")
    await placed(ledger)
    await sent(ledger, wire_model="wan2.5-t2i-preview")

    found = await ledger.unanswered("singapore", "wan2.6-t2i")
    assert [order.local_id for order in found] == [unnamed.local_id, lost.local_id]
    assert await ledger.unanswered("beijing", "wan2.6-t2i") == []
