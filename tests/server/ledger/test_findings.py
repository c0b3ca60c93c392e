"""What a search finds may be wrong: it never takes a task from another order, and never does half of its work."""

from fakes.orders import LEASE, LONGEST, OPEN, accepted, claim, sent
from wan_mcp.ledger import ImageState, OrderImage, Origin, Stage
from wan_mcp_tools.domain.tasks import TaskStatus

LOST = {"stage": Stage.LOST, "status": TaskStatus.SUBMIT_UNKNOWN, "lost_at": 2.0}
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png", sha256="00")


async def lost(ledger, **words):
    return await ledger.advance(await sent(ledger, **words), LOST)


async def adopt(ledger, task_id="task", **changes):
    words = {"origin": Origin.ADOPTED, "region": "singapore", "account": "account"}
    return await ledger.adopt(local_id=f"local-of-{task_id}", task_id=task_id, changes=OPEN | changes, **words)


async def test_a_lost_order_gets_the_task_that_was_found(ledger):
    order = await lost(ledger)
    found = await ledger.identify(order, "task", OPEN)

    assert (found.task_id, found.stage, found.lost_at) == ("task", Stage.OPEN, 2.0)
    assert (found.owner, found.version) == (order.owner, order.version)


async def test_a_task_that_another_order_has_by_now_is_not_taken_from_it(ledger):
    order = await lost(ledger)
    other = await accepted(ledger, "task")

    assert await ledger.identify(order, "task", OPEN) == order
    assert await ledger.get("task") == other


async def test_a_task_that_somebody_asked_for_by_its_id_moves_to_the_order_it_is_of(ledger):
    order = await lost(ledger)
    adopted = await adopt(ledger)
    [adopted] = await ledger.claim("other", lease=LEASE, limit=1, longest_lease=LONGEST)
    await ledger.advance(adopted, {"stage": Stage.CLOSED, "status": TaskStatus.SUCCEEDED}, [SAVED])
    found = await ledger.identify(order, "task", OPEN)

    assert (found.local_id, found.stage, found.images) == (order.local_id, Stage.CLOSED, (SAVED,))
    assert await ledger.get(adopted.local_id) is None


async def test_who_has_lost_the_lease_finds_nothing(ledger, clock):
    order = await lost(ledger)
    clock.advance(LEASE + 1)
    assert await claim(ledger) == [order.local_id]

    assert await ledger.identify(order, "task", OPEN) is None
    assert await ledger.offer(order, {"stage": Stage.CLOSED}, tasks={"local-1": "task"}, task=OPEN) is None
    assert await ledger.get("task") is None


async def test_everything_that_may_be_the_orders_is_written_down_with_its_end(ledger):
    order = await lost(ledger)
    common = OPEN | {"notes": ("whose?",), "folder": "/pictures"}
    ended = await ledger.offer(
        order, {"stage": Stage.CLOSED}, tasks={"local-a": "one", "local-b": "two"}, task=common
    )

    assert (ended.stage, ended.task_id) == (Stage.CLOSED, None)
    for local_id, task_id in (("local-a", "one"), ("local-b", "two")):
        row = await ledger.get(task_id)
        assert (row.local_id, row.origin, row.stage) == (local_id, Origin.RECOVERED, Stage.OPEN)
        assert (row.region, row.account, row.notes) == (order.region, order.account, ("whose?",))
    assert sorted(await claim(ledger)) == ["local-a", "local-b"]


async def test_a_task_that_has_a_row_is_offered_under_that_row(ledger):
    order = await lost(ledger)
    other = await accepted(ledger, "one")
    await ledger.offer(order, {"stage": Stage.CLOSED}, tasks={"local-a": "one", "local-b": "two"}, task=OPEN)

    assert await ledger.get("one") == other
    assert await ledger.get("local-a") is None


async def test_an_answer_that_names_a_task_found_for_another_order_sends_that_order_back_into_the_search(ledger):
    wrong = await ledger.identify(await lost(ledger), "task", OPEN | {"notes": ("found again",)})
    wrong = await ledger.advance(wrong, {"status": TaskStatus.SUCCEEDED, "stage": Stage.CLOSED}, [SAVED])
    await ledger.deliver(wrong.local_id)
    right = await sent(ledger)

    named = await ledger.accept(right.local_id, "task", slot=None, changes=OPEN, held=right)
    assert (named.task_id, named.status, named.images) == ("task", TaskStatus.SUCCEEDED, (SAVED,))
    again = await ledger.get(wrong.local_id)
    assert (again.task_id, again.stage, again.status) == (None, Stage.LOST, TaskStatus.SUBMIT_UNKNOWN)
    assert (again.images, again.notes, again.delivered_at, again.lost_at) == ((), (), None, 2.0)
    assert (again.request, again.sent_at) == (wrong.request, wrong.sent_at)
    assert await ledger.advance(wrong, {"status": TaskStatus.FAILED}) is None
    assert await claim(ledger) == [wrong.local_id]
