"""Tasks that the service knows and the ledger does not: found by id or in the service's list."""

from collections.abc import Mapping, Sequence

import anyio

from wan_mcp.dashscope import ListedTask, TaskAnswer
from wan_mcp.ledger import Order, Origin, Stage
from wan_mcp.orders.accounts import fingerprint
from wan_mcp.orders.ids import new_local_id
from wan_mcp.orders.outcomes import DAY
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.queries import Queries
from wan_mcp.settings import RegionAccess
from wan_mcp_tools.domain.errors import AppError, NotFoundError
from wan_mcp_tools.domain.tasks import TaskStatus

_MODEL_SECONDS = 1.0
"""What the name of a found task's model is worth."""
_MOST_PAGES = 5


class Discoverer:
    """Brings tasks of the account into the ledger, from where they are followed like any other."""

    def __init__(self, parts: Parts, queries: Queries) -> None:
        self._parts = parts
        self._queries = queries

    async def by_id(self, task_id: str, *, seconds: float) -> Order:
        """
        Ask every region that has a key for a task, side by side, for at most `seconds`.

        Raises:
            NotFoundError: none of them knows it, as far as they answered in time.
        """
        found: list[tuple[RegionAccess, TaskAnswer]] = []
        refusals: dict[str, AppError | None] = {}
        asked = self._usable()
        ends = self._parts.clock.monotonic() + seconds
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:

                async def ask(access: RegionAccess) -> None:
                    try:
                        answer = await self._queries.ask(access.region, task_id)
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
            raise _not_found(task_id, asked, refusals)
        access, answer = found[0]
        left = ends - self._parts.clock.monotonic()
        with anyio.move_on_after(max(0.0, min(_MODEL_SECONDS, left))):
            model = await self._model_of(access.region, task_id)
            return await self._adopt(access, task_id, status=answer.status, model_id=model)
        return await self._adopt(access, task_id, status=answer.status, model_id=None)

    async def by_list(self, limit: int, *, seconds: float) -> tuple[list[Order], tuple[str, ...]]:
        """
        Ask every region that has a key for its newest tasks, for at most `seconds`.

        At most `limit` pictures of each that are unknown here are adopted. The notes say what was left out.
        """
        adopted: list[Order] = []
        notes = {access.region: "did not answer in time." for access in self._usable()}

        async def ask(access: RegionAccess) -> None:
            try:
                notes[access.region] = await self._adopt_newest(access, limit, adopted)
            except AppError as error:
                notes[access.region] = str(error)

        if not any(not access.in_process for access in self._usable()):
            notes |= {"": "No region has a key: set DASHSCOPE_API_KEY to ask the service."}
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for access in self._usable():
                    group.start_soon(ask, access)
        return adopted, tuple(
            f"{region}: {note}".removeprefix(": ") for region, note in sorted(notes.items()) if note
        )

    def _usable(self) -> list[RegionAccess]:
        accesses = self._parts.settings.regions.values()
        return [access for access in accesses if access.api_key and access.base_url and not access.problem]

    async def _adopt_newest(self, access: RegionAccess, limit: int, adopted: list[Order]) -> str:
        """Read pages until `limit` unknown pictures were adopted; give a note of what was left out."""
        taken = 0
        for page in range(1, _MOST_PAGES + 1):
            listing = await self._queries.list(access.region, page_no=page)
            known = await self._parts.ledger.known([task.task_id for task in listing.tasks])
            for task in listing.tasks:
                if task.task_id in known or not await self._is_ours_to_take(access, task):
                    continue
                if taken == limit:
                    return f"more than {limit} unknown tasks; call again for the next."
                adopted.append(
                    await self._adopt(
                        access, task.task_id, status=task.status, model_id=task.model_id, created_at=task.created_at
                    )
                )
                taken += 1
            if page >= listing.total_pages:
                return ""
        return f"only the newest {_MOST_PAGES} pages were read."

    async def _is_ours_to_take(self, access: RegionAccess, task: ListedTask) -> bool:
        if self._catalogue_id(task.model_id) is None or task.status is TaskStatus.UNKNOWN:
            return False
        # It may be the task of an order whose answer was lost: the search decides that first.
        return not await self._parts.ledger.unanswered(access.region, task.model_id or "")

    async def _model_of(self, region: str, task_id: str) -> str | None:
        """Ask the list for a task's model, which the task itself does not tell. The picture does not need it."""
        try:
            listing = await self._queries.list(region, task_id=task_id)
        except AppError:
            return None
        return next((task.model_id for task in listing.tasks if task.task_id == task_id), None)

    def _catalogue_id(self, model_id: str | None) -> str | None:
        try:
            return self._parts.catalogue.find(model_id).id if model_id else None
        except AppError:
            return None

    async def _adopt(
        self,
        access: RegionAccess,
        task_id: str,
        *,
        status: TaskStatus,
        model_id: str | None,
        created_at: float | None = None,
    ) -> Order:
        now = self._parts.clock.now()
        return await self._parts.ledger.adopt(
            local_id=new_local_id(),
            task_id=task_id,
            origin=Origin.ADOPTED,
            region=access.region,
            account=fingerprint(access.api_key),
            changes={
                "model": self._catalogue_id(model_id) or model_id,
                "wire_model": model_id,
                "stage": Stage.OPEN,
                "status": status,
                "created_at": created_at or now,
                "accepted_at": now,
                "expires_at": now + DAY,
                "folder": str(self._parts.settings.output_dir),
            },
        )


def _not_found(task_id: str, asked: Sequence[RegionAccess], refusals: Mapping[str, AppError | None]) -> NotFoundError:
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
    advice = next((error.advice for error in refusals.values() if error and not error.retryable), "")
    if may_be_there:
        advice = "Call get_task again in a moment."
    not_found = NotFoundError(
        message, advice or "Use list_tasks to see the tasks that are known.", code="TaskNotFound"
    )
    not_found.retryable = may_be_there
    return not_found
