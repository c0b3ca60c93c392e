"""Sending orders: each in its turn, and the turn is the sending alone."""

from contextlib import asynccontextmanager

import anyio

from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import make_settings, running_service, submit
from wan_mcp.ledger import Stage


class CountedWay:
    """Passes connections on to a service, and counts those that are open and have sent nothing yet."""

    def __init__(self, service):
        self._port = int(service.base_url.split(":")[2].split("/")[0])
        self.silent = 0

    async def pass_on(self, client):
        self.silent += 1
        first = True
        async with (
            client,
            await anyio.connect_tcp("127.0.0.1", self._port) as server,
            anyio.create_task_group() as group,
        ):

            async def pump(source, target):
                nonlocal first
                async for data in source:
                    if source is client and first:
                        first, self.silent = False, self.silent - 1
                    await target.send(data)
                group.cancel_scope.cancel()

            group.start_soon(pump, client, server)
            group.start_soon(pump, server, client)


@asynccontextmanager
async def open_way(service):
    way = CountedWay(service)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, way.pass_on)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield way, service.base_url.replace(service.base_url.split(":")[2].split("/")[0], str(port))
        group.cancel_scope.cancel()


async def test_the_next_order_opens_its_connection_while_the_one_before_it_is_unanswered(tmp_path):
    with FakeService(duration=60) as dashscope:
        dashscope.script("create", "held")
        async with open_way(dashscope) as (way, url):
            settings = make_settings(tmp_path, dashscope, DASHSCOPE_HTTP_BASE_URL=url)
            async with (
                running_service(settings, submit_slot_seconds=30.0) as service,
                anyio.create_task_group() as group,
            ):
                group.start_soon(submit, service, "the first")
                await until(lambda: len(dashscope.requests) == 1)
                group.start_soon(submit, service, "the second")

                await until(lambda: way.silent == 1)
                (first, second) = await service._ledger.orders.find_by_beginning("", limit=2)
                assert {first.stage, second.stage} == {Stage.SENDING, Stage.QUEUED}
                assert len(dashscope.creates) == 1
                dashscope.release()
    assert len(dashscope.creates) == 2
