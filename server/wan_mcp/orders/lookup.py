"""From an id that a caller gives to the order behind it, and tasks that only the service knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from wan_mcp.clock import Clock
from wan_mcp.dashscope import ListedTask, TaskAnswer, is_task_id
from wan_mcp.ledger import Ledger, Order, is_local_id, new_local_id
from wan_mcp.orders import lifecycle
from wan_mcp.orders.live_orders import LiveOrders
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.domain.errors import AppError, ErrorCode, NotFoundError, RequestRefusedError
from wan_mcp_tools.domain.next_step import NextAction, NextStep
from wan_mcp_tools.domain.tasks import TaskStatus

_MODEL_SECONDS = 1.0
"""What the name of a found task's model is worth."""
_MOST_PAGES = 5
_LONGEST_ID = 60


class OrderLookup:
    """Finds orders in the ledger, and brings tasks that only the service knows into it."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        live: LiveOrders,
        queries: Queries,
        catalogue: Catalogue,
        regions: Mapping[str, RegionAccess],
        output_dir: Path,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._queries = queries
        self._catalogue = catalogue
        self._regions = regions
        self._output_dir = output_dir

    async def find_known(self, any_id: str, *, principal: str | None) -> Order | None:
        """Give what is known here of an order, without asking the service; an order of another is not known."""
        live = self._live.find(any_id.strip())
        if live is not None:
            # Known for certain, even while the ledger is locked or gone.
            return live if principal in (None, live.principal) else None
        if not await self._ledger.exists():
            return None
        order = await self._ledger.orders.get(any_id.strip(), principal=principal)
        return order and (self._live.latest(order.local_id) or order)

    async def find_or_adopt(
        self, task_id: str, *, seconds: float, principal: str | None, adopter: str
    ) -> tuple[Order, bool]:
        """
        Find an order by its id or the service's; the service is asked for at most `seconds`.

        It is asked only for a caller who sees the orders of all, and what is adopted is the `adopter`'s. Gives the
        order, and whether it was adopted just now.

        Raises:
            NotFoundError: nobody knows the id.
            RequestRefusedError: it is none.
        """
        task_id = task_id.strip()
        if not task_id:
            raise RequestRefusedError("The task id is empty.", next_step=NextStep(NextAction.CORRECT_TASK_ID))
        if not is_task_id(task_id):
            raise RequestRefusedError(
                f"{task_id[:_LONGEST_ID]!r} is not a task id.", next_step=NextStep(NextAction.CORRECT_TASK_ID)
            )
        order = await self.find_known(task_id, principal=principal)
        if order is not None:
            return order, False
        if is_local_id(task_id) or principal is not None:
            raise NotFoundError(
                f"No order {task_id} is in this ledger.",
                code=ErrorCode.TASK_NOT_FOUND,
                next_step=NextStep(NextAction.LIST_LEDGER),
            )
        return await self._adopt_by_id(task_id, seconds, adopter), True

    async def adopt_listed(self, limit: int, *, seconds: float, adopter: str) -> tuple[list[Order], tuple[str, ...]]:
        """
        Ask every region that has a key for its newest tasks, for at most `seconds`.

        At most `limit` pictures of each that are unknown here are adopted, and are the `adopter`'s. The notes say
        what was left out.
        """
        adopted: list[Order] = []
        usable = self._list_usable()
        notes = {access.region: "did not answer in time." for access in usable}

        async def ask(access: RegionAccess) -> None:
            try:
                notes[access.region] = await self._adopt_newest(access, limit, adopted, adopter)
            except AppError as error:
                notes[access.region] = str(error)

        if all(access.in_process for access in usable):
            notes[""] = "No region has a key: set DASHSCOPE_API_KEY to ask the service."
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for access in usable:
                    group.start_soon(ask, access)
        told = [(region, note) for region, note in sorted(notes.items()) if note]
        return adopted, tuple(f"{region}: {note}" if region else note for region, note in told)

    async def _adopt_by_id(self, task_id: str, seconds: float, adopter: str) -> Order:
        """
        Ask every region that has a key for a task, side by side, for at most `seconds`.

        Raises:
            NotFoundError: none of them knows it, as far as they answered in time, or it may be that of an order whose
                answer was lost.
        """
        found: list[tuple[RegionAccess, TaskAnswer]] = []
        refusals: dict[str, AppError | None] = {}
        asked = self._list_usable()
        ends = self._clock.monotonic() + seconds
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:

                async def ask(access: RegionAccess) -> None:
                    try:
                        answer = await self._queries.get_task(access.region, task_id)
                    except AppError as error:
                        refusals[access.region] = error
                        return
                    if answer.status is TaskStatus.UNKNOWN:
                        refusals[access.region] = None
                        return
                    found.append((access, answer))
                    group.cancel_scope.cancel()

                for access in asked:
                    group.start_soon(ask, access)
        if not found:
            raise _explain_not_found(task_id, asked, refusals)
        access, answer = found[0]
        left = ends - self._clock.monotonic()
        model = None
        with anyio.move_on_after(max(0.0, min(_MODEL_SECONDS, left))):
            model = await self._find_model(access.region, task_id)
        if model is not None and await self._may_be_lost(access.region, model):
            raise NotFoundError(
                f"The task {task_id} is not in the ledger yet: it may be that of an order whose answer was lost.",
                code=ErrorCode.TASK_NOT_FOUND,
                next_step=NextStep(NextAction.GET_TASK_AGAIN),
                retryable=True,
            )
        return await self._adopt(access, task_id, status=answer.status, wire_model=model, adopter=adopter)

    def _list_usable(self) -> list[RegionAccess]:
        accesses = self._regions.values()
        return [access for access in accesses if access.api_key and access.base_url and not access.problem]

    async def _adopt_newest(self, access: RegionAccess, limit: int, adopted: list[Order], adopter: str) -> str:
        """Read pages until `limit` unknown pictures were adopted; give a note of what was left out."""
        taken = 0
        for page in range(1, _MOST_PAGES + 1):
            listing = await self._queries.list_tasks(access.region, page_no=page)
            known = await self._ledger.orders.find_known([task.task_id for task in listing.tasks])
            for task in listing.tasks:
                if task.task_id in known or not await self._may_adopt(access, task):
                    continue
                if taken == limit:
                    return f"more than {limit} unknown tasks; call again for the next."
                order = await self._adopt(
                    access,
                    task.task_id,
                    status=task.status,
                    wire_model=task.model_id,
                    created_at=task.created_at,
                    adopter=adopter,
                )
                adopted.append(order)
                taken += 1
            if page >= listing.total_pages:
                return ""
        return f"only the newest {_MOST_PAGES} pages were read."

    async def _may_adopt(self, access: RegionAccess, task: ListedTask) -> bool:
        if self._find_catalogue_id(task.model_id) is None or task.status is TaskStatus.UNKNOWN:
            return False
        return not await self._may_be_lost(access.region, task.model_id or "")

    async def _may_be_lost(self, region: str, wire_model: str) -> bool:
        """Say whether a task may be that of an order whose answer was lost: the recovery decides that first."""
        return bool(await self._ledger.orders.list_unanswered(region, wire_model))

    async def _find_model(self, region: str, task_id: str) -> str | None:
        """Ask the list for a task's model, which the task itself does not tell. The picture does not need it."""
        try:
            listing = await self._queries.list_tasks(region, task_id=task_id)
        except AppError:
            return None
        return next((task.model_id for task in listing.tasks if task.task_id == task_id), None)

    def _find_catalogue_id(self, wire_model: str | None) -> str | None:
        try:
            return self._catalogue.find(wire_model).id if wire_model else None
        except AppError:
            return None

    async def _adopt(
        self,
        access: RegionAccess,
        task_id: str,
        *,
        status: TaskStatus,
        wire_model: str | None,
        adopter: str,
        created_at: float | None = None,
    ) -> Order:
        now = self._clock.now()
        order = lifecycle.adopted(
            task_id,
            local_id=new_local_id(),
            region=access.region,
            account=access.account,
            status=status,
            model=self._find_catalogue_id(wire_model) or wire_model,
            wire_model=wire_model,
            folder=str(self._output_dir),
            principal=adopter,
            created_at=created_at or now,
            now=now,
        )
        return await self._ledger.orders.adopt(order)


def _explain_not_found(
    task_id: str, asked: Sequence[RegionAccess], refusals: Mapping[str, AppError | None]
) -> NotFoundError:
    """Say where the task was looked for; `refusals` has each region that answered, with None for "unknown"."""
    message = f"The task {task_id} is not in the ledger"
    inside = {access.region for access in asked if access.in_process}
    unknown = [region for region, error in refusals.items() if error is None and region not in inside]
    if unknown:
        message += f", nor at the service ({', '.join(unknown)}), which keeps tasks for 24 hours"
    message += "."
    silent = [access.region for access in asked if access.region not in refusals]
    if silent:
        message += f" {', '.join(silent)} did not answer in time."
    message += "".join(f" {region}: {error.message}" for region, error in refusals.items() if error)
    if all(access.in_process for access in asked):
        message += " No region has a key that could be asked for it: set DASHSCOPE_API_KEY."
    may_be_there = bool(silent) or any(error and error.retryable for error in refusals.values())
    refusal = next((error for error in refusals.values() if error and not error.retryable and error.advice), None)
    if may_be_there:
        advice, step = "", NextStep(NextAction.GET_TASK_AGAIN)
    elif refusal is not None:
        advice, step = refusal.advice, refusal.next_step
    else:
        advice, step = "", NextStep(NextAction.LIST_KNOWN_TASKS)
    return NotFoundError(message, advice, code=ErrorCode.TASK_NOT_FOUND, next_step=step, retryable=may_be_there)
