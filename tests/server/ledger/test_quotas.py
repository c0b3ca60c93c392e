"""What each principal and all together may order: images, indicative costs and orders that go on, on both databases."""

from decimal import Decimal

import anyio
import pytest

from fakes.orders import CLOSED, FAILED, accepted, place, save
from fakes.processes import Processes
from wan_mcp.ledger import DAY, OrderLimits, RateLimit, Stage, to_millionths
from wan_mcp_tools.domain.errors import CostLimitError, DailyLimitError, LimitError, OpenLimitError
from wan_mcp_tools.domain.tasks import TaskStatus
from wan_mcp_tools.domain.usage import Quota

BACK_ENDS = ("sqlite", "postgres")
HOUR = 3600.0
CENTS = 10_000
CANCELED = {"stage": Stage.CLOSED, "status": TaskStatus.CANCELED}


def each(**quota):
    return OrderLimits(each=Quota(**quota))


def everybody(**quota):
    return OrderLimits(Quota(**quota))


def usd(amount):
    return {"USD": Decimal(amount)}


async def buy(ledger, cents=30, *, limits, principal="ada", **changes):
    """Place an order that may cost so much."""
    paid = {"cost": cents * CENTS, "currency": "USD"} | changes
    return (await place(ledger, limits=limits, principal=principal, **paid)).order


async def refused(kind, ledger, *args, **changes) -> LimitError:
    with pytest.raises(kind) as caught:
        await buy(ledger, *args, **changes)
    return caught.value


async def test_the_images_of_each_are_counted_for_each(ledger):
    limits = each(daily_images=3)
    for who in ("ada", "bob"):
        await buy(ledger, limits=limits, principal=who, images_ordered=3)
        error = await refused(DailyLimitError, ledger, limits=limits, principal=who)
        assert error.message.startswith("3 images were ordered by you in the last 24 hours, and your limit is 3.")
        assert "WAN_MCP_USER_DAILY_IMAGE_LIMIT" in error.advice
    await refused(DailyLimitError, ledger, limits=everybody(daily_images=6), principal="eve")


@pytest.mark.parametrize(("limits", "who"), [(each, "your limit"), (everybody, "the limit of this server")])
async def test_a_limit_of_costs_is_kept_to_the_millionth_and_says_when_it_frees(ledger, clock, limits, who):
    daily = limits(daily_cost=usd("1"))
    for _ in range(3):
        await buy(ledger, limits=daily)
        clock.advance(HOUR)
    error = await refused(CostLimitError, ledger, limits=daily)
    assert error.message.startswith("About 0.90 USD were ordered")
    assert f"this order may cost 0.30 USD, and {who} is 1.00 USD. Nothing was ordered." in error.message
    assert "in 21 h 0 min" in error.message
    assert error.retryable
    await buy(ledger, 10, limits=daily)
    await refused(CostLimitError, ledger, 0, limits=daily, cost=1)

    clock.advance(21 * HOUR)
    await buy(ledger, limits=daily)


async def test_costs_of_a_month_are_those_of_thirty_days(ledger, clock):
    monthly = each(monthly_cost=usd("0.50"))
    await buy(ledger, limits=monthly)
    clock.advance(29 * DAY)
    error = await refused(CostLimitError, ledger, limits=monthly)
    assert "in the last 30 days" in error.message
    assert "in 24 h 0 min" in error.message
    assert "WAN_MCP_USER_MONTHLY_COST_LIMIT" in error.advice
    clock.advance(DAY)
    await buy(ledger, limits=monthly)


async def test_one_order_that_costs_more_than_a_limit_is_never_possible(ledger):
    error = await refused(CostLimitError, ledger, 101, limits=each(daily_cost=usd("1")))
    assert not error.retryable
    assert "more than that ever allows" in error.message


@pytest.mark.parametrize(("currency", "words"), [("CNY", "priced in CNY"), (None, "of no known price")])
async def test_what_a_limit_of_costs_cannot_count_is_refused(ledger, currency, words):
    error = await refused(CostLimitError, ledger, limits=each(daily_cost=usd("5")), currency=currency, cost=0)
    assert words in error.message
    assert not error.retryable
    both = each(daily_cost=usd("1") | {"CNY": Decimal(2)})
    await buy(ledger, 100, limits=both)
    await buy(ledger, 200, limits=both, currency="CNY")


async def test_what_is_free_or_was_never_taken_counts_for_nothing(ledger):
    limits = each(daily_cost=usd("0.30"), open_orders=1)
    await buy(ledger, limits=limits, region="sandbox", cost=0, currency=None)
    await buy(ledger, limits=limits, region="sandbox", cost=0, currency=None)
    for changes in (FAILED, CANCELED):
        order = await buy(ledger, limits=limits)
        await refused(LimitError, ledger, limits=limits)
        await save(ledger, order, **changes)
    await buy(ledger, limits=limits)


async def test_as_many_orders_go_on_as_are_allowed_at_once(ledger):
    order = await accepted(ledger, principal="ada")
    error = await refused(OpenLimitError, ledger, limits=each(open_orders=1))
    assert error.message.startswith("1 order goes on now that you have placed, and your limit is 1 at once.")
    await refused(OpenLimitError, ledger, limits=everybody(open_orders=1), principal="bob")
    await buy(ledger, limits=each(open_orders=1), principal="bob")
    # Its images are being saved: nothing of it goes on at the service.
    order = await save(ledger, order, status=TaskStatus.SUCCEEDED)
    await buy(ledger, limits=each(open_orders=1))
    await save(ledger, order, **CLOSED)


@pytest.mark.parametrize(
    "limits", [everybody(open_orders=1), each(open_orders=1), each(daily_cost=usd("0.30")), each(daily_images=1)]
)
async def test_of_two_orders_at_once_one_has_the_room_that_is_left(ledger, limits):
    placed, troubles = [], []

    async def order():
        try:
            placed.append(await buy(ledger, limits=limits))
        except LimitError as error:
            troubles.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(order)
    assert (len(placed), len(troubles)) == (1, 5)


async def test_use_is_told_as_it_is_counted(ledger, clock):
    await buy(ledger, limits=OrderLimits(), images_ordered=2)
    clock.advance(2 * DAY)
    first = clock.now()
    await buy(ledger, 45, limits=OrderLimits())
    await buy(ledger, 70, limits=OrderLimits(), principal="bob", currency="CNY")

    use = await ledger.quotas.read_use("ada")
    assert (use.daily_images, use.daily_cost, use.monthly_cost) == (1, usd("0.45"), usd("0.75"))
    assert (use.open_orders, use.frees_at.timestamp()) == (2, first + DAY)
    assert (await ledger.quotas.read_use(None)).monthly_cost == usd("0.75") | {"CNY": Decimal("0.7")}
    assert await ledger.quotas.list_principals() == ["ada", "bob"]
    nothing = await ledger.quotas.read_use("eve")
    assert (nothing.daily_images, nothing.daily_cost, nothing.frees_at) == (0, {}, None)


async def test_calls_are_counted_together_and_a_refused_one_uses_up_nothing(ledger, clock):
    limit = RateLimit("calls/ada", 2 / 60, 2, is_durable=False)
    assert [await ledger.limits.take(limit) for _ in range(2)] == [0, 0]
    for _ in range(3):
        assert await ledger.limits.take(limit) == pytest.approx(30, abs=0.01)
    assert await ledger.limits.take(RateLimit("calls/bob", 2 / 60, 2, is_durable=False)) == 0
    clock.advance(30.01)
    assert await ledger.limits.take(limit) == 0


def test_what_is_less_than_a_millionth_counts_as_one():
    assert to_millionths(Decimal("0.015")) == 15_000
    assert to_millionths(Decimal("0.00000001")) == 1


def test_four_processes_together_keep_a_principals_limit_to_the_image(path):
    with Processes(4) as processes:
        answers = processes.run_all("place", path=path, count=10, images=1, user_limit=7)
    assert [answer["troubles"] for answer in answers] == [[]] * 4
    assert sum(answer["placed"] for answer in answers) == 7
