"""What one server writes, another one on the same PostgreSQL database is told of; where it is not, it looks."""

import threading
import time

import anyio
import psycopg
import pytest

from fakes.clock import until
from fakes.cutting_proxy import open_proxy
from fakes.orders import CLOSED, accept, begin, make_order, save
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import FREE_ORDERS, Dispatch, RateLimit, Slot
from wan_mcp.ledger.backends.postgres import open_postgres_ledger

SOON = 0.5
"""Seconds from a commit to the moment at which others know of it."""


@pytest.fixture
async def open_ledger(postgres_url):
    """Open ledgers on one database, as servers do; they are closed in the end."""
    opened = []

    def open_one(url=postgres_url):
        opened.append(open_postgres_ledger(url, SystemClock(), busy_seconds=10))
        return opened[-1]

    yield open_one
    for ledger in opened:
        await ledger.close()


@pytest.fixture
def proxy(postgres_url):
    with open_proxy(postgres_url) as proxy:
        yield proxy


class Database:
    """What a person at the database sees of the servers that listen."""

    def __init__(self, url):
        self._url = url

    def listeners(self):
        """Give the process of each connection that listens to this ledger."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            [(name,)] = connection.execute("SELECT ledger_id FROM migrations WHERE number = 1").fetchall()
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE query = %s", [f'LISTEN "wan_mcp_{name}"']
            )
            return [pid for (pid,) in found]

    def cut(self):
        """End the connections that listen."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for pid in self.listeners():
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.fixture
def database(postgres_url):
    return Database(postgres_url)


async def place(ledger, **changes):
    return (await ledger.orders.place(make_order(**changes), lease=30, deduplicate=False)).order


async def heard(ledger, write, topic):
    """Give the seconds from a write to the moment at which it is heard of, None if it is not."""
    change = ledger.next_change(topic)
    await write()
    began = time.monotonic()
    with anyio.move_on_after(SOON):
        await change.wait()
    return time.monotonic() - began if change.is_set() else None


async def listen(ledger, database):
    """Begin to listen, and wait until notices arrive: the first look is asked for then."""
    known = database.listeners()
    with anyio.fail_after(45):
        await ledger.next_change(FREE_ORDERS).wait()
    assert set(database.listeners()) - set(known)


async def test_another_server_hears_at_once_of_an_order_that_is_closed(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    order = await place(there)
    await listen(here, database)

    assert await heard(here, lambda: save(there, order, **CLOSED), order.local_id) is not None


async def test_another_server_hears_at_once_of_orders_that_are_free(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    await place(there, worker_id="there")
    await listen(here, database)

    assert await heard(here, lambda: there.leases.release("there"), FREE_ORDERS) is not None


async def test_another_server_hears_at_once_of_a_slot_that_is_left(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    slot = Slot("create/singapore/account/wan2.6-t2i", 30.0)
    assert await there.leases.take_slot(slot, "order")
    await listen(here, database)

    assert await heard(here, lambda: there.leases.leave_slot(slot, "order"), slot.name) is not None
    assert await here.leases.take_slot(slot, "another")


async def test_an_order_that_is_answered_tells_other_servers_that_its_slot_is_free(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    dispatch = Dispatch(Slot("create/singapore/account/wan2.6-t2i", 30.0), RateLimit("create", 100.0))
    order = await place(there)
    sending = await there.orders.begin_sending(order, begin(order), dispatch)
    await listen(here, database)

    assert await heard(here, lambda: accept(there, sending, "task-1", slot=dispatch.slot), dispatch.slot.name)


async def test_who_waits_for_an_order_is_not_woken_by_another_one(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    order, other = await place(there), await place(there)
    await listen(here, database)
    change = here.next_change(order.local_id)

    assert await heard(here, lambda: save(there, other, **CLOSED), other.local_id) is not None
    assert not change.is_set()


async def test_a_server_is_not_woken_by_what_it_writes_itself(open_ledger, database):
    here = open_ledger()
    order = await place(here)
    await listen(here, database)

    assert await heard(here, lambda: save(here, order, **CLOSED), order.local_id) is None


async def test_a_lease_that_goes_on_wakes_nobody(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    order = await place(there, worker_id="there")
    await listen(here, database)
    change = here.next_change(order.local_id)

    assert await heard(here, lambda: there.leases.renew("there", lease=30), FREE_ORDERS) is None
    assert not change.is_set()


async def test_what_is_not_committed_is_told_to_nobody(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    order = await place(there)
    await listen(here, database)

    def change_and_fail(tx):
        tx.announce(order.local_id)
        raise ZeroDivisionError

    async def write():
        with pytest.raises(ZeroDivisionError):
            await there._database.write(change_and_fail)

    assert await heard(here, write, order.local_id) is None


async def test_a_server_whose_listening_connection_was_ended_listens_again(open_ledger, database):
    here, there = open_ledger(), open_ledger()
    order = await place(there)
    await listen(here, database)
    change = here.next_change(order.local_id)
    [before] = database.listeners()
    database.cut()

    # What was written in between may have been told to nobody, so that whoever waits looks once.
    with anyio.fail_after(45):
        await change.wait()
    assert before not in database.listeners()
    assert await heard(here, lambda: save(there, order, **CLOSED), order.local_id) is not None


async def test_behind_a_pooler_that_keeps_notices_nobody_listens_and_everything_is_found(
    open_ledger, proxy, database
):
    proxy.keeps_notices = True
    here, there = open_ledger(proxy.url), open_ledger()
    order = await place(there)
    change = here.next_change(order.local_id)
    await until(database.listeners)
    await until(lambda: not database.listeners())

    version = await here.version()
    assert await heard(here, lambda: save(there, order, **CLOSED), order.local_id) is None
    assert not change.is_set()
    assert await here.version() != version
    assert (await here.orders.get(order.local_id)).stage == CLOSED["stage"]


async def test_a_server_that_ends_leaves_no_connection_and_no_thread(open_ledger, database):
    before = threading.active_count()
    ledger = open_ledger()
    await place(ledger)
    await listen(ledger, database)
    began = time.monotonic()
    await ledger.close()

    assert time.monotonic() - began < SOON * 2
    assert "wan-mcp ledger changes" not in [thread.name for thread in threading.enumerate()]
    assert threading.active_count() <= before + 1
    await until(lambda: not database.listeners())


async def test_a_database_that_is_away_is_waited_for_in_silence(open_ledger, caplog):
    ledger = open_ledger("postgresql://me@127.0.0.1:1/ledger")
    change = ledger.next_change(FREE_ORDERS)
    await anyio.sleep(0.5)
    await ledger.close()

    assert not change.is_set()
    assert [
        record for record in caplog.records if record.levelname in ("WARNING", "ERROR") and "wan_mcp" in record.name
    ] == []
