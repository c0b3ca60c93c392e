"""Each principal knows its own orders alone, on a real service whose orders are also under way at that moment."""

import hashlib
import json

import anyio
import pytest

from fakes.clock import LONGEST, until
from fakes.dashscope import FakeService
from fakes.order_service import get, make_settings, order, running_service, submit
from wan_mcp.ledger import Stage
from wan_mcp_tools.domain.errors import CallLimitError, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.principals import LOCAL_ID, Principal, Scope, acting_as
from wan_mcp_tools.domain.service import OrderQuery
from wan_mcp_tools.domain.tasks import TaskStatus

ADA = Principal("ada", frozenset({Scope.ORDER, Scope.CANCEL}))
BOB = Principal("bob", frozenset({Scope.ORDER, Scope.CANCEL}))
ADMIN = Principal("root", frozenset({Scope.ADMIN}))


async def row_of(service, task):
    return await service._ledger.orders.get(task.local_id)


async def until_closed(service, task):
    """Wait until it is written down what the caller was told already."""
    with anyio.fail_after(LONGEST):
        while (await row_of(service, task)).stage is not Stage.CLOSED:
            await anyio.sleep(0.02)


async def list_ids(service):
    page = await service.list_tasks(status=None, limit=50, cursor=None, remote=False)
    return [task.task_id for task in page.tasks]


async def test_an_order_that_is_under_way_is_known_to_whoever_placed_it_and_to_no_other(tmp_path):
    with FakeService(pending=30.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            with acting_as(ADA):
                hers = await submit(service)
                assert (await service.peek(hers.task_id)).task_id == hers.task_id
            assert (await row_of(service, hers)).principal == "ada"
            with acting_as(BOB):
                for any_id in (hers.task_id, hers.local_id):
                    assert await service.peek(any_id) is None
                    for ask in (get(service, any_id), service.cancel(any_id)):
                        with pytest.raises(NotFoundError):
                            await ask
                assert await list_ids(service) == []
                assert await service.find_by_beginning(hers.task_id[:8], limit=5) == ()
                assert (await service.count_orders(OrderQuery())).orders == 0
            assert (await service.peek(hers.task_id)).status is TaskStatus.PENDING


async def test_lists_numbers_and_costs_are_those_of_the_caller_and_an_administrator_has_all(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            made = {}
            for who, number in ((ADA, 2), (BOB, 1)):
                with acting_as(who):
                    made[who.id] = await order(service, n=number)
                    await until_closed(service, made[who.id])
            for who, ids, images in ((ADA, ["ada"], 2), (BOB, ["bob"], 1), (ADMIN, ["bob", "ada"], 3)):
                with acting_as(who):
                    assert await list_ids(service) == [made[each].task_id for each in ids]
                    found = await service.find_orders(OrderQuery(text="flower"), limit=9, cursor=None)
                    assert [task.task_id for task in found.tasks] == [made[each].task_id for each in ids]
                    totals = await service.count_orders(OrderQuery())
                    assert (totals.orders, totals.images) == (len(ids), images)
                    assert (await service.report_costs(since=None, until=None)).charged.images == images
            # Whoever asks last is not answered with what another was.
            assert (await service.count_orders(OrderQuery())).images == 3


async def test_a_cursor_of_anothers_list_leads_to_nothing_of_it(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            with acting_as(BOB):
                own = await order(service, "the first of all")
            with acting_as(ADA):
                for number in range(2):
                    await order(service, f"picture {number}")
                page = await service.list_tasks(status=None, limit=1, cursor=None, remote=False)
            with acting_as(BOB):
                rest = await service.list_tasks(status=None, limit=9, cursor=page.cursor, remote=False)
                assert [task.task_id for task in rest.tasks] == [own.task_id]


async def test_equal_orders_of_two_principals_are_two_and_nobody_joins_anothers(tmp_path):
    with FakeService(pending=30.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            ids = set()
            for who in (ADA, BOB, ADMIN):
                with acting_as(who):
                    placed = await submit(service)
                    assert not placed.deduplicated
                    assert (await submit(service)).deduplicated
                    ids.add(placed.task_id)
            ids.add((await submit(service)).task_id)
        assert len(ids) == len(dashscope.creates) == 4


async def test_the_fingerprint_of_the_local_user_is_what_it_was_before_anybody_signed_in(tmp_path):
    with FakeService(pending=30.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            row = await row_of(service, await submit(service, seed=7))
    picture = json.dumps(row.request.to_picture(), ensure_ascii=False, sort_keys=True)
    assert row.principal == LOCAL_ID
    assert row.fingerprint == hashlib.sha256(f"{row.account}\n{picture}".encode()).hexdigest()


async def test_an_administrator_sees_and_cancels_for_others_and_receives_nothing_for_them(tmp_path):
    with FakeService(duration=60.0, pending=0.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            with acting_as(ADA):
                hers = await submit(service)
            dashscope.advance(120)
            with acting_as(ADMIN):
                seen = await get(service, hers.task_id)
                await service.download_image(task_id=hers.task_id, index=1, url=None, output_dir=None, filename=None)
            assert seen.images
            assert (await row_of(service, hers)).delivered_at is None
            with acting_as(ADA):
                assert (await order(service)).deduplicated
            assert (await row_of(service, hers)).delivered_at is not None
    with FakeService(pending=30.0) as dashscope:
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            with acting_as(ADA):
                hers = await submit(service, "another")
            with acting_as(ADMIN):
                assert (await service.cancel(hers.task_id)).status is TaskStatus.CANCELED


async def test_only_an_administrator_has_the_service_asked_for_what_the_ledger_lacks_and_it_is_theirs(tmp_path):
    with FakeService(duration=0.0, pending=0.0) as dashscope:
        known, listed = (dashscope.create_foreign(model="wan2.6-t2i", n=1).task_id for _ in range(2))
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            with acting_as(BOB):
                before = len(dashscope.requests)
                with pytest.raises(NotFoundError):
                    await get(service, known)
                with pytest.raises(RequestRefusedError, match="administrators"):
                    await service.list_tasks(status=None, limit=9, cursor=None, remote=True)
                assert len(dashscope.requests) == before
            with acting_as(ADMIN):
                found = await get(service, known)
                await service.list_tasks(status=None, limit=9, cursor=None, remote=True)
                assert set(await list_ids(service)) == {known, listed}
            assert {(await service._ledger.orders.get(each)).principal for each in (known, listed)} == {"root"}
            with acting_as(BOB):
                assert await service.peek(found.task_id) is None


async def test_where_people_sign_in_no_argument_takes_a_path_and_the_way_that_works_is_named(tmp_path):
    settings = make_settings(tmp_path)
    async with running_service(settings) as service:
        with acting_as(ADMIN):
            asked = [
                (submit(service, output_dir=str(settings.output_dir)), "address of each image"),
                (submit(service, images=["a.png"]), "TASK_ID#INDEX"),
                (submit(service, images=[str(settings.output_dir / "a.png")]), "https URL"),
                (service.draw_preview(task_id=None, index=1, path="a.png"), "task_id"),
                (
                    service.download_image(task_id="x", index=1, url=None, output_dir="there", filename=None),
                    "filename",
                ),
            ]
            for call, way in asked:
                with pytest.raises(RequestRefusedError) as caught:
                    await call
                assert "share a disk" in caught.value.message
                assert way in caught.value.advice
            assert (await submit(service, filename="a-flower")).task_id


async def test_calls_of_each_who_signs_in_are_counted_by_all_servers_together(tmp_path):
    settings = make_settings(tmp_path, WAN_MCP_USER_CALLS_PER_MINUTE="2")
    async with running_service(settings) as one, running_service(settings) as other:
        with acting_as(ADA):
            await one.count_call()
            await other.count_call()
            for service in (one, other):
                with pytest.raises(CallLimitError, match="2 calls a minute") as caught:
                    await service.count_call()
                assert 0 < caught.value.retry_after <= 30
        with acting_as(BOB):
            await one.count_call()
        for _ in range(5):
            await one.count_call()


async def test_a_task_whose_order_waits_for_its_answer_is_not_adopted_by_who_asks_for_it(tmp_path):
    with FakeService(duration=0.1) as dashscope:
        dashscope.script("create", "held")
        async with running_service(make_settings(tmp_path, dashscope)) as service, anyio.create_task_group() as group:

            async def order_as_ada():
                with acting_as(ADA):
                    placed.append(await order(service, model="wan2.6-t2i"))

            placed = []
            group.start_soon(order_as_ada)
            await until(lambda: dashscope.tasks)
            task_id = dashscope.tasks[0]["id"]
            with acting_as(ADMIN):
                with pytest.raises(NotFoundError) as refused:
                    await get(service, task_id, wait=0)
                other = dashscope.create_foreign(model="wan2.5-t2i-preview", n=1).task_id
                assert (await get(service, other, wait=0)).task_id == other
            dashscope.release()
            with anyio.fail_after(LONGEST):
                while not placed:
                    await anyio.sleep(0.02)
        async with running_service(make_settings(tmp_path, dashscope)) as service:
            rows = [await service._ledger.orders.get(each, principal=None) for each in (task_id, other)]

    assert refused.value.retryable
    assert "whose answer was lost" in refused.value.message
    assert placed[0].task_id == task_id
    assert [row.principal for row in rows] == ["ada", "root"]
