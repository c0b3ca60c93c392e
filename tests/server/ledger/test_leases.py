"""One process works on an order; another takes it over only when the first has fallen silent."""

from fakes.orders import EASY, LEASE, LONGEST, OPEN, accepted, claim, placed, sent
from fakes.rivals import Rivals
from wan_mcp.clock import SystemClock
from wan_mcp.ledger import Dispatch, ImageState, OrderImage, SqliteLedger, Stage
from wan_mcp_tools.domain.tasks import TaskStatus


async def test_only_an_order_whose_lease_is_over_is_claimed(ledger, clock):
    order = await placed(ledger, owner="me")
    clock.advance(LEASE - 0.1)
    assert await claim(ledger, "other") == []

    clock.advance(0.1)
    assert await claim(ledger, "other") == [order.local_id]
    assert await claim(ledger, "third") == []


async def test_nobody_claims_its_own_orders_even_after_sleeping_through_their_leases(ledger, clock):
    order = await placed(ledger, owner="me")
    assert await claim(ledger, "me") == []

    clock.advance(3600)
    assert await claim(ledger, "me") == []
    assert await ledger.advance(order, {"status": TaskStatus.RUNNING}) is not None


async def test_a_renewed_lease_is_not_over(ledger, clock):
    await placed(ledger, owner="me")
    clock.advance(LEASE - 1)
    await ledger.renew("me", lease=LEASE)
    clock.advance(LEASE - 1)

    assert await claim(ledger, "other") == []


async def test_a_former_owner_can_write_nothing_more(ledger, clock):
    order = await accepted(ledger, "task", owner="me")
    clock.advance(LEASE)
    [taken] = await ledger.claim("other", lease=LEASE, limit=10, longest_lease=LONGEST)
    image = OrderImage(1, ImageState.SAVED, path="/pictures/late.png")

    assert await ledger.advance(order, {"status": TaskStatus.FAILED}, [image]) is None
    assert await ledger.get(order.local_id) == taken
    assert await ledger.advance(taken, {"status": TaskStatus.RUNNING}) is not None


async def test_a_former_owner_is_fenced_off_even_when_it_claims_again(ledger, clock):
    first = await accepted(ledger, "task", owner="me")
    clock.advance(LEASE)
    await claim(ledger, "other")
    clock.advance(LEASE)
    assert await claim(ledger, "me") == [first.local_id]

    assert await ledger.advance(first, {"status": TaskStatus.RUNNING}) is None


async def test_a_former_owner_sends_nothing(ledger, clock):
    order = await placed(ledger, owner="me")
    clock.advance(LEASE)
    await claim(ledger, "other")

    assert await ledger.begin_sending(order, Dispatch(None, EASY, None)) is None


async def test_a_lease_from_a_clock_that_was_set_back_counts_as_over(ledger, clock):
    order = await placed(ledger, owner="me")
    clock.set_back(3600)

    assert await claim(ledger, "other") == [order.local_id]


async def test_a_lease_within_the_longest_is_believed(ledger, clock):
    await placed(ledger, owner="me")
    clock.set_back(LONGEST - LEASE - 1)

    assert await claim(ledger, "other") == []


async def test_the_order_nearest_to_its_end_is_taken_first(ledger, clock):
    late = await accepted(ledger, "late")
    soon = await accepted(ledger, "soon")
    later = await accepted(ledger, "later")
    for order, hours in ((late, 20), (soon, 1), (later, 22)):
        await ledger.advance(order, {"expires_at": clock.now() + hours * 3600})
    clock.advance(LEASE)

    assert await claim(ledger, limit=2) == [soon.local_id, late.local_id]
    assert await claim(ledger) == [later.local_id]


async def test_no_room_means_that_nothing_is_taken(ledger, clock):
    await placed(ledger)
    clock.advance(LEASE)

    assert await claim(ledger, limit=0) == []
    assert await claim(ledger, limit=-3) == []


async def test_a_closed_order_is_never_claimed(ledger, clock):
    order = await placed(ledger)
    await ledger.advance(order, {"stage": Stage.CLOSED})
    clock.advance(LEASE)

    assert await claim(ledger) == []


async def test_released_orders_are_free_at_once_for_anybody(ledger):
    mine = await placed(ledger, owner="me")
    await placed(ledger, owner="third")
    await ledger.release("me")

    assert await claim(ledger, "other") == [mine.local_id]
    await ledger.release("other")
    assert await claim(ledger, "other") == [mine.local_id]


async def test_what_was_released_is_not_held_any_more(ledger):
    order = await placed(ledger, owner="me")
    await ledger.release("me")

    assert await ledger.advance(order, {"status": TaskStatus.RUNNING}) is None


async def test_an_order_that_was_overridden_is_nobodys(ledger):
    order = await placed(ledger, owner="me")
    overridden = await ledger.override(order.local_id, {"status": TaskStatus.UNKNOWN}, stages=(Stage.QUEUED,))

    assert overridden.owner is None
    [taken] = await ledger.claim("me", lease=LEASE, limit=1, longest_lease=LONGEST)
    assert await ledger.advance(order, {"status": TaskStatus.RUNNING}) is None
    assert await ledger.advance(taken, {"status": TaskStatus.RUNNING}) is not None


async def test_the_next_end_of_a_lease_is_that_of_somebody_else(ledger, clock):
    assert await ledger.next_lease_end("me") is None
    await placed(ledger, owner="me", lease=10)
    assert await ledger.next_lease_end("me") is None
    await placed(ledger, owner="other", lease=20)
    await placed(ledger, owner="third", lease=15)

    assert await ledger.next_lease_end("me") == clock.now() + 15


async def test_looking_for_free_orders_writes_nothing(ledger, path):
    await placed(ledger)
    before = path.read_bytes()
    token = await ledger.token()

    assert await claim(ledger) == []
    assert await ledger.token() == token
    assert path.read_bytes() == before


async def test_every_write_changes_the_token(ledger):
    order = await sent(ledger)
    before = await ledger.token()
    await ledger.accept(order.local_id, "task", slot=None, changes=OPEN, held=order)

    assert await ledger.token() != before


async def test_four_processes_claiming_at_once_never_share_an_order(path):
    ledger = SqliteLedger(path, SystemClock())
    expected = {(await placed(ledger, lease=0)).local_id for _ in range(80)}
    await ledger.close()

    with Rivals(4) as rivals:
        answers = rivals.race("claim", path=path, tries=80)

    claimed = [local_id for answer in answers for local_id in answer["claimed"]]
    assert len(claimed) == len(expected)
    assert set(claimed) == expected
