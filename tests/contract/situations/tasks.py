"""What becomes of orders: waits that end, answers that are lost, cancellations, tasks that nobody knows."""

from contract.situations.situation import SMALL, Situation, Workspace
from fakes.clock import until
from fakes.dashscope import FakeService
from fakes.order_service import HURRY

STILL_LOOKING = {"search_grace": 60.0}
ENDING_AT_ONCE = {"stop_seconds": 0.1}
"""What is held is not waited for at the end."""
STRANGER = "00000000-1111-2222-3333-444444444444"


def asked_twice(service: FakeService, place: str = "query"):
    """Say whether the service has been asked twice: then the first answer has come, and was taken notice of."""
    return lambda: [each.place for each in service.requests].count(place) > 1


async def _pending(workspace: Workspace):
    with FakeService(pending=60) as service:
        async with workspace.server(service) as call:
            return await call.make_until(asked_twice(service))


async def _running(workspace: Workspace):
    with FakeService(duration=60, pending=0.0) as service:
        async with workspace.server(service) as call:
            return await call.make_until(asked_twice(service))


async def _unnamed(workspace: Workspace):
    with FakeService() as service:
        service.script("create", "held")
        async with workspace.server(service, timings=ENDING_AT_ONCE) as call:
            return await call.make_until(lambda: service.creates)


async def _standing_in_line(workspace: Workspace):
    with FakeService() as service:
        service.script("create", "held")
        async with workspace.server(service, timings={"submit_slot_seconds": 60.0} | ENDING_AT_ONCE) as call:
            await call.make(wait_seconds=0)
            return await call.make(prompt="another", wait_seconds=0.5)


async def _saving(workspace: Workspace):
    with FakeService(duration=0.0, pending=0.0) as service:
        service.script("image", "held")
        async with workspace.server(service) as call:
            return await call.make_until(lambda: service.images_served)


async def _joined(workspace: Workspace, **arguments: object):
    with FakeService(duration=60) as service:
        async with workspace.server(service) as call:
            await call.make(wait_seconds=0.2)
            await until(lambda: service.tasks)
            service.advance(120)
            return await call.make(**arguments)


async def _joined_elsewhere(workspace: Workspace):
    return await _joined(workspace, filename="shop")


WAITS = (
    Situation("waits", "the wait is over and the task is in the queue", "no: call get_task", "perhaps", _pending),
    Situation("waits", "the wait is over and the task runs", "no: call get_task", "perhaps", _running),
    Situation(
        "waits", "the wait is over and the service has not named the task", "no: call get_task", "perhaps", _unnamed
    ),
    Situation(
        "waits", "the wait is over and the order stands in line", "no: call get_task", "perhaps", _standing_in_line
    ),
    Situation("waits", "the wait is over and the picture is being saved", "no: call get_task", "yes", _saving),
    Situation("waits", "an identical order was there already", "not needed", "yes", _joined),
    Situation(
        "waits", "an identical order was there already, for another file name", "not needed", "yes", _joined_elsewhere
    ),
)


def _lost(
    title: str,
    fault: str,
    repeat: str,
    charged: str,
    *,
    wait: bool = True,
    times: float = 1.0,
    timings: dict[str, float] | None = None,
    is_ambiguous: bool = False,
    **environ: str,
):
    async def bring_about(workspace: Workspace):
        with FakeService(duration=0.1) as service:
            service.script("create", fault)
            async with workspace.server(service, timings=timings, times=times, **environ) as call:
                if is_ambiguous:
                    service.create_foreign(model="wan2.6-t2i", n=1, size="1280*1280")
                return await (call.make() if wait else call.make_until(asked_twice(service, "list")))

    return Situation("lost answers", title, repeat, charged, bring_about)


LOST = (
    _lost(
        "the answer to the order was lost and is looked for",
        "drop-before",
        "no: call get_task",
        "perhaps",
        wait=False,
        timings=STILL_LOOKING,
    ),
    _lost("the order was found again", "drop-after", "not needed", "yes"),
    _lost("the service answered with trouble, and the order was found", "status-500-after", "not needed", "yes"),
    _lost("the order was not found", "drop-before", "no: it may cost twice", "perhaps", times=HURRY),
    _lost("several tasks may be the order", "drop-after", "no: it may cost twice", "perhaps", is_ambiguous=True),
    _lost(
        "lost by the synchronous protocol",
        "drop-after",
        "no: it may cost twice",
        "perhaps",
        WAN_MCP_PROTOCOL="sync",
    ),
)


async def _unknown(workspace: Workspace):
    with FakeService() as service:
        async with workspace.server(service) as call:
            return await call("get_task", task_id=STRANGER)


async def _unknown_without_key(workspace: Workspace):
    async with workspace.server() as call:
        return await call("get_task", task_id=STRANGER)


async def _unknown_local(workspace: Workspace):
    async with workspace.server() as call:
        return await call("get_task", task_id="local-0123456789abcdef")


async def _key_refused(workspace: Workspace):
    with FakeService(keys="sk-another-key") as service:
        async with workspace.server(service) as call:
            return await call("get_task", task_id=STRANGER)


async def _forgotten(workspace: Workspace):
    with FakeService(pending=60) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            service.set_chance("query", 1.0, "unknown")
            return await call("get_task", task_id=task["task_id"], wait_seconds=45)


async def _expired(workspace: Workspace):
    with FakeService(duration=0.1) as service:
        service.set_chance("image", 1.0, "expired")
        async with workspace.server(service) as call:
            return await call.make()


async def _never_sent(workspace: Workspace):
    with FakeService() as service:
        service.script("create", *[{"kind": "error-429", "retry_after": 30}] * 3)
        async with workspace.server(service, timings={"throttle_patience": 60.0}) as call:
            order = await call.make_until(lambda: 30.0 in call.clock.sleeping)
        async with workspace.server(service) as call:
            return await call("get_task", task_id=order.structured_content["task_id"], wait_seconds=45)


async def _throttled(workspace: Workspace):
    with FakeService() as service:
        service.script("create", *[{"kind": "error-429", "retry_after": 30}] * 3)
        async with workspace.server(service, timings={"throttle_patience": 60.0}) as call:
            return await call.make_until(lambda: 30.0 in call.clock.sleeping)


TASKS = (
    Situation("tasks", "nobody knows the task", "no", "no", _unknown),
    Situation("tasks", "the ledger does not know the task and no region has a key", "no", "no", _unknown_without_key),
    Situation("tasks", "the ledger does not know the order", "no", "no", _unknown_local),
    Situation("tasks", "the ledger does not know the task and the key is refused", "no", "no", _key_refused),
    Situation("tasks", "the service knows the task no more", "no", "perhaps", _forgotten),
    Situation("tasks", "the links are over and nothing was saved", "no", "yes", _expired),
    Situation("tasks", "the server ended before the order was sent", "yes", "no", _never_sent),
    Situation("tasks", "the service lets the order wait", "no: call get_task", "perhaps", _throttled),
)


async def _cancelled(workspace: Workspace):
    with FakeService(pending=60) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            return await call("cancel_task", task_id=task["task_id"])


async def _cancelled_twice(workspace: Workspace):
    with FakeService(pending=60) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            await call("cancel_task", task_id=task["task_id"])
            return await call("cancel_task", task_id=task["task_id"])


async def _cancelled_in_line(workspace: Workspace):
    with FakeService() as service:
        service.script("create", *[{"kind": "error-429", "retry_after": 30}] * 3)
        async with workspace.server(service, timings={"throttle_patience": 60.0}) as call:
            order = await call.make_until(lambda: 30.0 in call.clock.sleeping)
            return await call("cancel_task", task_id=order.structured_content["task_id"])


async def _too_late(workspace: Workspace):
    with FakeService(duration=60, pending=0.0) as service:
        async with workspace.server(service) as call:
            task = await call.submit()
            return await call("cancel_task", task_id=task["task_id"])


async def _ended(workspace: Workspace):
    with FakeService(duration=0.0, pending=0.0) as service:
        async with workspace.server(service) as call:
            made = await call.make()
            return await call("cancel_task", task_id=made.structured_content["task_id"])


async def _ended_in_the_sandbox(workspace: Workspace):
    async with workspace.server() as call:
        made = await call.make(**SMALL)
        return await call("cancel_task", task_id=made.structured_content["task_id"])


async def _being_sent(workspace: Workspace):
    with FakeService() as service:
        service.script("create", "held")
        async with workspace.server(service, times=HURRY, WAN_MCP_WAIT_SECONDS="10") as call:
            order = await call.make(wait_seconds=0)
            await until(lambda: service.creates)
            return await call("cancel_task", task_id=order.structured_content["task_id"])


async def _being_made(workspace: Workspace):
    with FakeService(duration=60, pending=0.0) as service:
        async with workspace.server(service, WAN_MCP_PROTOCOL="sync") as call:
            order = await call.make(wait_seconds=0)
            await until(lambda: service.creates)
            return await call("cancel_task", task_id=order.structured_content["task_id"])


async def _lost_one(workspace: Workspace):
    with FakeService() as service:
        service.script("create", "drop-before")
        async with workspace.server(service, timings=STILL_LOOKING) as call:
            order = await call.make_until(asked_twice(service, "list"))
            return await call("cancel_task", task_id=order.structured_content["task_id"])


CANCELS = (
    Situation("cancelling", "a task in the queue is cancelled", "not needed", "no", _cancelled),
    Situation("cancelling", "the task is cancelled already", "not needed", "no", _cancelled_twice),
    Situation("cancelling", "an order that stood in line is cancelled", "not needed", "no", _cancelled_in_line),
    Situation("cancelling", "the task has begun", "no", "perhaps", _too_late),
    Situation("cancelling", "the task has ended", "no", "yes", _ended),
    Situation("cancelling", "the task has ended, in the sandbox", "no", "no", _ended_in_the_sandbox),
    Situation("cancelling", "the order is being sent", "yes", "perhaps", _being_sent),
    Situation("cancelling", "the order is under way by the synchronous protocol", "no", "perhaps", _being_made),
    Situation("cancelling", "the answer to the order was lost", "no", "perhaps", _lost_one),
)
