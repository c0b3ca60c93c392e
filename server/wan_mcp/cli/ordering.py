"""Orders side by side: each is placed, named and waited for, and none stops another."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio

from wan_mcp.cli.board import Board
from wan_mcp.cli.exits import Exit, exit_of_error, exit_of_task
from wan_mcp.clock import Clock
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService, Report
from wan_mcp_tools.domain.tasks import Task

_NAMING_SECONDS = 30.0
"""The least time for the service to name an order: leaving sooner would leave the order in doubt."""
_NOTING_SECONDS = 0.2
_AT_ONCE = 8
"""Orders that are on their way to a name at the same time; the service takes them one by one anyway."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a person wants to be served."""

    wait_seconds: float = 300.0
    fresh: bool = False
    as_json: bool = False
    show: bool = False


@dataclass(slots=True)
class Order:
    """
    One prompt on its way: `task` is the last that was heard of it, `error` what ended it.

    `is_sent` says that it may have reached the service, `is_over` that nothing more is done about it here.
    """

    label: str
    request: ImageRequest
    task: Task | None = None
    error: AppError | None = None
    is_sent: bool = False
    is_over: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)

    @property
    def exit(self) -> Exit:
        """How it went."""
        if self.error is not None:
            return exit_of_error(self.error)
        return Exit.RUNNING if self.task is None else exit_of_task(self.task)


async def place_orders(
    service: ImageService, orders: Sequence[Order], board: Board, manner: Manner, clock: Clock
) -> None:
    """
    Place the orders and wait for them, all within the same wait.

    Two lines of a list that order the same picture are two orders: the second is placed when the first was received,
    because until then the service would take it for the first one, asked for again.
    """
    ends = clock.monotonic() + manner.wait_seconds
    entrance = anyio.CapacityLimiter(_AT_ONCE)
    twins: dict[ImageRequest, Order] = {}
    received: set[str] = set()

    async def name(request: ImageRequest, report: Report) -> Task:
        while True:
            left = ends - clock.monotonic()
            task = await _name(service, request, max(left, 0.0), manner, report)
            if not task.joined or task.local_id not in received or left <= 0:
                return task
            # It is the twin that was received a moment ago, and the ledger is about to be told so.
            await clock.sleep(_NOTING_SECONDS)

    async def work(number: int, order: Order, twin: Order | None) -> None:
        if twin is not None:
            await twin.over.wait()
        report = board.report(number)
        try:
            async with entrance:
                order.is_sent = True
                order.task = await name(order.request, report)
            order.task = await _wait(service, order.task, ends - clock.monotonic(), report)
        except AppError as error:
            order.error = error
        if order.task is not None and order.exit is Exit.DONE:
            received.add(order.task.local_id)
        order.is_over = True
        order.over.set()
        board.end(number, _tell_end(order))

    async with anyio.create_task_group() as group:
        for number, order in enumerate(orders):
            picture = replace(order.request, output_dir=None, filename=None)
            group.start_soon(work, number, order, None if manner.fresh else twins.get(picture))
            twins[picture] = order


async def _name(service: ImageService, request: ImageRequest, seconds: float, manner: Manner, report: Report) -> Task:
    """Order, and wait for the name first, so that an interrupted wait can say what to ask for later."""
    return await service.order(
        request,
        wait_seconds=max(seconds, _NAMING_SECONDS),
        until_named=True,
        fresh=manner.fresh,
        report=report,
    )


async def _wait(service: ImageService, ordered: Task, seconds: float, report: Report) -> Task:
    """Wait for the end of an order and keep what only the ordering knew."""
    if ordered.settled or seconds <= 0:
        return ordered
    task = await service.get(ordered.task_id, wait_seconds=seconds, report=report)
    notes = tuple(dict.fromkeys((*ordered.notes, *task.notes)))
    return replace(task, joined=ordered.joined, elsewhere=ordered.elsewhere, notes=notes)


def _tell_end(order: Order) -> str:
    if order.task is None or order.error is not None:
        return "failed"
    match order.exit:
        case Exit.DONE:
            return "saved"
        case Exit.RUNNING:
            return f"still {order.task.status}"
        case _:
            return f"failed ({order.task.status})"
