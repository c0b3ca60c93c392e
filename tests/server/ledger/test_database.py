"""However many orders there are, a look at them is a handful of statements, and PostgreSQL understands each of them."""

from dataclasses import replace

import pytest

from fakes.orders import claim, make_order, take_over
from fakes.recording_database import find_unportable
from wan_mcp.ledger import DAY, ImageState, OrderImage, Stage
from wan_mcp.ledger.rows import insert_order
from wan_mcp_tools.domain.service import OrderQuery

BACK_ENDS = ("sqlite", "postgres")

COUNT = 300


@pytest.fixture
async def full(ledger, databases, clock):
    """A ledger with three hundred open orders of four images each, and what is executed on it from now on."""
    images = tuple(OrderImage(index, ImageState.WAITING, url="http://image") for index in (1, 2, 3, 4))
    orders = [
        make_order(
            stage=Stage.OPEN, images=images, created_at=clock.now() - DAY + number, fingerprint="same", sent_at=1.0
        )
        for number in range(COUNT)
    ]
    await databases[0].write(lambda tx: [insert_order(tx, order) for order in orders])
    databases[0].executed.clear()
    return ledger, databases[0].executed


async def test_a_hundred_of_three_hundred_open_orders_are_claimed_in_a_handful_of_statements(full):
    ledger, executed = full
    claimed = await take_over(ledger, limit=100)

    assert len(claimed) == 100
    assert all(len(order.images) == 4 for order in claimed)
    assert len(executed) <= 3
    executed.clear()
    assert len(await claim(ledger, "third", limit=COUNT)) == 200
    assert len(executed) <= 4


async def test_a_look_at_many_orders_and_their_images_is_one_statement_and_one_more_where_it_is_a_search(full):
    ledger, executed = full

    async def look(looking, found, statements):
        executed.clear()
        orders = await looking
        assert len(orders) == found
        assert all(len(order.images) == 4 for order in orders)
        assert len(executed) == statements

    await look(ledger.search.list_orders(status=None, limit=50, before=None), 50, 1)
    await look(ledger.search.list_orders(status=None, limit=2 * COUNT, before=None), COUNT, 1)
    await look(ledger.search.find_orders(OrderQuery(text="flower"), limit=50, before=None), 50, 2)
    await look(ledger.leases.list_others("other"), COUNT, 1)


async def test_the_next_end_of_a_lease_and_renewing_are_one_statement_each(full):
    ledger, executed = full
    await ledger.leases.find_next_end("other")
    await ledger.leases.renew("me", lease=30.0)
    await ledger.leases.release("me")

    assert len(executed) == 3


async def test_a_change_costs_as_many_statements_as_there_are_rows_to_write(full):
    ledger, executed = full
    [order] = await take_over(ledger, limit=1)
    executed.clear()
    images = (*order.images[:3], replace(order.images[3], state=ImageState.SAVED))
    saved = await ledger.orders.save(order, replace(order, error_code="x", images=images))

    assert saved.images == images
    assert len(executed) == 4  # The lease, the order, the image, and the row as it is then.


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("INSERT OR REPLACE INTO slots (name) VALUES ($1)", 1),
        ("SELECT * FROM orders WHERE local_id = ?", 1),
        ("SELECT * FROM orders WHERE owner IS NOT $1", 1),
        ("SELECT json_extract(request, '$.prompt') FROM orders", 0),
        ("SELECT date(created_at, 'unixepoch') FROM orders", 0),
        ("SELECT datetime(created_at) FROM orders", 0),
        ("SELECT * FROM orders WHERE 1", 0),
        ("SELECT * FROM orders WHERE local_id = $1", 2),
        ("SELECT * FROM orders WHERE local_id = $2", 1),
        ("SELECT * FROM orders {for_share}", 0),
    ],
)
def test_what_only_sqlite_understands_is_noticed(statement, values):
    assert find_unportable(statement, values)
