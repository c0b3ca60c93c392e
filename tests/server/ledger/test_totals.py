"""Numbers of orders are the same whether they are kept as sums or counted one by one."""

from dataclasses import replace

from fakes.orders import CLOSED, accept, accepted, make_order, placed, save, sent
from wan_mcp.ledger import DAY, ImageState, OrderImage, Origin, Stage
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.service import OrderQuery, OrderState
from wan_mcp_tools.domain.tasks import TaskStatus

BACK_ENDS = ("sqlite", "postgres")
SAVED = OrderImage(1, ImageState.SAVED, path="/pictures/a.png")
ENOUGH = 100


async def test_a_count_is_of_orders_and_saved_images_and_names_what_there_is(ledger):
    order = await accepted(ledger, "one", region="beijing", model="wan2.7-image")
    await save(ledger, order, **CLOSED, images=(SAVED, OrderImage(2, ImageState.FAILED, code="x")))
    await placed(ledger)

    survey = await ledger.totals.count_orders(OrderQuery())
    assert (survey.orders, survey.images) == (2, 1)
    assert survey.models == ("wan2.6-t2i", "wan2.7-image")
    assert survey.regions == ("beijing", "singapore")
    assert (await ledger.totals.count_orders(OrderQuery(region="beijing"))).orders == 1
    assert (await ledger.totals.count_orders(OrderQuery(text="nothing of this"))).orders == 0


async def close_many(databases, clock, **changes):
    orders = [
        make_order(
            stage=Stage.CLOSED, status=TaskStatus.SUCCEEDED, created_at=clock.now(), images=(SAVED,), **changes
        )
        for _ in range(ENOUGH)
    ]
    await databases[0].write(lambda tx: [insert_order(tx, order) for order in orders])
    return orders


async def read_sums(databases):
    rows = await databases[0].read(lambda tx: tx.execute("SELECT * FROM totals ORDER BY region, model, status"))
    return [(row["status"], row["orders"], row["images"]) for row in rows if row["orders"]]


async def count(ledger, **query):
    totals = await ledger.totals.count_orders(OrderQuery(**query))
    return totals.orders, totals.images


async def test_numbers_are_the_same_before_and_after_orders_are_moved_into_the_sums(ledger, databases, clock):
    await close_many(databases, clock)
    await placed(ledger)
    queries = [{}, {"state": OrderState.OPEN}, {"state": OrderState.SAVED}, {"model": "x"}, {"text": "flower"}]
    before = [await count(ledger, **query) for query in queries]
    await ledger.totals.settle(rounds=1)

    assert await read_sums(databases) == [("SUCCEEDED", ENOUGH, ENOUGH)]
    assert [await count(ledger, **query) for query in queries] == before
    assert before == [(ENOUGH + 1, ENOUGH), (1, 0), (ENOUGH, ENOUGH), (0, 0), (ENOUGH + 1, ENOUGH)]


async def test_a_few_closed_orders_are_not_worth_a_write(ledger, databases, clock):
    order = await accepted(ledger, "one")
    await save(ledger, order, **CLOSED)
    await ledger.totals.settle(rounds=3)

    assert await read_sums(databases) == []
    assert await count(ledger) == (1, 0)


async def test_what_another_release_changes_of_an_order_in_the_sums_is_counted_as_it_is(ledger, databases, clock):
    """A release without these sums writes the other columns alone, and a new lease before it opens an order again."""
    first, second, *_ = await close_many(databases, clock)
    await ledger.totals.settle(rounds=1)
    change = "UPDATE orders SET status = 'FAILED' WHERE local_id = $1"
    await databases[0].write(lambda tx: tx.execute(change, first.local_id))
    await databases[0].write(lambda tx: tx.execute("DELETE FROM images WHERE local_id = $1", second.local_id))
    reopen = "UPDATE orders SET version = version + 1 WHERE local_id = $1"
    await databases[0].write(lambda tx: tx.execute(reopen, second.local_id))

    assert await count(ledger) == (ENOUGH, ENOUGH - 1)
    assert await count(ledger, state=OrderState.FAILED) == (1, 1)
    await close_many(databases, clock)
    await ledger.totals.settle(rounds=1)
    assert await read_sums(databases) == [("FAILED", 1, 1), ("SUCCEEDED", 2 * ENOUGH - 1, 2 * ENOUGH - 2)]
    assert await count(ledger) == (2 * ENOUGH, 2 * ENOUGH - 1)


async def test_an_order_in_the_sums_that_is_opened_again_by_a_late_answer_leaves_them(ledger, databases, clock):
    lost = await sent(ledger)
    lost = await save(ledger, lost, status=TaskStatus.SUBMIT_UNKNOWN, stage=Stage.CLOSED)
    await close_many(databases, clock)
    await ledger.totals.settle(rounds=1)
    assert await count(ledger, state=OrderState.FAILED) == (1, 0)

    await accept(ledger, lost, "late")
    assert await count(ledger, state=OrderState.FAILED) == (0, 0)
    assert await count(ledger, state=OrderState.OPEN) == (1, 0)
    assert await count(ledger) == (ENOUGH + 1, ENOUGH)


async def test_an_adopted_row_that_turns_out_to_be_anothers_task_is_counted_no_more(ledger, databases, clock):
    lost = await sent(ledger)
    adopted = make_order(task_id="task", origin=Origin.ADOPTED, stage=Stage.CLOSED, status=TaskStatus.SUCCEEDED)
    await ledger.orders.adopt(replace(adopted, created_at=clock.now(), images=(SAVED,)))
    clock.advance(3 * DAY)
    await close_many(databases, clock)
    await ledger.totals.settle(rounds=1)
    assert await count(ledger) == (ENOUGH + 2, ENOUGH + 1)

    await accept(ledger, lost, "task")
    assert await count(ledger) == (ENOUGH + 1, ENOUGH + 1)
